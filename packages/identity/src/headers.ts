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
  requestId: 'x-request-id',
  assertion: 'x-identity-token',
} as const

/** Who is calling. `role` is `roles[0]`; `roles` is never empty. */
export interface Identity {
  userId: string
  email: string
  role: string
  roles: string[]
  sessionId: string
}

const names = new Set<string>(Object.values(identityHeaders))

/**
 * A header name as the most careless server reads it: without case, and with every character that is no letter or
 * digit the same. CGI and what descends from it (RFC 3875 section 4.1.18) make one variable of `X-User-Id` and
 * `x_user_id`, and some of `x.user~id` too.
 */
export function carelessly(name: string): string {
  const lower = name.toLowerCase()
  return /[^a-z0-9-]/.test(lower) ? lower.replace(/[^a-z0-9]/g, '-') : lower
}

/** Whether a header name is an identity header, or would read as one to some server. */
export function isIdentityHeader(name: string): boolean {
  return names.has(carelessly(name))
}

/** Whether a value can be a role: lower-case, so that it survives a header and a comma-separated list unchanged. */
export function isRole(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z][a-z0-9_-]{0,31}$/.test(value)
}

/** What may stand in a header value as it is: no control character, no byte that a server might read differently. */
const printable = /^[\x21-\x7e]{1,320}$/

/** The identity headers for a caller, without the assertion and the request id. */
export function headersOf(identity: Identity): Record<string, string> {
  return {
    [identityHeaders.userId]: identity.userId,
    [identityHeaders.email]: identity.email,
    [identityHeaders.role]: identity.role,
    [identityHeaders.roles]: identity.roles.join(','),
    [identityHeaders.sessionId]: identity.sessionId,
  }
}

/**
 * Checks untrusted values (a token's claims, or headers) as an identity.
 *
 * @returns undefined unless every part is there and well-formed. It does not check who vouches for the values.
 */
export function identityFrom(values: {
  userId: unknown
  email: unknown
  role: unknown
  roles: unknown
  sessionId: unknown
}): Identity | undefined {
  const { userId, email, role, roles, sessionId } = values
  if (![userId, email, sessionId].every((value) => typeof value === 'string' && printable.test(value))) return undefined
  if (!Array.isArray(roles) || roles.length === 0 || roles.length > 32 || !roles.every(isRole)) return undefined
  if (role !== roles[0]) return undefined
  return { userId, email, role, roles, sessionId } as Identity
}
