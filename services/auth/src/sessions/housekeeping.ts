import { type Logger, repeat } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { eraseDeleted } from '../accounts/deletion.ts'
import { forgetOfClients } from '../clients/forget.ts'
import { forgetChallenges } from '../factors/challenges.ts'
import type { FactorKey } from '../factors/factor-key.ts'
import { resealSecrets } from '../factors/totp.ts'
import { forgetFailures } from '../passwords/throttle.ts'
import { forgetReplicas } from '../replicas/replicas.ts'
import { resealWebhookSecrets } from '../webhooks/secrets.ts'
import { forgetOfWebhooks } from '../webhooks/upkeep.ts'

/** How many rows a step looks at. */
const slice = 10_000

/** How many accounts a step erases. */
const most = 100

/** How long an ended session is kept, to say why it ended, in hours. */
export const keptFor = 24

/**
 * Deletes sessions that ended more than a day ago, a slice of the table at a time: no index on a column that every
 * refresh changes, no long statement. Accounts are erased whose grace is over, and tickets, security events and wrong
 * passwords deleted that are no longer kept. Any number of processes may do so at once; each passes over rows that
 * another one holds.
 *
 * @param eventsRetention how long security events are kept, in seconds
 * @param pause between steps, in milliseconds; the next one begins that long after the one before has ended
 * @returns how to stop; it resolves once nothing is being done any more
 */
export function startHousekeeping(
  database: Database,
  logger: Logger,
  factorKey: FactorKey,
  { eventsRetention, pause = 60_000 }: { eventsRetention: number; pause?: number },
): () => Promise<void> {
  let after: string | null = null

  async function step(): Promise<void> {
    const { last, deleted } = await sweep(database, after, slice)
    after = last
    if (deleted > 0) logger.info({ event: 'sessions_deleted', deleted })
    const erased = await eraseDeleted(database, most)
    if (erased > 0) logger.info({ event: 'users_erased', erased })
    await forget(database, eventsRetention, slice)
    await forgetFailures(database, slice)
    await forgetChallenges(database, slice)
    await forgetOfClients(database, slice)
    await forgetReplicas(database)
    await forgetOfWebhooks(database, slice)
    const ofFactors = await resealSecrets(database, factorKey, slice)
    const ofWebhooks = await resealWebhookSecrets(database, factorKey, slice)
    const resealed = ofFactors + ofWebhooks
    if (resealed > 0) logger.info({ event: 'factor_secrets_resealed', resealed })
  }

  return repeat(step, { pause, onError: (err) => logger.warn({ event: 'housekeeping_failed', err }) })
}

/** Deletes tickets that expired a day ago, so that they count no more, and security events that are older than they are kept. */
export async function forget(database: Database, eventsRetention: number, most: number): Promise<void> {
  await database.$executeRaw`
    DELETE FROM auth.tickets WHERE id IN (
      SELECT id FROM auth.tickets WHERE expires_at < now() - interval '1 day' LIMIT ${most} FOR UPDATE SKIP LOCKED)`
  await database.$executeRaw`
    SELECT auth.forget_security_events(${eventsRetention}::float8 * interval '1 second', ${most}::int)`
}

/**
 * One step.
 *
 * @param after the id that the step before ended with; null to begin at the start of the table
 * @returns the id to go on after, null at the end of the table, and how many sessions were deleted
 */
export async function sweep(
  database: Database,
  after: string | null,
  rows: number,
): Promise<{ last: string | null; deleted: number }> {
  const [result] = await database.$queryRaw<{ last: string | null; seen: number; deleted: number }[]>`
    WITH slice AS (
      SELECT id, coalesce(revoked_at, expires_at) AS ended_at FROM auth.sessions
      WHERE ${after}::uuid IS NULL OR id > ${after}::uuid
      ORDER BY id LIMIT ${rows}
    ), over AS (
      SELECT s.id FROM auth.sessions s JOIN slice USING (id)
      WHERE slice.ended_at < now() - ${keptFor} * interval '1 hour'
      FOR UPDATE OF s SKIP LOCKED
    ), deleted AS (
      DELETE FROM auth.sessions s USING over WHERE s.id = over.id RETURNING s.id
    )
    SELECT (SELECT id FROM slice ORDER BY id DESC LIMIT 1) AS last,
           (SELECT count(*) FROM slice)::int AS seen, (SELECT count(*) FROM deleted)::int AS deleted`
  const { last, seen, deleted } = result as { last: string | null; seen: number; deleted: number }
  return { last: seen < rows ? null : last, deleted }
}
