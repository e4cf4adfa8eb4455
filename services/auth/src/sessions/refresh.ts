import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { requireValid } from '../accounts/require-valid.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { observeRefresh, type Refresh, reuseOf } from './observe-refresh.ts'
import { requireOwnOrigin } from './own-origin.ts'
import { rotateSession } from './rotate.ts'
import { hashAttempt } from './rotation.ts'

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
  refreshTokens: RefreshTokens
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

/** The codes that say that a session is over. */
const over = new Set(['REFRESH_EXPIRED', 'REFRESH_REUSED', 'SESSION_ENDED'])

/**
 * Rotates the refresh token. What may be a retry gets the same successor as before; reuse ends the session. The
 * cookie is cleared only with a definite response that the session is over.
 */
export function refreshRoute(app: Application, { config, database, accessTokens, refreshTokens }: Dependencies): void {
  app.post(
    '/api/auth/refresh',
    {
      schema,
      onRequest: requireOwnOrigin(config.origins),
      errorHandler(error, _request, reply) {
        if (over.has(error.code)) refreshTokens.clear(reply)
        throw error
      },
    },
    async (request, reply) => {
      const { presented, outcome } = await observeRefresh(request, rotate(request))
      if (outcome.kind === 'replayed') {
        await record(database, request.log, reuseOf(presented, request))
        throw new Problem(401, 'REFRESH_REUSED', 'The session was ended for safety', {
          detail: 'A refresh token that was used before came again, so a copy of it is in other hands. Sign in anew.',
        })
      }
      if (outcome.kind === 'ended')
        throw new Problem(401, 'SESSION_ENDED', 'The session has ended', { members: { reason: outcome.reason } })

      const { session } = outcome
      const { roles } = session.user
      // The cookie first: a client that is rejected below goes on with it as soon as somebody has corrected the
      // account.
      await refreshTokens.set(reply, session)
      requireValid(session.user, request.log)
      return { accessToken: accessTokens.sign(session), role: roles[0] as string, roles }
    },
  )

  async function rotate(request: FastifyRequest): Promise<Refresh> {
    const claims = await refreshTokens.read(request)
    const attempt = request.headers['x-refresh-attempt'] as string | undefined
    const presented = { ...claims, attemptHash: attempt === undefined ? undefined : hashAttempt(attempt) }
    return { presented, outcome: await rotateSession(database, presented, config.session) }
  }
}
