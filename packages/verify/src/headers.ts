import { clientSubject, type Identity, identityFrom, isEmail } from './identity.ts'

/**
 * The one contract between the gateway and the services behind it. The gateway removes whatever a client sends under
 * these names and sets its own; a service reads them and nothing else to know who is calling.
 */
export const identityHeaders = {
  caller: 'x-caller',
  issuer: 'x-issuer',
  clientId: 'x-client-id',
  userId: 'x-user-id',
  email: 'x-user-email',
  role: 'x-user-role',
  roles: 'x-user-roles',
  sessionId: 'x-session-id',
  scopes: 'x-scopes',
  actorId: 'x-actor-id',
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

/**
 * The identity headers for a caller, without the assertion and the request id. What is not known has none. A service
 * account has no `x-user-id`, so that a service that reads no more than that takes it for nobody.
 */
export function headersOf(identity: Identity): Record<string, string> {
  const { caller, issuer, userId, clientId, email, role, roles, sessionId, scopes, act, acr, authTime } = identity
  return {
    [identityHeaders.caller]: caller,
    ...(issuer !== undefined && { [identityHeaders.issuer]: issuer }),
    ...(clientId === undefined ? { [identityHeaders.userId]: userId } : { [identityHeaders.clientId]: clientId }),
    ...(email !== undefined && { [identityHeaders.email]: encodeEmail(email) }),
    ...(role !== undefined && { [identityHeaders.role]: role, [identityHeaders.roles]: roles.join(',') }),
    ...(sessionId !== '' && { [identityHeaders.sessionId]: sessionId }),
    ...(scopes !== undefined && { [identityHeaders.scopes]: scopes.join(' ') }),
    ...(act && { [identityHeaders.actorId]: act.sub }),
    ...(acr !== undefined && { [identityHeaders.acr]: acr }),
    ...(authTime !== undefined && { [identityHeaders.authTime]: String(authTime) }),
  }
}

/** The headers of a request by their names in lower case, as Node has them. */
type Headers = Readonly<Record<string, string | string[] | undefined>>

/**
 * Reads the identity headers alone, as `headersOf` writes them. A doubled header arrives joined or as a list and so fails
 * the check of its form. Of several actors the headers have the outermost alone; the assertion has them all.
 *
 * @returns undefined unless all are there and well-formed, as `identityFrom` has it; `x-auth-acr` and `x-auth-time` may be
 *   absent. It does not check who sent them.
 */
export function identityFromHeaders(headers: Headers): Identity | undefined {
  const caller = headers[identityHeaders.caller]
  const issuer = headers[identityHeaders.issuer]
  const clientId = headers[identityHeaders.clientId]
  const userId = headers[identityHeaders.userId]
  const roles = listOf(headers[identityHeaders.roles], ',')
  const actorId = headers[identityHeaders.actorId]
  const authTime = headers[identityHeaders.authTime]
  const isClient = caller === 'client'
  // A machine is nobody's user, and has no address: a request that says both is by neither.
  if (isClient ? userId !== undefined || typeof clientId !== 'string' : clientId !== undefined) return undefined
  const email = headers[identityHeaders.email]
  return identityFrom({
    caller,
    issuer,
    userId: isClient ? clientSubject(clientId as string) : userId,
    clientId,
    email: email === undefined ? undefined : (decodeEmail(email) ?? ''),
    role: headers[identityHeaders.role],
    roles: (isClient || issuer !== undefined) && roles === undefined ? [] : roles,
    sessionId: headers[identityHeaders.sessionId],
    scopes: listOf(headers[identityHeaders.scopes], ' '),
    act: actorId === undefined ? undefined : { sub: actorId },
    acr: headers[identityHeaders.acr],
    authTime: typeof authTime === 'string' && time.test(authTime) ? Number(authTime) : authTime,
  })
}

/** A list as a header has it, of none where it is empty; one that came twice, and so as a list already, is no such header. */
function listOf(value: string | string[] | undefined, separator: string): string[] | null | undefined {
  if (typeof value !== 'string') return value && null
  return value === '' ? [] : value.split(separator)
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
