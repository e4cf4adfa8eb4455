import { Problem } from '@sallyport/chassis'
import type { Caller } from './access-token.ts'
import type { Route } from './route-file.ts'
import { isMet } from './step-up.ts'

/**
 * Applies a route's rule to its caller.
 *
 * @throws 401 TOKEN_MISSING for an unknown caller, 403 ROLE_REQUIRED for a known one without the role, 401
 *   STEP_UP_REQUIRED for one who has it, and has not proved who they are as the route wants
 */
export function authorize({ access, roles, stepUp }: Route, caller: Caller | undefined): void {
  if (access !== 'authenticated') return
  if (!caller) throw new Problem(401, 'TOKEN_MISSING', 'Sign in first')
  if (roles && !roles.some((role) => caller.identity.roles.includes(role)))
    throw new Problem(403, 'ROLE_REQUIRED', `This needs the role ${roles.join(' or ')}`)
  if (stepUp && !isMet(stepUp, caller.identity)) throw stepUp.required
}
