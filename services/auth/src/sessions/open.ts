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
      SELECT id, email, name, roles, delete_after FROM auth.users
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
      FOR SHARE
    ), opened AS (
      INSERT INTO auth.sessions (id, user_id, user_agent, ip, expires_at, absolute_expires_at)
      SELECT $3::uuid, id, $4, $5,
             now() + least($6::float8, $7::float8) * interval '1 second',
             now() + $7::float8 * interval '1 second'
      FROM owner
      RETURNING *
    ), recorded AS (
      INSERT INTO auth.security_events (event, user_id, session_id, ip)
      SELECT 'login_succeeded', user_id, id, ip FROM opened
    )
    SELECT floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
           floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles,
           u.delete_after::text AS deletion
    FROM opened s JOIN owner u ON u.id = s.user_id`,
}

/**
 * A statement of its own: in that above, two logins at once would each wait for the other. Unless the deletion was asked
 * for again meanwhile.
 */
const undoDeletion: Statement = {
  name: 'undo_deletion',
  text: `
    WITH restored AS (
      UPDATE auth.users SET delete_after = NULL WHERE id = $1 AND delete_after = $2::timestamptz RETURNING id
    )
    INSERT INTO auth.security_events (event, user_id, session_id, ip)
    SELECT 'deletion_undone', id, $3::uuid, $4 FROM restored`,
}

/**
 * Opens a session for a user whose password was just checked. The user's row is locked and looked at once more in the
 * same statement, so that no session opens after the user was disabled or the password changed. The security event
 * of the login is written with it, so that there is never one without the other. An account that was to be deleted is
 * not deleted then.
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
  const [opened] = await database.run<SessionRow & { deletion: string | null }>(open, values)
  if (opened?.deletion) await database.run(undoDeletion, [userId, opened.deletion, id, ip])
  return opened && toLiveSession({ id, userId, generation: 0 }, opened)
}
