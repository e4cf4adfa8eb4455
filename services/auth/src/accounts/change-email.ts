import type { Application } from '@sallyport/chassis'
import { type Database, Prisma, type User } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import { toMailbox } from '@sallyport/identity'
import type { FastifyRequest, preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { Circumstances } from '../mail/mails.ts'
import { addMail, type Notify } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'
import { endSessionsOf } from '../sessions/end.ts'
import { requireOwnOrigin } from '../sessions/own-origin.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import type { AskForMail } from './asked.ts'
import { Email } from './fields.ts'
import { findByAddress } from './find-by-address.ts'
import { lockUser } from './lock-user.ts'
import { endTickets, findTicket, issueTicket, mayIssue, type Ticket, ticketInvalid, useTicket } from './tickets.ts'

interface Dependencies {
  config: Config
  database: Database
  keys: DerivedKeys
  notify: Notify
  askForMail: AskForMail
  signedIn: Guard
  signedInRecently: preHandlerAsyncHookHandler
}

const changeSchema = {
  operationId: 'changeEmail',
  tags: ['account'],
  summary: 'Ask for another e-mail address',
  body: Type.Object({ email: Email }),
  response: { 202: Type.Object({ message: Type.String() }, { description: 'A mail went to the new address' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 503: ['MAIL_UNAVAILABLE'] },
}

const byTicket = (operationId: string, summary: string, description: string) => ({
  operationId,
  tags: ['account'],
  summary,
  body: Type.Object({ ticket: Type.String({ maxLength: 200 }) }),
  response: { 200: Type.Object({ message: Type.String() }, { description }) },
  problems: { 400: ['TICKET_INVALID'], 403: ['ORIGIN_REFUSED'] },
})
const confirmSchema = byTicket('confirmEmail', 'Confirm another e-mail address', 'It is the address of the account now')
const revertSchema = byTicket(
  'revertEmail',
  'Bring an e-mail address back that was changed',
  'It is the address of the account again, and every session has ended',
)

export const emailChangeTask = 'email_change'

/**
 * How a user changes the e-mail address: it becomes the new one once whoever reads that mailbox confirms it, and for a week
 * whoever reads the old one can bring that back.
 */
export function changeEmailRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, notify, askForMail, signedIn, signedInRecently } = dependencies
  const onRequest = requireOwnOrigin(config.origins)
  const rateLimit = { max: config.loginsPerMinute, timeWindow: '1 minute', ipv6Subnet: 64 }

  app.post(
    '/api/auth/email',
    { schema: changeSchema, preHandler: [signedIn, signedInRecently] },
    async (request, reply) => {
      const { userId: user } = request.identity
      const email = toMailbox(request.body.email) as string
      await askForMail(request, emailChangeTask, { user, email, ...circumstancesOf(request) })
      await record(database, request.log, { event: 'email_change_requested', user, ip: request.ip })
      return reply.code(202).send({ message: 'If the address can be used, a mail to confirm it is on its way' })
    },
  )

  app.post('/api/auth/email/confirm', { schema: confirmSchema, onRequest, config: { rateLimit } }, async (request) => {
    const ticket = await findTicket(database, keys, request.body, ['email_change'])
    const user = await moveAddress(ticket, async (transaction, { id, name, locale, email: before }) => {
      await endTickets(transaction, { userId: id, purpose: 'password_reset' })
      // One for each address that was left, so that a thief who goes on changing it takes none away.
      const revert = { purpose: 'email_revert', subject: `${id} ${before}`, email: before, userId: id } as const
      const { secrets } = await issueTicket(transaction, keys, revert)
      const mail = { to: before, name, locale, newEmail: ticket.email, secrets, ...circumstancesOf(request) }
      await notify(transaction, { template: 'email_changed', ...mail })
    })
    await recordChange(request, 'email_changed', user)
    return { message: 'The e-mail address was changed' }
  })

  app.post('/api/auth/email/revert', { schema: revertSchema, onRequest, config: { rateLimit } }, async (request) => {
    const ticket = await findTicket(database, keys, request.body, ['email_revert'])
    const user = await moveAddress(ticket, async (transaction, { id, name, locale }) => {
      await endSessionsOf(transaction, id, 'email_reverted')
      for (const purpose of ['password_reset', 'email_change'] as const)
        await endTickets(transaction, { userId: id, purpose })
      // Those of addresses that came after this one are a thief's, if anybody's.
      await transaction.ticket.updateMany({
        where: { userId: id, purpose: 'email_revert', usedAt: null, createdAt: { gte: ticket.createdAt } },
        data: { usedAt: new Date() },
      })
      await notify(transaction, {
        template: 'email_reverted',
        to: ticket.email,
        name,
        locale,
        ...circumstancesOf(request),
      })
    })
    await recordChange(request, 'email_reverted', user)
    return { message: 'The e-mail address is the one before again, and every session has ended' }
  })

  const recordChange = (request: FastifyRequest, event: 'email_changed' | 'email_reverted', { id: user }: User) =>
    record(database, request.log, { event, user, ip: request.ip })

  /**
   * Makes the mailbox of a ticket the address of its user.
   *
   * @param meanwhile is done in the same transaction, with the user as before
   * @throws 400 TICKET_INVALID if it was used meanwhile, the user is disabled, or the address is another user's
   */
  async function moveAddress(
    { id, userId, email }: Ticket,
    meanwhile: (transaction: Prisma.TransactionClient, before: User) => Promise<void>,
  ): Promise<User> {
    try {
      return await database.$transaction(async (transaction) => {
        await lockUser(transaction, userId as string)
        await useTicket(transaction, id)
        const before = await transaction.user.findUnique({ where: { id: userId as string, disabledAt: null } })
        const holder = await findByAddress(transaction, email)
        if (!before || (holder && holder.id !== userId)) throw ticketInvalid()
        await transaction.user.update({ where: { id: before.id }, data: { email } })
        await meanwhile(transaction, before)
        return before
      })
    } catch (error) {
      if (error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002') throw ticketInvalid()
      throw error
    }
  }
}

interface ChangeRequest extends Circumstances {
  ticketId: string
  user: string
  email: string
}

/**
 * The work that a request to change the address queues. Its user is notified whether the new address can be had or not,
 * which belongs to whoever has an account with it.
 */
export async function startEmailChange(
  { ticketId: id, user: userId, email, at, ip, device }: ChangeRequest,
  { database, keys }: Pick<Dependencies, 'database' | 'keys'>,
): Promise<void> {
  const ticket = { id, purpose: 'email_change', subject: userId, email, userId } as const
  await database.$transaction(async (transaction) => {
    const user = await transaction.user.findUnique({ where: { id: userId, disabledAt: null } })
    if (!user || !(await mayIssue(transaction, ticket))) return
    const { name, locale, email: to } = user
    const { secrets } = await issueTicket(transaction, keys, ticket)
    await addMail(transaction, {
      template: 'email_change_requested',
      to,
      name,
      locale,
      newEmail: email,
      at,
      ip,
      device,
    })
    if (!(await findByAddress(transaction, email)))
      await addMail(transaction, { template: 'email_change', to: email, name, locale, secrets })
  })
}
