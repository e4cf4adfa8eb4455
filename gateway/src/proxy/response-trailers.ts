import { canonicalName, isIdentityHeader } from '@sallyport/identity'
import { responseHeaders } from './response-headers.ts'

/**
 * What decides over a message, who it is from or for, or how long it may be kept, has its place ahead of the body: after
 * it, some would go by it and others not (RFC 9110 section 6.5.1).
 */
const names = new Set([
  'age',
  'allow',
  'authorization',
  'authentication-info',
  'cache-control',
  'cookie',
  'date',
  'expires',
  'host',
  'link',
  'location',
  'max-forwards',
  'pragma',
  'range',
  'retry-after',
  'set-cookie',
  'strict-transport-security',
  'vary',
  'via',
  'warning',
  'www-authenticate',
])
/** The same by their beginning; of `content-`, a digest alone is made for trailers (RFC 9530). */
const families =
  /^(accept|alt-|clear-|content-(?!digest$)|cross-origin-|forwarded|if-|permissions-|ratelimit|referrer-|sec-|x-(content|forwarded|frame|original|permitted|real-ip|request-id|rewrite))/

/**
 * The trailers of an upstream's response that go on to the client.
 *
 * @param trailers names and values in a flat list
 */
export function responseTrailers(trailers: string[]): string[] {
  const headers = responseHeaders(trailers, [])
  return headers.filter((_, at) => {
    const name = canonicalName(headers[at - (at % 2)] as string)
    return !names.has(name) && !families.test(name) && !isIdentityHeader(name)
  })
}
