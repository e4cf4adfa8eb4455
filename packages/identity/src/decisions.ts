import { type CallerKind, clientIdOf, type Identity, isUuid } from '@sallyport/verify'
import { Refusal } from './refusal.ts'
import { type Headers, identityReader, type Trust } from './trust.ts'

/**
 * What a guard decides, whatever the framework: who is calling, as far as they may go on.
 *
 * @param known whom a guard before this one let pass
 * @throws Refusal
 */
export type Decision = (headers: Headers, known: Identity | undefined) => Identity

/** Kinds of callers, as a refusal names them. */
export const kindNames = { user: 'people', client: 'service accounts' } as const satisfies Record<CallerKind, string>

export function byCaller(kinds: readonly CallerKind[], trust: Trust): Decision {
  expectList(kinds)
  const read = identityReader(trust)
  return (headers) => {
    const identity = read(headers)
    if (!identity) throw new Refusal(401, 'TOKEN_MISSING', 'Sign in first')
    if (!kinds.includes(identity.caller))
      throw new Refusal(403, 'CALLER_REFUSED', `This is not for ${kindNames[identity.caller]}`)
    return identity
  }
}

export function byRole(roles: readonly string[], trust: Trust): Decision {
  expectList(roles)
  const people = byCaller(['user'], trust)
  return (headers, known) => {
    const identity = known ?? people(headers, known)
    if (!identity.roles.some((role) => roles.includes(role)))
      throw new Refusal(403, 'ROLE_REQUIRED', `This needs the role ${roles.join(' or ')}`)
    return identity
  }
}

export function byScope(scopes: readonly string[], trust: Trust): Decision {
  expectList(scopes)
  const people = byCaller(['user'], trust)
  return (headers, known) => {
    const identity = known ?? people(headers, known)
    if (!holdsScopes(identity, scopes))
      throw new Refusal(403, 'SCOPE_REQUIRED', `This needs the scope ${scopes.join(' ')}`, scopeChallenge(scopes))
    return identity
  }
}

export function withUuids(decide: Decision): Decision {
  return (headers, known) => {
    const identity = decide(headers, known)
    const { userId, sessionId } = identity
    if (!isUuid(clientIdOf(userId) ?? userId) || !isUuid(sessionId))
      throw new Refusal(401, 'TOKEN_INVALID', 'The identity is of another kind than those known here')
    return identity
  }
}

/** One text in place of a list would let pass whoever has a part of it, and no scope at all everybody. */
function expectList(names: readonly string[]): void {
  if (!Array.isArray(names)) throw new TypeError(`A guard takes a list, such as ['${names}'], and then its trust`)
  if (names.length === 0 || !names.every((name) => typeof name === 'string' && name !== ''))
    throw new TypeError('A guard takes a list of words, and at least one')
}

/** Whether a caller's token is limited to less than these scopes. */
export const holdsScopes = ({ scopes: held }: Identity, scopes: readonly string[]): boolean =>
  held === undefined || scopes.every((scope) => held.includes(scope))

/** RFC 6750 section 3.1. */
export const scopeChallenge = (scopes: readonly string[]) => ({
  'www-authenticate': `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"`,
})
