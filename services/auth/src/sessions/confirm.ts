import type { Database, Statement } from '@sallyport/database'
import { type LiveSession, type Method, type SessionRow, sessionColumns, toLiveSession } from './session.ts'

const confirm: Statement = {
  name: 'confirm_session',
  text: `
    UPDATE auth.sessions s SET
      authenticated_at = now(),
      amr = ARRAY(SELECT DISTINCT method FROM unnest(s.amr || $3::text[]) method ORDER BY method)
    FROM auth.users u
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id AND u.disabled_at IS NULL
      AND s.revoked_at IS NULL AND s.expires_at > now()
      AND ($4::text IS NULL OR (u.password_hash = $4 AND NOT 'mfa' = ANY(s.amr)))
    RETURNING s.generation, ${sessionColumns}`,
}

/**
 * Notes that the user of a session has just proved once more who they are, and how. A session never comes to say less than
 * before: where it says that there were two factors, a password alone confirms nothing.
 *
 * @param passwordHash that the password was checked against, if it was one
 * @returns undefined if the session has ended meanwhile, the password has changed, or it is not enough
 */
export async function confirmSession(
  database: Database,
  { sessionId: id, userId }: { sessionId: string; userId: string },
  amr: Method[],
  passwordHash: string | null = null,
): Promise<LiveSession | undefined> {
  const values = [id, userId, amr, passwordHash]
  const [row] = await database.run<SessionRow & { generation: number }>(confirm, values)
  return row && toLiveSession({ id, userId, generation: row.generation }, row)
}
