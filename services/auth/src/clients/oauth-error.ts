import { noteProblem, Problem } from '@sallyport/chassis'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The errors of the token endpoint, and of those like it (RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 7009). */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'unsupported_token_type'
  | 'temporarily_unavailable'
  | 'server_error'

/** An error of OAuth as its client sees it. What really happened is the cause, which is logged. */
export class OAuthError extends Error {
  override name = 'OAuthError'
  readonly error: OAuthErrorCode
  /** For the log and the counts: what client it was, if that is known. */
  readonly client: string | undefined

  /** @param description in ASCII, without quotes and backslashes (RFC 6749 section 5.2) */
  constructor(
    error: OAuthErrorCode,
    description: string,
    { cause, client }: { cause?: unknown; client?: string } = {},
  ) {
    super(description, { cause })
    this.error = error
    this.client = client
  }
}

export const invalidRequest = (description: string, cause?: unknown) =>
  new OAuthError('invalid_request', description, { cause })

/** RFC 6749 section 5.2: 401 for a client that did not prove who it is, 400 for all else. */
const statuses: Partial<Record<OAuthErrorCode, number>> = {
  invalid_client: 401,
  server_error: 500,
  temporarily_unavailable: 503,
}

/** What our own limits and failures are called here. */
const fromStatus: Record<number, OAuthErrorCode> = { 429: 'temporarily_unavailable', 503: 'temporarily_unavailable' }

/** Any thrown value as an error of OAuth: what is not one already was refused before, or failed. */
function toOAuthError(error: unknown, problem: Problem): OAuthError {
  if (error instanceof OAuthError) return error
  if (problem.code === 'MEDIA_TYPE_UNSUPPORTED')
    return invalidRequest('the body must be application/x-www-form-urlencoded')
  const code = fromStatus[problem.statusCode] ?? (problem.statusCode < 500 ? 'invalid_request' : 'server_error')
  return new OAuthError(code, problem.message.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, ' '))
}

/**
 * Responds to an error as RFC 6749 section 5.2 has it. A limit keeps its 429, by which clients know to wait, and a body
 * that is too large its 413.
 *
 * @returns the error that was sent
 */
export function respondWithOAuthError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = error instanceof OAuthError
  const problem = noteProblem(
    known
      ? new Problem(statuses[error.error] ?? 400, error.error.toUpperCase(), error.message, { cause: error.cause })
      : error,
    request,
    request.server.log,
  )
  const shown = toOAuthError(error, problem)
  const status = known || problem.statusCode === 415 ? (statuses[shown.error] ?? 400) : problem.statusCode
  const { 'www-authenticate': _, ...headers } = known ? {} : (problem.headers as Record<string, string>)
  return (
    reply
      .code(status)
      .headers(headers)
      // Whether it tried Basic or not, that is what it can do without more.
      .headers(
        shown.error === 'invalid_client' ? { 'www-authenticate': 'Basic realm="sallyport", charset="UTF-8"' } : {},
      )
      .send({ error: shown.error, error_description: shown.message })
  )
}
