import { type Database, Prisma, type Statement } from '@sallyport/database'
import { endSession } from './end.ts'
import { type Decision, decide, type Presented, type RotationState } from './rotation.ts'
import { type LiveSession, type SessionLimits, type SessionRow, sessionColumns, toLiveSession } from './session.ts'

export type RotationOutcome =
  | { kind: 'rotated'; session: LiveSession; forgotten: number }
  | { kind: 'repeated'; session: LiveSession }
  | { kind: 'replayed' }
  | { kind: 'ended'; reason: string }

export interface RotationRequest extends Presented {
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
    RETURNING ${sessionColumns},
      $3 - (SELECT before.generation FROM auth.sessions before WHERE before.id = s.id) AS forgotten`,
}

/**
 * Carries out a refresh. The common case is one statement, and whatever is decided after it is decided on the row as
 * it then stands, so that retries, races and crashes all come to the same state.
 *
 * @param now the time to decide at; the database's own clock if not given, which every process shares
 * @throws the database's error when it is unavailable or did not say whether it committed: nothing is known to have
 *   changed, and the same attempt may be retried
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
      await endSession(database, request, 'reuse')
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
    SELECT s.generation, ${Prisma.raw(sessionColumns)}, s.attempt_hash, u.disabled_at IS NOT NULL AS disabled,
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
