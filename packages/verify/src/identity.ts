/**
 * What an identity may hold. This is the one definition, for what stores it (accounts, settings, the route file) and
 * what reads it (claims of a token, headers, assertions): what can be stored arrives.
 */

/** Whether a person is calling, or a service account as itself. */
export type CallerKind = 'user' | 'client'

export const callerKinds = ['user', 'client'] as const satisfies CallerKind[]

/** Who is calling. `role` is `roles[0]`; only a service account, and whom another issuer vouches for, may have none. */
export interface Identity {
  caller: CallerKind
  /**
   * Who vouches for the caller, if that is another issuer than Sallyport's own auth service: the `iss` of the token. Two
   * issuers may have the same ids, so that whoever takes callers of several knows them by issuer and id.
   */
  issuer?: string
  /** The subject: a user's id, or `client:` and the id of a service account, so that neither is ever taken for the other. */
  userId: string
  /** The id of a service account that calls as itself; absent for a user. */
  clientId?: string
  /** Absent for a service account, and where another issuer names none, or has not verified it. */
  email?: string
  role?: string
  roles: string[]
  /**
   * What the token belongs to, and ends with: a user's session, or the credential of a service account. Empty where another
   * issuer names none.
   */
  sessionId: string
  /** What the token is limited to (RFC 6749 section 3.3). Absent: a user's own, which is not limited so. */
  scopes?: string[]
  /** Who acts for the subject (RFC 8693 section 4.1): a service account, or a user. Absent: the subject itself. */
  act?: Actor
  /** At which level the caller proved who they are (OpenID Connect Core, `acr`), such as `aal2`. Absent: not known. */
  acr?: string
  /** When the caller last proved it, in seconds since 1970. Absent: not known. */
  authTime?: number
  /** By what (RFC 8176). Headers do not carry it. */
  amr?: string[]
}

/** Who acts for somebody, and for whom that one acted before (RFC 8693 section 4.1). Only the outermost is in power. */
export interface Actor {
  /** A user's id, or `client:` and the id of a service account. */
  sub: string
  /** What the actor's own power belongs to and ends with, as `sid` of a token. */
  sid?: string
  /** The registration by which it may act (auth's clients/exchanges.ts), and ends with. */
  grant?: string
  act?: Actor
}

/** How many may act one for the other. */
export const mostActors = 4

/** The pattern of a role: lower case, so that it survives a header and a comma-separated list unchanged. */
export const rolePattern = '^[a-z][a-z0-9_-]{0,31}$'

/** The most roles that one user has. */
export const mostRoles = 32

/** The pattern of a scope (RFC 6749 section 3.3), and the most that one token has: so many, of so many characters in all. */
export const scopePattern = '^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,64}$'
export const mostScopes = 32
export const longestScopes = 512

/** The pattern of our ids (RFC 9562), in the one spelling in which Postgres and we write them. */
export const uuidPattern = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

const role = new RegExp(rolePattern)
const scope = new RegExp(scopePattern)
const uuid = new RegExp(uuidPattern)

/** An id of any issuer: what may stand in a header as it is. */
const id = /^[\x21-\x7e]{1,320}$/

/** Begins the subject of a service account, and no other. */
const clientPrefix = 'client:'

/** No control character, no space, no half of a character; what else is an address is for those who make accounts. */
const email = /^[^\s\p{Cc}\p{Cs}]{1,320}$/u

export const isRole = (value: unknown): value is string => typeof value === 'string' && role.test(value)

export const isScope = (value: unknown): value is string => typeof value === 'string' && scope.test(value)

export const isUuid = (value: unknown): value is string => typeof value === 'string' && uuid.test(value)

/** Whether a value can be the e-mail address in an identity. */
export const isEmail = (value: unknown): value is string => typeof value === 'string' && email.test(value)

/** Whether a value can be somebody's roles, the main one first. */
export const areRoles = (value: unknown): value is [string, ...string[]] =>
  Array.isArray(value) && value.length > 0 && value.length <= mostRoles && value.every(isRole)

/** Whether a value can be the scopes of a token; each is there once. */
export const areScopes = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.length <= mostScopes &&
  value.every(isScope) &&
  new Set(value).size === value.length &&
  value.join(' ').length <= longestScopes

/** The subject of a service account (RFC 9068 section 5 wants it apart from those of users). */
export const clientSubject = (clientId: string) => clientPrefix + clientId

/** The id of the service account that a subject is; undefined if it is a user. */
export const clientIdOf = (subject: string): string | undefined =>
  subject.startsWith(clientPrefix) ? subject.slice(clientPrefix.length) : undefined

/** An authentication context class of any issuer. */
const context = /^[\x21-\x7e]{1,64}$/

/** A method of authentication, and how many of them one caller has at most. */
const method = /^[\x21-\x7e]{1,32}$/
const mostMethods = 16

/** A time later than this, in seconds since 1970, is one in milliseconds, or none: the year 5138. */
const latest = 1e11

export const isContext = (value: unknown): value is string => typeof value === 'string' && context.test(value)

/** Whether a value can be a time in a JWT (RFC 7519 section 2, NumericDate), which may have a fraction. */
export const isNumericDate = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value < latest

/** The same in whole seconds, as a header has it. */
export const isTime = (value: unknown): value is number => isNumericDate(value) && Number.isInteger(value)

export const areMethods = (value: unknown): value is string[] =>
  Array.isArray(value) &&
  value.length <= mostMethods &&
  value.every((item) => typeof item === 'string' && method.test(item))

export const isId = (value: unknown): value is string => typeof value === 'string' && id.test(value)

/** Whether a value can be who acts for somebody, with no more than `mostActors` one inside the other. */
export function isActor(value: unknown, most = mostActors): value is Actor {
  if (typeof value !== 'object' || value === null || most === 0) return false
  const { sub, sid, grant, act } = value as Record<string, unknown>
  return (
    isId(sub) &&
    (sid === undefined || isId(sid)) &&
    (grant === undefined || isId(grant)) &&
    (act === undefined || isActor(act, most - 1))
  )
}

/** Every actor of a chain, the outermost first. */
export function actorsOf(act: Actor | undefined): Actor[] {
  return act ? [act, ...actorsOf(act.act)] : []
}

/** An actor with nothing but what an actor has: other claims in it are somebody else's. */
function toActor({ sub, sid, grant, act }: Actor): Actor {
  return {
    sub,
    ...(sid !== undefined && { sid }),
    ...(grant !== undefined && { grant }),
    ...(act && { act: toActor(act) }),
  }
}

/**
 * Checks untrusted values (a token's claims, or headers) as an identity.
 *
 * @returns undefined unless every part is there and well-formed, and the parts fit together: a user has an address and
 *   a role, a service account has its id and scopes, and who one acts for has scopes; `acr`, `authTime` and `amr` may be
 *   absent. Whom another issuer vouches for has scopes, and may have neither address, role nor session. It does not check
 *   who vouches for the values.
 */
export function identityFrom(values: {
  caller?: unknown
  issuer?: unknown
  userId: unknown
  clientId?: unknown
  email?: unknown
  role?: unknown
  roles: unknown
  sessionId: unknown
  scopes?: unknown
  act?: unknown
  acr?: unknown
  authTime?: unknown
  amr?: unknown
}): Identity | undefined {
  const { caller = 'user', issuer, userId, clientId, email, role, roles, scopes, act, acr, authTime, amr } = values
  const isForeign = issuer !== undefined
  if (isForeign && !isId(issuer)) return undefined
  const sessionId = isForeign ? (values.sessionId ?? '') : values.sessionId
  if (!isId(userId) || !(isId(sessionId) || (isForeign && sessionId === ''))) return undefined
  const mayHaveNoRole = isForeign || caller === 'client'
  if (!(areRoles(roles) || (mayHaveNoRole && isEmptyList(roles))) || role !== roles[0]) return undefined
  if (caller === 'user') {
    if (clientIdOf(userId) !== undefined || clientId !== undefined) return undefined
    if (!isEmail(email) && !(isForeign && email === undefined)) return undefined
  } else {
    if (caller !== 'client' || !isId(clientId) || userId !== clientSubject(clientId)) return undefined
    if (email !== undefined) return undefined
  }
  if (act !== undefined && !isActor(act)) return undefined
  // Without scopes a user is not limited by any, so that whoever must be says which, be it none: a service account does,
  // also where it acts for somebody, and another issuer always.
  const isLimited = isForeign || caller === 'client' || (act !== undefined && clientIdOf(act.sub) !== undefined)
  if (isLimited ? !areScopes(scopes) : scopes !== undefined && !(areScopes(scopes) && scopes.length > 0))
    return undefined
  if (acr !== undefined && !isContext(acr)) return undefined
  if (authTime !== undefined && !isTime(authTime)) return undefined
  if (amr !== undefined && !areMethods(amr)) return undefined
  return {
    caller,
    ...(isForeign && { issuer: issuer as string }),
    userId,
    ...(clientId !== undefined && { clientId: clientId as string }),
    ...(email !== undefined && { email: email as string }),
    ...(roles[0] !== undefined && { role: roles[0] }),
    roles,
    sessionId: sessionId as string,
    ...(scopes !== undefined && { scopes: scopes as string[] }),
    ...(act !== undefined && { act: toActor(act) }),
    ...(acr !== undefined && { acr }),
    ...(authTime !== undefined && { authTime }),
    ...(amr !== undefined && { amr }),
  }
}

const isEmptyList = (value: unknown): value is string[] => Array.isArray(value) && value.length === 0
