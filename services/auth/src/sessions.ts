import { randomUUID } from 'node:crypto'
import type { Database, Prisma, Statement } from '@sallyport/database'
import { sessionsEnded } from './metrics.ts'
import { type Decision, decide, type Presented, type RotationState } from './rotation.ts'

/** Why a session ended. */
export type EndReason =
  | 'logout'
  | 'logout_all'
  | 'password_changed'
  | 'disabled'
  | 'revoked_by_admin'
  | 'expired'
  | 'reuse'

/** A session that is not over, as tokens are made from it. Times are in whole seconds since 1970. */
export interface LiveSession {
  id: string
  generation: number
  rotatedAt: number
  expiresAt: number
  user: { id: string; email: string; name: string; roles: string[] }
}

/** How long sessions last, in seconds. */
export interface SessionLimits {
  idleSeconds: number
  maxSeconds: number
  graceSeconds: number
}

interface SessionRow {
  rotated_at: number
  expires_at: number
  email: string
  name: string
  roles: string[]
}

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
    WITH person AS (
      SELECT id, email, name, roles FROM auth.users
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
      FOR SHARE
    ), opened AS (
      INSERT INTO auth.sessions (id, user_id, user_agent, ip, expires_at, absolute_expires_at)
      SELECT $3::uuid, id, $4, $5,
             now() + least($6::float8, $7::float8) * interval '1 second',
             now() + $7::float8 * interval '1 second'
      FROM person
      RETURNING *
    ), recorded AS (
      INSERT INTO auth.security_events (event, user_id, session_id, ip)
      SELECT 'login_succeeded', user_id, id, ip FROM opened
    )
    SELECT floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
           floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles
    FROM opened s JOIN person u ON u.id = s.user_id`,
}

/**
 * Opens a session for someone whose password was just checked. The person's row is locked and looked at once more in
 * the same statement, so that no session opens after the person was disabled or the password changed. The security event
 * of the login is written with it, so that there is not the one without the other.
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

export type RotationOutcome =
  | { kind: 'rotated'; session: LiveSession; forgotten: number }
  | { kind: 'repeated'; session: LiveSession }
  | { kind: 'replayed' }
  | { kind: 'ended'; reason: string }

interface RotationRequest extends Presented {
  sessionId: string
  userId: string
}

const rotate: Statement = {
  name: 'rotate_session',
  text: `
    UPDATE auth.sessions s
    SET generation = $3::int + 1,
        attempt_hash = $4,
        rotated_at = clock.now,
        expires_at = least(clock.now + $5::float8 * interval '1 second', s.absolute_expires_at)
    FROM auth.users u, (SELECT coalesce($6::timestamptz, now()) AS now) clock
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id
      AND s.revoked_at IS NULL AND s.expires_at > clock.now AND u.disabled_at IS NULL
      AND s.generation <= $3
    RETURNING floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
      floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles,
      $3 - (SELECT before.generation FROM auth.sessions before WHERE before.id = s.id) AS forgotten`,
}

/**
 * Carries out a refresh. The common case is one statement, and whatever is decided after it is decided on the row as
 * it then stands, so that repeats, races and crashes all come to the same state.
 *
 * @param now the time to decide at; the database's own clock if not given, which every process shares
 * @throws the database's error when it did not answer or did not say whether it committed: nothing is known to have
 *   changed, and the same attempt may be made again
 */
export async function rotateSession(
  database: Database,
  request: RotationRequest,
  limits: SessionLimits,
  now: Date | null = null,
): Promise<RotationOutcome> {
  const { sessionId, userId, generation, attemptHash = null } = request
  const values = [sessionId, userId, generation, attemptHash, limits.idleSeconds, now]
  const [rotated] = await database.run<SessionRow & { forgotten: number }>(rotate, values)
  if (rotated) {
    const session = toLiveSession({ id: sessionId, userId, generation: generation + 1 }, rotated)
    return { kind: 'rotated', session, forgotten: rotated.forgotten }
  }

  const found = await findForRotation(database, sessionId, userId, now)
  const decision: Decision = decide(found?.state, request, found?.now ?? 0, limits.graceSeconds)
  switch (decision.kind) {
    case 'repeat':
      return { kind: 'repeated', session: (found as FoundSession).session }
    case 'replay':
      await endSession(database, sessionId, 'reuse')
      return { kind: 'replayed' }
    case 'ended':
      return decision
    case 'rotate':
      // The row changed between the two statements, towards what this refresh asks for: ask again.
      return rotateSession(database, request, limits, now)
  }
}

interface FoundSession {
  session: LiveSession
  state: RotationState
  now: number
}

async function findForRotation(
  database: Database,
  sessionId: string,
  userId: string,
  now: Date | null,
): Promise<FoundSession | undefined> {
  const rows = await database.$queryRaw<
    (SessionRow & {
      generation: number
      attempt_hash: string | null
      exact_rotated_at: number
      exact_expires_at: number
      revoked_reason: string | null
      disabled: boolean
      now: number
    })[]
  >`
    SELECT s.generation, floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
           floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles,
           s.attempt_hash, u.disabled_at IS NOT NULL AS disabled,
           CASE WHEN s.revoked_at IS NOT NULL THEN coalesce(s.revoked_reason, 'revoked_by_admin') END AS revoked_reason,
           extract(epoch FROM s.rotated_at)::float8 AS exact_rotated_at,
           extract(epoch FROM s.expires_at)::float8 AS exact_expires_at,
           extract(epoch FROM coalesce(${now}::timestamptz, now()))::float8 AS now
    FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
    WHERE s.id = ${sessionId}::uuid AND s.user_id = ${userId}::uuid`
  const [row] = rows
  if (!row) return undefined
  const state = {
    generation: row.generation,
    attemptHash: row.attempt_hash,
    rotatedAt: row.exact_rotated_at,
    expiresAt: row.exact_expires_at,
    revokedReason: row.revoked_reason,
    userDisabled: row.disabled,
  }
  return { session: toLiveSession({ id: sessionId, userId, generation: row.generation }, row), state, now: row.now }
}

/**
 * Ends a session for good; a trigger tells every gateway in the same commit. Ending it twice keeps the first reason.
 *
 * @returns whether it was this call that ended it
 */
export async function endSession(
  database: Database,
  sessionId: string,
  reason: EndReason,
  /** If given, the session is ended only if it is this person's. */
  ownerId: string | null = null,
): Promise<boolean> {
  const ended = await database.$executeRaw`
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = ${reason}
    WHERE id = ${sessionId}::uuid AND revoked_at IS NULL
      AND (${ownerId}::uuid IS NULL OR user_id = ${ownerId}::uuid)`
  sessionsEnded.inc({ reason }, ended)
  return ended === 1
}

/**
 * Ends every session of a person; a trigger tells every gateway in the same commit.
 *
 * @returns how many it ended
 */
export async function endAllSessions(database: Database, userId: string, reason: EndReason): Promise<number> {
  return database.$transaction(async (transaction) => {
    // A login under way either opens its session before this, and it is ended, or waits and opens it after.
    await transaction.$executeRaw`SELECT FROM auth.users WHERE id = ${userId}::uuid FOR UPDATE`
    return endSessionsOf(transaction, userId, reason)
  })
}

/**
 * Ends the sessions of a person whose row the transaction has locked.
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
  return ended
}

function toLiveSession(
  { id, userId, generation }: { id: string; userId: string; generation: number },
  { rotated_at: rotatedAt, expires_at: expiresAt, email, name, roles }: SessionRow,
): LiveSession {
  return { id, generation, rotatedAt, expiresAt, user: { id: userId, email, name, roles } }
}
