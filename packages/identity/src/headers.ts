import type { IncomingHttpHeaders } from 'node:http'
import { type Identity, identityFrom, isEmail } from './identity.ts'

/**
 * The one contract between the gateway and the services behind it. The gateway removes whatever a client sends under
 * these names and sets its own; a service reads them and nothing else to know who is calling.
 */
export const identityHeaders = {
  userId: 'x-user-id',
  email: 'x-user-email',
  role: 'x-user-role',
  roles: 'x-user-roles',
  sessionId: 'x-session-id',
  acr: 'x-auth-acr',
  authTime: 'x-auth-time',
  requestId: 'x-request-id',
  assertion: 'x-identity-token',
} as const

const names = new Set<string>(Object.values(identityHeaders))

/**
 * A header name as the most lenient server reads it: without case, and with every character that is no letter or
 * digit the same. CGI and what descends from it (RFC 3875 section 4.1.18) make one variable of `X-User-Id` and
 * `x_user_id`, and some of `x.user~id` too.
 */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase()
  return /[^a-z0-9-]/.test(lower) ? lower.replace(/[^a-z0-9]/g, '-') : lower
}

/** Whether a header name is an identity header, or would read as one to some server. */
export function isIdentityHeader(name: string): boolean {
  return names.has(canonicalName(name))
}

/** Begins an e-mail address that is written as an extended value of RFC 8187 section 3.2. */
const extended = "UTF-8''"

/** A time in seconds since 1970, in its one spelling. */
const time = /^(0|[1-9]\d{0,10})$/

/** The identity headers for a caller, without the assertion and the request id. What is not known has none. */
export function headersOf(identity: Identity): Record<string, string> {
  return {
    [identityHeaders.userId]: identity.userId,
    [identityHeaders.email]: encodeEmail(identity.email),
    [identityHeaders.role]: identity.role,
    [identityHeaders.roles]: identity.roles.join(','),
    [identityHeaders.sessionId]: identity.sessionId,
    ...(identity.acr !== undefined && { [identityHeaders.acr]: identity.acr }),
    ...(identity.authTime !== undefined && { [identityHeaders.authTime]: String(identity.authTime) }),
  }
}

/**
 * Reads the identity headers alone, as `headersOf` writes them. A doubled header arrives joined or as a list and so fails
 * the check of its form.
 *
 * @returns undefined unless all are there and well-formed; `x-auth-acr` and `x-auth-time` may be absent. It does not
 *   check who sent them.
 */
export function identityFromHeaders(headers: IncomingHttpHeaders): Identity | undefined {
  const roles = headers[identityHeaders.roles]
  const authTime = headers[identityHeaders.authTime]
  return identityFrom({
    userId: headers[identityHeaders.userId],
    email: decodeEmail(headers[identityHeaders.email]),
    role: headers[identityHeaders.role],
    roles: typeof roles === 'string' ? roles.split(',') : undefined,
    sessionId: headers[identityHeaders.sessionId],
    acr: headers[identityHeaders.acr],
    authTime: typeof authTime === 'string' && time.test(authTime) ? Number(authTime) : authTime,
  })
}

/**
 * Header values are ASCII. An address that is, stands there as it is, whatever percent signs are in it; any other as an
 * extended value (RFC 8187), which is `UTF-8''` and the address percent-encoded. So is an address that itself begins as
 * an extended value does: no two addresses look the same.
 */
export function encodeEmail(email: string): string {
  if (/^[\x21-\x7e]*$/.test(email) && !email.toUpperCase().startsWith(extended)) return email
  return extended + encodeURIComponent(email).replace(/['()*]/g, (character) => `%${hex(character)}`)
}

/** @returns undefined for what `encodeEmail` would not have written */
export function decodeEmail(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const email = value.startsWith(extended) ? percentDecode(value.slice(extended.length)) : value
  return isEmail(email) && encodeEmail(email) === value ? email : undefined
}

const hex = (character: string) => character.charCodeAt(0).toString(16).toUpperCase()

function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
