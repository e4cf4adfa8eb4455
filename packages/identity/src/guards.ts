import type { CallerKind, Identity } from '@sallyport/verify'
import { byCaller, byRole, byScope, type Decision, withUuids } from './decisions.ts'
import type { Headers, Trust } from './trust.ts'

/** The guards of one framework. Each leaves who is calling as `identity` where its framework keeps such things. */
export interface Guards<Guard> {
  /**
   * Lets pass people who are signed in. Never a service account: those are for `requireCaller`.
   *
   * @throws as requireCaller
   */
  requireIdentity: (trust: Trust) => Guard

  /**
   * Lets pass callers of these kinds: `user` for people, whether they call themselves or somebody acts for them, `client`
   * for service accounts as themselves. Guards after it go by whom it let pass.
   *
   * @throws 401 TOKEN_MISSING without an identity, 401 TOKEN_INVALID with an invalid assertion, 403 CALLER_REFUSED for
   *   another kind
   */
  requireCaller: (kinds: readonly CallerKind[], trust: Trust) => Guard

  /**
   * Lets pass callers who have one of the roles: people, or after `requireCaller` those whom that lets pass.
   *
   * @throws as requireCaller, and 403 ROLE_REQUIRED for a known caller without such a role
   */
  requireRole: (roles: readonly string[], trust: Trust) => Guard

  /**
   * Lets pass callers whose token has every one of the scopes, and people whose token is their own: no scope limits that.
   * As with `requireRole`, after `requireCaller` they are those whom that lets pass.
   *
   * @throws as requireCaller, and 403 SCOPE_REQUIRED with the challenge of RFC 6750 section 3.1
   */
  requireScope: (scopes: readonly string[], trust: Trust) => Guard

  /**
   * The same guard for a service that keeps ids in columns for UUIDs, as those of the auth service are: with tokens of
   * another issuer, or headers that nobody vouches for, they may be anything. Of a service account, if the guard lets one
   * pass, it is the `clientId` that is a UUID.
   *
   * @throws as the guard, and 401 TOKEN_INVALID for other ids
   */
  requireUuids: (guard: Guard) => Guard
}

/** Whom a guard let pass, by the request: what others have put on it under the name of `identity` is not believed. */
const found = new WeakMap<object, Identity>()

/**
 * Makes the guards of a framework.
 *
 * @param toGuard makes a guard of a decision, which it gives the framework's request and the headers of that, and which
 *   throws a Refusal
 */
export function createGuards<Guard extends object>(
  toGuard: (decide: (request: object, headers: Headers) => Identity) => Guard,
): Guards<Guard> {
  const decisions = new WeakMap<Guard, Decision>()
  const by = (decision: Decision): Guard => {
    const guard = toGuard((request, headers) => {
      const identity = decision(headers, found.get(request))
      found.set(request, identity)
      return identity
    })
    decisions.set(guard, decision)
    return guard
  }
  return {
    requireIdentity: (trust) => by(byCaller(['user'], trust)),
    requireCaller: (kinds, trust) => by(byCaller(kinds, trust)),
    requireRole: (roles, trust) => by(byRole(roles, trust)),
    requireScope: (scopes, trust) => by(byScope(scopes, trust)),
    requireUuids(guard) {
      const decision = decisions.get(guard)
      if (!decision) throw new TypeError('requireUuids takes a guard that was made by a function beside it')
      return by(withUuids(decision))
    },
  }
}

/** Stops a guard that another framework calls than its own, before a request passes it or waits for it. */
export function expectFramework(entry: string, isIts: boolean): void {
  if (isIts) return
  throw new TypeError(
    `A guard of @sallyport/identity/${entry} was called by another framework, which needs its own: ` +
      '@sallyport/identity/express (also for Connect), /fastify, /hono, /nest or /node',
  )
}
