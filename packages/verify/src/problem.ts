interface ProblemOptions {
  /** Shown to the caller: how to correct the request. */
  detail?: string
  headers?: Record<string, string>
  /** Further members of the response, such as `reason`. */
  members?: Record<string, unknown>
  /** Logged, never shown. */
  cause?: unknown
}

/**
 * An error as its caller sees it (RFC 9457). `code` is stable, for programs; `title` is for humans. What really
 * happened belongs in `cause`, which is logged and never sent.
 */
export class Problem extends Error {
  override name = 'Problem'
  readonly statusCode: number
  readonly code: string
  readonly options: ProblemOptions

  constructor(statusCode: number, code: string, title: string, options: ProblemOptions = {}) {
    super(title, { cause: options.cause })
    this.statusCode = statusCode
    this.code = code
    this.options = options
  }

  /** RFC 9110 section 15.5.2 asks every 401 for a challenge; RFC 6750 for no more than that where no token was sent. */
  get headers(): Record<string, string> {
    return { ...(this.statusCode === 401 ? { 'www-authenticate': 'Bearer' } : {}), ...this.options.headers }
  }

  /** `error` repeats `title`, for clients that read the response's `error`. */
  body() {
    return {
      type: `urn:sallyport:problem:${this.code.toLowerCase().replaceAll('_', '-')}`,
      title: this.message,
      status: this.statusCode,
      code: this.code,
      error: this.message,
      ...(this.options.detail === undefined ? {} : { detail: this.options.detail }),
      ...this.options.members,
    }
  }
}

/** The response when a dependency cannot serve just now: nothing has changed, so the same request may be sent again. */
export function unavailable(cause: unknown): Problem {
  return new Problem(503, 'UNAVAILABLE', 'Service unavailable', {
    detail: 'Nothing has changed. Try again shortly.',
    headers: { 'retry-after': '1' },
    cause,
  })
}

/** RFC 6750 section 3.1: a token was sent and is invalid. */
export const badToken = { 'www-authenticate': 'Bearer error="invalid_token"' }

/** @param why for the log alone */
export function invalid(why: string): Problem {
  return new Problem(401, 'TOKEN_INVALID', 'The access token is not valid', { headers: badToken, cause: why })
}
