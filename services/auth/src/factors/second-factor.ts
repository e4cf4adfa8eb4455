import { Problem } from '@sallyport/chassis'
import type { Database, Passkey, Statement } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { findUserById, type SigningIn } from '../sessions/find-user.ts'
import type { Method } from '../sessions/session.ts'
import {
  beginChallenge,
  type ChallengeTokens,
  challengeInvalid,
  finishChallenge,
  takeWebauthn,
  tryChallenge,
} from './challenges.ts'
import { type CheckCode, Code } from './codes.ts'
import { hasFactor } from './owned.ts'
import { passkeysUnavailable, usePasskey } from './passkeys.ts'
import { Assertion, makeWebauthnChallenge, requestOptions } from './webauthn.ts'

/** The second factor of what was begun, by the challenge that asked for it. */
export const SecondFactorProof = Type.Object({
  challenge: Type.String({ maxLength: 1_024, description: 'of the response `SECOND_FACTOR_REQUIRED`' }),
  code: Type.Optional(Code),
  credential: Type.Optional(Assertion),
})

export type FactorMethod = 'totp' | 'passkey' | 'recovery_code'

/** For what somebody is asked for a second factor. */
type Purpose = 'login' | 'password_reset'

export interface SecondFactor {
  /** Whether the user has one, so that a password alone lets nobody in. */
  isRequiredOf(userId: string): Promise<boolean>
  /** With what the user can prove that it is them, beside the password. */
  methodsOf(userId: string): Promise<FactorMethod[]>
  /**
   * Begins what a second factor is needed for.
   *
   * @param boundTo what alone may go on with it
   * @returns 401 SECOND_FACTOR_REQUIRED, with the challenge
   */
  ask(user: { id: string; passwordVersion: number }, purpose: Purpose, boundTo?: string): Promise<Problem>
  /**
   * Finishes it. Nothing else can, from then on.
   *
   * @param from where a code counts that is wrong (codes.ts)
   * @returns the user as they are now, and what was proved
   * @throws 400 CHALLENGE_INVALID, also if the password was changed meanwhile; 403 CODE_WRONG, PASSKEY_INVALID or PASSKEY_UNKNOWN
   */
  finish(
    request: FastifyRequest,
    proof: { challenge: string; code?: string | undefined; credential?: Assertion | undefined },
    purpose: Purpose,
    from: (user: SigningIn) => string,
    boundTo?: string,
  ): Promise<{ user: SigningIn; amr: Method[] }>
}

interface Dependencies {
  config: Pick<Config, 'relyingParty'>
  database: Database
  challengeTokens: ChallengeTokens
  checkCode: CheckCode
}

const findFactors: Statement = {
  name: 'find_factors',
  text: `
    SELECT EXISTS (SELECT FROM auth.totp WHERE user_id = $1) AS totp,
           EXISTS (SELECT FROM auth.passkeys WHERE user_id = $1) AS passkey,
           EXISTS (SELECT FROM auth.recovery_codes WHERE user_id = $1) AS recovery_code`,
}

type Factors = Record<FactorMethod, boolean>

export function createSecondFactor(dependencies: Dependencies): SecondFactor {
  const { config, database, challengeTokens, checkCode } = dependencies
  const { relyingParty } = config

  async function methodsOf(userId: string): Promise<FactorMethod[]> {
    const [found] = await database.run<Factors>(findFactors, [userId])
    const { totp, passkey, recovery_code } = found as Factors
    const methods = { totp, passkey: passkey && relyingParty !== undefined, recovery_code }
    return (Object.keys(methods) as FactorMethod[]).filter((method) => methods[method])
  }

  return {
    methodsOf,

    isRequiredOf: (userId) => hasFactor(database, userId),

    async ask({ id: userId, passwordVersion }, purpose, boundTo) {
      const methods = await methodsOf(userId)
      const webauthn = methods.includes('passkey') ? makeWebauthnChallenge() : undefined
      const id = await beginChallenge(database, { purpose, userId, boundTo, passwordVersion, webauthn })
      const challenge = challengeTokens.sign({ id, purpose })
      const options =
        webauthn && relyingParty && (await requestOptions(relyingParty, webauthn, await passkeysOf(database, userId)))
      return new Problem(401, 'SECOND_FACTOR_REQUIRED', 'This needs a second factor', {
        detail: 'Send the challenge with a code or a passkey, within five minutes.',
        members: { challenge, methods, ...(options && { options }) },
      })
    },

    async finish(request, { challenge, code, credential }, purpose, from, boundTo) {
      if ((code === undefined) === (credential === undefined)) throw oneProof('code', 'credential')
      const which = { id: challengeTokens.read(challenge, purpose), purpose, boundTo }
      if (credential) {
        if (!relyingParty) throw passkeysUnavailable()
        const begun = await takeWebauthn(database, which)
        const user = await userOf(begun)
        const { webauthn } = begun
        const { amr } = await usePasskey(database, relyingParty, request, { credential, webauthn, userId: user.id })
        await finishChallenge(database, begun.id)
        return { user, amr }
      }
      const begun = await tryChallenge(database, which)
      const user = await userOf(begun)
      const amr = await checkCode(request, user, from(user), code as string)
      await finishChallenge(database, begun.id)
      return { user, amr }
    },
  }

  /** Whose it is. @throws 400 CHALLENGE_INVALID if they may not sign in any more, or the password that was right is another now */
  async function userOf(begun: { userId: string | null; passwordVersion: number | null }): Promise<SigningIn> {
    const user = await findUserById(database, begun.userId as string)
    if (!user || user.disabled || user.passwordVersion !== begun.passwordVersion) throw challengeInvalid()
    return user
  }
}

/** As options list them. */
export async function passkeysOf(database: Database, userId: string): Promise<Pick<Passkey, 'id' | 'transports'>[]> {
  return database.passkey.findMany({ where: { userId }, select: { id: true, transports: true } })
}

/** Bodies of which one of several members is needed. */
export const oneProof = (...members: string[]) =>
  new Problem(400, 'REQUEST_INVALID', 'The request has missing or wrong values', {
    detail: `body must have one of ${members.join(', ')}`,
  })
