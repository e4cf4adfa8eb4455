import { type Application, Problem } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { mailUnavailable } from '../accounts/ask-for-mail.ts'
import { requestDeletion } from '../accounts/deletion.ts'
import { lockUser } from '../accounts/lock-user.ts'
import { endTickets } from '../accounts/tickets.ts'
import type { Config } from '../config.ts'
import { record, type SecurityEvent } from '../events/security-events.ts'
import { PasskeyView, viewPasskey } from '../factors/passkeys.ts'
import { resetFactors } from '../factors/reset.ts'
import type { Notify } from '../mail/queue.ts'
import { unlockUser } from '../passwords/throttle.ts'
import { circumstancesOf } from '../sessions/device.ts'
import { endAllSessions, endSession } from '../sessions/end.ts'
import { Sessions, sessionsOf } from '../sessions/own-sessions.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { type AdminGuards, Id, lastAdmin, unknownUser } from './fields.ts'
import { mailPassword } from './password-mail.ts'
import { detailsOf, UserDetails } from './user-details.ts'

interface Dependencies extends AdminGuards {
  config: Config
  database: Database
  keys: DerivedKeys
  notify: Notify
}

const Message = Type.Object({ message: Type.String() })
const shared = { tags: ['administration'], params: Id }
const unknown = { 404: ['USER_NOT_FOUND'] }
const changing = { ...unknown, 401: ['STEP_UP_REQUIRED'] }

const detailsSchema = {
  ...shared,
  operationId: 'getUser',
  summary: 'A user',
  response: {
    200: { ...UserDetails, description: 'The user, and how they use the account' },
  },
  problems: unknown,
}

const sessionsSchema = {
  ...shared,
  operationId: 'listSessionsOfUser',
  summary: 'The sessions of a user',
  response: { 200: Sessions },
  problems: unknown,
}

const endSchema = {
  ...shared,
  operationId: 'endSessionsOfUser',
  summary: 'End every session of a user',
  response: { 200: { ...Message, description: 'How many have ended' } },
  problems: changing,
}

const endOneSchema = {
  ...shared,
  operationId: 'endSessionOfUser',
  summary: 'End one session of a user',
  params: Type.Object({ ...Id.properties, sessionId: Type.String({ format: 'uuid' }) }),
  response: { 200: { ...Message, description: 'It has ended' } },
  problems: { ...changing, 404: ['USER_NOT_FOUND', 'SESSION_NOT_FOUND'] },
}

const listFactorsSchema = {
  ...shared,
  operationId: 'listFactorsOfUser',
  summary: 'With what a user signs in, beside the password',
  response: {
    200: Type.Object(
      {
        totp: Type.Union([Type.Object({ createdAt: Type.String() }), Type.Null()], {
          description: 'an authenticator app',
        }),
        passkeys: Type.Array(PasskeyView),
        recoveryCodesLeft: Type.Integer(),
      },
      { description: 'The factors; nothing that could be used as one' },
    ),
  },
  problems: unknown,
}

const passwordSchema = {
  ...shared,
  operationId: 'sendPasswordReset',
  summary: 'Send a user a mail to choose a password',
  description: 'Until the user chooses another, the password stays as it is, and so do the sessions.',
  response: { 202: { ...Message, description: 'A mail is on its way' } },
  problems: { ...changing, 409: ['USER_DISABLED'], 503: ['MAIL_UNAVAILABLE'] },
}

const unlockSchema = {
  ...shared,
  operationId: 'unlockUser',
  summary: 'Forget the wrong passwords that came for a user',
  description: 'After too many of them no password from a device that is not known to the user is even tried.',
  response: { 200: { ...Message, description: 'The next password is tried, wherever it comes from' } },
  problems: changing,
}

const factorsSchema = {
  ...shared,
  operationId: 'resetFactors',
  summary: 'Take the second factors of a user away',
  description:
    'For somebody who has lost them and the recovery codes. Every session ends, and the user is notified by mail.',
  response: { 200: { ...Message, description: 'The password alone signs in again' } },
  problems: { ...changing, 409: ['FACTOR_MISSING'] },
}

const deleteSchema = {
  ...shared,
  operationId: 'deleteUser',
  summary: 'Delete a user',
  description:
    'Every session ends now, and the user is disabled. The account is erased at `deleteAfter`, unless the user is enabled before. Of yourself it is as `DELETE /api/auth/me`.',
  response: {
    202: Type.Object(
      { message: Type.String(), deleteAfter: Type.String({ format: 'date-time' }) },
      { description: 'The account will be erased' },
    ),
  },
  problems: { ...changing, 409: ['LAST_ADMIN'] },
}

/** What an admin sees of one user, and does to them. */
export function oneUserRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, notify, admin, fully } = dependencies
  const preHandler = [admin, fully]

  app.get('/api/admin/users/:id', { schema: detailsSchema, preHandler: admin }, async ({ params }) =>
    detailsOf(database, await find(params.id)),
  )

  app.get(
    '/api/admin/users/:id/sessions',
    { schema: sessionsSchema, preHandler: admin },
    async ({ params, identity }) => {
      const { id } = await find(params.id)
      return sessionsOf(database, id, identity.sessionId)
    },
  )

  app.delete('/api/admin/users/:id/sessions', { schema: endSchema, preHandler }, async (request) => {
    const { id } = await find(request.params.id)
    const count = await endAllSessions(database, id, 'revoked_by_admin')
    await recordFor(request, id, 'sessions_ended', `revoked_by_admin ${request.identity.userId}`)
    return { message: `${count} sessions have ended` }
  })

  app.delete('/api/admin/users/:id/sessions/:sessionId', { schema: endOneSchema, preHandler }, async (request) => {
    const { id, sessionId } = request.params
    await find(id)
    // Who had it may have asked for more.
    await endTickets(database, { userId: id, purpose: 'email_change' })
    if (!(await endSession(database, { sessionId, userId: id }, 'revoked_by_admin')))
      throw new Problem(404, 'SESSION_NOT_FOUND', 'The user has no such session')
    await recordFor(request, id, 'session_ended', `revoked_by_admin ${request.identity.userId}`, sessionId)
    return { message: 'The session has ended' }
  })

  app.get('/api/admin/users/:id/factors', { schema: listFactorsSchema, preHandler: admin }, async ({ params }) => {
    const where = { userId: (await find(params.id)).id }
    const [totp, passkeys, recoveryCodesLeft] = await Promise.all([
      database.totp.findUnique({ where, select: { createdAt: true } }),
      database.passkey.findMany({ where, orderBy: { createdAt: 'asc' } }),
      database.recoveryCode.count({ where }),
    ])
    return {
      totp: totp && { createdAt: totp.createdAt.toISOString() },
      passkeys: passkeys.map(viewPasskey),
      recoveryCodesLeft,
    }
  })

  app.post('/api/admin/users/:id/password-reset', { schema: passwordSchema, preHandler }, async (request, reply) => {
    if (!config.mail) throw mailUnavailable()
    const { id } = request.params
    await database.$transaction(async (transaction) => {
      await lockUser(transaction, id)
      const user = await transaction.user.findUnique({ where: { id } })
      if (!user) throw unknownUser()
      if (user.disabledAt)
        throw new Problem(409, 'USER_DISABLED', 'The user is disabled', {
          detail: 'The link would not work. Enable the user first.',
        })
      await mailPassword(transaction, keys, user)
    })
    await recordFor(request, id, 'password_reset_sent')
    return reply.code(202).send({ message: 'A mail to choose a password is on its way' })
  })

  app.post('/api/admin/users/:id/unlock', { schema: unlockSchema, preHandler }, async (request) => {
    const user = await find(request.params.id)
    await unlockUser(database, keys, user)
    await recordFor(request, user.id, 'user_unlocked')
    return { message: 'The wrong passwords are forgotten' }
  })

  app.post('/api/admin/users/:id/factors/reset', { schema: factorsSchema, preHandler }, async (request) => {
    const { id } = request.params
    const missing = await resetFactors(database, id, notify)
    if (missing === 'no user') throw unknownUser()
    if (missing === 'no factor') throw new Problem(409, 'FACTOR_MISSING', 'The user has no second factor')
    await recordFor(request, id, 'factors_reset')
    return { message: 'The user has no second factor any more, and every session has ended' }
  })

  app.delete('/api/admin/users/:id', { schema: deleteSchema, preHandler }, async (request, reply) => {
    const { id } = request.params
    const askedBy = id === request.identity.userId ? null : request.identity.userId
    const outcome = await requestDeletion(
      database,
      id,
      config.deletionGrace,
      (transaction, mail) =>
        notify(
          transaction,
          askedBy
            ? { template: 'deletion_by_admin', ...mail }
            : { template: 'deletion_requested', ...mail, ...circumstancesOf(request) },
        ),
      askedBy,
    )
    if (!outcome) throw unknownUser()
    if (outcome === 'last_admin') throw lastAdmin()
    await recordFor(request, id, 'deletion_requested')
    const deleteAfter = outcome.toISOString()
    return reply.code(202).send({ message: 'Every session has ended, and the account will be erased', deleteAfter })
  })

  /** @throws 404 USER_NOT_FOUND */
  async function find(id: string): Promise<User> {
    const user = await database.user.findUnique({ where: { id } })
    if (!user) throw unknownUser()
    return user
  }

  function recordFor(
    { log, ip, identity }: FastifyRequest,
    user: string,
    event: SecurityEvent['event'],
    reason = `by ${identity.userId}`,
    session?: string,
  ): Promise<void> {
    return record(database, log, { event, user, session, ip, reason })
  }
}
