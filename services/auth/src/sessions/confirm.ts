import type { Database } from '@sallyport/database'
import { lockUser } from '../accounts/lock-user.ts'
import { hasFactorOf } from '../factors/owned.ts'
import { type LiveSession, type Method, type SessionRow, sessionColumns, toLiveSession } from './session.ts'

const confirm = `
  UPDATE auth.sessions s SET
    authenticated_at = now(),
    amr = ARRAY(SELECT DISTINCT method FROM unnest(s.amr || $3::text[]) method ORDER BY method)
  FROM auth.users u
  WHERE s.id = $1::uuid AND s.user_id = $2::uuid AND u.id = s.user_id AND u.disabled_at IS NULL
    AND s.revoked_at IS NULL AND s.expires_at > now()
    AND ($4::text IS NULL OR (u.password_hash = $4 AND NOT 'mfa' = ANY(s.amr)))
    AND (NOT 'mfa' = ANY($3::text[]) OR ${hasFactorOf('u.id')})
  RETURNING s.generation, ${sessionColumns}`

/**
 * Notes that the user of a session has just proved once more who they are, and how. A session never comes to say less than
 * before: where it says that there were two factors, a password alone confirms nothing. Nor does it come to say more than
 * its user has: their row is locked first, so that the last factor is not being taken away meanwhile.
 *
 * @param passwordHash that the password was checked against, if it was one
 * @returns undefined if the session has ended meanwhile, the password has changed, the last factor is gone, or it is not
 *   enough
 */
export async function confirmSession(
  database: Database,
  { sessionId: id, userId }: { sessionId: string; userId: string },
  amr: Method[],
  passwordHash: string | null = null,
): Promise<LiveSession | undefined> {
  return database.$transaction(async (transaction) => {
    await lockUser(transaction, userId)
    const [row] = await transaction.$queryRawUnsafe<(SessionRow & { generation: number })[]>(
      confirm,
      ...[id, userId, amr, passwordHash],
    )
    return row && toLiveSession({ id, userId, generation: row.generation }, row)
  })
}
