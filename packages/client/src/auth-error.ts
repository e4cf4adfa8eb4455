interface Details {
  status?: number | undefined
  reason?: string | undefined
  detail?: string | undefined
  /** In milliseconds. */
  retryAfter?: number | undefined
  cause?: unknown
}

/**
 * A call that did not do what it should. `code` is one of the server's (docs/api.md), or one of ours:
 *
 * - `NETWORK`: there was no response in time
 * - `ANSWER_INVALID`: there was a response, and it is not the auth service's (a captive portal, a proxy's error page)
 * - `SIGNED_OUT`: the call needs a user who is signed in
 * - `BODY_NOT_REPEATABLE`: the request was rejected for its token, which has been replaced, and its body is a stream
 *   that cannot be sent a second time
 * - `BASE_URL_RELATIVE`: the client was made with a relative `baseUrl`, and there is no page (on a server)
 */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code: string
  /** The HTTP status; 0 if there was no response. */
  readonly status: number
  /** Why a session ended, with `SESSION_ENDED`. */
  readonly reason: string | undefined
  readonly detail: string | undefined
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfter: number | undefined

  constructor(code: string, message: string, { status = 0, reason, detail, retryAfter, cause }: Details = {}) {
    super(message, { cause })
    this.code = code
    this.status = status
    this.reason = reason
    this.detail = detail
    this.retryAfter = retryAfter
  }
}

/** The error that a response stands for. */
export async function errorOf(response: Response): Promise<AuthError> {
  const { status } = response
  const problem = await response.json().catch(() => undefined)
  const seconds = Number(response.headers.get('retry-after') || Number.NaN)
  const retryAfter = seconds >= 0 ? seconds * 1_000 : undefined
  if (typeof problem?.code !== 'string')
    return new AuthError('ANSWER_INVALID', `The response ${status} is not the auth service's`, { status, retryAfter })
  const { code, title, reason, detail } = problem
  return new AuthError(code, title, { status, reason, detail, retryAfter })
}

/** The JSON of a response. @throws AuthError that it stands for */
export async function contentOf(response: Response) {
  if (!response.ok) throw await errorOf(response)
  return response.json()
}

/** What fails between a request and its content is an AuthError. */
export function fail(cause: unknown): never {
  if (cause instanceof AuthError) throw cause
  if (cause instanceof SyntaxError) throw new AuthError('ANSWER_INVALID', 'The response is not JSON', { cause })
  throw new AuthError('NETWORK', 'The server did not respond', { cause })
}
