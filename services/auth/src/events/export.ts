import { randomUUID } from 'node:crypto'
import { type AuditSink, type Logger, repeat } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import { Gauge } from 'prom-client'
import type { ChainedEvent } from './chain.ts'
import { readChain } from './read-chain.ts'
import { openSink, type Sink } from './sinks.ts'

/** A sink that is new has nothing yet: it gets all that is kept. */
const begin: Statement = {
  name: 'begin_audit_export',
  text: `
    INSERT INTO auth.audit_exports (sink, position) SELECT $1, start_position FROM auth.event_chain_state
    ON CONFLICT DO NOTHING`,
}

const lag: Statement = {
  name: 'audit_export_lag',
  text: `
    SELECT (s.position - x.position)::float8 AS events, coalesce(extract(epoch FROM now() - (
             SELECT e.at FROM auth.security_events e WHERE e.id = (
               SELECT c.event_id FROM auth.event_chain c WHERE c.position > x.position ORDER BY c.position LIMIT 1
             ))), 0)::float8 AS seconds
    FROM auth.audit_exports x, auth.event_chain_state s WHERE x.sink = $1`,
}

/** Only one process writes, so that the order is that of the chain; another one takes over when it is silent. */
const hold: Statement = {
  name: 'hold_audit_export',
  text: `
    UPDATE auth.audit_exports SET holder = $2, held_until = now() + interval '30 seconds'
    WHERE sink = $1 AND (holder IS NULL OR holder = $2 OR held_until < now()) RETURNING position`,
}

const advance: Statement = {
  name: 'advance_audit_export',
  text: `
    UPDATE auth.audit_exports SET position = $3, held_until = now() + interval '30 seconds'
    WHERE sink = $1 AND holder = $2 RETURNING position`,
}

const release: Statement = {
  name: 'release_audit_export',
  text: 'UPDATE auth.audit_exports SET holder = NULL, held_until = NULL WHERE sink = $1 AND holder = $2',
}

/** How many events are written at once. */
const batch = 500

interface Options {
  sink: AuditSink
  /** In the place of what AUDIT_LOG names. */
  write?: Sink
  /** Milliseconds between one look and the next, and after a failure. */
  pause?: number
  afterFailure?: number
}

/**
 * Writes the chain to AUDIT_LOG for as long as the service runs, each event at least once and in order. How far it is is in
 * the database, and changed after events were written. No connection to the database is held while the sink takes its time.
 *
 * @returns how to stop; it resolves once nothing is being done any more
 */
export function startExport(
  database: Database,
  logger: Logger,
  { sink, write = openSink(sink), pause = 1_000, afterFailure = 5_000 }: Options,
): () => Promise<void> {
  const [holder, closing] = [randomUUID(), new AbortController()]
  let notBefore = 0

  async function step(): Promise<void> {
    if (performance.now() < notBefore) return
    await database.run(begin, [sink.name])
    if ((await measure()) === 0) return
    const [held] = await database.run<{ position: string }>(hold, [sink.name, holder])
    if (!held) return
    try {
      await exportAfter(Number(held.position))
    } finally {
      await database.run(release, [sink.name, holder])
    }
    await measure()
  }

  async function exportAfter(from: number): Promise<void> {
    for (let position = from; !closing.signal.aborted; ) {
      const entries = await readChain(database, position, batch)
      const [first, last] = [entries[0], entries.at(-1)]
      if (!first || !last) return
      const events = entries.filter((entry): entry is ChainedEvent => entry.event !== undefined)
      const missing = last.position - position - events.length
      if (missing > 0)
        logger.error({ event: 'audit_export_incomplete', missing, from: position + 1, to: last.position })
      if (events.length > 0) await write(events, closing.signal)
      const advanced = await database.run(advance, [sink.name, holder, last.position])
      if (advanced.length === 0) return
      position = last.position
    }
  }

  /** @returns how many events wait */
  async function measure(): Promise<number> {
    const [row] = await database.run<{ events: number; seconds: number }>(lag, [sink.name])
    const { events, seconds } = row as { events: number; seconds: number }
    lagEvents.set(events)
    lagSeconds.set(seconds)
    return events
  }

  function onError(err: unknown): void {
    notBefore = performance.now() + afterFailure
    if (!closing.signal.aborted) logger.error({ event: 'audit_export_failed', sink: sink.name, err })
  }

  const stop = repeat(step, { pause, onError })
  return async () => {
    closing.abort()
    await stop()
  }
}

const lagEvents = new Gauge({
  name: 'sallyport_audit_lag_events',
  help: 'Chained security events that AUDIT_LOG does not have yet',
})
const lagSeconds = new Gauge({
  name: 'sallyport_audit_lag_seconds',
  help: 'How old the oldest event is that AUDIT_LOG does not have yet',
})
