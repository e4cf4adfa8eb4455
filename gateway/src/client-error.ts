import type { Socket } from 'node:net'
import { Problem } from '@sallyport/chassis'

const problems: Record<string, [status: string, problem: Problem]> = {
  ERR_HTTP_REQUEST_TIMEOUT: [
    'Request Timeout',
    new Problem(408, 'REQUEST_TIMEOUT', 'The request did not arrive in time'),
  ],
  HPE_HEADER_OVERFLOW: [
    'Request Header Fields Too Large',
    new Problem(431, 'HEADER_TOO_LARGE', 'The header is too large'),
  ],
}
const malformed: [string, Problem] = [
  'Bad Request',
  new Problem(400, 'MESSAGE_MALFORMED', 'The request is not valid HTTP'),
]

/** Milliseconds for a client to read the last response of its connection while it may still send. */
const lingerFor = 2_000

/** Answers what never became a request, and closes the connection: where a next one would begin is anybody's guess. */
export function answerMalformed({ code }: { code: string }, socket: Socket): void {
  const [status, problem] = problems[code] ?? malformed
  const body = JSON.stringify(problem.body())
  const response = [
    `HTTP/1.1 ${problem.statusCode} ${status}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    'connection: close',
    '',
    body,
  ]
  closeWith(socket, response.join('\r\n'))
}

/**
 * Closes a connection with its last bytes. What the client still sends is read for a moment: closed at once, the system
 * would reset the connection, and the client might lose what it has not read yet (RFC 9112 section 9.6).
 */
export function closeWith(socket: Socket, last = ''): void {
  socket.end(last)
  socket.resume()
  const cut = setTimeout(() => socket.destroy(), lingerFor)
  socket.once('end', () => socket.destroy()).once('close', () => clearTimeout(cut))
}
