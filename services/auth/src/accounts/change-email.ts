import type { Application } from '@sallyport/chassis'
import { type Database, isUniqueViolation, type Prisma, type User } from '@sallyport/database'
import { spellingsOf, toMailbox } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
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
import type { AskForMail } from './ask-for-mail.ts'
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
  fully: preHandlerAsyncHookHandler
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
 * How a user changes the e-mail address: it becomes the new one once the reader of that mailbox confirms it, and for a week
 * the reader of the old one can bring that back.
 */
export function changeEmailRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, notify, askForMail, signedIn, fully } = dependencies
  const onRequest = requireOwnOrigin(config.origins)
  const rateLimit = config.loginRateLimit

  app.post('/api/auth/email', { schema: changeSchema, preHandler: [signedIn, fully] }, async (request, reply) => {
    const { userId: user, sessionId: session } = request.identity
    const email = toMailbox(request.body.email) as string
    await askForMail(request, emailChangeTask, { user, session, email, ...circumstancesOf(request) })
    await record(database, request.log, { event: 'email_change_requested', user, ip: request.ip })
    return reply.code(202).send({ message: 'If the address can be used, a mail to confirm it is on its way' })
  })

  app.post('/api/auth/email/confirm', { schema: confirmSchema, onRequest, config: { rateLimit } }, async (request) => {
    const ticket = await findTicket(database, keys, request.body, ['email_change'])
    const user = await moveAddress(ticket, async (transaction, user) => {
      const { id, name, locale, email: before } = user
      const since = await leftAt(transaction, ticket)
      // The reader of this mailbox could bring it back by the link, too. The address in between may be an attacker's.
      if (since) return bringBack(transaction, request, { user, email: ticket.email, since })
      await endTickets(transaction, { userId: id, purpose: 'password_reset' })
      // One for each address that was left, so that an attacker who goes on changing it takes none away.
      const revert = { purpose: 'email_revert', subject: `${id} ${before}`, email: before, userId: id } as const
      const { secrets } = await issueTicket(transaction, keys, revert)
      const mail = { user: id, to: before, name, locale, newEmail: ticket.email, secrets, ...circumstancesOf(request) }
      await notify(transaction, { template: 'email_changed', ...mail })
    })
    await recordChange(request, 'email_changed', user)
    return { message: 'The e-mail address was changed' }
  })

  app.post('/api/auth/email/revert', { schema: revertSchema, onRequest, config: { rateLimit } }, async (request) => {
    const ticket = await findTicket(database, keys, request.body, ['email_revert'])
    const user = await moveAddress(ticket, (transaction, user) =>
      bringBack(transaction, request, { user, email: ticket.email, since: ticket.createdAt }),
    )
    await recordChange(request, 'email_reverted', user)
    return { message: 'The e-mail address is the one before again, and every session has ended' }
  })

  /** When the user left the mailbox of a ticket, if within the time in which it can be brought back. */
  async function leftAt(transaction: Prisma.TransactionClient, { userId, email }: Ticket): Promise<Date | undefined> {
    const left = await transaction.ticket.findFirst({
      where: { purpose: 'email_revert', userId, email, usedAt: null, expiresAt: { gt: new Date() } },
    })
    return left?.createdAt
  }

  /** Ends what an attacker who changed the address may have: sessions, and what would bring back addresses that came after it. */
  async function bringBack(
    transaction: Prisma.TransactionClient,
    request: FastifyRequest,
    { user: { id, name, locale }, email: to, since }: { user: User; email: string; since: Date },
  ): Promise<void> {
    await endSessionsOf(transaction, id, 'email_reverted')
    await transaction.ticket.updateMany({
      where: { userId: id, purpose: 'email_revert', usedAt: null, createdAt: { gte: since } },
      data: { usedAt: new Date() },
    })
    await notify(transaction, { template: 'email_reverted', user: id, to, name, locale, ...circumstancesOf(request) })
  }

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
        const isOthers = { email: { in: spellingsOf(email) }, id: { not: userId as string } }
        if (!before || (await transaction.user.count({ where: isOthers })) > 0) throw ticketInvalid()
        await transaction.user.update({ where: { id: before.id }, data: { email } })
        await meanwhile(transaction, before)
        return before
      })
    } catch (error) {
      if (isUniqueViolation(error)) throw ticketInvalid()
      throw error
    }
  }
}

interface ChangeRequest extends Circumstances {
  ticketId: string
  user: string
  /** Which asks. */
  session: string
  email: string
}

/**
 * The work that a request to change the address queues. Its user is notified whether the new address can be had or not,
 * which belongs to the user who has an account with it. Nothing comes of it if the session has ended meanwhile: it may have
 * been ended because it was somebody else's.
 */
export async function startEmailChange(
  { ticketId: id, user: userId, session, email, at, ip, device }: ChangeRequest,
  { database, keys }: Pick<Dependencies, 'database' | 'keys'>,
): Promise<void> {
  const ticket = { id, purpose: 'email_change', subject: userId, email, userId } as const
  await database.$transaction(async (transaction) => {
    // What ends the session comes wholly before, or sees the ticket.
    await lockUser(transaction, userId)
    const user = await transaction.user.findUnique({
      where: { id: userId, disabledAt: null, sessions: { some: { id: session, revokedAt: null } } },
    })
    if (!user || !(await mayIssue(transaction, ticket))) return
    const { name, locale, email: to } = user
    const { secrets } = await issueTicket(transaction, keys, ticket)
    await addMail(transaction, {
      template: 'email_change_requested',
      user: userId,
      to,
      name,
      locale,
      newEmail: email,
      at,
      ip,
      device,
    })
    const isTaken = (await findByAddress(transaction, email)) !== undefined
    const mail = { user: userId, to: isTaken ? null : email, name, locale, secrets }
    await addMail(transaction, { template: 'email_change', ...mail })
  })
}
