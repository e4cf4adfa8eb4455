import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Logger, repeat } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'

/** A process that says that it runs. */
export interface Replica {
  id: string
  kind: 'auth' | 'gateway'
  version: string
  /** Seconds since it started. */
  uptime: number
  /** Its clock, in milliseconds since 1970. */
  time: number
  state: object
}

/** Milliseconds between two reports of a process, and seconds after the last from which it counts as gone. */
export const reportEvery = 10_000
export const goneAfter = 30

/** How many of a kind are kept: whoever may report cannot fill the table. */
const mostOfKind = 200

/** Milliseconds that the end of a process waits for its row to go. */
const goodbye = 1_000

/** A row that is new takes the place of the one that was heard of least lately, if there are as many as are kept. */
const note: Statement = {
  name: 'note_replica',
  text: `
    WITH noted AS (
      INSERT INTO auth.replicas AS known (id, kind, version, started_at, state)
      VALUES ($1::uuid, $2, $3, now() - $4::float8 * interval '1 second',
        $5::jsonb || jsonb_build_object('clockSkewMs', round($6::float8 - extract(epoch FROM clock_timestamp()) * 1000)))
      ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, seen_at = now(), state = EXCLUDED.state
        WHERE known.kind = EXCLUDED.kind
      RETURNING xmax = 0 AS is_new
    )
    DELETE FROM auth.replicas WHERE EXISTS (SELECT FROM noted WHERE is_new) AND id IN (
      SELECT id FROM auth.replicas WHERE kind = $2 ORDER BY seen_at DESC OFFSET ${mostOfKind - 1})`,
}

const remove: Statement = {
  name: 'remove_replica',
  text: 'DELETE FROM auth.replicas WHERE id = $1::uuid AND kind = $2',
}

/** Notes that a process runs, and by how much its clock differs from that of the database. */
export async function noteReplica(database: Database, replica: Replica): Promise<void> {
  const { id, kind, version, uptime, time, state } = replica
  await database.run(note, [id, kind, version, uptime, JSON.stringify(state), time])
}

/** Forgets a process that ends as it should. */
export async function removeReplica(database: Database, id: string, kind: Replica['kind']): Promise<void> {
  await database.run(remove, [id, kind])
}

/** Forgets processes of which nothing has been heard for a day. */
export async function forgetReplicas(database: Database): Promise<void> {
  await database.$executeRaw`DELETE FROM auth.replicas WHERE seen_at < now() - interval '1 day'`
}

/**
 * Says every ten seconds that this process runs.
 *
 * @param state what it knows of itself
 * @returns how to stop, after which it is no longer listed
 */
export function startReporting(
  database: Database,
  logger: Logger,
  { version, state }: { version: string; state: () => object },
): () => Promise<void> {
  const id = randomUUID()
  const begun = performance.now()
  async function step(): Promise<void> {
    const uptime = (performance.now() - begun) / 1000
    await noteReplica(database, { id, kind: 'auth', version, uptime, time: Date.now(), state: state() })
  }
  const stop = repeat(step, {
    pause: reportEvery,
    first: 0,
    onError: (err) => logger.debug({ event: 'replica_not_noted', err }),
  })
  return async () => {
    const removed = stop().then(() => removeReplica(database, id, 'auth').catch(() => {}))
    // Not for as long as a database that hangs takes to fail.
    await Promise.race([removed, sleep(goodbye, undefined, { ref: false })])
  }
}
