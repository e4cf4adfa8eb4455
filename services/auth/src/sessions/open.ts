import { randomUUID } from 'node:crypto'
import type { Database, Statement } from '@sallyport/database'
import { hasFactorOf } from '../factors/owned.ts'
import {
  type LiveSession,
  type Method,
  type SessionLimits,
  type SessionRow,
  sessionColumns,
  toLiveSession,
} from './session.ts'

interface NewSession {
  userId: string
  /** As the user had it when they were checked. */
  passwordHash: string
  amr: Method[]
  userAgent: string | null | undefined
  ip: string
  /** The id of the device, if it is known to the user. */
  device?: string | undefined
  /** When the account was to be deleted, as the database writes it. */
  deletion?: string | null | undefined
}

export interface OpenedSession extends LiveSession {
  /** Whether the user has never signed in before. */
  isFirst: boolean
  locale: string | null
}

const open: Statement = {
  name: 'open_session',
  text: `
    WITH owner AS (
      SELECT id, email, name, roles, locale FROM auth.users
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
      FOR SHARE
    ), opened AS (
      INSERT INTO auth.sessions (id, user_id, user_agent, ip, amr, expires_at, absolute_expires_at)
      SELECT $3::uuid, id, $4, $5, $9::text[],
             now() + least($6::float8, $7::float8) * interval '1 second',
             now() + $7::float8 * interval '1 second'
      FROM owner
      RETURNING *
    ), cleared AS (
      DELETE FROM auth.password_failures USING owner WHERE person = owner.id::text AND device = coalesce($8, '')
    ), recorded AS (
      INSERT INTO auth.security_events (event, user_id, session_id, ip, reason)
      SELECT 'login_succeeded', user_id, id, ip, CASE WHEN $8::text IS NULL THEN 'new device' ELSE 'known device' END
      FROM opened
    )
    SELECT ${sessionColumns}, u.locale,
           NOT EXISTS (
             SELECT FROM auth.security_events e
             WHERE e.user_id = s.user_id AND e.event = 'login_succeeded' AND e.reason IS NOT NULL) AS is_first
    FROM opened s JOIN owner u ON u.id = s.user_id`,
}

/** Unless the deletion was asked for again meanwhile. */
const undoDeletion: Statement = {
  name: 'undo_deletion',
  text: `
    WITH restored AS (
      UPDATE auth.users SET delete_after = NULL
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL AND delete_after = $3::timestamptz
      RETURNING id
    )
    INSERT INTO auth.security_events (event, user_id, ip) SELECT 'deletion_undone', id, $4 FROM restored`,
}

/** By a statement of its own, which sees what was committed while the one before waited for the user's row. */
const endWithoutFactor: Statement = {
  name: 'end_without_factor',
  text: `
    UPDATE auth.sessions s SET revoked_at = now(), revoked_reason = 'factors_reset'
    WHERE s.id = $1 AND s.user_id = $2 AND NOT ${hasFactorOf('s.user_id')}
    RETURNING s.id`,
}

/**
 * Opens a session for a user who was just checked. The user's row is locked and looked at once more in the
 * same statement, so that no session opens after the user was disabled or the password changed. The security event
 * of the login is written with it, so that there is never one without the other; the wrong passwords before it that came
 * from where it comes from are forgotten. An account that was to be deleted is not deleted then, which is written before,
 * so that there is no session of a user who will be erased all the same. Nor is there one by a factor of a user who has
 * none any more: whoever took the last one away before it was opened could not end it.
 *
 * @returns undefined if that happened
 */
export async function openSession(
  database: Database,
  { userId, passwordHash, amr, userAgent = null, ip, device, deletion }: NewSession,
  { idleSeconds, maxSeconds }: SessionLimits,
): Promise<OpenedSession | undefined> {
  const id = randomUUID()
  if (deletion) await database.run(undoDeletion, [userId, passwordHash, deletion, ip])
  const values = [userId, passwordHash, id, userAgent, ip, idleSeconds, maxSeconds, device ?? null, amr]
  const [opened] = await database.run<SessionRow & { locale: string | null; is_first: boolean }>(open, values)
  if (!opened) return undefined
  if (amr.includes('mfa') && (await database.run(endWithoutFactor, [id, userId])).length > 0) return undefined
  const { locale, is_first: isFirst } = opened
  return { ...toLiveSession({ id, userId, generation: 0 }, opened), locale, isFirst }
}
