import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Session } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type, { type Static } from 'typebox'
import { endTickets } from '../accounts/tickets.ts'
import { record } from '../events/security-events.ts'
import { describeDevice } from './device.ts'
import { endSession } from './end.ts'
import { keptFor } from './housekeeping.ts'

const SessionView = Type.Object({
  id: Type.String(),
  current: Type.Boolean(),
  device: Type.String({ description: 'browser and system, as the user agent has them' }),
  userAgent: Type.Union([Type.String(), Type.Null()]),
  ip: Type.Union([Type.String(), Type.Null()]),
  createdAt: Type.String(),
  lastUsedAt: Type.String(),
  expiresAt: Type.String(),
})
const EndedSessionView = Type.Object({ ...SessionView.properties, endedAt: Type.String(), reason: Type.String() })

export const Sessions = Type.Object(
  { sessions: Type.Array(SessionView), ended: Type.Array(EndedSessionView) },
  { description: 'Those that go on, and those that ended within a day' },
)

/** A user's own sessions, one for each sign-in: those that go on, and those that ended within a day, with why. */
export function ownSessionRoutes(
  app: Application,
  { database, signedIn, recently }: { database: Database; signedIn: Guard; recently: preHandlerAsyncHookHandler },
): void {
  app.get(
    '/api/auth/sessions',
    {
      schema: {
        operationId: 'listSessions',
        tags: ['account'],
        summary: 'My sessions',
        response: { 200: Sessions },
      },
      preHandler: signedIn,
    },
    ({ identity }) => sessionsOf(database, identity.userId, identity.sessionId),
  )

  app.delete(
    '/api/auth/sessions/:id',
    {
      schema: {
        operationId: 'endSession',
        tags: ['account'],
        summary: 'End one of my sessions',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 200: Type.Object({ message: Type.String() }, { description: 'The session has ended' }) },
        description: 'Another one than that of the request needs a sign-in of the last five minutes.',
        problems: { 401: ['STEP_UP_REQUIRED'], 404: ['SESSION_NOT_FOUND'] },
      },
      preHandler: signedIn,
    },
    async (request, reply) => {
      const { userId: user, sessionId: own } = request.identity
      const { id: session } = request.params
      if (session !== own) await recently.call(app, request, reply)
      // It may be somebody else's, who has asked for more.
      await endTickets(database, { userId: user, purpose: 'email_change' })
      if (!(await endSession(database, session, 'logout', user)))
        throw new Problem(404, 'SESSION_NOT_FOUND', 'You have no such session')
      await record(database, request.log, { event: 'session_ended', user, session, reason: 'logout', ip: request.ip })
      return { message: 'The session has ended' }
    },
  )
}

/** @param currentId the session of the caller */
export async function sessionsOf(
  database: Database,
  userId: string,
  currentId: string,
): Promise<Static<typeof Sessions>> {
  const now = new Date()
  const since = new Date(now.getTime() - keptFor * 3_600_000)
  const all = await database.session.findMany({
    where: { userId, expiresAt: { gt: since }, OR: [{ revokedAt: null }, { revokedAt: { gt: since } }] },
    orderBy: { rotatedAt: 'desc' },
    take: 200,
  })
  const lives = ({ revokedAt, expiresAt }: Session) => revokedAt === null && expiresAt > now
  return {
    sessions: all.filter(lives).map((session) => view(session, currentId)),
    ended: all
      .filter((session) => !lives(session))
      .map((session) => ({
        ...view(session, currentId),
        endedAt: (session.revokedAt ?? session.expiresAt).toISOString(),
        reason: session.revokedReason ?? 'expired',
      })),
  }
}

function view(session: Session, currentId: string): Static<typeof SessionView> {
  const { id, userAgent, ip, createdAt, rotatedAt, expiresAt } = session
  return {
    id,
    current: id === currentId,
    device: describeDevice(userAgent),
    userAgent,
    ip,
    createdAt: createdAt.toISOString(),
    lastUsedAt: rotatedAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
  }
}
