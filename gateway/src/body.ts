import type { IncomingMessage, ServerResponse } from 'node:http'
import { Problem } from '@sallyport/chassis'

/** Milliseconds a client may take to go on with a body it has begun. */
const goOnWithin = 10_000

/** Milliseconds to take in what a client still sends of a body that nobody wants, so that it can read the answer. */
const lingerFor = 2_000

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** @throws 413 if the body says of itself that it is too large */
export function checkAnnounced({ headers }: IncomingMessage, limit: number): void {
  if (Number(headers['content-length'] ?? 0) > limit) throw tooLarge()
}

/**
 * A request's body, chunk by chunk, as fast as it is asked for. Nothing is read before the first chunk is asked for,
 * so a body that was not begun can be offered to another upstream. Trailers are not part of it: they end here.
 *
 * Time runs against the client only while we wait for it, not while the upstream is slow to take what there is.
 *
 * @param limit in bytes
 * @param stall is told when the client does not go on
 * @throws 413 once the body is over the limit
 */
export async function* readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limit: number,
  stall: (problem: Problem) => void,
): AsyncGenerator<Buffer> {
  // A client that sent Expect: 100-continue (RFC 9110 section 10.1.1) begins now that someone wants the body.
  if (request.headers.expect !== undefined) response.writeContinue()
  const waitForClient = () =>
    setTimeout(() => stall(new Problem(408, 'BODY_TIMEOUT', 'The body came too slowly')), goOnWithin)
  let size = 0
  let patience = waitForClient()
  try {
    // The request must outlive its body, to be answered.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      clearTimeout(patience)
      size += chunk.length
      if (size > limit) throw tooLarge()
      yield chunk
      patience = waitForClient()
    }
  } finally {
    clearTimeout(patience)
  }
}

/** Reads on for a moment after an answer that came before the body's end, then cuts the connection. */
export function discardRest(request: IncomingMessage): void {
  request.resume()
  const cut = setTimeout(() => request.destroy(), lingerFor)
  request.once('close', () => clearTimeout(cut))
}

function tooLarge(): Problem {
  return new Problem(413, 'BODY_TOO_LARGE', 'The body is too large')
}
