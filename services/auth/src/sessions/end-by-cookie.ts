import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { Tokens } from '../tokens/tokens.ts'
import { endSession } from './end.ts'
import { readRefreshCookie } from './refresh-cookie.ts'

interface Dependencies {
  config: Config
  database: Database
  tokens: Tokens
}

/**
 * Ends the session whose refresh cookie came with a request, as the browser will no longer have it. A cookie that is
 * missing, forged or expired names none.
 */
export async function endSessionOfCookie(
  request: FastifyRequest,
  { config, database, tokens }: Dependencies,
): Promise<void> {
  const cookie = readRefreshCookie(request, config)
  if (cookie === undefined) return
  const claims = read(tokens, cookie)
  if (!claims || !(await endSession(database, claims.sessionId, 'logout'))) return
  const { userId: user, sessionId: session } = claims
  await record(database, request.log, { event: 'session_ended', user, session, reason: 'logout', ip: request.ip })
}

function read(tokens: Tokens, cookie: string) {
  try {
    return tokens.readRefresh(cookie)
  } catch {
    return undefined
  }
}
