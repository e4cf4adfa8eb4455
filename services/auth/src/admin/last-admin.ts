import type { Prisma, User } from '@sallyport/database'

/** Any number will do, as long as every process that changes who is an admin takes the same lock. */
const adminLock = 5_001_1

/** Keeps other changes of who is an admin waiting to the end of the transaction. */
export async function lockAdmins(transaction: Prisma.TransactionClient): Promise<void> {
  await transaction.$executeRaw`SELECT pg_advisory_xact_lock(${adminLock})`
}

export const isActiveAdmin = ({ roles, disabledAt, deleteAfter }: User) =>
  roles.includes('admin') && disabledAt === null && deleteAfter === null

export function countActiveAdmins(transaction: Prisma.TransactionClient): Promise<number> {
  return transaction.user.count({ where: { roles: { has: 'admin' }, disabledAt: null, deleteAfter: null } })
}
