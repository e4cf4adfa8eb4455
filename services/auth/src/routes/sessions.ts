import { type Application, Problem, problemSchema } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'
import { endSession } from '../sessions.ts'

const Session = Type.Object({
  id: Type.String(),
  current: Type.Boolean(),
  userAgent: Type.Union([Type.String(), Type.Null()]),
  ip: Type.Union([Type.String(), Type.Null()]),
  createdAt: Type.String(),
  lastUsedAt: Type.String(),
  expiresAt: Type.String(),
})

/** A person's own sessions, one for each sign-in. */
export function sessionRoutes(app: Application, { database, signedIn }: { database: Database; signedIn: Guard }): void {
  app.get(
    '/api/auth/sessions',
    {
      schema: {
        summary: 'My sessions',
        response: { 200: Type.Object({ sessions: Type.Array(Session) }), '4xx': problemSchema },
      },
      preHandler: signedIn,
    },
    async (request) => {
      const sessions = await database.session.findMany({
        where: { userId: request.identity.userId, revokedAt: null, expiresAt: { gt: new Date() } },
        orderBy: { rotatedAt: 'desc' },
        take: 100,
      })
      return {
        sessions: sessions.map(({ id, userAgent, ip, createdAt, rotatedAt, expiresAt }) => ({
          id,
          current: id === request.identity.sessionId,
          userAgent,
          ip,
          createdAt: createdAt.toISOString(),
          lastUsedAt: rotatedAt.toISOString(),
          expiresAt: expiresAt.toISOString(),
        })),
      }
    },
  )

  app.delete(
    '/api/auth/sessions/:id',
    {
      schema: {
        summary: 'End one of my sessions',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 200: Type.Object({ message: Type.String() }), '4xx': problemSchema },
      },
      preHandler: signedIn,
    },
    async (request) => {
      const { userId } = request.identity
      const { id } = request.params
      if (!(await endSession(database, id, 'logout', userId)))
        throw new Problem(404, 'SESSION_NOT_FOUND', 'You have no such session')
      request.log.info({ event: 'session_ended', user: userId, session: id, reason: 'logout', ip: request.ip })
      return { message: 'The session has ended' }
    },
  )
}
