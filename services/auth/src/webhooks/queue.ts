import type { Database, Statement } from '@sallyport/database'
import { lifetime, nextAttempt } from './schedule.ts'
import { type Message, type Outcome, stopped } from './send.ts'

/** Seconds after which what a process took that was killed is tried again: no attempt takes as long. */
const lease = 30

/** How many deliveries are looked at to find one. */
const look = 50

export interface Delivery {
  id: string
  webhookId: string
  url: string
  /** Sealed. */
  secrets: string[]
  message: Message
  attempts: number
  /** In seconds, since it was queued. */
  age: number
  /** Until when it is nobody else's. */
  heldUntil: Date
}

const due: Statement = {
  name: 'find_due_webhooks',
  text: `
    SELECT id FROM auth.webhooks w
    WHERE enabled AND coalesce(resumes_at, now()) <= now() AND EXISTS (
      SELECT FROM auth.webhook_deliveries WHERE webhook_id = w.id AND state = 'pending' AND next_at <= now())`,
}

/** @returns the ids of the webhooks to which something can be sent */
export const findDue = async (database: Database): Promise<string[]> =>
  (await database.run<{ id: string }>(due, [])).map(({ id }) => id)

/**
 * What waits behind another one of its person is not looked at again before that one is: otherwise each look would pass
 * over all that waits.
 */
const take: Statement = {
  name: 'take_webhook_delivery',
  text: `
    WITH webhook AS (
      SELECT id, url FROM auth.webhooks WHERE id = $1 AND enabled AND coalesce(resumes_at, now()) <= now()
    ), looked AS (
      SELECT d.id, d.subject FROM auth.webhook_deliveries d
      WHERE d.webhook_id = (SELECT id FROM webhook) AND d.state = 'pending' AND d.next_at <= now()
      ORDER BY d.next_at, d.id LIMIT ${look} FOR UPDATE SKIP LOCKED
    ), placed AS (
      SELECT l.id, (
        SELECT e.next_at FROM auth.webhook_deliveries e
        WHERE e.webhook_id = $1 AND e.subject = l.subject AND e.state = 'pending' AND e.id < l.id
        ORDER BY e.id LIMIT 1) AS behind
      FROM looked l
    ), put_off AS (
      UPDATE auth.webhook_deliveries d SET next_at = greatest(p.behind, now() + interval '1 second')
      FROM placed p WHERE d.id = p.id AND p.behind IS NOT NULL
    ), taken AS (
      UPDATE auth.webhook_deliveries SET next_at = now() + interval '${lease} seconds'
      WHERE id = (SELECT id FROM placed WHERE behind IS NULL ORDER BY id LIMIT 1)
      RETURNING *
    )
    SELECT (SELECT count(*) FROM looked)::int AS looked, t.id::text, w.url, t.attempts, t.next_at AS "heldUntil",
           extract(epoch FROM now() - t.queued_at)::float8 AS age, e.id AS event, e.type, e.at, e.data::text,
           ARRAY(SELECT secret FROM auth.webhook_secrets
                 WHERE webhook_id = w.id AND coalesce(expires_at, 'infinity') > now() ORDER BY created_at DESC) AS secrets
    FROM webhook w LEFT JOIN taken t ON true LEFT JOIN auth.webhook_events e ON e.id = t.event_id`,
}

interface Taken {
  looked: number
  id: string | null
  url: string
  attempts: number
  heldUntil: Date
  age: number
  event: string
  type: string
  at: Date
  data: string
  secrets: string[]
}

/**
 * Takes the next delivery of a webhook, for as long as an attempt may last.
 *
 * @returns it, or whether it is worth looking again
 */
export async function takeDelivery(database: Database, webhookId: string): Promise<Delivery | 'again' | undefined> {
  const [taken] = await database.run<Taken & Record<string, unknown>>(take, [webhookId])
  if (!taken?.looked) return undefined
  if (taken.id === null) return 'again'
  const { id, url, secrets, attempts, age, heldUntil, event, type, at, data } = taken
  return {
    ...{ id, webhookId, url, secrets, attempts, age, heldUntil },
    message: { id: event, type, at, data: JSON.parse(data) },
  }
}

/** Nothing, if somebody else has it meanwhile. */
const settle: Statement = {
  name: 'settle_webhook_delivery',
  text: `
    WITH settled AS (
      UPDATE auth.webhook_deliveries
      SET state = $3::text, attempts = $4, status = $5::int, error = $6::text,
          next_at = coalesce(now() + $7::float8 * interval '1 second', next_at),
          settled_at = CASE WHEN $3::text = 'pending' THEN NULL ELSE now() END
      WHERE id = $1 AND next_at = $2 AND state = 'pending'
      RETURNING id, webhook_id, subject, state
    ), next AS (
      UPDATE auth.webhook_deliveries SET next_at = now()
      WHERE attempts = 0 AND id = (
        SELECT d.id FROM auth.webhook_deliveries d JOIN settled s USING (webhook_id, subject)
        WHERE s.state <> 'pending' AND d.state = 'pending' AND d.id > s.id ORDER BY d.id LIMIT 1)
    ), verdict AS (
      SELECT w.id, CASE
        WHEN $5::int = 410 THEN 'gone'
        WHEN $6::text IS NOT NULL AND w.failing_since <= now() - interval '${lifetime} seconds' THEN 'failing'
      END AS reason
      FROM auth.webhooks w JOIN settled s ON s.webhook_id = w.id
      WHERE w.enabled AND ($6::text IS NOT NULL OR w.failing_since IS NOT NULL)
    ), disabled AS (
      UPDATE auth.webhooks w
      SET failing_since = CASE WHEN $6::text IS NOT NULL THEN coalesce(w.failing_since, now()) END,
          resumes_at = coalesce(now() + $8::float8 * interval '1 second', w.resumes_at),
          enabled = v.reason IS NULL,
          disabled_reason = v.reason
      FROM verdict v WHERE w.id = v.id
      RETURNING w.id, w.disabled_reason
    )
    INSERT INTO auth.security_events (event, reason)
    SELECT 'webhook_disabled', disabled_reason || ' ' || id FROM disabled WHERE disabled_reason IS NOT NULL
    RETURNING reason`,
}

/**
 * Notes what came of an attempt. A webhook is disabled whose receiver says 410, or that has failed for three days: with its
 * security event, which is returned.
 */
export async function settleDelivery(
  database: Database,
  { id, heldUntil, attempts, age }: Delivery,
  { status, error, pause }: Outcome,
): Promise<string | undefined> {
  const values = (state: string, failures: number, wait: number | null = null) => [
    ...[id, heldUntil, state, failures, status, error?.slice(0, 200) ?? null, wait, pause ?? null],
  ]
  const failures = attempts + 1
  const wait = status === 410 ? undefined : nextAttempt(failures, age, pause)
  const [disabled] = await database.run<{ reason: string }>(
    settle,
    error === null
      ? values('delivered', attempts)
      : wait === undefined
        ? values('dead', failures)
        : values('pending', failures, wait),
  )
  return disabled?.reason
}

const release: Statement = {
  name: 'release_webhook_delivery',
  text: `UPDATE auth.webhook_deliveries SET next_at = now() WHERE id = $1 AND next_at = $2 AND state = 'pending'`,
}

/** Gives one back whose attempt was aborted, which is not counted. */
export const releaseDelivery = (database: Database, { id, heldUntil }: Delivery): Promise<unknown> =>
  database.run(release, [id, heldUntil])

export const isStopped = ({ error }: Outcome): boolean => error === stopped
