import type { Database, User } from '@sallyport/database'
import { lockUser } from '../accounts/lock-user.ts'
import type { SecurityEvent } from '../events/security-events.ts'
import { endSessionsOf } from '../sessions/end.ts'
import { countActiveAdmins, isActiveAdmin, lockAdmins } from './last-admin.ts'

/** A change to a user; what is not given stays. */
export interface UserChange {
  name?: string | undefined
  /** A language tag, or null for none. */
  locale?: string | null | undefined
  roles?: string[] | undefined
  disabled?: boolean | undefined
}

export type ChangeOutcome =
  | { kind: 'changed'; before: User; after: User }
  | { kind: 'unknown' }
  /** Nothing was changed: nobody would be left to administer users. */
  | { kind: 'last_admin' }

/**
 * Changes a user, or disables or enables them. Triggers notify every gateway in the same commit: of new roles, so that
 * tokens that say others are stale at once, and of every session that a disabled user no longer has. A user who is
 * enabled is no longer to be deleted, if it was an admin who asked for that.
 */
export async function changeUser(database: Database, id: string, change: UserChange): Promise<ChangeOutcome> {
  return database.$transaction(async (transaction): Promise<ChangeOutcome> => {
    await lockAdmins(transaction)
    await lockUser(transaction, id)
    const before = await transaction.user.findUnique({ where: { id } })
    if (!before) return { kind: 'unknown' }
    const roles = change.roles ?? before.roles
    const disabled = change.disabled ?? before.disabledAt !== null
    if (isActiveAdmin(before) && (disabled || !roles.includes('admin')) && (await countActiveAdmins(transaction)) === 1)
      return { kind: 'last_admin' }

    // Before the row says so, or a trigger would end them, and nobody count them.
    if (disabled) await endSessionsOf(transaction, id, 'disabled')
    const disabledAt = disabled ? (before.disabledAt ?? new Date()) : null
    const name = change.name?.trim() ?? before.name
    const { locale = before.locale } = change
    const isRestored = change.disabled === false && before.deleteAskedBy !== null
    const restored = isRestored ? { deleteAfter: null, deleteAskedBy: null } : {}
    const data = { name, locale, roles, disabledAt, ...restored }
    const after = await transaction.user.update({ where: { id }, data })
    return { kind: 'changed', before, after }
  })
}

/** What a change is to those who read the security events. */
export function eventsOf(before: User, after: User): SecurityEvent['event'][] {
  const [wasDisabled, isDisabled] = [before.disabledAt !== null, after.disabledAt !== null]
  const happened: Partial<Record<SecurityEvent['event'], boolean>> = {
    user_renamed: before.name !== after.name,
    locale_changed: before.locale !== after.locale,
    roles_changed: before.roles.join() !== after.roles.join(),
    user_disabled: !wasDisabled && isDisabled,
    user_enabled: wasDisabled && !isDisabled,
    deletion_undone: before.deleteAfter !== null && after.deleteAfter === null,
  }
  return (Object.keys(happened) as SecurityEvent['event'][]).filter((event) => happened[event])
}
