import { Problem } from '@sallyport/chassis'
import type { Database, Passkey } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type, { type Static } from 'typebox'
import { record } from '../events/security-events.ts'
import type { Method } from '../sessions/session.ts'
import type { RelyingParty } from './relying-party.ts'
import { type Assertion, passkeyUnknown, verifyUse } from './webauthn.ts'

export const PasskeyView = Type.Object({
  id: Type.String({ description: 'of the credential, in base64url' }),
  name: Type.String(),
  createdAt: Type.String(),
  lastUsedAt: Type.Union([Type.String(), Type.Null()]),
  backedUp: Type.Boolean({ description: 'whether it is on other devices too' }),
})

export const viewPasskey = ({ id, name, createdAt, lastUsedAt, backedUp }: Passkey): Static<typeof PasskeyView> => ({
  ...{ id, name, backedUp },
  createdAt: createdAt.toISOString(),
  lastUsedAt: lastUsedAt?.toISOString() ?? null,
})

/**
 * Checks what a passkey signed, and notes its use.
 *
 * @param webauthn the challenge that it was to sign
 * @param userId whose it has to be, if that is known
 * @returns whose it is, and what that proves: that somebody has it, and that it knows them
 * @throws 403 PASSKEY_UNKNOWN if there is no such passkey (any more), PASSKEY_INVALID for anything else
 */
export async function usePasskey(
  database: Database,
  relyingParty: RelyingParty,
  request: FastifyRequest,
  { credential, webauthn, userId }: { credential: Assertion; webauthn: string; userId?: string },
): Promise<{ userId: string; amr: Method[] }> {
  const passkey = await database.passkey.findUnique({ where: { id: credential.id } })
  const fail = async (reason: string, problem: unknown) => {
    const user = userId ?? passkey?.userId
    await record(database, request.log, { event: 'passkey_failed', user, ip: request.ip, reason })
    return problem
  }
  if (!passkey) throw await fail('unknown', passkeyUnknown())
  const used = await verify().catch(async (problem) => {
    throw await fail('refused', problem)
  })
  const { count } = await database.passkey.updateMany({
    where: { id: passkey.id },
    data: { counter: used.counter, backedUp: used.backedUp, lastUsedAt: new Date() },
  })
  if (count === 0) throw await fail('unknown', passkeyUnknown())
  if (used.regressed)
    await record(database, request.log, {
      event: 'passkey_counter_regressed',
      user: passkey.userId,
      ip: request.ip,
      reason: passkey.name,
    })
  return { userId: passkey.userId, amr: [passkey.backupEligible ? 'swk' : 'hwk', 'user', 'mfa'] }

  async function verify() {
    return verifyUse(relyingParty, credential, passkey as NonNullable<typeof passkey>, webauthn, userId)
  }
}

export const passkeysUnavailable = () =>
  new Problem(503, 'PASSKEYS_UNAVAILABLE', 'There are no passkeys here', {
    detail: 'Its operators have to set RP_ID, the domain that they are for.',
  })
