import { Problem } from '@sallyport/chassis'
import type { Prisma } from '@sallyport/database'

/**
 * In SQL, whether a user has a second factor. Recovery codes are none: they stand in for one that was lost.
 *
 * @param user an expression for the user's id, of ours
 */
export const hasFactorOf = (user: string) =>
  `(EXISTS (SELECT FROM auth.totp t WHERE t.user_id = ${user}) OR EXISTS (SELECT FROM auth.passkeys p WHERE p.user_id = ${user}))`

export async function hasFactor(transaction: Prisma.TransactionClient, userId: string): Promise<boolean> {
  const query = `SELECT ${hasFactorOf('$1::uuid')} AS "hasFactor"`
  const [found] = await transaction.$queryRawUnsafe<{ hasFactor: boolean }[]>(query, userId)
  return (found as { hasFactor: boolean }).hasFactor
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
