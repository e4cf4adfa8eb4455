import type { Database } from '@sallyport/database'
import { lockUser } from '../accounts/lock-user.ts'
import type { Circumstances } from '../mail/mails.ts'
import { addMail } from '../mail/queue.ts'

export const manyFailuresTask = 'many_failures'

interface ManyFailures extends Circumstances {
  /** Null if there is no such account. */
  user: string | null
}

/** The work that many wrong passwords in a row queue: the user is notified, once a day at most. */
export async function tellOfFailures(
  { user: id, ...circumstances }: ManyFailures,
  { database }: { database: Database },
): Promise<void> {
  if (id === null) return
  await database.$transaction(async (transaction) => {
    await lockUser(transaction, id)
    const user = await transaction.user.findUnique({ where: { id, disabledAt: null } })
    if (!user) return
    const noted = await transaction.$executeRaw`
      INSERT INTO auth.security_events (event, user_id, ip)
      SELECT 'many_failures', ${id}::uuid, ${circumstances.ip} WHERE NOT EXISTS (
        SELECT FROM auth.security_events
        WHERE user_id = ${id}::uuid AND event = 'many_failures' AND at > now() - interval '1 day')`
    if (noted === 0) return
    const { email: to, name, locale } = user
    await addMail(transaction, { template: 'many_failures', to, name, locale, ...circumstances })
  })
}
