import { type Logger, Problem } from '@sallyport/chassis'
import type { User } from '@sallyport/database'
import { areRoles, isEmail, mostRoles } from '@sallyport/identity'

/**
 * Refuses to make tokens of what no gateway would accept in one: an address or roles that came into the database past us.
 * Saying so once, to the user and in the log, is better than tokens of which every use is rejected. The caller has
 * proved already who it is.
 *
 * @throws 403 ACCOUNT_INVALID
 */
export function requireValid(
  { id, email, roles }: Pick<User, 'id' | 'email' | 'roles'>,
  log: Pick<Logger, 'error'>,
): void {
  if (isEmail(email) && areRoles(roles)) return
  const why = isEmail(email)
    ? `of ${roles.length} roles, ${mostRoles} at most can be in a token`
    : 'the e-mail address is none'
  log.error({ event: 'account_invalid', user: id, why }, 'correct the row in auth.users')
  throw new Problem(403, 'ACCOUNT_INVALID', 'The account cannot be used as it is', {
    detail: 'Its e-mail address or its roles are not valid. An administrator has to correct them.',
  })
}
