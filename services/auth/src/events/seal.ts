import { type Logger, repeat } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import { Gauge } from 'prom-client'
import { readChainState } from './read-chain.ts'

const seal: Statement = {
  name: 'seal_security_events',
  text: 'SELECT auth.seal_security_events($1) AS sealed',
}

/** How many events a statement chains: none takes long, and another process may be the next. */
const slice = 2_000

/**
 * Chains the events that are committed and not chained yet, unless another process does so just now.
 *
 * @returns how many; undefined if another process does so
 */
export async function sealEvents(database: Database, most = slice): Promise<number | undefined> {
  let all = 0
  for (;;) {
    const [row] = await database.run<{ sealed: number | null }>(seal, [most])
    const { sealed } = row as { sealed: number | null }
    if (sealed === null) return undefined
    all += sealed
    if (sealed < most) return all
  }
}

interface Timing {
  /** Milliseconds between one look and the next. */
  pause?: number
  /** Milliseconds between one head in the log and the next, and between failures. */
  logEvery?: number
}

/**
 * Chains security events for as long as the service runs. Any number of processes may do so: one at a time does. Once a
 * minute at most, if there is a new one, the head of the chain is logged, so that it is known outside of the database.
 *
 * @returns how to stop; it resolves once nothing is being done any more
 */
export function startSealing(
  database: Database,
  logger: Logger,
  { pause = 1_000, logEvery = 60_000 }: Timing = {},
): () => Promise<void> {
  let logged = { position: 0, at: Number.NEGATIVE_INFINITY }
  let failed = Number.NEGATIVE_INFINITY

  async function step(): Promise<void> {
    if ((await sealEvents(database)) === undefined) return
    sealedAt.setToCurrentTime()
    if (performance.now() < logged.at + logEvery) return
    const { head } = await readChainState(database)
    if (head.position > logged.position) logger.info({ event: 'audit_head', ...head })
    logged = { position: head.position, at: performance.now() }
  }

  function onError(err: unknown): void {
    if (performance.now() < failed + logEvery) return
    failed = performance.now()
    logger.warn({ event: 'sealing_failed', err })
  }

  return repeat(step, { pause, onError })
}

const sealedAt = new Gauge({
  name: 'sallyport_audit_sealed_timestamp_seconds',
  help: 'When this process last saw that every security event is chained, or had them chained',
})
