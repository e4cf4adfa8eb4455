import { repeat } from '@sallyport/chassis'
import type { Pool } from 'pg'
import { Gauge } from 'prom-client'
import { longestJob, mailTask } from './queue.ts'

/** Milliseconds between two looks at the queue. */
const every = 5_000

/** Days for which a mail that was given up is kept, for operators to look at. */
const deadFor = 30

const mails = new Gauge({
  name: 'sallyport_mail_queue',
  help: 'Mails in the queue: not tried yet, tried and to be tried again, given up',
  labelNames: ['state'],
})
const oldest = new Gauge({
  name: 'sallyport_mail_oldest_seconds',
  help: 'Age of the oldest mail in the queue that is still to be sent',
})

/**
 * Jobs that a process held which was killed: none is held for so long by one that lives. The last of its tries is given
 * back, as nobody knows whether it was one.
 */
const free = `
  UPDATE graphile_worker._private_jobs
  SET locked_by = NULL, locked_at = NULL, attempts = least(attempts, max_attempts - 1)
  WHERE locked_at < now() - $1 * interval '1 second'`

const forget = `
  DELETE FROM graphile_worker._private_jobs
  WHERE attempts >= max_attempts AND locked_at IS NULL AND run_at < now() - $1 * interval '1 day'`

const count = `
  SELECT count(*) FILTER (WHERE NOT dead AND last_error IS NULL)::int AS waiting,
    count(*) FILTER (WHERE NOT dead AND last_error IS NOT NULL)::int AS failing,
    count(*) FILTER (WHERE dead)::int AS dead,
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE NOT dead)), 0)::float8 AS oldest
  FROM graphile_worker._private_jobs, LATERAL (SELECT attempts >= max_attempts AND locked_at IS NULL AS dead) AS state
  WHERE task_id = (SELECT id FROM graphile_worker._private_tasks WHERE identifier = $1)`

/**
 * Looks after the queue now and then, as every process of the service does: frees what a killed process held, forgets
 * what was given up long ago, and counts the rest for the metrics.
 *
 * @returns how to stop; it resolves once nothing is being done any more
 */
export function startUpkeep(pool: Pool, onError: (error: unknown) => void): () => Promise<void> {
  async function look(): Promise<void> {
    await pool.query(free, [longestJob])
    await pool.query(forget, [deadFor])
    const { rows } = await pool.query(count, [mailTask])
    for (const state of ['waiting', 'failing', 'dead']) mails.set({ state }, rows[0][state])
    oldest.set(rows[0].oldest)
  }
  return repeat(look, { pause: every, first: 0, onError })
}
