import { scopesFrom } from '@sallyport/identity'
import type { Form } from './form.ts'
import { OAuthError } from './oauth-error.ts'

/**
 * The scopes that a request asks for (RFC 6749 section 3.3), or all that there are if it names none.
 *
 * @throws invalid_scope for one that is not among them
 */
export function narrowScopes(form: Form, allowed: string[]): string[] {
  const asked = form.get('scope')
  if (asked === undefined) return allowed
  const scopes = scopesFrom(asked) as string[]
  const other = scopes.find((scope) => !allowed.includes(scope))
  if (other !== undefined) throw new OAuthError('invalid_scope', 'the client may not have one of these scopes')
  return [...new Set(scopes)]
}

/**
 * What a request wants the token to be for: `resource` (RFC 8707) and `audience` (RFC 8693), which say the same here.
 *
 * @throws invalid_target for what is not among those allowed
 */
export function targetsOf(form: Form, allowed: string[]): string[] {
  const asked = [...new Set([...form.all('resource'), ...form.all('audience')])]
  if (asked.some((target) => !allowed.includes(target)))
    throw new OAuthError('invalid_target', 'the client may get no token for this audience')
  return asked
}
