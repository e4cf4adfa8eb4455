/**
 * What an identity may hold. This is the one definition, for what stores it (accounts, settings, the route file) and
 * what reads it (claims of a token, headers, assertions): what can be stored arrives.
 */

/** Who is calling. `role` is `roles[0]`; `roles` is never empty. */
export interface Identity {
  userId: string
  email: string
  role: string
  roles: string[]
  sessionId: string
  /** At which level the caller proved who they are (OpenID Connect Core, `acr`), such as `aal2`. Absent: not known. */
  acr?: string
  /** When the caller last proved it, in seconds since 1970. Absent: not known. */
  authTime?: number
  /** By what (RFC 8176). Headers do not carry it. */
  amr?: string[]
}

/** The pattern of a role: lower case, so that it survives a header and a comma-separated list unchanged. */
export const rolePattern = '^[a-z][a-z0-9_-]{0,31}$'

/** The most roles that one user has. */
export const mostRoles = 32

/** The pattern of our ids (RFC 9562), in the one spelling in which Postgres and we write them. */
export const uuidPattern = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

const role = new RegExp(rolePattern)
const uuid = new RegExp(uuidPattern)

/** An id of any issuer: what may stand in a header as it is. */
const id = /^[\x21-\x7e]{1,320}$/

/** No control character, no space, no half of a character; what else is an address is for those who make accounts. */
const email = /^[^\s\p{Cc}\p{Cs}]{1,320}$/u

export const isRole = (value: unknown): value is string => typeof value === 'string' && role.test(value)

export const isUuid = (value: unknown): value is string => typeof value === 'string' && uuid.test(value)

/** Whether a value can be the e-mail address in an identity. */
export const isEmail = (value: unknown): value is string => typeof value === 'string' && email.test(value)

/** Whether a value can be somebody's roles, the main one first. */
export const areRoles = (value: unknown): value is [string, ...string[]] =>
  Array.isArray(value) && value.length > 0 && value.length <= mostRoles && value.every(isRole)

/** An authentication context class of any issuer. */
const context = /^[\x21-\x7e]{1,64}$/

/** A method of authentication, and how many of them one caller has at most. */
const method = /^[\x21-\x7e]{1,32}$/
const mostMethods = 16

/** A time later than this, in seconds since 1970, is one in milliseconds, or none: the year 5138. */
const latest = 1e11

const isContext = (value: unknown): value is string => typeof value === 'string' && context.test(value)

const isTime = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < latest

const areMethods = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.length <= mostMethods &&
  value.every((item) => typeof item === 'string' && method.test(item))

const isId = (value: unknown): value is string => typeof value === 'string' && id.test(value)

/**
 * Checks untrusted values (a token's claims, or headers) as an identity.
 *
 * @returns undefined unless every part is there and well-formed; `acr`, `authTime` and `amr` may be absent. It does not
 *   check who vouches for the values.
 */
export function identityFrom(values: {
  userId: unknown
  email: unknown
  role: unknown
  roles: unknown
  sessionId: unknown
  acr?: unknown
  authTime?: unknown
  amr?: unknown
}): Identity | undefined {
  const { userId, email, role, roles, sessionId, acr, authTime, amr } = values
  if (!isId(userId) || !isId(sessionId) || !isEmail(email)) return undefined
  if (!areRoles(roles) || role !== roles[0]) return undefined
  if (acr !== undefined && !isContext(acr)) return undefined
  if (authTime !== undefined && !isTime(authTime)) return undefined
  if (amr !== undefined && !areMethods(amr)) return undefined
  return {
    userId,
    email,
    role: roles[0],
    roles,
    sessionId,
    ...(acr !== undefined && { acr }),
    ...(authTime !== undefined && { authTime }),
    ...(amr !== undefined && { amr }),
  }
}
