import { type Logger, Problem } from '@sallyport/chassis'
import type { Database, Prisma, User } from '@sallyport/database'
import { areRoles, isEmail, mostRoles } from '@sallyport/identity'
import { endSessionsOf } from './sessions.ts'

/** Any number will do, as long as every process that changes who is an admin takes the same lock. */
const adminLock = 5_001_1

/** A change to a user; what is not given stays. */
export interface UserChange {
  roles?: string[] | undefined
  disabled?: boolean | undefined
}

export type ChangeOutcome =
  | { kind: 'changed'; before: User; after: User }
  | { kind: 'unknown' }
  /** Nothing was changed: nobody would be left to administer users. */
  | { kind: 'last_admin' }

/**
 * Changes a user's roles, or disables or enables them. Triggers tell every gateway in the same commit: of the new roles,
 * so that tokens that say others are stale at once, and of every session that a disabled user no longer has.
 */
export async function changeUser(database: Database, id: string, change: UserChange): Promise<ChangeOutcome> {
  return database.$transaction(async (transaction): Promise<ChangeOutcome> => {
    await transaction.$executeRaw`SELECT pg_advisory_xact_lock(${adminLock})`
    const before = await lockUser(transaction, id)
    if (!before) return { kind: 'unknown' }
    const roles = change.roles ?? before.roles
    const disabled = change.disabled ?? before.disabledAt !== null
    if (isActiveAdmin(before) && (disabled || !roles.includes('admin')) && (await countActiveAdmins(transaction)) === 1)
      return { kind: 'last_admin' }

    // Before the row says so, or a trigger would end them, and nobody count them.
    if (disabled) await endSessionsOf(transaction, id, 'disabled')
    const disabledAt = disabled ? (before.disabledAt ?? new Date()) : null
    const after = await transaction.user.update({ where: { id }, data: { roles, disabledAt } })
    return { kind: 'changed', before, after }
  })
}

/**
 * Sets a new password, provided that the stored hash is still the one that the old password was checked against, and
 * ends every other session of the user: whoever knows the old password is signed out.
 *
 * @returns whether it was set
 */
export async function changePassword(
  database: Database,
  { id, from, to, keep }: { id: string; from: string; to: string; keep: string },
): Promise<boolean> {
  return database.$transaction(async (transaction) => {
    const person = await lockUser(transaction, id)
    if (person?.passwordHash !== from) return false
    await transaction.user.update({ where: { id }, data: { passwordHash: to } })
    await endSessionsOf(transaction, id, 'password_changed', keep)
    return true
  })
}

const isActiveAdmin = ({ roles, disabledAt }: User) => roles.includes('admin') && disabledAt === null

function countActiveAdmins(transaction: Prisma.TransactionClient): Promise<number> {
  return transaction.user.count({ where: { roles: { has: 'admin' }, disabledAt: null } })
}

/** A login takes the same row, shared: it comes wholly before what follows, or wholly after. */
export async function lockUser(transaction: Prisma.TransactionClient, id: string): Promise<User | null> {
  await transaction.$executeRaw`SELECT FROM auth.users WHERE id = ${id}::uuid FOR UPDATE`
  return transaction.user.findUnique({ where: { id } })
}

/**
 * Refuses to make tokens of what no gateway would accept in one: an address or roles that came into the database past us.
 * To say so once, to the person and in the log, is better than tokens of which every use is refused. The caller has shown
 * already who it is.
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
