import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import type { ChangeFactors } from './change.ts'
import { hasFactor } from './owned.ts'
import { PasskeyView, viewPasskey } from './passkeys.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'

interface Dependencies {
  config: Config
  database: Database
  changeFactors: ChangeFactors
  signedIn: Guard
  fully: preHandlerAsyncHookHandler
}

const listSchema = {
  operationId: 'listFactors',
  tags: ['factors'],
  summary: 'How I can prove who I am, beside my password',
  response: {
    200: Type.Object(
      {
        totp: Type.Boolean({ description: 'whether there is an authenticator app' }),
        passkeys: Type.Array(PasskeyView),
        recoveryCodesLeft: Type.Integer(),
        rpId: Type.Union([Type.String(), Type.Null()], {
          description: 'the domain that passkeys are for; null: there are none here',
        }),
      },
      { description: 'My factors' },
    ),
  },
}

const codesSchema = {
  operationId: 'makeRecoveryCodes',
  tags: ['factors'],
  summary: 'Make ten recovery codes',
  description: 'Those from before are void.',
  response: {
    200: Type.Object({ recoveryCodes: Type.Array(Type.String()) }, { description: 'They are shown this once' }),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 409: ['FACTOR_MISSING'] },
}

/** A user's own factors: what there is, and codes for when it is lost. */
export function factorRoutes(app: Application, dependencies: Dependencies): void {
  const { config, database, changeFactors, signedIn, fully } = dependencies

  app.get('/api/auth/factors', { schema: listSchema, preHandler: signedIn }, async ({ identity: { userId } }) => {
    const where = { userId }
    const [totp, passkeys, recoveryCodesLeft] = await Promise.all([
      database.totp.count({ where }),
      database.passkey.findMany({ where, orderBy: { createdAt: 'asc' } }),
      database.recoveryCode.count({ where }),
    ])
    const rpId = config.relyingParty?.id ?? null
    return { totp: totp > 0, passkeys: passkeys.map(viewPasskey), recoveryCodesLeft, rpId }
  })

  app.post(
    '/api/auth/factors/recovery-codes',
    { schema: codesSchema, preHandler: [signedIn, fully], config: { rateLimit: config.loginRateLimit } },
    async (request) => {
      const recoveryCodes = await changeFactors(
        request,
        { event: 'recovery_codes_made' },
        async (transaction, { id }) => {
          if (!(await hasFactor(transaction, id)))
            throw new Problem(409, 'FACTOR_MISSING', 'There is no factor that they would stand in for', {
              detail: 'Add an authenticator app or a passkey first.',
            })
          return makeRecoveryCodes(transaction, id)
        },
      )
      return { recoveryCodes }
    },
  )
}
