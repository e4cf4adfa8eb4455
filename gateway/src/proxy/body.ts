import type { IncomingMessage, ServerResponse } from 'node:http'
import { Problem } from '@sallyport/chassis'
import { openPerClient } from '../connections/open-per-client.ts'
import { countLimit } from '../limits.ts'
import type { Counts } from '../workers/open-counts.ts'

/** Bytes of a body that is buffered before it is forwarded, if its length says that it has no more. */
const maxHeld = 65_536

/** Bytes a second that a body must come at in the long run, beyond twice the time it may stand still. */
const slowest = 1_024

/** Milliseconds to read what a client still sends of a body that is not wanted, so that it can read the response. */
const lingerTimeout = 5_000

interface Limits {
  /** Bodies of one client that may be received at once. */
  perClient: number
  /** Seconds a client may take to go on with a body it has begun. */
  timeout: number
  counts: Counts
}

/** A complete body, in latin1; or one of which the beginning was received, to be read once from there. */
export type Body = string | AsyncGenerator<Buffer>

export type TakeBody = ReturnType<typeof openBodies>

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Receives the bodies of requests, so many of one client at once. */
export function openBodies({ perClient, timeout, counts }: Limits) {
  const noteOpen = openPerClient('body', perClient, counts)

  /**
   * Takes in a body that says it is small, or the beginning of another one, so that no upstream waits for a client that
   * does not begin. The caller then reads on as fast as it asks; time runs against the client only while it does:
   * `timeout` from one piece to the next, and in all twice that and a second for each KiB. Trailers are not part of it:
   * they end here.
   *
   * @param ip the address of the client
   * @param limit in bytes
   * @throws 413 if the body says that it is over the limit, or once it is; 408 when the client does not go on, 400 when it
   *   is gone; so does reading it. 429 if the client sends too many bodies at once
   */
  return async (request: IncomingMessage, response: ServerResponse, ip: string, limit: number): Promise<Body> => {
    if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge()
    // A request whose response is over may never close by itself.
    if (!(await noteOpen(ip, response))) {
      countLimit('bodies_per_client')
      throw new Problem(429, 'RATE_LIMITED', 'Too many requests at once', { headers: { 'retry-after': '1' } })
    }
    // A client that sent Expect: 100-continue begins now that someone wants the body; one of HTTP/1.0 knows nothing of it
    // (RFC 9110 section 10.1.1).
    if (request.headers.expect !== undefined && request.httpVersion === '1.1') response.writeContinue()
    // The request must outlive its body, for its response.
    const chunks = request.iterator({ destroyOnReturn: false })
    let size = 0
    let waited = 0
    const next = async (): Promise<IteratorResult<Buffer>> => {
      const began = performance.now()
      const left = 2_000 * timeout + (size / slowest) * 1_000 - waited
      const result = await inTime(chunks.next().catch(brokeOff), Math.min(left, 1_000 * timeout))
      waited += performance.now() - began
      size += result.done ? 0 : result.value.length
      if (size > limit) throw tooLarge()
      return result
    }
    let result = await next()
    if (request.headers['content-length'] !== undefined && Number(request.headers['content-length']) <= maxHeld) {
      const pieces: Buffer[] = []
      for (; !result.done; result = await next()) pieces.push(result.value)
      return Buffer.concat(pieces).toString('latin1')
    }
    async function* read() {
      try {
        for (; !result.done; result = await next()) yield result.value
      } finally {
        // A reader that stops early leaves a rest, which does not flow (discardRest) while this listens. It is not awaited:
        // what was asked for last may never be received.
        const goOn = () => void request.resume()
        chunks.return?.().then(goOn, goOn)
      }
    }
    return read()
  }
}

function brokeOff(cause: unknown): never {
  throw new Problem(400, 'REQUEST_ABORTED', 'The request broke off', { cause })
}

async function inTime<Result>(pending: Promise<Result>, milliseconds: number): Promise<Result> {
  let late: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    late = setTimeout(() => {
      countLimit('body_time')
      reject(
        new Problem(408, 'REQUEST_TIMEOUT', 'The body did not arrive in time', { headers: { connection: 'close' } }),
      )
    }, milliseconds)
  })
  try {
    return await Promise.race([pending, timeout])
  } finally {
    clearTimeout(late)
  }
}

/** Reads on for a moment after a response that was sent before the body's end, then cuts the connection. */
export function discardRest(request: IncomingMessage): void {
  if (request.complete) return
  request.resume()
  const cut = setTimeout(() => request.destroy(), lingerTimeout)
  request.once('close', () => clearTimeout(cut))
}

export function tooLarge(): Problem {
  countLimit('body_size')
  return new Problem(413, 'BODY_TOO_LARGE', 'The body is too large')
}
