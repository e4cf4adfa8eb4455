import { Problem } from '@sallyport/chassis'
import type { Prisma } from '@sallyport/database'

/** Whether the user has a second factor. Recovery codes are none: they stand in for one that was lost. */
export async function hasFactor(transaction: Prisma.TransactionClient, userId: string): Promise<boolean> {
  const where = { userId }
  return (await transaction.totp.count({ where })) + (await transaction.passkey.count({ where })) > 0
}

/** Takes the recovery codes away with the last factor that they stand in for. */
export async function endRecoveryWithoutFactor(transaction: Prisma.TransactionClient, userId: string): Promise<void> {
  if (!(await hasFactor(transaction, userId))) await transaction.recoveryCode.deleteMany({ where: { userId } })
}

export const factorNotFound = () => new Problem(404, 'FACTOR_NOT_FOUND', 'You have no such factor')
