import type { Database, Prisma } from '@sallyport/database'
import { lockUser } from '../accounts/lock-user.ts'
import { endTickets } from '../accounts/tickets.ts'
import { sessionsEnded } from './metrics.ts'

/** Why a session ended. */
export type EndReason =
  | 'logout'
  | 'logout_all'
  | 'password_changed'
  | 'password_reset'
  | 'email_reverted'
  | 'account_deleted'
  | 'factors_reset'
  | 'disabled'
  | 'revoked_by_admin'
  | 'actor_ended'
  | 'impersonation_ended'
  | 'expired'
  | 'reuse'

/**
 * Ends a session of a user for good; a trigger notifies every gateway in the same commit. Ending it twice keeps the first reason.
 *
 * @returns whether it was this call that ended it
 */
export async function endSession(
  database: Database,
  { sessionId, userId }: { sessionId: string; userId: string },
  reason: EndReason,
): Promise<boolean> {
  const ended = await database.$executeRaw`
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ${reason}
    WHERE id = ${sessionId}::uuid AND user_id = ${userId}::uuid AND revoked_at IS NULL`
  sessionsEnded.inc({ reason }, ended)
  return ended === 1
}

/**
 * Ends every session of a user; a trigger notifies every gateway in the same commit.
 *
 * @returns how many it ended
 */
export async function endAllSessions(database: Database, userId: string, reason: EndReason): Promise<number> {
  return database.$transaction(async (transaction) => {
    // A login in progress either opens its session before this, and it is ended, or waits and opens it after.
    await lockUser(transaction, userId)
    return endSessionsOf(transaction, userId, reason)
  })
}

/**
 * Ends the sessions of a user whose row the transaction has locked, and with them what they may have asked for: somebody
 * else's would otherwise go on by a mail that is there already. What brings an address back stays.
 *
 * @param except the one session that goes on
 * @returns how many it ended
 */
export async function endSessionsOf(
  transaction: Prisma.TransactionClient,
  userId: string,
  reason: EndReason,
  except: string | null = null,
): Promise<number> {
  const ended = await transaction.$executeRaw`
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ${reason}
    WHERE user_id = ${userId}::uuid AND revoked_at IS NULL AND expires_at > now()
      AND id IS DISTINCT FROM ${except}::uuid`
  sessionsEnded.inc({ reason }, ended)
  for (const purpose of ['password_reset', 'email_change'] as const) await endTickets(transaction, { userId, purpose })
  return ended
}
