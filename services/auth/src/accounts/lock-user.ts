import type { Prisma } from '@sallyport/database'

/** Of the hash of a name, so that it is none of the numbers that are locked elsewhere. */
const seed = 5001

/** Keeps others that lock the same name waiting to the end of the transaction: for what has no row yet. */
export async function lockName(transaction: Prisma.TransactionClient, name: string): Promise<void> {
  await transaction.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${name}, ${seed}))`
}

/**
 * Locks a user's row to the end of the transaction. A login takes the same row, shared: it comes wholly before what
 * follows, or wholly after.
 */
export async function lockUser(transaction: Prisma.TransactionClient, id: string): Promise<void> {
  await transaction.$executeRaw`SELECT FROM auth.users WHERE id = ${id}::uuid FOR UPDATE`
}
