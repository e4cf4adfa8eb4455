import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import { record } from '../events/security-events.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { endSession } from './end.ts'

interface Dependencies {
  database: Database
  refreshTokens: RefreshTokens
}

/**
 * Ends the session whose refresh cookie came with a request, as the browser will no longer have it. A cookie that is
 * missing, forged or expired names none.
 */
export async function endSessionOfCookie(
  request: FastifyRequest,
  { database, refreshTokens }: Dependencies,
): Promise<void> {
  const claims = await refreshTokens.read(request).catch(() => undefined)
  if (!claims || !(await endSession(database, claims, 'logout'))) return
  const { userId: user, sessionId: session } = claims
  await record(database, request.log, { event: 'session_ended', user, session, reason: 'logout', ip: request.ip })
}
