import type { Application } from '@sallyport/chassis'
import { type Database, isUniqueViolation, type Prisma } from '@sallyport/database'
import { toMailbox } from '@sallyport/identity'
import Type from 'typebox'
import { mailUnavailable } from '../accounts/ask-for-mail.ts'
import { Email, Locale, Name } from '../accounts/fields.ts'
import { findByAddress } from '../accounts/find-by-address.ts'
import { endTickets } from '../accounts/tickets.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { type AdminGuards, Roles, userExists } from './fields.ts'
import { mailPassword } from './password-mail.ts'
import { UserView, viewUser } from './user-view.ts'

interface Dependencies extends AdminGuards {
  config: Config
  database: Database
  keys: DerivedKeys
}

const schema = {
  operationId: 'createUser',
  tags: ['administration'],
  summary: 'Make an account for somebody',
  description: 'It has no password: a mail lets its user choose one within a week.',
  body: Type.Object({ email: Email, name: Name, roles: Roles, locale: Type.Optional(Locale) }),
  response: { 201: { ...UserView, description: 'The user' } },
  problems: { 401: ['STEP_UP_REQUIRED'], 409: ['USER_EXISTS'], 503: ['MAIL_UNAVAILABLE'] },
}

/** How an admin makes an account. An invitation leaves it to the person whether there is to be one. */
export function createUserRoute(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, admin, fully } = dependencies

  app.post('/api/admin/users', { schema, preHandler: [admin, fully] }, async (request, reply) => {
    if (!config.mail) throw mailUnavailable()
    const { email, name, roles, locale = null } = request.body
    const account = { email: toMailbox(email) as string, name: name.trim(), roles, locale, passwordHash: noPassword }
    const user = await create(account)
    const reason = `by ${request.identity.userId}`
    await record(database, request.log, { event: 'user_created', user: user.id, ip: request.ip, reason })
    return reply.code(201).send(viewUser(user))
  })

  /** @throws 409 USER_EXISTS */
  async function create(account: Prisma.UserCreateInput) {
    try {
      return await database.$transaction(async (transaction) => {
        if (await findByAddress(transaction, account.email)) throw userExists()
        const user = await transaction.user.create({ data: account })
        await endTickets(transaction, { email: user.email })
        await mailPassword(transaction, keys, user)
        return user
      })
    } catch (error) {
      if (isUniqueViolation(error)) throw userExists()
      throw error
    }
  }
}
