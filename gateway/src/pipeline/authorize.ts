import { Problem } from '@sallyport/chassis'
import type { Caller } from './access-token.ts'
import type { Route } from './route-file.ts'

/**
 * Applies a route's rule to its caller.
 *
 * @throws 401 TOKEN_MISSING for an unknown caller, 403 ROLE_REQUIRED for a known one without the role
 */
export function authorize({ access, roles }: Route, caller: Caller | undefined): void {
  if (access !== 'authenticated') return
  if (!caller) throw new Problem(401, 'TOKEN_MISSING', 'Sign in first')
  if (roles && !roles.some((role) => caller.identity.roles.includes(role)))
    throw new Problem(403, 'ROLE_REQUIRED', `This needs the role ${roles.join(' or ')}`)
}
