import { type Application, Problem } from '@sallyport/chassis'
import { type Database, isUniqueViolation, type User } from '@sallyport/database'
import { toMailbox } from '@sallyport/identity'
import Type from 'typebox'
import type { Config, OpenRegistration, Registration } from '../config.ts'
import { record } from '../events/security-events.ts'
import { addMail } from '../mail/queue.ts'
import { NewPassword, requireStrong } from '../passwords/new-password.ts'
import type { Passwords } from '../passwords/passwords.ts'
import { requireOwnOrigin } from '../sessions/own-origin.ts'
import { SignedIn, type SignIn } from '../sessions/sign-in.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { Asked, type AskForMail } from './ask-for-mail.ts'
import { Email, Locale, Name } from './fields.ts'
import { findByAddress } from './find-by-address.ts'
import { lockName } from './lock-user.ts'
import {
  endTickets,
  findTicket,
  issueTicket,
  mayIssue,
  Proof,
  type Ticket,
  ticketInvalid,
  useTicket,
} from './tickets.ts'

interface Dependencies {
  config: Config
  database: Database
  passwords: Passwords
  keys: DerivedKeys
  signIn: SignIn
  askForMail: AskForMail
}

const registerSchema = {
  operationId: 'register',
  tags: ['account'],
  summary: 'Ask for an account',
  description: 'The account is made once whoever reads the mailbox completes the registration.',
  body: Type.Object({ email: Email, locale: Type.Optional(Locale) }),
  response: { 202: Asked },
  problems: { 403: ['ORIGIN_REFUSED', 'REGISTRATION_CLOSED'], 503: ['MAIL_UNAVAILABLE'] },
}

const completeSchema = {
  operationId: 'completeRegistration',
  tags: ['account'],
  summary: 'Make the account that a mail offers',
  description: 'With the ticket of a registration or an invitation, or with the id and the code of a registration.',
  body: Type.Object({ ...Proof.properties, name: Name, password: NewPassword }),
  response: { 200: SignedIn },
  problems: {
    400: ['TICKET_INVALID', 'PASSWORD_WEAK'],
    403: ['ORIGIN_REFUSED', 'REGISTRATION_CLOSED'],
    503: ['LOGIN_BUSY'],
  },
}

export const registrationTask = 'registration'

/** How people make an account by themselves: by their address first, so that nobody prepares one for somebody else. */
export function registerRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, passwords, keys, signIn, askForMail } = dependencies
  const { registration } = config
  const onRequest = requireOwnOrigin(config.origins)

  app.post('/api/auth/register', { schema: registerSchema, onRequest }, async (request, reply) => {
    if (registration.kind !== 'open') throw closed()
    const { email, locale = null } = request.body
    const asked = await askForMail(request, registrationTask, { email: toMailbox(email), locale })
    return reply.code(202).send(asked)
  })

  app.post(
    '/api/auth/register/complete',
    {
      schema: completeSchema,
      onRequest,
      config: { rateLimit: config.loginRateLimit },
    },
    async (request, reply) =>
      passwords.admit(async () => {
        const { name, password, ...proof } = request.body
        const ticket = await findTicket(database, keys, proof, ['registration', 'invitation'])
        const roles = rolesOf(ticket)
        await requireStrong(passwords, password, { email: ticket.email, name })
        const passwordHash = await passwords.hash(password)
        const user = await createAccount(database, ticket, { name: name.trim(), passwordHash, roles })
        await record(database, request.log, {
          event: 'user_created',
          user: user.id,
          ip: request.ip,
          reason: ticket.invitedBy === null ? 'registered' : `invited by ${ticket.invitedBy}`,
        })
        const signedIn = await signIn(request, reply, user, ['pwd'])
        if (!signedIn) throw ticketInvalid()
        return signedIn
      }),
  )

  /** Nobody gets a role by asking: an invitation says them, or the settings do. @throws 403 REGISTRATION_CLOSED */
  function rolesOf({ purpose, roles, email }: Ticket): string[] {
    if (purpose === 'invitation' && registration.kind !== 'closed') return roles
    if (purpose === 'registration' && isOpenTo(registration, email)) return registration.roles
    throw closed()
  }
}

/** Whether somebody with this address may register. Settings may have changed since a mail was sent. */
function isOpenTo(registration: Registration, email: string): registration is OpenRegistration {
  if (registration.kind !== 'open') return false
  return registration.domains?.includes(email.slice(email.lastIndexOf('@') + 1)) !== false
}

const closed = () =>
  new Problem(403, 'REGISTRATION_CLOSED', 'Nobody can register here', { detail: 'An administrator can invite you.' })

interface NewAccount {
  name: string
  passwordHash: string
  roles: string[]
}

/**
 * Makes the account of a ticket, and uses up whatever else was offered to the address.
 *
 * @throws 400 TICKET_INVALID if it was used meanwhile, or the address has an account
 */
async function createAccount(database: Database, ticket: Ticket, account: NewAccount): Promise<User> {
  const { email, locale } = ticket
  try {
    return await database.$transaction(async (transaction) => {
      // Of two tickets for one address the second one waits here, and not for the rows of the first.
      await lockName(transaction, `account ${email}`)
      await useTicket(transaction, ticket.id)
      if (await findByAddress(transaction, email)) throw ticketInvalid()
      await endTickets(transaction, { email })
      return transaction.user.create({ data: { email, locale, ...account } })
    })
  } catch (error) {
    if (isUniqueViolation(error)) throw ticketInvalid()
    throw error
  }
}

interface RegistrationRequest {
  ticketId: string
  email: string
  locale: string | null
}

/**
 * The work that a request to register queues. There is a ticket for an address that has an account, too, which nobody
 * is sent: a code that is tried with it is rejected like any other.
 */
export async function startRegistration(
  { ticketId: id, email, locale }: RegistrationRequest,
  { config, database, keys }: Pick<Dependencies, 'config' | 'database' | 'keys'>,
): Promise<void> {
  if (!isOpenTo(config.registration, email)) return
  const ticket = { id, purpose: 'registration', subject: email, email, locale } as const
  await database.$transaction(async (transaction) => {
    if (!(await mayIssue(transaction, ticket))) return
    const user = await findByAddress(transaction, email)
    const { secrets } = await issueTicket(transaction, keys, ticket)
    if (user)
      await addMail(transaction, {
        template: 'account_exists',
        user: user.id,
        to: user.email,
        name: user.name,
        locale: user.locale ?? locale,
      })
    else await addMail(transaction, { template: 'registration', to: email, locale, secrets })
  })
}
