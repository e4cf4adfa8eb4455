import type { Database, Prisma, User } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import { lockUser } from '../accounts/lock-user.ts'
import { unknownUser } from '../admin/fields.ts'
import { record } from '../events/security-events.ts'
import type { Notify } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'

/** What happens to somebody's factors, as events and mails name it. */
export type FactorChange = 'factor_added' | 'factor_removed' | 'recovery_codes_made'

/** Which kind of factor it is about, as events say it and mails read it. */
export type FactorKind = 'totp' | 'passkey'

/**
 * Carries out a change of the caller's factors: one after the other for one user, with the mail that notifies them in the
 * same transaction, and an event.
 */
export type ChangeFactors = <Result>(
  request: FastifyRequest,
  what: { event: FactorChange; factor?: FactorKind },
  change: (transaction: Prisma.TransactionClient, user: User) => Promise<Result>,
) => Promise<Result>

export function createChangeFactors({ database, notify }: { database: Database; notify: Notify }): ChangeFactors {
  return async (request, { event, factor }, change) => {
    const { userId: id, sessionId: session } = request.identity
    const result = await database.$transaction(async (transaction) => {
      await lockUser(transaction, id)
      const user = await transaction.user.findUnique({ where: { id } })
      if (!user) throw unknownUser()
      const result = await change(transaction, user)
      const { email: to, name, locale } = user
      await notify(transaction, { template: event, user: id, to, name, locale, factor, ...circumstancesOf(request) })
      return result
    })
    await record(database, request.log, {
      ...{ event, user: id, session, ip: request.ip },
      ...(factor && { reason: factor }),
    })
    return result
  }
}
