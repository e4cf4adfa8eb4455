import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Session } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
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
  actor: Type.Union([Type.Object({ id: Type.String(), name: Type.Union([Type.String(), Type.Null()]) }), Type.Null()], {
    description: 'who signed in as the user, if it was not the user; the name as long as they have an account',
  }),
})
type SessionView = Static<typeof SessionView>
const EndedSessionView = Type.Object({ ...SessionView.properties, endedAt: Type.String(), reason: Type.String() })

export const Sessions = Type.Object(
  { sessions: Type.Array(SessionView), ended: Type.Array(EndedSessionView) },
  { description: 'Those that go on, and those that ended within a day' },
)

interface Dependencies {
  database: Database
  signedIn: Guard
  /** Lets pass who acts for the user too. */
  actedFor: Guard
  recently: preHandlerAsyncHookHandler
}

/** A user's own sessions, one for each sign-in: those that go on, and those that ended within a day, with why. */
export function ownSessionRoutes(app: Application, { database, signedIn, actedFor, recently }: Dependencies): void {
  app.get(
    '/api/auth/sessions',
    {
      schema: {
        operationId: 'listSessions',
        tags: ['account'],
        summary: 'My sessions',
        response: { 200: Sessions },
      },
      preHandler: actedFor,
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
      if (!(await endSession(database, { sessionId: session, userId: user }, 'logout')))
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
  const actors = await findActors(database, all)
  const view = (session: Session) => viewSession(session, currentId, actors.get(session.id) ?? null)
  const lives = ({ revokedAt, expiresAt }: Session) => revokedAt === null && expiresAt > now
  return {
    sessions: all.filter(lives).map(view),
    ended: all
      .filter((session) => !lives(session))
      .map((session) => ({
        ...view(session),
        endedAt: (session.revokedAt ?? session.expiresAt).toISOString(),
        reason: session.revokedReason ?? 'expired',
      })),
  }
}

/** Who acts, or acted, in which of these sessions. */
async function findActors(database: Database, sessions: Session[]): Promise<Map<string, SessionView['actor']>> {
  const ids = sessions.map(({ id }) => id)
  const impersonations = await database.impersonation.findMany({ where: { sessionId: { in: ids } } })
  if (impersonations.length === 0) return new Map()
  const users = await database.user.findMany({ where: { id: { in: impersonations.map(({ actorId }) => actorId) } } })
  const nameOf = (id: string) => users.find((user) => user.id === id)?.name ?? null
  return new Map(impersonations.map(({ sessionId, actorId: id }) => [sessionId, { id, name: nameOf(id) }]))
}

function viewSession(session: Session, currentId: string, actor: SessionView['actor']): SessionView {
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
    actor,
  }
}
