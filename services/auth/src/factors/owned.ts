import { Problem } from '@sallyport/chassis'
import type { Prisma } from '@sallyport/database'

/** Whether the user has a second factor. Recovery codes are none: they stand in for one that was lost. */
export async function hasFactor(transaction: Prisma.TransactionClient, userId: string): Promise<boolean> {
  const where = { userId }
  return (await transaction.totp.count({ where })) + (await transaction.passkey.count({ where })) > 0
}

/**
 * Ends with the last factor what depends on there being one: the recovery codes that stand in for it, and the level of
 * sessions, which a password, all that is left, could never confirm.
 */
export async function endWithLastFactor(transaction: Prisma.TransactionClient, userId: string): Promise<void> {
  if (await hasFactor(transaction, userId)) return
  await transaction.recoveryCode.deleteMany({ where: { userId } })
  await transaction.$executeRaw`
    UPDATE auth.sessions SET amr = array_remove(amr, 'mfa') WHERE user_id = ${userId}::uuid AND revoked_at IS NULL`
}

export const factorNotFound = () => new Problem(404, 'FACTOR_NOT_FOUND', 'You have no such factor')
