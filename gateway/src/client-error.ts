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

/** Answers what never became a request, and closes the connection: where a next one would begin is anybody's guess. */
export function answerClientError({ code }: { code: string }, socket: Socket): void {
  // Within an answer that has begun, a second one would be read as part of it.
  const { _httpMessage: answer } = socket as { _httpMessage?: { headersSent: boolean } }
  if (socket.writable && !answer?.headersSent) {
    const [status, problem] = problems[code] ?? malformed
    const body = JSON.stringify(problem.body())
    socket.write(
      [
        `HTTP/1.1 ${problem.statusCode} ${status}`,
        'content-type: application/problem+json',
        `content-length: ${Buffer.byteLength(body)}`,
        'cache-control: no-store',
        'x-content-type-options: nosniff',
        'connection: close',
        '',
        body,
      ].join('\r\n'),
    )
  }
  socket.destroy()
}
