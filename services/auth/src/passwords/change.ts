import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma, User } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import { lockUser } from '../accounts/lock-user.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { SecondFactor } from '../factors/second-factor.ts'
import type { Notify } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'
import { endSessionsOf } from '../sessions/end.ts'
import type { KnownDevices } from '../sessions/known-devices.ts'
import { NewPassword, requireStrong } from './new-password.ts'
import type { Passwords, Verdict } from './passwords.ts'
import { bucketOfSession, clearFailures, type Throttle, waitAfterFailures } from './throttle.ts'

interface Dependencies {
  config: Config
  database: Database
  passwords: Passwords
  throttle: Throttle
  devices: KnownDevices
  notify: Notify
  secondFactor: SecondFactor
  signedIn: Guard
  fully: preHandlerAsyncHookHandler
}

const schema = {
  operationId: 'changePassword',
  tags: ['account'],
  summary: 'Change my password',
  body: Type.Object({
    currentPassword: Type.String({ minLength: 1, format: 'password', description: 'at most 1024 characters' }),
    newPassword: NewPassword,
  }),
  response: { 200: Type.Object({ message: Type.String() }, { description: 'Every other session has ended' }) },
  problems: { 400: ['PASSWORD_WEAK'], 401: ['STEP_UP_REQUIRED'], 403: ['PASSWORD_WRONG'], 503: ['LOGIN_BUSY'] },
}

const reasons: Partial<Record<Verdict | 'throttled', string>> = {
  unreadable: 'the stored hash is none of ours',
  throttled: 'throttled',
}

/** Changes the caller's password, given the present one, and ends every session but the caller's own. */
export function changePasswordRoute(
  app: Application,
  { config, database, passwords, throttle, devices, notify, secondFactor, signedIn, fully }: Dependencies,
): void {
  app.post(
    '/api/auth/password',
    {
      schema,
      preHandler: [signedIn, fully],
      config: { rateLimit: config.loginRateLimit },
    },
    async (request, reply) =>
      throttle.admit(request.identity.sessionId, async () => {
        const { userId, sessionId: session } = request.identity
        const { currentPassword, newPassword } = request.body
        if (newPassword.normalize('NFC') === currentPassword.normalize('NFC'))
          throw new Problem(400, 'PASSWORD_WEAK', 'The new password must be another one')

        const user = await database.user.findUnique({ where: { id: userId } })
        const hasFactor = await secondFactor.isRequiredOf(userId)
        if (user) await requireStrong(passwords, newPassword, user, hasFactor)
        const bucket = bucketOfSession(request.identity)
        const verdict = await throttle.verify(request, bucket, user?.passwordHash, currentPassword)
        const matches = verdict === 'right' || verdict === 'outdated'
        const to = matches ? await passwords.hash(newPassword) : ''
        const from = user?.passwordHash ?? ''
        const happened = { user: userId, session, ip: request.ip }
        const tell: Tell = (transaction, { email: to, name, locale }) =>
          notify(transaction, {
            template: 'password_changed',
            user: userId,
            to,
            name,
            locale,
            ...circumstancesOf(request),
          })
        const change = { id: userId, from, to, keep: session, tell }
        const changed = matches && (await changePassword(database, change))
        if (!changed) {
          const reason = reasons[verdict] ?? 'wrong password'
          await record(database, request.log, { event: 'password_refused', reason, ...happened })
          throw new Problem(403, 'PASSWORD_WRONG', 'The current password is not right', { detail: waitAfterFailures })
        }
        await clearFailures(database, bucket)
        // Every other one is known no longer.
        devices.remember(request, reply, changed)
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
  /** Queues the mail that notifies the user. */
  tell?: Tell
}

/**
 * Sets a new password, provided that the stored hash is still the one that the old password was checked against, and
 * ends every other session of the user: a client that signed in with the old password is signed out.
 *
 * @returns the user as changed, or undefined if it was not set
 */
export async function changePassword(
  database: Database,
  { id, from, to, keep, tell }: Change,
): Promise<User | undefined> {
  return database.$transaction(async (transaction) => {
    await lockUser(transaction, id)
    const user = await transaction.user.findUnique({ where: { id } })
    if (user?.passwordHash !== from) return undefined
    const changed = await setPassword(transaction, id, to)
    await endSessionsOf(transaction, id, 'password_changed', keep)
    await tell?.(transaction, user)
    return changed
  })
}

/** Sets a hash of another password than before: devices that are known by that one are so no longer. */
export async function setPassword(
  transaction: Prisma.TransactionClient,
  id: string,
  passwordHash: string,
): Promise<User> {
  return transaction.user.update({ where: { id }, data: { passwordHash, passwordVersion: { increment: 1 } } })
}
