import { type Assertions, carelessly, headersOf, identityHeaders, isIdentityHeader } from '@sallyport/identity'
import type { FastifyRequest } from 'fastify'
import type { Caller } from './verify.ts'

/** Headers that are for one connection alone (RFC 9110 section 7.6.1), or that we answer for ourselves. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
])

/** Rebuilt from what we know, never passed on from a client. */
const rebuilt = new Set(['host', 'via', 'forwarded', 'x-real-ip'])
/** The same, and what tells some servers of another path or host than the one that was matched. */
const rebuiltFamilies = /^x-(forwarded|original|rewrite)-/

/** Whether a header of the client's must not go on, by its name in lower case or by what a server could take it for. */
function isOurs(name: string): boolean {
  const plain = carelessly(name)
  return (
    hopByHop.has(plain) ||
    rebuilt.has(plain) ||
    rebuiltFamilies.test(plain) ||
    isIdentityHeader(plain) ||
    // `content_length` is no length to us, and one to some server.
    (plain === 'content-length' && name !== plain)
  )
}

/** The refresh cookie is for the auth service's own calls; nothing else has a use for it. */
const refreshCookie = /^(__Host-)?refreshToken$/
const cookiesGoTo = '/api/auth'

/** Seconds an assertion must still hold for to be used again. */
const leastLife = 15

/**
 * The headers a request goes on with, as a flat list of names and values: the client's own without what is for one
 * hop, without every spelling of an identity header, and without the refresh cookie; then who is calling, signed.
 */
export function outgoingHeaders(request: FastifyRequest, caller: Caller | undefined, assertions: Assertions): string[] {
  const { raw, route } = request
  const named = connectionNames(raw.headers.connection)
  const headers: string[] = []
  for (let at = 0; at < raw.rawHeaders.length; at += 2) {
    const name = (raw.rawHeaders[at] as string).toLowerCase()
    const value = raw.rawHeaders[at + 1] as string
    if (isOurs(name) || named?.has(name)) continue
    if (name === 'authorization' && !route.forwardAuthorization) continue
    if (name === 'cookie') {
      const cookies = goesToAuth(request.target.path) ? value : withoutRefreshCookie(value)
      if (cookies !== '') headers.push(name, cookies)
      continue
    }
    headers.push(name, value)
  }
  headers.push(
    'via',
    '1.1 sallyport',
    'x-forwarded-for',
    forwardedFor(request),
    'x-forwarded-host',
    request.host,
    'x-forwarded-proto',
    request.protocol,
    identityHeaders.requestId,
    request.id,
  )
  if (caller) {
    for (const [name, value] of Object.entries(headersOf(caller.identity))) headers.push(name, value)
    headers.push(identityHeaders.assertion, assertion(caller, route.audience, assertions))
  }
  return headers
}

/** What an answer may not bring from upstream: what is for one hop, and what the gateway says itself. */
export function isForClient(name: string, named: Set<string> | undefined): boolean {
  if (hopByHop.has(name) || named?.has(name)) return false
  return !name.startsWith('access-control-') && name !== 'server' && name !== 'x-powered-by'
}

export function connectionNames(connection: string | undefined): Set<string> | undefined {
  if (connection === undefined) return undefined
  return new Set(
    connection
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
}

const goesToAuth = (path: string) => path === cookiesGoTo || path.startsWith(`${cookiesGoTo}/`)

function withoutRefreshCookie(cookies: string): string {
  return cookies
    .split(';')
    .filter((cookie) => !refreshCookie.test((cookie.split('=', 1)[0] as string).trim()))
    .join(';')
    .trim()
}

/** The addresses the request came by, the client first: those that trusted proxies vouch for, and our own peer. */
function forwardedFor({ ip, ips }: FastifyRequest): string {
  return ips ? ips.toReversed().join(', ') : ip
}

/** Signed once for a token and an audience, and used again while it holds. */
function assertion(caller: Caller, audience: string, assertions: Assertions): string {
  const signed = caller.assertions.get(audience)
  if (signed && signed.expiresAt - leastLife > Date.now() / 1000) return signed.token
  const fresh = assertions.sign(caller.identity, audience)
  caller.assertions.set(audience, fresh)
  return fresh.token
}
