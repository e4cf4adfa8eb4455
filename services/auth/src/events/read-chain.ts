import type { Database, Statement } from '@sallyport/database'
import { type ChainedEvent, commitmentsOf, type Head } from './chain.ts'

/** An entry of the chain whose event is gone. */
export type Orphan = Head & { id: string; event?: undefined }

interface Row {
  position: string
  hash: string
  event_id: string
  ip_salt: string | null
  ip_digest: string | null
  words_salt: string | null
  words_digest: string | null
  at: Date | null
  event: string
  user_id: string | null
  session_id: string | null
  ip: string | null
  reason: string | null
  client_id: string | null
  act: unknown
}

/**
 * The entries are cut off before their events are looked up, and those are read within the ids that they have: however
 * large the tables are, no more than these are read.
 */
const readEntries: Statement = {
  name: 'read_event_chain',
  text: `
    WITH c AS MATERIALIZED (SELECT * FROM auth.event_chain WHERE position > $1 ORDER BY position LIMIT $2)
    SELECT c.position, encode(c.hash, 'hex') AS hash, c.event_id,
           encode(ip_salt, 'hex') AS ip_salt, encode(ip_digest, 'hex') AS ip_digest,
           encode(words_salt, 'hex') AS words_salt, encode(words_digest, 'hex') AS words_digest,
           e.at, e.event, e.user_id, e.session_id, e.ip, e.reason, e.client_id, e.act
    FROM c LEFT JOIN (
      SELECT * FROM auth.security_events
      WHERE id >= (SELECT min(event_id) FROM c) AND id <= (SELECT max(event_id) FROM c)
    ) e ON e.id = c.event_id
    ORDER BY c.position`,
}

/** The next entries after a position, in order; fewer than asked for at the end. */
export async function readChain(database: Database, after: number, most: number): Promise<(ChainedEvent | Orphan)[]> {
  return (await database.run<Row>(readEntries, [after, most])).map(toEntry)
}

function toEntry(row: Row): ChainedEvent | Orphan {
  const { hash, event_id: id, at, event, user_id: user, session_id: session, client_id: client } = row
  const position = Number(row.position)
  if (at === null) return { position, hash, id }
  const { ip, reason, act } = row
  const commitments = commitmentsOf({
    ip: { salt: row.ip_salt, digest: row.ip_digest },
    words: { salt: row.words_salt, digest: row.words_digest },
  })
  return { id, at: at.toISOString(), event, user, session, ip, reason, client, act, position, hash, commitments }
}

export interface ChainState {
  /** The last entry that was forgotten. */
  start: Head
  head: Head
  /** Up to which id of an event every event is chained. */
  completeTo: string
}

const state: Statement = {
  name: 'event_chain_state',
  text: `
    SELECT start_position, encode(start_hash, 'hex') AS start_hash, position, encode(hash, 'hex') AS hash, complete_to
    FROM auth.event_chain_state`,
}

/** @throws Error if the row is gone, which nothing of ours deletes */
export async function readChainState(database: Database): Promise<ChainState> {
  const [row] = await database.run<Record<string, string>>(state, [])
  if (!row) throw new Error('auth.event_chain_state has no row; restore the database from a backup')
  const { start_position, start_hash, position, hash, complete_to } = row as Record<string, string> & typeof row
  return {
    start: { position: Number(start_position), hash: start_hash as string },
    head: { position: Number(position), hash: hash as string },
    completeTo: complete_to as string,
  }
}
