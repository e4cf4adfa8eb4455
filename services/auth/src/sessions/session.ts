/** A session that is not over, as tokens are made from it. Times are in whole seconds since 1970. */
export interface LiveSession {
  id: string
  generation: number
  rotatedAt: number
  expiresAt: number
  proved: Proved
  user: { id: string; email: string; name: string; roles: string[] }
}

/** Who somebody was shown to be, when and how. It belongs to the session: a refresh never changes it. */
export interface Proved {
  /** When they last proved it, in seconds since 1970. */
  at: number
  amr: Method[]
}

/**
 * How somebody proves who they are (RFC 8176): with a password, a code that is good once, a passkey that is bound to its
 * device (`hwk`) or is not (`swk`), with a test that somebody is there, and with more than one factor.
 */
export type Method = 'pwd' | 'otp' | 'hwk' | 'swk' | 'user' | 'mfa'

/** The level of authentication (NIST SP 800-63B-4). */
export const levelOf = (amr: Method[]) => (amr.includes('mfa') ? 'aal2' : 'aal1')

/** How long sessions last, in seconds. */
export interface SessionLimits {
  idleSeconds: number
  maxSeconds: number
  graceSeconds: number
}

/** What a statement returns of a session `s` and its user `u`. */
export const sessionColumns = `
  floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
  floor(extract(epoch FROM s.expires_at))::float8 AS expires_at,
  floor(extract(epoch FROM coalesce(s.authenticated_at, s.created_at)))::float8 AS proved_at,
  s.amr, u.email, u.name, u.roles`

export interface SessionRow {
  rotated_at: number
  expires_at: number
  proved_at: number
  amr: Method[]
  email: string
  name: string
  roles: string[]
}

export function toLiveSession(
  { id, userId, generation }: { id: string; userId: string; generation: number },
  { rotated_at: rotatedAt, expires_at: expiresAt, proved_at: at, amr, email, name, roles }: SessionRow,
): LiveSession {
  return { id, generation, rotatedAt, expiresAt, proved: { at, amr }, user: { id: userId, email, name, roles } }
}
