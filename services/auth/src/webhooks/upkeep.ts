import { repeat } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import { Gauge } from 'prom-client'

/** Milliseconds between two looks at the queue. */
const every = 10_000

/** Days for which what was delivered or given up can be looked at and replayed. */
const keptFor = 30

const deliveries = new Gauge({
  name: 'sallyport_webhook_deliveries',
  help: 'Deliveries to webhooks: not tried yet, tried and to be tried again, given up',
  labelNames: ['state'],
})
const oldest = new Gauge({
  name: 'sallyport_webhook_oldest_seconds',
  help: 'Age of the oldest delivery to a webhook that is enabled which is still to be made',
})
const disabled = new Gauge({
  name: 'sallyport_webhooks_disabled',
  help: 'Webhooks that were disabled because their receivers failed for three days, or wanted no more',
})

const count: Statement = {
  name: 'count_webhook_deliveries',
  text: `
    SELECT count(*) FILTER (WHERE d.attempts = 0)::int AS waiting, count(*) FILTER (WHERE d.attempts > 0)::int AS failing,
      coalesce(extract(epoch FROM now() - min(d.queued_at) FILTER (WHERE w.enabled)), 0)::float8 AS oldest,
      (SELECT count(*) FROM auth.webhook_deliveries WHERE state = 'dead')::int AS dead,
      (SELECT count(*) FROM auth.webhooks WHERE disabled_reason IS NOT NULL)::int AS disabled
    FROM auth.webhook_deliveries d JOIN auth.webhooks w ON w.id = d.webhook_id WHERE d.state = 'pending'`,
}

/** Counts what is queued for the metrics. @returns how to stop; it resolves once nothing is being done any more */
export function startUpkeep(database: Database, onError: (error: unknown) => void): () => Promise<void> {
  async function look(): Promise<void> {
    const [found] = (await database.run(count, [])) as [Record<string, number>]
    for (const state of ['waiting', 'failing', 'dead']) deliveries.set({ state }, found[state] as number)
    oldest.set(found.oldest as number)
    disabled.set(found.disabled as number)
  }
  return repeat(look, { pause: every, first: 0, onError })
}

/** Forgets what was settled long ago, and secrets that sign no more. */
export async function forgetOfWebhooks(database: Database, most: number): Promise<void> {
  await database.$executeRaw`
    DELETE FROM auth.webhook_events WHERE id IN (
      SELECT e.id FROM auth.webhook_events e
      WHERE e.at < now() - ${keptFor} * interval '1 day' AND NOT EXISTS (
        SELECT FROM auth.webhook_deliveries d JOIN auth.webhooks w ON w.id = d.webhook_id
        WHERE d.event_id = e.id AND CASE WHEN d.state = 'pending' THEN w.enabled
          ELSE d.settled_at > now() - ${keptFor} * interval '1 day' END)
      LIMIT ${most} FOR UPDATE OF e SKIP LOCKED)`
  await database.webhookSecret.deleteMany({ where: { expiresAt: { lt: new Date() } } })
}
