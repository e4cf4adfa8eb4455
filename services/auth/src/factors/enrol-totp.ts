import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import { unknownUser } from '../admin/fields.ts'
import type { Config } from '../config.ts'
import { confirmSession } from '../sessions/confirm.ts'
import { beginChallenge, challengeInvalid, finishChallenge, tryChallenge } from './challenges.ts'
import type { ChangeFactors } from './change.ts'
import { codeWrong } from './codes.ts'
import type { FactorKey } from './factor-key.ts'
import { endWithLastFactor, factorNotFound, hasFactor } from './owned.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'
import { keyUriOf, makeSecret, stepOf, storeTotp } from './totp.ts'

interface Dependencies {
  config: Config
  database: Database
  factorKey: FactorKey
  changeFactors: ChangeFactors
  signedIn: Guard
  fully: preHandlerAsyncHookHandler
}

const shared = { tags: ['factors'] }
const Message = Type.Object({ message: Type.String() })

const beginSchema = {
  ...shared,
  operationId: 'enrolTotp',
  summary: 'Begin to add an authenticator app',
  description: 'For ten minutes. One that is there already stays until the new one is confirmed.',
  response: {
    200: Type.Object(
      {
        secret: Type.String({ description: 'in base32, to type' }),
        uri: Type.String({ description: 'otpauth://' }),
        qr: Type.String({ description: 'the URI as a QR code, in SVG' }),
      },
      { description: 'What the app reads, this once' },
    ),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['USER_NOT_FOUND'] },
}

const confirmSchema = {
  ...shared,
  operationId: 'confirmTotp',
  summary: 'Add the authenticator app, by a code of it',
  description: 'The session is at `aal2` from then on, as the next access token says.',
  body: Type.Object({ code: Type.String({ maxLength: 100 }) }),
  response: {
    200: Type.Object(
      { ...Message.properties, recoveryCodes: Type.Optional(Type.Array(Type.String())) },
      { description: 'It was added; with the first factor there are recovery codes, which are shown this once' },
    ),
  },
  problems: { 400: ['CHALLENGE_INVALID'], 401: ['STEP_UP_REQUIRED'], 403: ['CODE_WRONG'], 404: ['USER_NOT_FOUND'] },
}

const removeSchema = {
  ...shared,
  operationId: 'removeTotp',
  summary: 'Remove the authenticator app',
  response: { 200: { ...Message, description: 'With the last factor, the recovery codes are gone too' } },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['FACTOR_NOT_FOUND', 'USER_NOT_FOUND'] },
}

/** Adds and removes an authenticator app (TOTP, RFC 6238). */
export function totpRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, factorKey, changeFactors, signedIn, fully } = dependencies
  const guarded = { preHandler: [signedIn, fully], config: { rateLimit: config.loginRateLimit } }

  app.post('/api/auth/factors/totp', { schema: beginSchema, ...guarded }, async ({ identity }) => {
    const { userId, sessionId: boundTo } = identity
    const user = await database.user.findUnique({ where: { id: userId }, select: { email: true } })
    if (!user) throw unknownUser()
    const secret = makeSecret()
    await database.challenge.deleteMany({ where: { purpose: 'totp', userId, boundTo } })
    await beginChallenge(database, { purpose: 'totp', userId, boundTo, secret: factorKey.seal(secret, userId) })
    return { secret, ...keyUriOf(secret, config.appName, user.email) }
  })

  app.post('/api/auth/factors/totp/confirm', { schema: confirmSchema, ...guarded }, async (request) => {
    const { userId, sessionId: boundTo } = request.identity
    const begun = await database.challenge.findFirst({ where: { purpose: 'totp', userId, boundTo } })
    if (!begun) throw challengeInvalid()
    const { id, secret: sealed } = await tryChallenge(database, { id: begun.id, purpose: 'totp', boundTo })
    const secret = factorKey.open(sealed as string, userId)
    if (secret === undefined) throw challengeInvalid()
    const lastStep = stepOf(secret, request.body.code.replace(/\s/g, ''))
    if (lastStep === undefined) throw codeWrong()
    const added = { event: 'factor_added', factor: 'totp' } as const
    const recoveryCodes = await changeFactors(request, added, async (transaction) => {
      await finishChallenge(transaction, id)
      const isFirst = !(await hasFactor(transaction, userId))
      await storeTotp(transaction, factorKey, { userId, secret, lastStep })
      return isFirst ? makeRecoveryCodes(transaction, userId) : undefined
    })
    await confirmSession(database, request.identity, ['otp', 'mfa'])
    return { message: 'The authenticator app was added', ...(recoveryCodes && { recoveryCodes }) }
  })

  app.delete('/api/auth/factors/totp', { schema: removeSchema, ...guarded }, async (request) => {
    const removed = { event: 'factor_removed', factor: 'totp' } as const
    await changeFactors(request, removed, async (transaction, { id: userId }) => {
      const { count } = await transaction.totp.deleteMany({ where: { userId } })
      if (count === 0) throw factorNotFound()
      await endWithLastFactor(transaction, userId)
    })
    return { message: 'The authenticator app was removed' }
  })
}
