import type { Prisma } from '@sallyport/database'

/**
 * Locks a user's row to the end of the transaction. A login takes the same row, shared: it comes wholly before what
 * follows, or wholly after.
 */
export async function lockUser(transaction: Prisma.TransactionClient, id: string): Promise<void> {
  await transaction.$executeRaw`SELECT FROM auth.users WHERE id = ${id}::uuid FOR UPDATE`
}
