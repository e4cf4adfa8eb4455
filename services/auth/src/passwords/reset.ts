import type { Application } from '@sallyport/chassis'
import type { Database, Prisma } from '@sallyport/database'
import { toMailbox } from '@sallyport/identity'
import Type from 'typebox'
import { Asked, type AskForMail } from '../accounts/ask-for-mail.ts'
import { Email, Locale } from '../accounts/fields.ts'
import { findByAddress } from '../accounts/find-by-address.ts'
import { lockUser } from '../accounts/lock-user.ts'
import { findTicket, issueTicket, mayIssue, Proof, ticketInvalid, useTicket } from '../accounts/tickets.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { Code } from '../factors/codes.ts'
import { type SecondFactor, SecondFactorProof } from '../factors/second-factor.ts'
import type { Circumstances } from '../mail/mails.ts'
import { addMail, type Notify } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'
import { endSessionsOf } from '../sessions/end.ts'
import type { KnownDevices } from '../sessions/known-devices.ts'
import { requireOwnOrigin } from '../sessions/own-origin.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { setPassword } from './change.ts'
import { NewPassword, requireStrong } from './new-password.ts'
import type { Passwords } from './passwords.ts'
import { unlockUser } from './throttle.ts'

interface Dependencies {
  config: Config
  database: Database
  passwords: Passwords
  keys: DerivedKeys
  devices: KnownDevices
  notify: Notify
  secondFactor: SecondFactor
  askForMail: AskForMail
}

const forgotSchema = {
  operationId: 'forgotPassword',
  tags: ['account'],
  summary: 'Ask for a mail to choose a new password',
  body: Type.Object({ email: Email, locale: Type.Optional(Locale) }),
  response: { 202: Asked },
  problems: { 403: ['ORIGIN_REFUSED'], 503: ['MAIL_UNAVAILABLE'] },
}

const resetSchema = {
  operationId: 'resetPassword',
  tags: ['account'],
  summary: 'Choose a new password by way of a mail',
  description:
    'With the ticket of a mail, or with the id and the code. A user who has a second factor is asked for it, and the call is repeated with it; the ticket stays valid meanwhile.',
  body: Type.Object({
    ...Proof.properties,
    password: NewPassword,
    ...Type.Partial(SecondFactorProof).properties,
    code: Type.Optional(
      Type.String({ maxLength: 200, description: 'of the mail with `ticketId`; else as `factorCode`' }),
    ),
    factorCode: Type.Optional(Code),
  }),
  response: { 200: Type.Object({ message: Type.String() }, { description: 'Every session has ended' }) },
  problems: {
    400: ['TICKET_INVALID', 'PASSWORD_WEAK', 'CHALLENGE_INVALID'],
    401: ['SECOND_FACTOR_REQUIRED'],
    403: ['ORIGIN_REFUSED', 'CODE_WRONG', 'PASSKEY_INVALID', 'PASSKEY_UNKNOWN'],
    503: ['LOGIN_BUSY', 'PASSKEYS_UNAVAILABLE'],
  },
}

export const passwordResetTask = 'password_reset'

/** How a user who has forgotten the password gets another: by way of a mail to the address of the account. */
export function resetRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, passwords, keys, devices, notify, secondFactor, askForMail } = dependencies
  const onRequest = requireOwnOrigin(config.origins)

  app.post('/api/auth/password/forgot', { schema: forgotSchema, onRequest }, async (request, reply) => {
    const { email, locale = null } = request.body
    const asked = { email: toMailbox(email), locale, ...circumstancesOf(request) }
    return reply.code(202).send(await askForMail(request, passwordResetTask, asked))
  })

  app.post(
    '/api/auth/password/reset',
    {
      schema: resetSchema,
      onRequest,
      config: { rateLimit: config.loginRateLimit },
    },
    async (request, reply) =>
      passwords.admit(async () => {
        const { password, challenge, credential, factorCode, ...given } = request.body
        // The link of a mail goes with no code, so that one that comes with it is the factor's.
        const isByLink = given.ticket !== undefined && given.ticketId === undefined
        const { code, ...link } = given
        const proof = isByLink ? link : given
        const { id, userId, email } = await findTicket(database, keys, proof, ['password_reset'])
        // The mail went to what is still the address of the account, and not to one that was left since.
        const findUser = async (from: Prisma.TransactionClient) =>
          userId && (await from.user.findUnique({ where: { id: userId, email, disabledAt: null } }))
        const user = await findUser(database)
        if (!user) throw ticketInvalid()
        const hasFactor = await secondFactor.isRequiredOf(user.id)
        await requireStrong(passwords, password, user, hasFactor)
        if (hasFactor) {
          if (challenge === undefined) throw await secondFactor.ask(user, 'password_reset', id)
          const second = { challenge, credential, code: factorCode ?? (isByLink ? code : undefined) }
          await secondFactor.finish(request, second, 'password_reset', () => 'mail', id)
        }
        const passwordHash = await passwords.hash(password)
        const changed = await database.$transaction(async (transaction) => {
          await lockUser(transaction, user.id)
          await useTicket(transaction, id)
          const now = await findUser(transaction)
          if (!now) throw ticketInvalid()
          const changed = await setPassword(transaction, now.id, passwordHash)
          await endSessionsOf(transaction, now.id, 'password_reset')
          await unlockUser(transaction, keys, changed)
          const about = { user: now.id, to: email, name: now.name, locale: now.locale }
          await notify(transaction, { template: 'password_was_reset', ...about, ...circumstancesOf(request) })
          return changed
        })
        devices.remember(request, reply, changed)
        await record(database, request.log, { event: 'password_reset', user: user.id, ip: request.ip })
        return { message: 'The password was changed, and every session has ended' }
      }),
  )
}

interface ResetRequest extends Circumstances {
  ticketId: string
  email: string
  locale: string | null
}

/**
 * The work that a request for a new password queues. There is a ticket for an address without an account, too, and a
 * mail that nobody is sent: a code that is tried with it is rejected like any other, and what is asked of this process
 * meanwhile takes as long.
 */
export async function startPasswordReset(
  { ticketId: id, email, locale, at, ip, device }: ResetRequest,
  { database, keys }: Pick<Dependencies, 'database' | 'keys'>,
): Promise<void> {
  const asked = { id, purpose: 'password_reset', subject: email, locale } as const
  await database.$transaction(async (transaction) => {
    if (!(await mayIssue(transaction, { ...asked, email }))) return
    const found = await findByAddress(transaction, email)
    const user = found?.disabledAt === null ? found : undefined
    // To the address as it is kept, which is the one that was confirmed.
    const to = user?.email ?? email
    const { secrets } = await issueTicket(transaction, keys, { ...asked, email: to, userId: user?.id ?? null })
    await addMail(transaction, {
      template: 'password_reset',
      user: user?.id,
      to: user ? to : null,
      name: user?.name ?? '',
      locale: user?.locale ?? locale,
      secrets,
      at,
      ip,
      device,
    })
  })
}
