import type { Prisma } from '@sallyport/database'
import { unknownClient } from './fields.ts'

/**
 * Locks the row of a service account to the end of the transaction: it is not deleted meanwhile, and what is counted of it
 * stays so many.
 *
 * @throws 404 CLIENT_NOT_FOUND
 */
export async function lockClient(transaction: Prisma.TransactionClient, id: string): Promise<void> {
  const [found] = await transaction.$queryRaw<object[]>`
    SELECT id FROM auth.clients WHERE id = ${id}::uuid FOR UPDATE`
  if (!found) throw unknownClient()
}
