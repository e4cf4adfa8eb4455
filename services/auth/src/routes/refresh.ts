import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { clearRefreshCookie, readRefreshCookie, setRefreshCookie } from '../cookie.ts'
import { refreshes } from '../metrics.ts'
import { requireOwnOrigin } from '../origin.ts'
import { hashAttempt } from '../rotation.ts'
import { record } from '../security-events.ts'
import { rotateSession } from '../sessions.ts'
import type { Tokens } from '../tokens.ts'
import { requireValid } from '../users.ts'

interface Parts {
  config: Config
  database: Database
  tokens: Tokens
}

const schema = {
  operationId: 'refresh',
  tags: ['session'],
  security: [{ refreshCookie: [] }],
  summary: 'Get the next access token and refresh cookie',
  headers: Type.Object({ 'x-refresh-attempt': Type.Optional(Type.String({ minLength: 16, maxLength: 128 })) }),
  response: {
    200: Type.Object(
      { accessToken: Type.String(), role: Type.String(), roles: Type.Array(Type.String()) },
      { description: 'The next access token, and the next refresh cookie' },
    ),
  },
  problems: {
    401: ['REFRESH_MISSING', 'REFRESH_INVALID', 'REFRESH_EXPIRED', 'REFRESH_REUSED', 'SESSION_ENDED'],
    403: ['ORIGIN_REFUSED', 'ACCOUNT_INVALID'],
  },
}

/**
 * Rotates the refresh token. Whatever may be a retry is answered with the same successor as before; a replay ends the
 * session. The cookie is cleared only with a definite answer that the session is over.
 */
export function refreshRoute(app: Application, { config, database, tokens }: Parts): void {
  app.post('/api/auth/refresh', { schema, onRequest: requireOwnOrigin(config.origins) }, async (request, reply) => {
    const cookie = readRefreshCookie(request, config)
    if (cookie === undefined) {
      refreshes.inc({ outcome: 'missing' })
      throw new Problem(401, 'REFRESH_MISSING', 'There is no refresh cookie')
    }
    const claims = readClaims(cookie)
    const attempt = request.headers['x-refresh-attempt']
    const outcome = await rotateSession(
      database,
      { ...claims, attemptHash: attempt === undefined ? undefined : hashAttempt(attempt) },
      config.session,
    ).catch((error) => {
      refreshes.inc({ outcome: 'unavailable' })
      throw error
    })

    const userAgent = request.headers['user-agent']?.slice(0, 512)
    const who = { user: claims.userId, session: claims.sessionId, ip: request.ip, userAgent }
    if (outcome.kind === 'replayed') {
      refreshes.inc({ outcome: 'reused' })
      await record(database, request.log, {
        event: 'refresh_reused',
        reason: `generation ${claims.generation}`,
        ...who,
      })
      clearRefreshCookie(reply, config)
      throw new Problem(401, 'REFRESH_REUSED', 'The session was ended for safety', {
        detail: 'A refresh token that was used before came again, so a copy of it is in other hands. Sign in anew.',
      })
    }
    if (outcome.kind === 'ended') {
      refreshes.inc({ outcome: 'ended' })
      clearRefreshCookie(reply, config)
      throw new Problem(401, 'SESSION_ENDED', 'The session has ended', { members: { reason: outcome.reason } })
    }
    const isFastForward = outcome.kind === 'rotated' && outcome.forgotten > 0
    refreshes.inc({ outcome: isFastForward ? 'fast_forwarded' : outcome.kind })
    if (isFastForward) request.log.error({ event: 'refresh_fast_forward', forgotten: outcome.forgotten, ...who })
    request.log.info({ event: `refresh_${outcome.kind}`, generation: outcome.session.generation, ...who })

    const { session } = outcome
    // The cookie first: what is refused below goes on with it as soon as somebody has corrected the account.
    setRefreshCookie(reply, config, tokens.signRefresh(session), session.expiresAt)
    requireValid(session.user, request.log)
    return { accessToken: tokens.signAccess(session), role: session.user.roles[0] as string, roles: session.user.roles }

    function readClaims(token: string) {
      try {
        return tokens.readRefresh(token)
      } catch (error) {
        const { code } = error as Problem
        request.log.warn({ event: 'refresh_refused', code, ip: request.ip })
        refreshes.inc({ outcome: code === 'REFRESH_EXPIRED' ? 'expired' : 'invalid' })
        if (code === 'REFRESH_EXPIRED') clearRefreshCookie(reply, config)
        throw error
      }
    }
  })
}
