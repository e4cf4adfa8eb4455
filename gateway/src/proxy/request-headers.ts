import { apiKeyPattern, canonicalName, identityHeaders, isIdentityHeader } from '@sallyport/identity'
import { memo } from '../http1/header-names.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import { traceOf } from '../pipeline/trace.ts'
import { connectionNames, hopByHop } from './hop-by-hop.ts'
import { withoutToken } from './websocket-protocol.ts'

/** Rebuilt from what we know, never passed on from a client; CGI makes of `Proxy` a setting of its own (HTTP_PROXY). */
const rebuilt = new Set(['host', 'via', 'forwarded', 'x-real-ip', 'traceparent', 'proxy'])
/** The same, and what tells some servers of another path or host than the one that was matched. */
const rebuiltFamilies = /^x-(forwarded|original|rewrite)-/
/** What tells some servers of another method than the one by which the route was chosen. */
export const methodOverride = /^x-(http-method(-override)?|method-override)$/

/** Whether a header of the client's must not go on, by its name in lower case or by what a server could take it for. */
export function isOurs(name: string): boolean {
  const plain = canonicalName(name)
  return (
    hopByHop.has(plain) ||
    rebuilt.has(plain) ||
    rebuiltFamilies.test(plain) ||
    methodOverride.test(plain) ||
    isIdentityHeader(plain) ||
    // `content_length` is no length to us, and one to some server.
    (plain === 'content-length' && name !== plain)
  )
}

/** For the auth service alone, as its routes say (`refreshCookie`); nothing else has a use for them. */
const authCookies = ['refreshToken', 'device']
const isAuthCookie = new RegExp(`^(__Host-)?(${authCookies.join('|')})$`)

/** What becomes of a header on its way to an upstream. `name` is in lower case, or empty if the header ends here. */
const outgoing = memo((name) => (isOurs(name) ? '' : name))

/**
 * The headers that a request is forwarded with, as a flat list of names and values: the client's own without
 * hop-by-hop headers, without every spelling of an identity header, and without the cookies of the auth service; then who is
 * calling.
 *
 * @param identity names and values of the identity headers, as the pipeline gives them
 */
export function requestHeaders(context: RequestContext, identity: readonly string[]): string[] {
  const { rawHeaders: sent, route, source } = context
  const named = connectionNames(context.header('connection'))
  const headers: string[] = route.preserveHost ? ['host', source.host] : []
  for (let at = 0; at < sent.length; at += 2) {
    const name = outgoing(sent[at] as string)
    const value = sent[at + 1] as string
    if (name === '' || named?.has(name)) continue
    if (name === 'authorization') {
      const authorization = route.forwardAuthorization ? withoutApiKey(value, context) : ''
      if (authorization !== '') headers.push(name, authorization)
      continue
    }
    if (name === 'cookie' && !route.refreshCookie) {
      const cookies = withoutAuthCookies(value)
      if (cookies !== '') headers.push(name, cookies)
      continue
    }
    if (name === 'sec-websocket-protocol') {
      const protocols = withoutToken(value)
      if (protocols !== '') headers.push(name, protocols)
      continue
    }
    // Leading zeros, which Node reads as decimal, are octal to some server.
    headers.push(name, name === 'content-length' ? String(Number(value)) : value)
  }
  headers.push(
    'via',
    via(context),
    'x-forwarded-for',
    source.way.length === 1 ? source.ip : source.way.join(', '),
    'x-forwarded-host',
    source.host,
    'x-forwarded-proto',
    source.protocol,
    'traceparent',
    context.trace?.traceparent ?? traceOf(context.header('traceparent'), context.id),
    identityHeaders.requestId,
    context.id,
  )
  if (route.strippedPrefix !== undefined) headers.push('x-forwarded-prefix', route.strippedPrefix)
  headers.push(...identity)
  return headers
}

function withoutAuthCookies(cookies: string): string {
  // Browsers send theirs to auth alone, and many others everywhere.
  if (!authCookies.some((name) => cookies.includes(name))) return cookies.trim()
  return cookies
    .split(';')
    .filter((cookie) => !isAuthCookie.test((cookie.split('=', 1)[0] as string).trim()))
    .join(';')
    .trim()
}

/** The access token in place of an API key, which would let an upstream call as the client for as long as the key lives. */
function withoutApiKey(authorization: string, { caller }: RequestContext): string {
  if (!apiKeyPattern.test(authorization)) return authorization
  return caller ? `Bearer ${caller.token}` : ''
}

/** The proxies that a request came by (RFC 9110 section 7.6.3), as far as trusted ones say, and this gateway. */
function via({ source, httpVersion, header }: RequestContext): string {
  const step = httpVersion === '1.0' ? '1.0 sallyport' : '1.1 sallyport'
  const before = source.way.length > 1 ? header('via') : undefined
  return before === undefined ? step : `${before}, ${step}`
}
