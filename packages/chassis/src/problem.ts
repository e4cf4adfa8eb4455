import { Problem } from '@sallyport/verify'

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
