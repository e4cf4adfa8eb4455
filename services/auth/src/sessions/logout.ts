import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { endAllSessions } from './end.ts'
import { endSessionOfCookie } from './end-by-cookie.ts'
import { requireOwnOrigin } from './own-origin.ts'

interface Dependencies {
  config: Config
  database: Database
  refreshTokens: RefreshTokens
  signedIn: Guard
  recently: preHandlerAsyncHookHandler
}

const shared = {
  tags: ['session'],
  response: { 200: Type.Object({ message: Type.String() }, { description: 'Signed out; the cookie is cleared' }) },
  problems: { 403: ['ORIGIN_REFUSED'] },
}

/** Signing out needs no cookie: without one it is done already. */
const security = [{ refreshCookie: [] }, {}]

export function logoutRoutes(
  app: Application,
  { config, database, refreshTokens, signedIn, recently }: Dependencies,
): void {
  const ownOrigin = requireOwnOrigin(config.origins)

  app.post(
    '/api/auth/logout',
    {
      schema: { operationId: 'logout', summary: 'Sign out of this session', security, ...shared },
      onRequest: ownOrigin,
    },
    async (request, reply) => {
      await endSessionOfCookie(request, { database, refreshTokens })
      refreshTokens.clear(reply)
      reply.header('clear-site-data', '"cache", "storage"')
      return { message: 'Logged out successfully' }
    },
  )

  app.post(
    '/api/auth/logout-all',
    {
      schema: {
        operationId: 'logoutAll',
        summary: 'Sign out everywhere',
        ...shared,
        problems: { ...shared.problems, 401: ['STEP_UP_REQUIRED'] },
      },
      onRequest: ownOrigin,
      preHandler: [signedIn, recently],
    },
    async (request, reply) => {
      const { userId: user } = request.identity
      await endAllSessions(database, user, 'logout_all')
      await record(database, request.log, { event: 'sessions_ended', user, reason: 'logout_all', ip: request.ip })
      refreshTokens.clear(reply)
      return { message: 'Logged out everywhere' }
    },
  )
}
