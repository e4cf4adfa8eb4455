import { Problem } from '@sallyport/chassis'
import { holdsScopes, kindNames, scopeChallenge } from '@sallyport/identity'
import type { Caller } from './access-token.ts'
import type { Route } from './route-file.ts'
import { isMet } from './step-up.ts'

/**
 * Applies a route's rule to its caller.
 *
 * @throws 401 TOKEN_MISSING for an unknown caller; for a known one 403 CALLER_REFUSED if the route is not for its kind, also
 *   where a caller may be unknown, 403 ISSUER_REFUSED if it does not take tokens of their issuer, 403 ROLE_REQUIRED without the role, 403 SCOPE_REQUIRED with a token that is limited to
 *   less, and 401 STEP_UP_REQUIRED if they have not proved who they are as the route wants
 */
export function authorize(
  { access, issuers, callers, roles, scopes, stepUp }: Route,
  caller: Caller | undefined,
): void {
  if (!caller) {
    if (access === 'authenticated') throw new Problem(401, 'TOKEN_MISSING', 'Sign in first')
    return
  }
  const { identity, issuer } = caller
  if (issuers && !issuers.includes(issuer.name))
    throw new Problem(403, 'ISSUER_REFUSED', 'This is not for users of your identity provider')
  if (!callers.includes(identity.caller))
    throw new Problem(403, 'CALLER_REFUSED', `This is not for ${kindNames[identity.caller]}`)
  if (roles && !roles.some((role) => identity.roles.includes(role)))
    throw new Problem(403, 'ROLE_REQUIRED', `This needs the role ${roles.join(' or ')}`)
  if (scopes && !holdsScopes(identity, scopes))
    throw new Problem(403, 'SCOPE_REQUIRED', `This needs the scope ${scopes.join(' ')}`, {
      headers: scopeChallenge(scopes),
    })
  if (stepUp && !isMet(stepUp, identity)) throw stepUp.required
}
