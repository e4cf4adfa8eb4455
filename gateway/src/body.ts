import type { IncomingMessage } from 'node:http'
import { type PassThrough, Transform } from 'node:stream'
import { Problem } from '@sallyport/chassis'

/** How long a client may take over the next piece of a body, in milliseconds. */
const goOnWithin = 10_000

/**
 * The body as it comes in, up to a limit. It is not the request itself, which must outlive it to be answered. A body
 * that stops coming is 408; one that waits because the upstream is slow is not.
 */
export function meteredBody(raw: IncomingMessage, limit: number, tooLarge: () => Problem): PassThrough {
  let size = 0
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      silence.refresh()
      size += chunk.length
      done(size > limit ? tooLarge() : null, chunk)
    },
  })
  const silence = setTimeout(() => {
    if (meter.writableNeedDrain) silence.refresh()
    else
      meter.destroy(
        new Problem(408, 'REQUEST_TIMEOUT', 'The body did not arrive in time', { headers: { connection: 'close' } }),
      )
  }, goOnWithin)
  meter.once('close', () => clearTimeout(silence))
  raw.once('close', () => {
    if (!raw.complete) meter.destroy(new Error('the client went away'))
  })
  return raw.pipe(meter) as PassThrough
}

/** What is left of a body once its request has been answered is read and dropped, but not waited for without end. */
export function dropRest(raw: IncomingMessage): void {
  if (raw.complete) return
  raw.resume()
  const end = setTimeout(() => raw.destroy(), goOnWithin).unref()
  raw.once('close', () => clearTimeout(end))
}
