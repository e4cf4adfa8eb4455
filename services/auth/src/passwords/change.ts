import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma, User } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'
import { lockUser } from '../accounts/lock-user.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { addMail } from '../mail/queue.ts'
import { describeDevice } from '../sessions/device.ts'
import { endSessionsOf } from '../sessions/end.ts'
import type { Passwords } from './passwords.ts'
import { longest, shortest } from './policy.ts'

interface Dependencies {
  config: Config
  database: Database
  passwords: Passwords
  signedIn: Guard
}

const schema = {
  operationId: 'changePassword',
  tags: ['account'],
  summary: 'Change my password',
  body: Type.Object({
    currentPassword: Type.String({ minLength: 1, format: 'password', description: 'at most 1024 characters' }),
    newPassword: Type.String({
      format: 'new-password',
      description: `${shortest} to ${longest} characters, counted as code points after normalization to NFC`,
    }),
  }),
  response: { 200: Type.Object({ message: Type.String() }, { description: 'Every other session has ended' }) },
  problems: { 400: ['PASSWORD_WEAK'], 403: ['PASSWORD_WRONG'], 503: ['LOGIN_BUSY'] },
}

/** What is wrong with a new password. */
const weak = {
  guessable: new Problem(400, 'PASSWORD_WEAK', 'The new password is too easy to guess', {
    detail: 'It is a usual one, a pattern, or made of your name or e-mail address. A few words of your own are good.',
  }),
  breached: new Problem(400, 'PASSWORD_WEAK', 'The new password has leaked', {
    detail: 'It is known from a data breach, so attackers try it. A few words that you use nowhere else are good.',
  }),
}

/** Changes the caller's password, given the present one, and ends every session but the caller's own. */
export function changePasswordRoute(app: Application, { config, database, passwords, signedIn }: Dependencies): void {
  app.post(
    '/api/auth/password',
    {
      schema,
      preHandler: signedIn,
      config: { rateLimit: { max: config.loginsPerMinute, timeWindow: '1 minute', ipv6Subnet: 64 } },
    },
    async (request) =>
      passwords.admit(async () => {
        const { userId, sessionId: session } = request.identity
        const { currentPassword, newPassword } = request.body
        if (newPassword.normalize('NFC') === currentPassword.normalize('NFC'))
          throw new Problem(400, 'PASSWORD_WEAK', 'The new password must be another one')

        const user = await database.user.findUnique({ where: { id: userId } })
        const weakness = user && (await passwords.weaknessOf(newPassword, user))
        if (weakness) throw weak[weakness]
        const verdict = await passwords.verify(user?.passwordHash, currentPassword)
        const matches = verdict === 'right' || verdict === 'outdated'
        const to = matches ? await passwords.hash(newPassword) : ''
        const from = user?.passwordHash ?? ''
        const happened = { user: userId, session, ip: request.ip }
        const device = describeDevice(request.headers['user-agent'])
        const tell: Tell = (transaction, { email, name }) =>
          addMail(transaction, {
            template: 'password_changed',
            to: email,
            name,
            at: new Date(),
            ip: request.ip,
            device,
          })
        const change = { id: userId, from, to, keep: session, tell: config.mail && tell }
        if (!matches || !(await changePassword(database, change))) {
          const reason = verdict === 'unreadable' ? 'the stored hash is none of ours' : 'wrong password'
          await record(database, request.log, { event: 'password_refused', reason, ...happened })
          throw new Problem(403, 'PASSWORD_WRONG', 'The current password is not right')
        }
        await record(database, request.log, { event: 'password_changed', ...happened })
        return { message: 'The password was changed, and every other session has ended' }
      }),
  )
}

type Tell = (transaction: Prisma.TransactionClient, user: User) => Promise<unknown>

interface Change {
  id: string
  from: string
  to: string
  keep: string
  /** Queues the mail that tells the user, if mail is sent. */
  tell?: Tell | undefined
}

/**
 * Sets a new password, provided that the stored hash is still the one that the old password was checked against, and
 * ends every other session of the user: a client that signed in with the old password is signed out.
 *
 * @returns whether it was set
 */
export async function changePassword(database: Database, { id, from, to, keep, tell }: Change): Promise<boolean> {
  return database.$transaction(async (transaction) => {
    await lockUser(transaction, id)
    const user = await transaction.user.findUnique({ where: { id } })
    if (user?.passwordHash !== from) return false
    await transaction.user.update({ where: { id }, data: { passwordHash: to } })
    await endSessionsOf(transaction, id, 'password_changed', keep)
    await tell?.(transaction, user)
    return true
  })
}
