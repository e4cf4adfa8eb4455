import { type Application, Problem, storable } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { spellingsOf } from '@sallyport/identity'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import Type from 'typebox'
import { requireValid } from '../accounts/require-valid.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { SecondFactor } from '../factors/second-factor.ts'
import type { Passwords } from '../passwords/passwords.ts'
import { bucketOfLogin, clearFailures, type Throttle, waitAfterFailures } from '../passwords/throttle.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { findUserByEmail, type SigningIn } from './find-user.ts'
import type { KnownDevices } from './known-devices.ts'
import { countLogin } from './metrics.ts'
import { requireOwnOrigin } from './own-origin.ts'
import { SignedIn, type SignIn } from './sign-in.ts'

export const loginPath = '/api/auth/login'

interface Dependencies {
  config: Config
  database: Database
  passwords: Passwords
  throttle: Throttle
  keys: DerivedKeys
  devices: KnownDevices
  secondFactor: SecondFactor
  signIn: SignIn
}

const schema = {
  operationId: 'login',
  tags: ['session'],
  summary: 'Sign in',
  body: Type.Object({
    email: Type.String({ minLength: 3, maxLength: 254, pattern: storable, examples: ['doctor@example.com'] }),
    password: Type.String({ minLength: 1, format: 'password', description: 'at most 1024 characters' }),
  }),
  response: { 200: SignedIn },
  problems: {
    401: ['AUTH_INVALID_CREDENTIALS', 'SECOND_FACTOR_REQUIRED'],
    403: ['ORIGIN_REFUSED', 'ACCOUNT_INVALID'],
    503: ['LOGIN_BUSY'],
  },
}

/** What every refusal says, whatever it is for. */
const byMail = `Forgot your password? Ask for a link by mail, which lets you in at any time. ${waitAfterFailures}`
const byAdmin = `Forgot your password? An administrator can help. ${waitAfterFailures}`

/** Whom no device knows. */
const nobody = { id: '', passwordVersion: 0 }

/**
 * Checks e-mail and password, and signs the user in, or asks for a second factor if they have one. Whatever speaks against it, the response is the same: also when the
 * password is right and was not tried, since too many wrong ones came before it.
 */
export function loginRoute(app: Application, dependencies: Dependencies): void {
  const { config, database, passwords, throttle, keys, devices, secondFactor, signIn } = dependencies
  const detail = config.mail ? byMail : byAdmin
  /** Those that a second factor was asked for. */
  const asked = new WeakSet<object>()

  app.post(
    loginPath,
    {
      schema,
      onRequest: [requireCapacity, requireOwnOrigin(config.origins)],
      onResponse: (request, { statusCode }, done) => {
        countLogin(asked.has(request) ? 'asked' : statusCode)
        done()
      },
      config: { rateLimit: config.loginRateLimit },
    },
    async (request, reply) =>
      throttle.admit(`${spellingsOf(request.body.email)[0]} ${devices.idOf(request)}`, async () => {
        const { email, password } = request.body
        const user = await findUserByEmail(database, spellingsOf(email))
        // As much work as for a user.
        const device = devices.find(request, user ?? nobody)
        const bucket = bucketOfLogin(keys, email, user?.id, device)
        const verdict = await throttle.verify(request, bucket, user?.passwordHash, password)
        const refuse = async (reason: string) => {
          await record(database, request.log, { event: 'login_failed', user: user?.id, ip: request.ip, reason })
          return new Problem(401, 'AUTH_INVALID_CREDENTIALS', 'Wrong e-mail or password', { detail })
        }
        if (verdict === 'throttled') throw await refuse('throttled')
        if (!user) throw await refuse('unknown e-mail')
        if (verdict === 'unreadable')
          throw await refuse('the stored hash is none of ours: the user needs a new password')
        if (verdict === 'wrong') throw await refuse('wrong password')
        if (user.disabled) throw await refuse('disabled')
        requireValid(user, request.log)

        const passwordHash = verdict === 'outdated' ? await rehash(user, password) : user.passwordHash
        if (await secondFactor.isRequiredOf(user.id)) {
          await clearFailures(database, bucket)
          asked.add(request)
          throw await secondFactor.ask(user, 'login')
        }
        const signedIn = await signIn(request, reply, { ...user, passwordHash }, ['pwd'])
        if (!signedIn) throw await refuse('changed meanwhile')
        return signedIn
      }),
  )

  function requireCapacity(_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    passwords.requireCapacity()
    done()
  }

  /**
   * Hashes the password anew.
   *
   * @returns the hash that is stored now, also where another login was first: that is no change of the password
   */
  async function rehash({ id, passwordHash: stored, passwordVersion }: SigningIn, password: string): Promise<string> {
    const passwordHash = await passwords.hash(password)
    const { count } = await database.user.updateMany({ where: { id, passwordHash: stored }, data: { passwordHash } })
    if (count === 1) return passwordHash
    const now = await database.user.findUnique({ where: { id, passwordVersion }, select: { passwordHash: true } })
    return now?.passwordHash ?? stored
  }
}
