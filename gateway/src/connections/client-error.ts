import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { Problem } from '@sallyport/chassis'

const problems: Record<string, Problem> = {
  ERR_HTTP_REQUEST_TIMEOUT: new Problem(408, 'REQUEST_TIMEOUT', 'The request did not arrive in time'),
  HPE_HEADER_OVERFLOW: new Problem(431, 'HEADER_TOO_LARGE', 'The header is too large'),
}

/** What never became a request, as its sender is shown it. @param code of the error by which Node's parser gave up */
export function malformed({ code }: { code: string }): Problem {
  return problems[code] ?? new Problem(400, 'MESSAGE_MALFORMED', 'The request is not valid HTTP')
}

/**
 * Writes a response past Node's server, and closes the connection: where a next request would begin is anybody's guess.
 *
 * @param method of the request, if it was read: the response to a HEAD has no body
 */
export function answerAndClose(problem: Problem, socket: Socket, method?: string): void {
  const body = JSON.stringify(problem.body())
  const response = [
    `HTTP/1.1 ${problem.statusCode} ${STATUS_CODES[problem.statusCode]}`,
    ...Object.entries(problem.headers).map(([name, value]) => `${name}: ${value}`),
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    'connection: close',
    '',
    method === 'HEAD' ? '' : body,
  ]
  socket.write(response.join('\r\n'))
  lingeringClose(socket)
}

/** Milliseconds for a client to read the end of what was sent to it, while it may still send. */
const lingerTimeout = 2_000

/**
 * Closes a connection behind what was written. What the client still sends is read for a moment: closed at once, the
 * system would reset the connection, and the client might lose what it has not read yet (RFC 9112 section 9.6).
 *
 * It sets no time for the client to take what was written.
 */
export function lingeringClose(socket: Socket): void {
  let cut: NodeJS.Timeout | undefined
  const linger = () => {
    cut = setTimeout(() => socket.destroy(), lingerTimeout)
  }
  socket.end()
  if (socket.writableFinished) linger()
  else socket.once('finish', linger)
  socket.once('end', () => socket.destroy()).once('close', () => clearTimeout(cut))
  socket.resume()
}
