import type { Prisma, User } from '@sallyport/database'
import { spellingsOf } from '@sallyport/identity'

/** The account of an address, under whichever spelling it is kept: that of today before those of earlier versions. */
export async function findByAddress(transaction: Prisma.TransactionClient, address: string): Promise<User | undefined> {
  const spellings = spellingsOf(address)
  const users = await transaction.user.findMany({ where: { email: { in: spellings } } })
  return users.sort((a, b) => spellings.indexOf(a.email) - spellings.indexOf(b.email))[0]
}
