import type { Database, Prisma } from '@sallyport/database'
import { countActiveAdmins, isActiveAdmin, lockAdmins } from '../admin/last-admin.ts'
import { endSessionsOf } from '../sessions/end.ts'
import { lockUser } from './lock-user.ts'

interface DeletionMail {
  user: string
  to: string
  name: string
  locale: string | null
  deleteAfter: string
}

/**
 * Ends every session of a user, and has the account erased when its grace is over. Signing in before undoes it.
 *
 * @param grace in seconds
 * @param tell queues the mail that says so
 * @param askedBy the admin who asks for it, if the user does not: the user is disabled meanwhile, so that enabling them
 *   undoes it, and signing in does not
 * @returns when it is to be erased; nothing is changed if nobody would be left to administer users
 */
export async function requestDeletion(
  database: Database,
  id: string,
  grace: number,
  tell: (transaction: Prisma.TransactionClient, mail: DeletionMail) => Promise<void>,
  askedBy: string | null = null,
): Promise<Date | 'last_admin' | undefined> {
  return database.$transaction(async (transaction) => {
    await lockAdmins(transaction)
    await lockUser(transaction, id)
    const user = await transaction.user.findUnique({ where: { id } })
    if (!user) return undefined
    if (isActiveAdmin(user) && (await countActiveAdmins(transaction)) === 1) return 'last_admin'
    // Before the row says that the user is disabled, or a trigger would end them with that as the reason.
    await endSessionsOf(transaction, id, 'account_deleted')
    // Who asks for what was asked for already changes neither its time nor what undoes it.
    const deleteAfter = user.deleteAfter ?? new Date(Date.now() + grace * 1000)
    const deleteAskedBy = user.deleteAfter ? user.deleteAskedBy : askedBy
    const disabledAt = user.disabledAt ?? (askedBy === null ? null : new Date())
    await transaction.user.update({ where: { id }, data: { deleteAfter, deleteAskedBy, disabledAt } })
    const { email: to, name, locale } = user
    await tell(transaction, { user: id, to, name, locale, deleteAfter: deleteAfter.toISOString() })
    return deleteAfter
  })
}

/**
 * Erases the accounts whose time has come: with what belongs to them, but for the security events, which keep the id alone
 * (docs/privacy.md). The database does it, and notifies the other services in the same commit.
 *
 * @returns how many
 */
export async function eraseDeleted(database: Database, most: number): Promise<number> {
  const due = await database.user.findMany({
    where: { deleteAfter: { lte: new Date() } },
    select: { id: true },
    take: most,
  })
  let erased = 0
  for (const { id } of due) {
    const [result] = await database.$queryRaw<{ erased: boolean }[]>`SELECT auth.erase_user(${id}::uuid) AS erased`
    if (result?.erased) erased += 1
  }
  return erased
}
