import { Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { record } from '../events/security-events.ts'
import type { Notify } from '../mail/queue.ts'
import { throttled } from '../passwords/metrics.ts'
import { clearFailures, free, reserveAttempt } from '../passwords/throttle.ts'
import { circumstancesOf } from '../sessions/device.ts'
import type { Method } from '../sessions/session.ts'
import type { FactorKey } from './factor-key.ts'
import { readRecoveryCode, useRecoveryCode } from './recovery-codes.ts'
import { looksLikeTotp, useTotp } from './totp.ts'

/** A code of an authenticator app, or a recovery code. */
export const Code = Type.String({ maxLength: 100, description: '6 digits of an authenticator app, or a recovery code' })

/** Whose code it is. */
export interface Holder {
  id: string
  email: string
  name: string
  locale: string | null
}

/**
 * Checks a code and uses it up.
 *
 * Wrong ones of an app count per person and where they come from, as passwords do (passwords/throttle.ts), and apart from
 * these. Recovery codes are too long to be guessed: they let in who has them while others guess.
 *
 * @param from a known device or a session; empty for all unknown devices together
 * @returns what it proves
 * @throws 403 CODE_WRONG, whatever is wrong with it, and whether it was tried or not
 */
export type CheckCode = (request: FastifyRequest, user: Holder, from: string, code: string) => Promise<Method[]>

interface Dependencies {
  database: Database
  factorKey: FactorKey
  notify: Notify
}

export function createCheckCode({ database, factorKey, notify }: Dependencies): CheckCode {
  return async (request, user, from, typed) => {
    const recoveryCode = readRecoveryCode(typed)
    const wrong = recoveryCode
      ? await findWrongRecoveryCode(request, user, recoveryCode)
      : await findWrongTotp(request, user, from, typed.replace(/\s/g, ''))
    if (wrong === undefined) return ['otp', 'mfa']
    await record(database, request.log, {
      event: 'second_factor_failed',
      user: user.id,
      ip: request.ip,
      reason: wrong,
    })
    throw codeWrong()
  }

  /** @returns what is wrong with it, if anything is */
  async function findWrongRecoveryCode(request: FastifyRequest, user: Holder, code: string) {
    const used = await database.$transaction(async (transaction) => {
      if (!(await useRecoveryCode(transaction, user.id, code))) return false
      const { id, email: to, name, locale } = user
      const mail = { user: id, to, name, locale, ...circumstancesOf(request) }
      await notify(transaction, { template: 'recovery_code_used', ...mail })
      return true
    })
    if (!used) return 'wrong recovery code'
    await record(database, request.log, { event: 'recovery_code_used', user: user.id, ip: request.ip })
    return undefined
  }

  async function findWrongTotp(request: FastifyRequest, user: Holder, from: string, code: string) {
    if (!looksLikeTotp(code)) return 'no code'
    const bucket = { person: user.id, hasAccount: true, device: `codes ${from}`.trim() }
    const failures = await reserveAttempt(database, bucket)
    if (failures === undefined) {
      throttled.inc({ path: request.routeOptions.url as string })
      return 'throttled'
    }
    if (await useTotp(database, factorKey, user.id, code)) {
      await clearFailures(database, bucket)
      return undefined
    }
    const { id, email: to, name, locale } = user
    if (failures === free)
      await notify(database, {
        ...{ template: 'wrong_codes', user: id, to, name, locale },
        ...circumstancesOf(request),
      })
    return 'wrong code'
  }
}

export const codeWrong = () =>
  new Problem(403, 'CODE_WRONG', 'The code is not right', {
    detail:
      'A code is right once, and for a minute at most. After several wrong ones in a row, none is tried for a while.',
  })
