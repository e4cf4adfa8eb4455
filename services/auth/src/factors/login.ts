import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { requireValid } from '../accounts/require-valid.ts'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { unlockUser } from '../passwords/throttle.ts'
import { findUserById, type SigningIn } from '../sessions/find-user.ts'
import type { KnownDevices } from '../sessions/known-devices.ts'
import { countLogin } from '../sessions/metrics.ts'
import { requireOwnOrigin } from '../sessions/own-origin.ts'
import type { Method } from '../sessions/session.ts'
import { SignedIn, type SignIn } from '../sessions/sign-in.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { beginChallenge, finishChallenge, takeWebauthn } from './challenges.ts'
import { passkeysUnavailable, usePasskey } from './passkeys.ts'
import { type SecondFactor, SecondFactorProof } from './second-factor.ts'
import { Assertion, makeWebauthnChallenge, requestOptions } from './webauthn.ts'

interface Dependencies {
  config: Config
  database: Database
  keys: DerivedKeys
  devices: KnownDevices
  secondFactor: SecondFactor
  signIn: SignIn
}

const refusals = {
  400: ['CHALLENGE_INVALID'],
  401: ['AUTH_INVALID_CREDENTIALS'],
  403: ['ORIGIN_REFUSED', 'ACCOUNT_INVALID', 'PASSKEY_INVALID', 'PASSKEY_UNKNOWN'],
  503: ['PASSKEYS_UNAVAILABLE'],
}

const secondFactorSchema = {
  operationId: 'loginWithSecondFactor',
  tags: ['session'],
  summary: 'Finish a login with a second factor',
  body: SecondFactorProof,
  response: { 200: SignedIn },
  problems: { ...refusals, 403: [...refusals[403], 'CODE_WRONG'] },
}

const optionsSchema = {
  operationId: 'loginWithPasskeyOptions',
  tags: ['session'],
  summary: 'Begin a sign-in with a passkey',
  response: {
    200: Type.Object(
      { challengeId: Type.String(), options: Type.Object({}, { additionalProperties: true }) },
      { description: 'What any passkey of the domain is asked with (WebAuthn)' },
    ),
  },
  problems: { 403: ['ORIGIN_REFUSED'], 503: ['PASSKEYS_UNAVAILABLE'] },
}

const passkeySchema = {
  operationId: 'loginWithPasskey',
  tags: ['session'],
  summary: 'Sign in with a passkey',
  body: Type.Object({ challengeId: Type.String({ format: 'uuid' }), credential: Assertion }),
  response: { 200: SignedIn },
  problems: refusals,
}

/** The ways to sign in beside a password alone (sessions/login.ts). */
export function factorLoginRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, keys, devices, secondFactor, signIn } = dependencies
  const { relyingParty } = config
  const shared = { onRequest: requireOwnOrigin(config.origins), config: { rateLimit: config.loginRateLimit } }
  const counted = {
    ...shared,
    onResponse: async (_request: FastifyRequest, { statusCode }: FastifyReply) =>
      countLogin(statusCode === 400 || statusCode === 403 ? 401 : statusCode),
  }

  app.post('/api/auth/login/second-factor', { schema: secondFactorSchema, ...counted }, async (request, reply) => {
    const from = (user: SigningIn) => devices.find(request, user) ?? ''
    const { user, amr } = await secondFactor.finish(request, request.body, 'login', from)
    return finish(request, reply, user, ['pwd', ...amr])
  })

  app.post('/api/auth/login/passkey/options', { schema: optionsSchema, ...shared }, async () => {
    if (!relyingParty) throw passkeysUnavailable()
    const webauthn = makeWebauthnChallenge()
    const challengeId = await beginChallenge(database, { purpose: 'passkey_login', webauthn })
    return { challengeId, options: await requestOptions(relyingParty, webauthn) }
  })

  app.post('/api/auth/login/passkey', { schema: passkeySchema, ...counted }, async (request, reply) => {
    if (!relyingParty) throw passkeysUnavailable()
    const { challengeId: id, credential } = request.body
    const { webauthn } = await takeWebauthn(database, { id, purpose: 'passkey_login' })
    const { userId, amr } = await usePasskey(database, relyingParty, request, { credential, webauthn })
    await finishChallenge(database, id)
    const user = await findUserById(database, userId)
    if (!user || user.disabled) throw await refuse(request, userId, 'disabled')
    const signedIn = await finish(request, reply, user, amr)
    // Guessing at the password has come to nothing.
    await unlockUser(database, keys, user)
    return signedIn
  })

  async function finish(request: FastifyRequest, reply: FastifyReply, user: SigningIn, amr: Method[]) {
    requireValid(user, request.log)
    const signedIn = await signIn(request, reply, user, amr)
    if (!signedIn) throw await refuse(request, user.id, 'changed meanwhile')
    return signedIn
  }

  async function refuse({ log, ip }: FastifyRequest, user: string, reason: string): Promise<Problem> {
    await record(database, log, { event: 'login_failed', user, ip, reason })
    return new Problem(401, 'AUTH_INVALID_CREDENTIALS', 'This account cannot be used now')
  }
}
