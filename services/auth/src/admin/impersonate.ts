import { randomUUID } from 'node:crypto'
import { type Application, ownCallers, Problem, storable } from '@sallyport/chassis'
import type { Database, Prisma, User } from '@sallyport/database'
import type { Actor, Identity } from '@sallyport/identity'
import { type Guard, requireIdentity, requireRole } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { Notify } from '../mail/queue.ts'
import { refuseActors } from '../sessions/acting.ts'
import { circumstancesOf } from '../sessions/device.ts'
import { sessionsEnded } from '../sessions/metrics.ts'
import type { AccessTokens } from '../tokens/access.ts'
import { Id, unknownUser } from './fields.ts'

/** How long somebody acts as somebody else at most, in seconds. */
export const longestImpersonation = 900

const startSchema = {
  operationId: 'impersonate',
  tags: ['administration'],
  summary: 'Sign in as a user',
  description:
    'For holders of IMPERSONATION_ROLES. The token lasts for 15 minutes and no longer than the own session, cannot be refreshed, and is refused by every call that changes the account or is for admins. The user is notified by mail, and sees the session among theirs.',
  params: Id,
  body: Type.Object({
    reason: Type.String({
      minLength: 1,
      maxLength: 500,
      format: 'name',
      pattern: storable,
      description: 'why, on one line; kept with the event, and in the mail to the user',
    }),
  }),
  response: {
    200: Type.Object(
      {
        accessToken: Type.String(),
        expiresIn: Type.Integer({ description: 'in seconds' }),
        user: Type.Object({
          id: Type.String(),
          email: Type.String(),
          name: Type.String(),
          roles: Type.Array(Type.String()),
        }),
      },
      { description: 'A token as the user' },
    ),
  },
  problems: {
    401: ['STEP_UP_REQUIRED'],
    403: ['ROLE_REQUIRED', 'IMPERSONATION_REFUSED'],
    404: ['USER_NOT_FOUND'],
    409: ['USER_DISABLED'],
  },
}

const stopSchema = {
  operationId: 'stopImpersonation',
  tags: ['administration'],
  summary: 'No longer act as a user',
  description: 'With the token of `impersonate`, which is refused from then on.',
  response: { 200: Type.Object({ message: Type.String() }, { description: 'The session has ended' }) },
  problems: { 404: ['IMPERSONATION_NOT_FOUND'] },
}

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
  notify: Notify
  /** Lets users pass, and who acts for them. */
  actedFor: Guard
  fully: preHandlerAsyncHookHandler
}

/** The guard of those who may sign in as others; nobody, unless roles are named. */
export function createMayImpersonate({ trust, impersonationRoles }: Config): Guard {
  if (impersonationRoles.length > 0) return refuseActors(ownCallers(requireRole(impersonationRoles, trust)))
  const signedIn = requireIdentity(trust)
  return async (request) => {
    await signedIn(request)
    throw new Problem(403, 'IMPERSONATION_REFUSED', 'Nobody may sign in as somebody else here', {
      detail: 'The operators have not set IMPERSONATION_ROLES.',
    })
  }
}

/** How somebody who helps a user sees what the user sees, without being taken for the user. */
export function impersonationRoutes(
  app: Application,
  { config, database, accessTokens, notify, mayImpersonate, actedFor, fully }: Dependencies & { mayImpersonate: Guard },
): void {
  const preHandler = [mayImpersonate, fully]

  // Each one is a mail.
  const options = { schema: startSchema, preHandler, config: { rateLimit: config.loginRateLimit } }
  app.post('/api/admin/users/:id/impersonate', options, async (request) => {
    const { params, body, identity, log, ip, headers } = request
    const reason = body.reason.trim()
    const started = await database.$transaction(async (transaction) => {
      const user = await lock(transaction, params.id)
      // Locked too: if the own roles change meanwhile, either this sees it, or what ends with them is there to be ended.
      const { name: by, roles: ownRoles } = await lock(transaction, identity.userId)
      if (ownRoles.join() !== identity.roles.join()) throw new Problem(401, 'TOKEN_STALE', 'The roles have changed')
      requireAllowed(user, identity)
      const session = await open(transaction, user, identity, { reason, ip, userAgent: headers['user-agent'] })
      const { id, email, name, locale } = user
      const mail = { template: 'impersonated', user: id, to: email, name, locale, by, reason } as const
      await notify(transaction, { ...mail, ...circumstancesOf(request) })
      return { user, ...session }
    })
    const { user, sessionId, expiresAt } = started
    const { id, email, name, roles } = user
    const act: Actor = { sub: identity.userId, sid: identity.sessionId }
    const happened = { event: 'impersonation_started', user: id, session: sessionId, act, ip } as const
    await record(database, log, { ...happened, reason: `${reason} by ${identity.userId}` })
    const { token: accessToken, expiresIn } = accessTokens.issue({
      identity: { caller: 'user', userId: id, email, role: roles[0] as string, roles, sessionId, act },
      lifetime: longestImpersonation,
      endsBy: expiresAt,
    })
    return { accessToken, expiresIn, user: { id, email, name, roles } }
  })

  app.delete('/api/auth/impersonation', { schema: stopSchema, preHandler: actedFor }, async (request) => {
    const { sessionId: session, userId: user, act } = request.identity
    // Of an exchanged token the session may be the user's own.
    const ended = await database.$executeRaw`
      UPDATE auth.sessions SET revoked_at = now(), revoked_reason = 'impersonation_ended'
      WHERE id = ${session}::uuid AND revoked_at IS NULL
        AND EXISTS (SELECT FROM auth.impersonations WHERE session_id = ${session}::uuid AND actor_id::text = ${act?.sub})`
    if (ended === 0) throw new Problem(404, 'IMPERSONATION_NOT_FOUND', 'Nobody acts in this session')
    sessionsEnded.inc({ reason: 'impersonation_ended' }, ended)
    request.log.warn({ event: 'impersonation_ended', user, session, act, ip: request.ip })
    return { message: 'The session has ended' }
  })

  /** No admin, and none of those who may do the same: nobody gets more rights by it than they have. */
  function requireAllowed(user: User, { userId }: Identity): void {
    const tooMuch = ['admin', ...config.impersonationRoles]
    if (user.id === userId || user.roles.some((role) => tooMuch.includes(role)))
      throw new Problem(403, 'IMPERSONATION_REFUSED', 'Nobody may sign in as this user', {
        detail: 'Not as oneself, and not as an admin or as somebody who may sign in as others.',
      })
    if (user.disabledAt) throw new Problem(409, 'USER_DISABLED', 'The user is disabled')
  }
}

/** @throws 404 USER_NOT_FOUND */
async function lock(transaction: Prisma.TransactionClient, id: string): Promise<User> {
  await transaction.$executeRaw`SELECT FROM auth.users WHERE id = ${id}::uuid FOR SHARE`
  const user = await transaction.user.findUnique({ where: { id } })
  if (!user) throw unknownUser()
  return user
}

/**
 * Opens a session of the user's in which somebody else acts. It ends with theirs, which is locked: if that ends meanwhile,
 * this one ends with it. It was never proved by anybody, so that nothing that wants a recent sign-in is open to it.
 */
async function open(
  transaction: Prisma.TransactionClient,
  user: User,
  { userId: actorId, sessionId: actorSessionId }: Identity,
  { reason, ip, userAgent = null }: { reason: string; ip: string; userAgent?: string | null | undefined },
): Promise<{ sessionId: string; expiresAt: number }> {
  const sessionId = randomUUID()
  const [opened] = await transaction.$queryRaw<{ expiresAt: number }[]>`
    WITH own AS (
      SELECT expires_at FROM auth.sessions
      WHERE id = ${actorSessionId}::uuid AND user_id = ${actorId}::uuid AND revoked_at IS NULL AND expires_at > now()
      FOR SHARE
    )
    INSERT INTO auth.sessions
      (id, user_id, user_agent, ip, amr, authenticated_at, expires_at, absolute_expires_at)
    SELECT ${sessionId}::uuid, ${user.id}::uuid, ${userAgent}, ${ip}, '{}', to_timestamp(0), ends, ends
    FROM (SELECT least(now() + ${longestImpersonation} * interval '1 second', expires_at) AS ends FROM own) AS limits
    RETURNING floor(extract(epoch FROM expires_at))::float8 AS "expiresAt"`
  if (!opened) throw new Problem(401, 'SESSION_ENDED', 'The session has ended')
  await transaction.impersonation.create({ data: { sessionId, actorId, actorSessionId, reason } })
  return { sessionId, ...opened }
}
