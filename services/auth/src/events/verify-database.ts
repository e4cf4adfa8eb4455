import type { Database, Statement } from '@sallyport/database'
import type { Head } from './chain.ts'
import { readChain, readChainState } from './read-chain.ts'
import { createVerifier, type Fault, type Verified } from './verify.ts'

/** How many entries are read at once, and how many ids of events are looked through. */
const [batch, range] = [1_000, 200_000]

/** Not chained, though all up to there are. */
const notChained: Statement = {
  name: 'events_not_chained',
  text: `
    SELECT id FROM auth.security_events e WHERE id > $1 AND id <= $2
      AND NOT EXISTS (SELECT FROM auth.event_chain c WHERE c.event_id = e.id AND c.event_id > $1 AND c.event_id <= $2)
    ORDER BY id`,
}

const waiting: Statement = {
  name: 'events_to_be_chained',
  text: `
    SELECT count(*)::int AS waiting FROM auth.security_events e
    WHERE id > $1 AND NOT EXISTS (SELECT FROM auth.event_chain c WHERE c.event_id = e.id AND c.event_id > $1)`,
}

const erasedAmong: Statement = {
  name: 'users_erased_among',
  text: `SELECT user_id FROM auth.security_events WHERE event = 'user_erased' AND user_id = ANY($1::uuid[])`,
}

const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Verifies the chain that is in the database, while the system goes on: up to where it ends when this begins, and further
 * if there is more by then.
 *
 * @param heads what the chain is known to have been
 * @returns also how many events wait to be chained
 */
export async function verifyDatabase(
  database: Database,
  heads: readonly Head[],
  onFault: (fault: Fault) => void,
): Promise<Verified & { waiting: number }> {
  const { start, head, completeTo } = await readChainState(database)
  const verifier = createVerifier(start, [...heads, head], onFault)
  for (let position = start.position, more = true; more; ) {
    const entries = await readChain(database, position, batch)
    for (const entry of entries) {
      position = entry.position
      if (position !== (verifier.last as Head).position + 1) await passForgotten()
      verifier.add(entry)
    }
    more = entries.length === batch
  }
  if ((verifier.last as Head).position < head.position) await passForgotten()

  // An event may also be said to be older than the first.
  for (let from = Number.MIN_SAFE_INTEGER, to = 0; from < Number(completeTo); from = to) {
    to = Math.min(Math.max(from, 0) + range, Number(completeTo))
    for (const { id } of await database.run<{ id: string }>(notChained, [from, to]))
      verifier.report(null, 'not_chained', `the event ${id} is not in the chain, which has all of its time`)
  }
  const suspects = verifier.suspects().filter((id) => isId.test(id))
  const erased = await database.run<{ user_id: string }>(erasedAmong, [suspects])
  verifier.knowErased(erased.map(({ user_id }) => user_id))
  const [left] = await database.run<{ waiting: number }>(waiting, [completeTo])
  return { ...verifier.finish(), waiting: (left as { waiting: number }).waiting }

  /** What is old may have been forgotten since we began. */
  async function passForgotten(): Promise<void> {
    const { start: later } = await readChainState(database)
    if (later.position > (verifier.last as Head).position) verifier.reach(later)
  }
}
