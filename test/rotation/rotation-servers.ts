import { randomUUID } from 'node:crypto'
import { endAllSessions, endSession } from '@sallyport/auth/sessions/end'
import { openSession } from '@sallyport/auth/sessions/open'
import { rotateSession } from '@sallyport/auth/sessions/rotate'
import { decide, hashAttempt, type RotationState } from '@sallyport/auth/sessions/rotation'
import type { LiveSession } from '@sallyport/auth/sessions/session'
import type { TestDatabase } from '../support/system.ts'
import type { Answer, Ending, Server, Token } from './rotation-model.ts'

// Longer than any history, so that no session of the model ends for its age.
export const limits = { idleSeconds: 60 * 86_400, maxSeconds: 90 * 86_400, graceSeconds: 10 }

const user = { id: randomUUID(), email: 'doctor@example.com', name: 'Doctor', roles: ['doctor'] }

/** Our rule over a row in memory. */
export function memoryServer(start: number): Server {
  const absoluteEnd = start + limits.maxSeconds
  let row: RotationState | undefined = {
    generation: 0,
    attemptHash: null,
    rotatedAt: start,
    expiresAt: start + limits.idleSeconds,
    revokedReason: null,
    userDisabled: false,
  }
  const commits: RotationState[] = []
  return {
    async refresh({ generation }, attempt, now): Promise<Answer> {
      const decision = decide(row, { generation, attemptHash: attempt }, now, limits.graceSeconds)
      if (!row || decision.kind === 'ended')
        return { kind: 'ended', reason: 'reason' in decision ? decision.reason : '' }
      if (decision.kind === 'replay') {
        row = { ...row, revokedReason: 'reuse' }
        return { kind: 'replayed' }
      }
      if (decision.kind === 'rotate') {
        commits.push(row)
        const expiresAt = Math.min(now + limits.idleSeconds, absoluteEnd)
        row = { ...row, generation: generation + 1, attemptHash: attempt ?? null, rotatedAt: now, expiresAt }
      }
      const session = { id: 'session', user, proved, ...pick(row) }
      return { kind: decision.kind === 'rotate' ? 'rotated' : 'repeated', token: tokenOf(session), session }
    },
    async end(ending) {
      if (ending === 'deleted') row = undefined
      else if (row) row.revokedReason ??= ending
    },
    async failover() {
      const before = commits.pop()
      if (row && before) row = { ...before, revokedReason: row.revokedReason }
    },
  }
}

const proved = { at: 0, amr: ['pwd' as const] }
const pick = ({ generation, rotatedAt, expiresAt }: RotationState) => ({ generation, rotatedAt, expiresAt })
const tokenOf = ({ generation }: LiveSession): Token => ({ generation, branch: 0 })

/** What a commit left in the row, for a failover to go back to. */
interface Committed {
  session: LiveSession
  attemptHash: string | undefined
}

/** The functions that run in production, on a new session of a new user. */
export async function databaseServer({ database, sql }: TestDatabase): Promise<Server> {
  const userId = randomUUID()
  await sql(
    `INSERT INTO auth.users (id, email, name, password_hash, roles) VALUES ($1, $2, 'Doctor', 'none', '{doctor}')`,
    [userId, `${userId}@example.com`],
  )
  const opened = await openSession(
    database,
    { userId, passwordHash: 'none', amr: ['pwd'], userAgent: undefined, ip: '::1' },
    limits,
  )
  if (!opened) throw new Error('no session')
  const sessionId = opened.id
  let last: Committed = { session: opened, attemptHash: undefined }
  const commits: Committed[] = []
  return {
    async refresh({ generation }, attempt, now): Promise<Answer> {
      const attemptHash = attempt === undefined ? undefined : hashAttempt(attempt)
      const request = { sessionId, userId, generation, attemptHash }
      const outcome = await rotateSession(database, request, limits, new Date(now * 1000))
      if (!('session' in outcome)) return outcome
      const { kind, session } = outcome
      if (kind === 'rotated') {
        commits.push(last)
        last = { session, attemptHash }
      }
      return { kind, token: tokenOf(session), session }
    },
    end,
    async failover() {
      const before = commits.pop()
      if (!before) return
      last = before
      const { generation, rotatedAt, expiresAt } = before.session
      await sql(
        `UPDATE auth.sessions SET generation = $2, attempt_hash = $3, rotated_at = to_timestamp($4),
           expires_at = to_timestamp($5) WHERE id = $1`,
        [sessionId, generation, before.attemptHash ?? null, rotatedAt, expiresAt],
      )
    },
  }

  async function end(ending: Ending): Promise<void> {
    if (ending === 'deleted') await sql('DELETE FROM auth.sessions WHERE id = $1', [sessionId])
    else if (ending === 'logout') await endSession(database, { sessionId, userId }, 'logout')
    else if (ending === 'password_changed') await endAllSessions(database, userId, 'password_changed')
    else await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [userId])
  }
}
