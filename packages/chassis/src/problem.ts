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

/** What Fastify and our guards throw, by code, as the problem that a caller receives. */
const titles: Record<string, [status: number, code: string, title: string]> = {
  FST_ERR_VALIDATION: [400, 'REQUEST_INVALID', 'The request has missing or wrong values'],
  FST_ERR_CTP_INVALID_JSON_BODY: [400, 'BODY_MALFORMED', 'The body is not valid JSON'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, 'BODY_MALFORMED', 'The body is not as long as announced'],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'BODY_TOO_LARGE', 'The body is too large'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'MEDIA_TYPE_UNSUPPORTED', 'The body must be application/json'],
  FST_ERR_BAD_URL: [400, 'PATH_INVALID', 'The path is malformed'],
  FST_ERR_MAX_PARAM_LENGTH: [414, 'PATH_INVALID', 'The path is too long'],
}

/** Any thrown value as a problem. Only errors that name a 4xx status show anything of themselves. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  const {
    code = '',
    statusCode = 500,
    message,
  } = (error ?? {}) as Partial<Error> & { code?: string; statusCode?: number }
  const known = titles[code]
  if (known) {
    const detail = code === 'FST_ERR_VALIDATION' ? message : undefined
    return new Problem(...known, { cause: error, ...(detail === undefined ? {} : { detail }) })
  }
  if (/^[A-Z]+(_[A-Z]+)+$/.test(code) && !code.startsWith('FST_') && statusCode >= 400 && statusCode < 500)
    return new Problem(statusCode, code, message ?? code)
  return new Problem(500, 'INTERNAL', 'Something went wrong', { cause: error })
}
