import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import type { Config } from './config.ts'
import { readRefreshCookie } from './cookie.ts'
import { record } from './security-events.ts'
import { endSession } from './sessions.ts'
import type { Tokens } from './tokens.ts'

interface Parts {
  config: Config
  database: Database
  tokens: Tokens
}

/**
 * Ends the session whose refresh cookie came with a request, as the browser will no longer have it. A cookie that is
 * missing, forged or expired names none.
 */
export async function endSessionOfCookie(request: FastifyRequest, { config, database, tokens }: Parts): Promise<void> {
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
