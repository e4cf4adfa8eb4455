import type { Socket } from 'node:net'
import { Problem } from '@sallyport/chassis'
import { type IsTrusted, RequestContext, sourceOf } from '../pipeline/request-context.ts'
import { requestIdOf } from '../pipeline/trace.ts'
import { problemResponse } from '../proxy/problem-response.ts'
import { responseHead } from '../proxy/response-writer.ts'
import { lingeringClose } from './lingering-close.ts'

const problems: Record<string, Problem> = {
  ERR_HTTP_REQUEST_TIMEOUT: new Problem(408, 'REQUEST_TIMEOUT', 'The request did not arrive in time'),
  HPE_HEADER_OVERFLOW: new Problem(431, 'HEADER_TOO_LARGE', 'The header is too large'),
}

/** What never became a request, as its sender is shown it. @param code of the error by which Node's parser gave up */
export function malformed({ code }: { code: string }): Problem {
  return problems[code] ?? new Problem(400, 'MESSAGE_MALFORMED', 'The request is not valid HTTP')
}

/** What is known of it: who sent it. */
export function malformedContext(peer: string, isTrusted: IsTrusted): RequestContext {
  const header = () => undefined
  return new RequestContext({
    id: requestIdOf(undefined, peer, isTrusted),
    method: '',
    url: '',
    httpVersion: '',
    rawHeaders: [],
    header,
    source: sourceOf(peer, header, isTrusted),
    trace: undefined,
  })
}

/**
 * Writes a response past Node's server, and closes the connection: where a next request would begin is ambiguous.
 *
 * @param method of the request, if it was read: the response to a HEAD has no body
 */
export function respondAndClose(problem: Problem, socket: Socket, method?: string): void {
  const { status, statusText, headers, body } = problemResponse(problem)
  headers.push('cache-control', 'no-store', 'x-content-type-options', 'nosniff', 'connection', 'close')
  const head = responseHead(status, statusText, headers)
  socket.write(method === 'HEAD' ? head : head + body.toString('latin1'), 'latin1')
  lingeringClose(socket)
}
