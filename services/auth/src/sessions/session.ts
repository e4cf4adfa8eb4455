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

/** What a statement returns of a session and its user. */
export interface SessionRow {
  rotated_at: number
  expires_at: number
  email: string
  name: string
  roles: string[]
}

export function toLiveSession(
  { id, userId, generation }: { id: string; userId: string; generation: number },
  { rotated_at: rotatedAt, expires_at: expiresAt, email, name, roles }: SessionRow,
): LiveSession {
  return { id, generation, rotatedAt, expiresAt, user: { id: userId, email, name, roles } }
}
