import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Identity } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { bucketOfSession, clearFailures, type Throttle, waitAfterFailures } from '../passwords/throttle.ts'
import { confirmSession } from '../sessions/confirm.ts'
import { findUserById } from '../sessions/find-user.ts'
import type { LiveSession } from '../sessions/session.ts'
import type { AccessTokens } from '../tokens/access.ts'
import { beginChallenge, finishChallenge, takeWebauthn } from './challenges.ts'
import { type CheckCode, Code, codeWrong } from './codes.ts'
import { passkeysUnavailable, usePasskey } from './passkeys.ts'
import { oneProof, passkeysOf, type SecondFactor } from './second-factor.ts'
import { Assertion, makeWebauthnChallenge, passkeyInvalid, requestOptions } from './webauthn.ts'

interface Dependencies {
  config: Config
  database: Database
  throttle: Throttle
  accessTokens: AccessTokens
  checkCode: CheckCode
  secondFactor: SecondFactor
  signedIn: Guard
}

const optionsSchema = {
  operationId: 'stepUpOptions',
  tags: ['session'],
  summary: 'How I can prove once more who I am',
  response: {
    200: Type.Object(
      {
        methods: Type.Array(Type.String({ enum: ['password', 'totp', 'passkey', 'recovery_code'] })),
        challengeId: Type.Optional(Type.String()),
        options: Type.Optional(Type.Object({}, { additionalProperties: true })),
      },
      { description: 'What is possible, and what a passkey is asked with (WebAuthn)' },
    ),
  },
}

const schema = {
  operationId: 'stepUp',
  tags: ['session'],
  summary: 'Prove once more who I am',
  description: 'By a password, a code, or a passkey that was asked for by the options.',
  body: Type.Object({
    password: Type.Optional(Type.String({ minLength: 1, format: 'password' })),
    code: Type.Optional(Code),
    challengeId: Type.Optional(Type.String({ format: 'uuid' })),
    credential: Type.Optional(Assertion),
  }),
  response: {
    200: Type.Object(
      { accessToken: Type.String(), role: Type.String(), roles: Type.Array(Type.String()) },
      { description: 'A new access token of the same session' },
    ),
  },
  problems: {
    400: ['CHALLENGE_INVALID'],
    401: ['SECOND_FACTOR_REQUIRED'],
    403: ['PASSWORD_WRONG', 'CODE_WRONG', 'PASSKEY_INVALID', 'PASSKEY_UNKNOWN'],
    503: ['LOGIN_BUSY', 'PASSKEYS_UNAVAILABLE'],
  },
}

/** The same session goes on, with a newer proof of who its user is, and perhaps of a higher level. */
export function stepUpRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, throttle, accessTokens, checkCode, secondFactor, signedIn } = dependencies
  const { relyingParty } = config
  const shared = { preHandler: signedIn, config: { rateLimit: config.loginRateLimit } }

  app.post('/api/auth/step-up/options', { schema: optionsSchema, ...shared }, async ({ identity }) => {
    const { userId, sessionId: boundTo } = identity
    const methods = await methodsOf(identity)
    if (!relyingParty || !methods.includes('passkey')) return { methods }
    const webauthn = makeWebauthnChallenge()
    const challengeId = await beginChallenge(database, { purpose: 'step_up', userId, boundTo, webauthn })
    const options = await requestOptions(relyingParty, webauthn, await passkeysOf(database, userId))
    return { methods, challengeId, options }
  })

  app.post('/api/auth/step-up', { schema, ...shared }, async (request) => {
    const { password, code, credential } = request.body
    if ([password, code, credential].filter((proof) => proof !== undefined).length !== 1)
      throw oneProof('password', 'code', 'challengeId with credential')
    const proved = await (password !== undefined
      ? byPassword(request, password)
      : code !== undefined
        ? byCode(request, code)
        : byPasskey(request, request.body as Required<typeof request.body>))
    const { userId: user, sessionId: session } = request.identity
    await record(database, request.log, { event: 'step_up_succeeded', user, session, ip: request.ip })
    const { roles } = proved.user
    return { accessToken: accessTokens.sign(proved), role: roles[0] as string, roles }
  })

  /** With a password, unless that would say less than the session does already. */
  async function methodsOf({ sessionId: id, userId }: Identity): Promise<string[]> {
    const session = await database.session.findUnique({ where: { id, userId }, select: { amr: true } })
    const factors = await secondFactor.methodsOf(userId)
    return session?.amr.includes('mfa') ? factors : ['password', ...factors]
  }

  async function byPassword(request: FastifyRequest, password: string): Promise<LiveSession> {
    const methods = await methodsOf(request.identity)
    if (!methods.includes('password'))
      throw new Problem(401, 'SECOND_FACTOR_REQUIRED', 'This session has a second factor', {
        detail: 'Confirm with a code or a passkey: a password alone would prove less than before.',
        members: { methods },
      })
    return throttle.admit(request.identity.sessionId, async () => {
      const { userId } = request.identity
      const stored = await database.user.findUnique({ where: { id: userId }, select: { passwordHash: true } })
      const bucket = bucketOfSession(request.identity)
      const verdict = await throttle.verify(request, bucket, stored?.passwordHash, password)
      const matches = verdict === 'right' || verdict === 'outdated'
      const proved = matches && (await confirmSession(database, request.identity, ['pwd'], stored?.passwordHash))
      if (!proved) {
        await recordFailure(request, verdict === 'throttled' ? verdict : 'wrong password')
        throw new Problem(403, 'PASSWORD_WRONG', 'The password is not right', { detail: waitAfterFailures })
      }
      await clearFailures(database, bucket)
      return proved
    })
  }

  async function byCode(request: FastifyRequest, code: string): Promise<LiveSession> {
    const { userId, sessionId } = request.identity
    const user = await findUserById(database, userId)
    const amr = user && (await checkCode(request, user, `session ${sessionId}`, code))
    return required(amr && (await confirmSession(database, request.identity, amr)), codeWrong())
  }

  async function byPasskey(
    request: FastifyRequest,
    { challengeId: id, credential }: { challengeId: string; credential: Assertion },
  ): Promise<LiveSession> {
    if (!relyingParty) throw passkeysUnavailable()
    const { userId, sessionId: boundTo } = request.identity
    const { webauthn } = await takeWebauthn(database, { id, purpose: 'step_up', boundTo })
    const { amr } = await usePasskey(database, relyingParty, request, { credential, webauthn, userId })
    await finishChallenge(database, id)
    return required(await confirmSession(database, request.identity, amr), passkeyInvalid('nothing to confirm'))
  }

  /** The session may have ended meanwhile, or the factor been taken away. */
  function required(proved: LiveSession | undefined, problem: Problem): LiveSession {
    if (!proved) throw problem
    return proved
  }

  function recordFailure(request: FastifyRequest, reason: string): Promise<void> {
    const { userId: user, sessionId: session } = request.identity
    return record(database, request.log, { event: 'step_up_failed', user, session, ip: request.ip, reason })
  }
}
