import { createHash } from 'node:crypto'

/** A refresh: which generation of a session it presents, and the id of the attempt, hashed, if the client sent one. */
export interface Presented {
  generation: number
  attemptHash: string | undefined
}

/** A session as the rotation sees it. Times are in seconds since 1970. */
export interface RotationState {
  generation: number
  attemptHash: string | null
  rotatedAt: number
  expiresAt: number
  revokedReason: string | null
  userDisabled: boolean
}

export type Decision =
  /** The presented generation is the newest one known: move to the next. */
  | { kind: 'rotate' }
  /** This refresh was carried out already and its response may be lost: give the same one. */
  | { kind: 'repeat' }
  /** A generation that was used before, by a client that is not retrying: the token is reused, so a copy of it is in other hands. */
  | { kind: 'replay' }
  | { kind: 'ended'; reason: string }

/**
 * Decides on a refresh. This is the whole protocol; `rotateSession` carries it out, with the first case inside one
 * SQL statement so that two refreshes at once cannot both rotate.
 *
 * A presented generation above the session's own is one that we signed and the database forgot (a failover to a
 * standby, a restored backup): it counts as the newest one, and the session goes on from there.
 *
 * @param session undefined when there is none (ended long ago, and deleted)
 * @param now in seconds since 1970, by the database's clock
 * @param graceSeconds how long after a rotation its predecessor is taken for a retry even without an attempt id
 */
export function decide(
  session: RotationState | undefined,
  presented: Presented,
  now: number,
  graceSeconds: number,
): Decision {
  if (!session) return { kind: 'ended', reason: 'expired' }
  if (session.revokedReason !== null) return { kind: 'ended', reason: session.revokedReason }
  if (session.userDisabled) return { kind: 'ended', reason: 'disabled' }
  if (session.expiresAt <= now) return { kind: 'ended', reason: 'expired' }
  if (presented.generation >= session.generation) return { kind: 'rotate' }

  const isLast = presented.generation === session.generation - 1
  const sameAttempt = presented.attemptHash !== undefined && presented.attemptHash === session.attemptHash
  const withinGrace = now - session.rotatedAt <= graceSeconds
  return isLast && (sameAttempt || withinGrace) ? { kind: 'repeat' } : { kind: 'replay' }
}

/** Attempt ids are kept as hashes: the table then holds nothing that a reader of it could send. */
export function hashAttempt(attempt: string): string {
  return createHash('sha256').update(attempt).digest('base64url')
}
