import type { IncomingHttpHeaders } from 'node:http'
import type {} from 'fastify'
import { createAssertionVerifier, type VerifyAssertion } from './assertion.ts'
import { identityFromHeaders, identityHeaders } from './headers.ts'
import { type Identity, isUuid } from './identity.ts'

/**
 * What a service believes. `verify: false`: the identity headers as they are, which is safe only where nothing but
 * the gateway can reach the service. `verify: true`: the signed assertion, checked with the gateway's public keys.
 */
export type Trust = { verify: false } | { verify: true; publicKeys: string[]; audience: string }

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is calling; set by a guard, so present wherever one ran. */
    identity: Identity
  }
}

/** A Fastify preHandler (or any function of a request) that throws unless the caller may go on. */
export type Guard = (request: { headers: IncomingHttpHeaders; identity?: Identity }) => Promise<void>

/** Thrown by guards; Fastify responds with its `statusCode`. */
class IdentityError extends Error {
  override name = 'IdentityError'
  readonly statusCode: number
  readonly code: string

  constructor(statusCode: number, code: string, message: string) {
    super(message)
    this.statusCode = statusCode
    this.code = code
  }
}

/**
 * Lets pass callers who are signed in, and leaves who that is in `request.identity`.
 *
 * @throws 401 TOKEN_MISSING without an identity, 401 TOKEN_INVALID with an invalid assertion
 */
export function requireIdentity(trust: Trust = { verify: false }): Guard {
  const read = trust.verify
    ? fromAssertion(createAssertionVerifier(trust.publicKeys, trust.audience))
    : identityFromHeaders
  return async (request) => {
    const identity = read(request.headers)
    if (!identity) throw new IdentityError(401, 'TOKEN_MISSING', 'Sign in first')
    request.identity = identity
  }
}

/**
 * Lets pass callers who have one of the roles.
 *
 * @throws as requireIdentity, and 403 ROLE_REQUIRED for a known caller without such a role
 */
export function requireRole(roles: string[], trust: Trust = { verify: false }): Guard {
  const identify = requireIdentity(trust)
  return async (request) => {
    await identify(request)
    if (!request.identity?.roles.some((role) => roles.includes(role)))
      throw new IdentityError(403, 'ROLE_REQUIRED', `This needs the role ${roles.join(' or ')}`)
  }
}

/**
 * The same guard for a service that keeps ids in columns for UUIDs, as those of the auth service are: with tokens of
 * another issuer, or headers that nobody vouches for, they may be anything.
 *
 * @throws as the guard, and 401 TOKEN_INVALID for other ids
 */
export function requireUuids(guard: Guard): Guard {
  return async (request) => {
    await guard(request)
    const { userId, sessionId } = request.identity as Identity
    if (!isUuid(userId) || !isUuid(sessionId))
      throw new IdentityError(401, 'TOKEN_INVALID', 'The identity is of another kind than those known here')
  }
}

function fromAssertion(verify: VerifyAssertion) {
  return (headers: IncomingHttpHeaders): Identity | undefined => {
    const token = headers[identityHeaders.assertion]
    if (token === undefined) return undefined
    const identity = typeof token === 'string' ? verify(token) : undefined
    if (!identity) throw new IdentityError(401, 'TOKEN_INVALID', 'The identity assertion is invalid')
    return identity
  }
}
