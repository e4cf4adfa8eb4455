import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma, Ticket } from '@sallyport/database'
import { toMailbox } from '@sallyport/identity'
import type { FastifyRequest } from 'fastify'
import Type, { type Static } from 'typebox'
import { mailUnavailable } from '../accounts/ask-for-mail.ts'
import { Email, Locale } from '../accounts/fields.ts'
import { findByAddress } from '../accounts/find-by-address.ts'
import { endTickets, issueTicket, reissueTicket } from '../accounts/tickets.ts'
import type { Config } from '../config.ts'
import { record, type SecurityEvent } from '../events/security-events.ts'
import { addMail } from '../mail/queue.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { type AdminGuards, cursorDescription, Id, Limit, pageOf, Roles, userExists } from './fields.ts'

interface Dependencies extends AdminGuards {
  config: Config
  database: Database
  keys: DerivedKeys
}

const InvitationView = Type.Object({
  id: Type.String(),
  email: Type.String(),
  roles: Type.Array(Type.String()),
  locale: Type.Union([Type.String(), Type.Null()]),
  state: Type.String({
    enum: ['open', 'expired', 'accepted', 'withdrawn'],
    description: '`withdrawn` also of one that another took the place of',
  }),
  invitedBy: Type.Union([Type.String(), Type.Null()], { description: 'the id of an admin' }),
  createdAt: Type.String(),
  expiresAt: Type.String(),
  endedAt: Type.Union([Type.String(), Type.Null()], { description: 'when it was accepted or withdrawn' }),
})
type InvitationView = Static<typeof InvitationView>

const tags = ['administration']

const listSchema = {
  operationId: 'listInvitations',
  tags,
  summary: 'The invitations, the newest first, page by page',
  description: 'Each is kept for a day after it has expired, or would have.',
  querystring: Type.Object({
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Type.String({ format: 'uuid', description: cursorDescription })),
  }),
  response: {
    200: Type.Object(
      { invitations: Type.Array(InvitationView), nextCursor: Type.Union([Type.String(), Type.Null()]) },
      { description: 'A page, and where the next begins' },
    ),
  },
}

const inviteSchema = {
  operationId: 'invite',
  tags,
  summary: 'Invite somebody',
  description: 'By a mail whose reader can make an account with these roles, within a week. A newer one replaces it.',
  body: Type.Object({ email: Email, roles: Roles, locale: Type.Optional(Locale) }),
  response: { 201: { ...InvitationView, description: 'The invitation' } },
  problems: {
    401: ['STEP_UP_REQUIRED'],
    403: ['REGISTRATION_CLOSED'],
    409: ['USER_EXISTS'],
    503: ['MAIL_UNAVAILABLE'],
  },
}

const resendSchema = {
  operationId: 'resendInvitation',
  tags,
  summary: 'Send an invitation once more',
  description: 'With another link, which works for a week again. The one before works no more.',
  params: Id,
  response: { 200: { ...InvitationView, description: 'The invitation' } },
  problems: { ...inviteSchema.problems, 404: ['INVITATION_NOT_FOUND'] },
}

const withdrawSchema = {
  operationId: 'withdrawInvitation',
  tags,
  summary: 'Withdraw an invitation',
  params: Id,
  response: { 200: Type.Object({ message: Type.String() }, { description: 'Its link works no more' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['INVITATION_NOT_FOUND'] },
}

/** How admins invite people, who then make their accounts themselves (accounts/register.ts). */
export function invitationRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, admin, fully } = dependencies
  const preHandler = [admin, fully]

  app.get('/api/admin/invitations', { schema: listSchema, preHandler: admin }, async ({ query }) => {
    const { limit = '20', cursor } = query
    const size = Number(limit)
    const found = await database.ticket.findMany({
      where: { purpose: 'invitation' },
      orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
      ...(cursor !== undefined && { cursor: { id: cursor }, skip: 1 }),
      take: size + 1,
    })
    const { rows, nextCursor } = pageOf(found, size)
    return { invitations: rows.map(viewInvitation), nextCursor }
  })

  app.post('/api/admin/invitations', { schema: inviteSchema, preHandler }, async (request, reply) => {
    requireInvitations()
    const { email, ...invitation } = request.body
    const { userId: invitedBy } = request.identity
    const ticket = await invite(database, keys, { ...invitation, email: toMailbox(email) as string, invitedBy })
    await recordFor(request, 'user_invited', ticket.id)
    return reply.code(201).send(viewInvitation(ticket))
  })

  app.post('/api/admin/invitations/:id/resend', { schema: resendSchema, preHandler }, async (request) => {
    requireInvitations()
    const { id } = request.params
    const invitation = await database.$transaction(async (transaction) => {
      // Locked, so that it is not accepted or withdrawn meanwhile. One that has expired is open again.
      await transaction.$executeRaw`SELECT FROM auth.tickets WHERE id = ${id}::uuid FOR UPDATE`
      const found = await transaction.ticket.findUnique({ where: { id, purpose: 'invitation', usedAt: null } })
      if (!found) throw unknownInvitation()
      const { email, locale } = found
      await requireNew(transaction, email)
      const { secrets } = await reissueTicket(transaction, keys, { id, purpose: 'invitation' })
      await mailInvitation(transaction, request.identity.userId, { email, locale, secrets })
      return transaction.ticket.findUniqueOrThrow({ where: { id } })
    })
    await recordFor(request, 'invitation_resent', id)
    return viewInvitation(invitation)
  })

  app.delete('/api/admin/invitations/:id', { schema: withdrawSchema, preHandler }, async (request) => {
    const { id } = request.params
    if ((await endTickets(database, { id, purpose: 'invitation' })) === 0) throw unknownInvitation()
    await recordFor(request, 'invitation_withdrawn', id)
    return { message: 'The invitation is withdrawn' }
  })

  /** @throws 403 REGISTRATION_CLOSED, 503 MAIL_UNAVAILABLE */
  function requireInvitations(): void {
    if (config.registration.kind === 'closed')
      throw new Problem(403, 'REGISTRATION_CLOSED', 'Nobody can be invited here', {
        detail: 'Make the account yourself, or have the operators set REGISTRATION to invite.',
      })
    if (!config.mail) throw mailUnavailable()
  }

  /** Without the address, which is not for what is kept so long. */
  function recordFor({ log, ip, identity }: FastifyRequest, event: SecurityEvent['event'], id: string): Promise<void> {
    return record(database, log, { event, ip, reason: `invitation ${id} by ${identity.userId}` })
  }
}

interface Invitation {
  email: string
  roles: string[]
  locale?: string | null | undefined
  /** The id of an administrator, unless it was at the machine itself. */
  invitedBy?: string | null
}

/**
 * Invites somebody by a mail, in the place of an invitation before.
 *
 * @throws 409 USER_EXISTS
 */
export async function invite(
  database: Database,
  keys: DerivedKeys,
  { email, roles, locale = null, invitedBy = null }: Invitation,
): Promise<Ticket> {
  return database.$transaction(async (transaction) => {
    const ticket = { purpose: 'invitation', subject: email, email, roles, locale, invitedBy } as const
    await requireNew(transaction, email)
    const { id, secrets } = await issueTicket(transaction, keys, ticket)
    await mailInvitation(transaction, invitedBy, { email, locale, secrets })
    return transaction.ticket.findUniqueOrThrow({ where: { id } })
  })
}

async function mailInvitation(
  transaction: Prisma.TransactionClient,
  inviter: string | null,
  { email: to, ...mail }: { email: string; locale: string | null; secrets: string },
): Promise<void> {
  const by = inviter === null ? null : await transaction.user.findUniqueOrThrow({ where: { id: inviter } })
  await addMail(transaction, { template: 'invitation', to, invitedBy: by?.name ?? null, ...mail })
}

/** @throws 409 USER_EXISTS */
async function requireNew(transaction: Prisma.TransactionClient, email: string): Promise<void> {
  if (await findByAddress(transaction, email)) throw userExists()
}

const unknownInvitation = () =>
  new Problem(404, 'INVITATION_NOT_FOUND', 'There is no such invitation', {
    detail: 'It was accepted, withdrawn or replaced.',
  })

export function viewInvitation(ticket: Ticket): InvitationView {
  const { id, email, roles, locale, invitedBy, createdAt, expiresAt, usedAt } = ticket
  return {
    ...{ id, email, roles, locale, invitedBy },
    state: stateOf(ticket),
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    endedAt: usedAt?.toISOString() ?? null,
  }
}

function stateOf({ usedAt, withdrawn, expiresAt }: Ticket): InvitationView['state'] {
  if (usedAt) return withdrawn ? 'withdrawn' : 'accepted'
  return expiresAt > new Date() ? 'open' : 'expired'
}
