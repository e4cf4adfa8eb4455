import type { Application } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type, { type Static } from 'typebox'
import { lastAdmin, unknownUser } from '../admin/fields.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { Notify } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { requestDeletion } from './deletion.ts'
import { AccountExport, exportAccount } from './export.ts'
import { Locale, Name } from './fields.ts'

interface Dependencies {
  config: Config
  database: Database
  refreshTokens: RefreshTokens
  notify: Notify
  signedIn: Guard
  /** Lets pass who acts for the user too. */
  actedFor: Guard
  fully: preHandlerAsyncHookHandler
}

export const Me = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    email: Type.String(),
    role: Type.String(),
    roles: Type.Array(Type.String()),
    locale: Type.Union([Type.String(), Type.Null()], { description: 'the language of mails; null is English' }),
  },
  { description: 'As the database has it now' },
)

const shared = { tags: ['account'], problems: { 404: ['USER_NOT_FOUND'] } }

const exportSchema = {
  operationId: 'exportMe',
  summary: 'Everything that is kept about me',
  tags: ['account'],
  response: { 200: AccountExport },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['USER_NOT_FOUND'] },
}

const deleteSchema = {
  operationId: 'deleteMe',
  summary: 'Delete my account',
  description: 'Every session ends now. The account is erased at `deleteAfter`, unless its user signs in before.',
  tags: ['account'],
  response: {
    202: Type.Object(
      { message: Type.String(), deleteAfter: Type.String({ format: 'date-time' }) },
      { description: 'The account will be erased' },
    ),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['USER_NOT_FOUND'], 409: ['LAST_ADMIN'] },
}

/** What users see and change of their own accounts. */
export function meRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, refreshTokens, notify, signedIn, actedFor, fully } = dependencies

  app.get(
    '/api/auth/me',
    { schema: { operationId: 'me', summary: 'Who I am', response: { 200: Me }, ...shared }, preHandler: actedFor },
    async ({ identity }) => viewMe(found(await database.user.findUnique({ where: { id: identity.userId } }))),
  )

  app.patch(
    '/api/auth/me',
    {
      schema: {
        operationId: 'changeMe',
        summary: 'Change my name or the language of my mails',
        body: Type.Object(
          { name: Type.Optional(Name), locale: Type.Optional(Type.Union([Locale, Type.Null()])) },
          { minProperties: 1 },
        ),
        response: { 200: Me },
        ...shared,
      },
      preHandler: signedIn,
    },
    async ({ identity, body: { name, locale } }) => {
      const data = { ...(name !== undefined && { name: name.trim() }), ...(locale !== undefined && { locale }) }
      const [user] = await database.user.updateManyAndReturn({ where: { id: identity.userId }, data })
      return viewMe(found(user))
    },
  )

  app.get('/api/auth/me/export', { schema: exportSchema, preHandler: [signedIn, fully] }, async (request, reply) => {
    const { userId: user } = request.identity
    const exported = found(await exportAccount(database, user))
    await record(database, request.log, { event: 'account_exported', user, ip: request.ip })
    reply.header('content-disposition', 'attachment; filename="account.json"')
    return exported
  })

  app.delete('/api/auth/me', { schema: deleteSchema, preHandler: [signedIn, fully] }, async (request, reply) => {
    const { userId: user } = request.identity
    const outcome = await requestDeletion(database, user, config.deletionGrace, (transaction, mail) =>
      notify(transaction, { template: 'deletion_requested', ...mail, ...circumstancesOf(request) }),
    )
    if (outcome === 'last_admin') throw lastAdmin()
    const deleteAfter = found(outcome).toISOString()
    await record(database, request.log, { event: 'deletion_requested', user, ip: request.ip })
    refreshTokens.clear(reply)
    reply.header('clear-site-data', '"cache", "storage"')
    return reply.code(202).send({ message: 'Every session has ended, and the account will be erased', deleteAfter })
  })
}

function found<Found>(value: Found | null | undefined): Found {
  if (value == null) throw unknownUser()
  return value
}

export function viewMe({ id, name, email, roles, locale }: User): Static<typeof Me> {
  return { id, name, email, role: roles[0] as string, roles, locale }
}
