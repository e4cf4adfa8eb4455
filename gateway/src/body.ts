import type { IncomingMessage, ServerResponse } from 'node:http'
import { Problem } from '@sallyport/chassis'

/** Milliseconds a client may take to go on with a body it has begun. */
const goOnWithin = 10_000

/** Milliseconds to take in what a client still sends of a body that nobody wants, so that it can read the answer. */
const lingerFor = 5_000

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** A body that a client has begun to send, to be read once from its beginning. */
export type Body = () => AsyncGenerator<Buffer>

/**
 * Waits until a request's body begins, so that no upstream waits for it. Reading it is then up to whoever takes it, as
 * fast as they ask; time runs against the client only while they do. Trailers are not part of it: they end here.
 *
 * @param limit in bytes
 * @throws 413 if the body says that it is over the limit, or once it is; 408 when the client does not go on, 400 when it is gone; so does reading it
 */
export async function beginBody(request: IncomingMessage, response: ServerResponse, limit: number): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge()
  // A client that sent Expect: 100-continue (RFC 9110 section 10.1.1) begins now that someone wants the body.
  if (request.headers.expect !== undefined) response.writeContinue()
  // The request must outlive its body, to be answered.
  const chunks = request.iterator({ destroyOnReturn: false })
  let size = 0
  const next = async (): Promise<IteratorResult<Buffer>> => {
    const result = await inTime(chunks.next().catch(brokeOff))
    size += result.done ? 0 : result.value.length
    if (size > limit) throw tooLarge()
    return result
  }
  const first = await next()
  return async function* read() {
    try {
      for (let result = first; !result.done; result = await next()) yield result.value
    } finally {
      // Whoever stops early leaves a rest, which does not flow (discardRest) while this listens.
      await chunks.return?.()
      request.resume()
    }
  }
}

function brokeOff(cause: unknown): never {
  throw new Problem(400, 'REQUEST_ABORTED', 'The request broke off', { cause })
}

async function inTime<Result>(pending: Promise<Result>): Promise<Result> {
  let late: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    late = setTimeout(
      () =>
        reject(
          new Problem(408, 'REQUEST_TIMEOUT', 'The body did not arrive in time', { headers: { connection: 'close' } }),
        ),
      goOnWithin,
    )
  })
  try {
    return await Promise.race([pending, timeout])
  } finally {
    clearTimeout(late)
  }
}

/** Reads on for a moment after an answer that came before the body's end, then cuts the connection. */
export function discardRest(request: IncomingMessage): void {
  if (request.complete) return
  request.resume()
  const cut = setTimeout(() => request.destroy(), lingerFor)
  request.once('close', () => clearTimeout(cut))
}

export function tooLarge(): Problem {
  return new Problem(413, 'BODY_TOO_LARGE', 'The body is too large')
}
