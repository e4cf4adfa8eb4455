import { createHash } from 'node:crypto'
import { type Logger, repeat } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { showStoredHashes } from './metrics.ts'
import type { Passwords } from './passwords.ts'
import { type Kind, readStored, shapeOf } from './stored-hash.ts'

/** How many users have a hash of one shape. */
export interface Share {
  /** A hash of it. */
  example: string
  users: number
}

/**
 * The hash in whose shape somebody without one is compared: of all shapes by the weight of their users, and for one person
 * always the same. It is weighted rendezvous hashing: when a shape gains users, those who change go to that shape, and
 * when it loses users, they leave it, as users do themselves whose hash is replaced at a sign-in.
 *
 * @param whose what stands for the person where they have no hash: an id, or an HMAC of the address
 */
export function choose(shares: ReadonlyMap<string, Share>, whose: string): string | undefined {
  let chosen: string | undefined
  let lowest = Number.POSITIVE_INFINITY
  for (const [shape, { example, users }] of shares) {
    const drawn = createHash('sha256').update(`${shape} ${whose}`).digest().readUIntBE(0, 6)
    const score = -Math.log((drawn + 1) / 2 ** 48) / users
    if (score < lowest) [chosen, lowest] = [example, score]
  }
  return chosen
}

interface Row extends Share {
  last: string
}

/**
 * Counts the users by the shape of their hash, a slice of the table at a time: no long statement, and none that an index
 * would be kept for.
 */
export async function countHashes(database: Database, slice = 10_000): Promise<Map<string, Share>> {
  const shares = new Map<string, Share>()
  for (let after: string | undefined | null = null; after !== undefined; ) {
    const rows: Row[] = await database.$queryRaw<Row[]>`
      WITH slice AS (
        SELECT id, password_hash FROM auth.users WHERE ${after}::uuid IS NULL OR id > ${after}::uuid
        ORDER BY id LIMIT ${slice}
      )
      SELECT min(password_hash) AS example, count(*)::int AS users,
             (SELECT id::text FROM slice ORDER BY id DESC LIMIT 1) AS last
      FROM slice
      GROUP BY left(password_hash, 4), length(password_hash),
               regexp_replace(password_hash, '[A-Za-z0-9+/.]{9,}', '', 'g')`
    for (const { example, users } of rows) {
      if (!readStored(example)) continue
      const shape = shapeOf(example)
      shares.set(shape, { example, users: users + (shares.get(shape)?.users ?? 0) })
    }
    after = rows[0]?.last
  }
  return shares
}

/**
 * Has those who have no hash compared as users are, by counting again and again which hashes those have, and shows how
 * many there are of each kind. It has counted once when it resolves.
 *
 * @returns how to stop; it resolves once nothing is being done any more
 */
export async function followMix(
  database: Database,
  passwords: Pick<Passwords, 'follow'>,
  logger: Logger,
  pause = 60_000,
): Promise<() => Promise<void>> {
  async function step(): Promise<void> {
    const shares = await countHashes(database)
    passwords.follow(shares)
    const counts: Partial<Record<Kind, number>> = {}
    for (const { example, users } of shares.values()) {
      const { kind } = readStored(example) as { kind: Kind }
      counts[kind] = users + (counts[kind] ?? 0)
    }
    showStoredHashes(counts)
  }
  const onError = (err: unknown) => logger.warn({ event: 'counting_hashes_failed', err })
  await step().catch(onError)
  return repeat(step, { pause, onError })
}
