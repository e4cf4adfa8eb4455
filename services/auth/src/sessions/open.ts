import { randomUUID } from 'node:crypto'
import type { Database, Statement } from '@sallyport/database'
import { type LiveSession, type SessionLimits, type SessionRow, toLiveSession } from './session.ts'

interface NewSession {
  userId: string
  /** The hash the password was just checked against. */
  passwordHash: string
  userAgent: string | null | undefined
  ip: string
}

const open: Statement = {
  name: 'open_session',
  text: `
    WITH owner AS (
      SELECT id, email, name, roles FROM auth.users
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
      FOR SHARE
    ), opened AS (
      INSERT INTO auth.sessions (id, user_id, user_agent, ip, expires_at, absolute_expires_at)
      SELECT $3::uuid, id, $4, $5,
             now() + least($6::float8, $7::float8) * interval '1 second',
             now() + $7::float8 * interval '1 second'
      FROM owner
      RETURNING *
    ), restored AS (
      UPDATE auth.users SET delete_after = NULL FROM owner
      WHERE users.id = owner.id AND users.delete_after IS NOT NULL
      RETURNING users.id
    ), recorded AS (
      INSERT INTO auth.security_events (event, user_id, session_id, ip)
      SELECT 'login_succeeded', user_id, id, ip FROM opened
      UNION ALL
      SELECT 'deletion_undone', user_id, opened.id, ip FROM opened JOIN restored ON restored.id = user_id
    )
    SELECT floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
           floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles
    FROM opened s JOIN owner u ON u.id = s.user_id`,
}

/**
 * Opens a session for a user whose password was just checked. The user's row is locked and looked at once more in the
 * same statement, so that no session opens after the user was disabled or the password changed. The security event
 * of the login is written with it, so that there is never one without the other; and the account is not deleted that
 * was to be.
 *
 * @returns undefined if that happened
 */
export async function openSession(
  database: Database,
  { userId, passwordHash, userAgent = null, ip }: NewSession,
  { idleSeconds, maxSeconds }: SessionLimits,
): Promise<LiveSession | undefined> {
  const id = randomUUID()
  const values = [userId, passwordHash, id, userAgent, ip, idleSeconds, maxSeconds]
  const [opened] = await database.run<SessionRow>(open, values)
  return opened && toLiveSession({ id, userId, generation: 0 }, opened)
}
