import type { Prisma, User } from '@sallyport/database'
import { spellingsOf } from '@sallyport/identity'
import { issueTicket } from '../accounts/tickets.ts'
import { addMail } from '../mail/queue.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'

/** How long the link to choose a first password works, in seconds. */
const firstPasswordWithin = 604_800

/**
 * Queues a mail with which a user chooses a password: the first one, if there is none yet. Nobody else ever sets or sees
 * it (ASVS V6.4.6), and what the user has now goes on until then.
 */
export async function mailPassword(
  transaction: Prisma.TransactionClient,
  keys: DerivedKeys,
  user: User,
): Promise<void> {
  const { id: userId, email, name, locale } = user
  const isFirst = user.passwordHash === noPassword
  const { secrets } = await issueTicket(transaction, keys, {
    purpose: 'password_reset',
    // As somebody who asks for it by the address has it, so that one takes the place of the other.
    subject: spellingsOf(email)[0],
    email,
    userId,
    locale,
    ...(isFirst && { seconds: firstPasswordWithin }),
  })
  const template = isFirst ? 'account_created' : 'password_reset_by_admin'
  await addMail(transaction, { template, user: userId, to: email, name, locale, secrets })
}
