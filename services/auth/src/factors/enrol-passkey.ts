import { type Application, Problem } from '@sallyport/chassis'
import { type Database, isUniqueViolation } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import { Name } from '../accounts/fields.ts'
import { unknownUser } from '../admin/fields.ts'
import type { Config } from '../config.ts'
import { confirmSession } from '../sessions/confirm.ts'
import { describeDevice } from '../sessions/device.ts'
import { nameOfAuthenticator } from './authenticator-names.ts'
import { beginChallenge, finishChallenge, takeWebauthn } from './challenges.ts'
import type { ChangeFactors } from './change.ts'
import { endWithLastFactor, factorNotFound, hasFactor } from './owned.ts'
import { PasskeyView, passkeysUnavailable, viewPasskey } from './passkeys.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'
import { passkeysOf } from './second-factor.ts'
import { Attestation, creationOptions, makeWebauthnChallenge, verifyCreation } from './webauthn.ts'

interface Dependencies {
  config: Config
  database: Database
  changeFactors: ChangeFactors
  signedIn: Guard
  fully: preHandlerAsyncHookHandler
}

/** The most that one user has. */
const most = 20

const shared = { tags: ['factors'] }
const params = Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength: 1_364 }) })

const optionsSchema = {
  ...shared,
  operationId: 'enrolPasskey',
  summary: 'Begin to add a passkey',
  response: {
    200: Type.Object(
      { challengeId: Type.String(), options: Type.Object({}, { additionalProperties: true }) },
      { description: 'What an authenticator is asked with (WebAuthn), for five minutes' },
    ),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['USER_NOT_FOUND'], 503: ['PASSKEYS_UNAVAILABLE'] },
}

const addSchema = {
  ...shared,
  operationId: 'addPasskey',
  summary: 'Add a passkey that was made',
  description: 'The session is at `aal2` from then on, as the next access token says.',
  body: Type.Object({
    challengeId: Type.String({ format: 'uuid' }),
    credential: Attestation,
    name: Type.Optional(Name),
  }),
  response: {
    201: Type.Object(
      { passkey: PasskeyView, recoveryCodes: Type.Optional(Type.Array(Type.String())) },
      { description: 'It was added; with the first factor there are recovery codes, which are shown this once' },
    ),
  },
  problems: {
    400: ['CHALLENGE_INVALID'],
    401: ['STEP_UP_REQUIRED'],
    403: ['PASSKEY_INVALID'],
    404: ['USER_NOT_FOUND'],
    409: ['PASSKEY_EXISTS', 'FACTOR_LIMIT'],
    503: ['PASSKEYS_UNAVAILABLE'],
  },
}

const renameSchema = {
  ...shared,
  operationId: 'renamePasskey',
  summary: 'Rename a passkey',
  params,
  body: Type.Object({ name: Name }),
  response: { 200: PasskeyView },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['FACTOR_NOT_FOUND'] },
}

const removeSchema = {
  ...shared,
  operationId: 'removePasskey',
  summary: 'Remove a passkey',
  params,
  response: {
    200: Type.Object(
      { message: Type.String() },
      { description: 'With the last factor, the recovery codes are gone too' },
    ),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['FACTOR_NOT_FOUND', 'USER_NOT_FOUND'] },
}

/** Adds, renames and removes passkeys (WebAuthn Level 3). */
export function passkeyRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, changeFactors, signedIn, fully } = dependencies
  const { relyingParty, appName } = config
  const guarded = { preHandler: [signedIn, fully], config: { rateLimit: config.loginRateLimit } }

  app.post('/api/auth/factors/passkeys/options', { schema: optionsSchema, ...guarded }, async ({ identity }) => {
    if (!relyingParty) throw passkeysUnavailable()
    const { userId, sessionId: boundTo } = identity
    const user = await database.user.findUnique({ where: { id: userId } })
    if (!user) throw unknownUser()
    const webauthn = makeWebauthnChallenge()
    const challengeId = await beginChallenge(database, { purpose: 'passkey', userId, boundTo, webauthn })
    const existing = await passkeysOf(database, userId)
    return { challengeId, options: await creationOptions(relyingParty, appName, user, existing, webauthn) }
  })

  app.post('/api/auth/factors/passkeys', { schema: addSchema, ...guarded }, async (request, reply) => {
    if (!relyingParty) throw passkeysUnavailable()
    const { sessionId: boundTo } = request.identity
    const { challengeId, credential, name } = request.body
    const { webauthn } = await takeWebauthn(database, { id: challengeId, purpose: 'passkey', boundTo })
    const { model, ...made } = await verifyCreation(relyingParty, credential, webauthn)
    const data = {
      ...made,
      name: name?.trim() ?? nameOfAuthenticator(model, describeDevice(request.headers['user-agent'])),
    }
    const added = { event: 'factor_added', factor: 'passkey' } as const
    const change = changeFactors(request, added, async (transaction, { id: userId }) => {
      await finishChallenge(transaction, challengeId)
      if ((await transaction.passkey.count({ where: { userId } })) >= most)
        throw new Problem(409, 'FACTOR_LIMIT', `You have ${most} passkeys, which is the most`)
      const isFirst = !(await hasFactor(transaction, userId))
      const passkey = await transaction.passkey.create({ data: { ...data, userId } })
      return { passkey, recoveryCodes: isFirst ? await makeRecoveryCodes(transaction, userId) : undefined }
    })
    const { passkey, recoveryCodes } = await change.catch((error) => {
      throw isUniqueViolation(error) ? new Problem(409, 'PASSKEY_EXISTS', 'This passkey is there already') : error
    })
    await confirmSession(database, request.identity, [passkey.backupEligible ? 'swk' : 'hwk', 'user', 'mfa'])
    return reply.code(201).send({ passkey: viewPasskey(passkey), ...(recoveryCodes && { recoveryCodes }) })
  })

  app.patch(
    '/api/auth/factors/passkeys/:id',
    { schema: renameSchema, ...guarded },
    async ({ identity, params, body }) => {
      const [renamed] = await database.passkey.updateManyAndReturn({
        where: { id: params.id, userId: identity.userId },
        data: { name: body.name.trim() },
      })
      if (!renamed) throw factorNotFound()
      return viewPasskey(renamed)
    },
  )

  app.delete('/api/auth/factors/passkeys/:id', { schema: removeSchema, ...guarded }, async (request) => {
    const removed = { event: 'factor_removed', factor: 'passkey' } as const
    await changeFactors(request, removed, async (transaction, { id: userId }) => {
      const { count } = await transaction.passkey.deleteMany({ where: { id: request.params.id, userId } })
      if (count === 0) throw factorNotFound()
      await endWithLastFactor(transaction, userId)
    })
    return { message: 'The passkey was removed' }
  })
}
