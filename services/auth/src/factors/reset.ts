import type { Database } from '@sallyport/database'
import { lockUser } from '../accounts/lock-user.ts'
import type { Notify } from '../mail/queue.ts'
import { endSessionsOf } from '../sessions/end.ts'
import { hasFactor } from './owned.ts'

/**
 * Takes every factor of a user away, for who has lost them: the password alone signs in again. What was proved with them
 * ends, and so does every session.
 *
 * @param notify queues the mail that says so
 * @returns what there was not
 */
export async function resetFactors(
  database: Database,
  userId: string,
  notify: Notify,
): Promise<'no user' | 'no factor' | undefined> {
  return database.$transaction(async (transaction) => {
    await lockUser(transaction, userId)
    const user = await transaction.user.findUnique({ where: { id: userId } })
    if (!user) return 'no user'
    if (!(await hasFactor(transaction, userId))) return 'no factor'
    const where = { userId }
    await transaction.totp.deleteMany({ where })
    await transaction.passkey.deleteMany({ where })
    await transaction.recoveryCode.deleteMany({ where })
    await transaction.challenge.deleteMany({ where })
    await endSessionsOf(transaction, userId, 'factors_reset')
    const { email: to, name, locale } = user
    await notify(transaction, { template: 'factors_reset', user: userId, to, name, locale })
    return undefined
  })
}
