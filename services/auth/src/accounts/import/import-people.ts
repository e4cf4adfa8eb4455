import type { Database, Prisma } from '@sallyport/database'
import type { FactorKey } from '../../factors/factor-key.ts'
import { type Account, type LeftOut, prepare, type Rules } from './account.ts'
import type { Fields, ReadPerson } from './person.ts'

/** How many accounts a statement makes. */
const batchSize = 500

/** A line of the report: of which entry of the file, and what the other system calls the person. */
export interface Line extends LeftOut {
  entry: number
  id?: string | undefined
  email?: string | undefined
}

export interface Totals {
  entries: number
  /** Made now, or in a dry run, what would be. */
  imported: number
  /** There already, from an earlier run. */
  unchanged: number
  /** People, by the reason. */
  leftOut: Record<string, number>
  /** Those who are imported without something of theirs, by what it is and the reason. */
  partly: Record<string, number>
}

interface Job {
  database: Database
  /** Needed where there are secrets of authenticator apps. */
  factorKey: FactorKey | undefined
  rules: Rules
  read: ReadPerson
  dryRun: boolean
  report: (line: Line) => void
  /** Gets the id of everybody who has another one than before. */
  renamed: (before: string, now: string) => void
}

interface Prepared {
  entry: number
  before: string | undefined
  typed: string | undefined
  account: Account
  leftOut: LeftOut[]
}

/**
 * Makes accounts of the people of an export, some hundred at a time, each batch wholly or not at all. Who was imported
 * before is left as they are: after an interruption the same is done again, and goes on. No mail is sent.
 */
export async function importPeople(entries: AsyncIterable<Fields>, job: Job): Promise<Totals> {
  const totals: Totals = { entries: 0, imported: 0, unchanged: 0, leftOut: {}, partly: {} }
  const seen = new Set<string>()
  let batch: Prepared[] = []

  function leave({ entry, before: id, typed: email }: Omit<Prepared, 'account' | 'leftOut'>, left: LeftOut): void {
    const counts = left.what === 'user' ? totals.leftOut : totals.partly
    const reason =
      left.what === 'user' ? left.why : left.what === 'role' ? 'role: not in the map' : `${left.what}: ${left.why}`
    counts[reason] = (counts[reason] ?? 0) + 1
    job.report({ entry, id, email, ...left })
  }

  async function write(): Promise<void> {
    const conflicts = await findConflicts(job.database, batch)
    const open = batch.filter(({ account }) => !conflicts.has(account.id))
    const made = job.dryRun ? pretend(open, seen) : await makeAccounts(job.database, open, job.rules.source)
    const unmade = open.filter(({ account }) => !made.has(account.id))
    for (const [id, conflict] of await findConflicts(job.database, unmade)) conflicts.set(id, conflict)
    const done = new Set<string>()
    for (const prepared of batch) {
      const { account, before, leftOut } = prepared
      const isNew = made.has(account.id)
      const conflict = isNew ? undefined : (conflicts.get(account.id) ?? duplicate)
      if (done.has(account.id)) leave(prepared, { what: 'user', why: duplicate })
      else if (conflict && conflict !== unchanged) leave(prepared, { what: 'user', why: conflict })
      else {
        totals[isNew ? 'imported' : 'unchanged'] += 1
        for (const left of leftOut) leave(prepared, left)
        if (before !== undefined && before !== account.id) job.renamed(before, account.id)
      }
      done.add(account.id)
    }
    batch = []
  }

  for await (const fields of entries) {
    const entry = ++totals.entries
    const person = job.read(fields)
    const { account, leftOut } = prepare(person, job.rules, job.factorKey)
    const about = { entry, before: person.id, typed: person.email }
    if (account) batch.push({ ...about, account, leftOut })
    else for (const left of leftOut) leave(about, left)
    if (batch.length === batchSize) await write()
  }
  await write()
  return totals
}

const unchanged = 'unchanged'
const duplicate = 'address of another entry'

/** Why accounts cannot be made, by their id: somebody has the address or the id. */
async function findConflicts(database: Database, batch: Prepared[]): Promise<Map<string, string>> {
  const given = batch.map(({ account: { id, spellings } }) => ({ id, spellings }))
  const rows = await database.$queryRaw<{ id: string; why: string }[]>`
    SELECT p.id::text AS id, CASE
      WHEN u.id = p.id THEN ${unchanged}
      WHEN u.id IS NULL THEN 'erased'
      WHEN EXISTS (
        SELECT FROM auth.security_events e
        WHERE e.user_id = u.id AND e.event = 'user_created' AND e.reason LIKE 'imported from %'
      ) THEN ${duplicate}
      ELSE 'address of an account' END AS why
    FROM jsonb_to_recordset(${JSON.stringify(given)}::jsonb) AS p (id uuid, spellings text[])
    LEFT JOIN LATERAL (
      SELECT id, 1 AS rank FROM auth.users WHERE id = p.id
      UNION ALL SELECT id, 2 FROM auth.users WHERE email = ANY(p.spellings)
      ORDER BY rank LIMIT 1
    ) u ON true
    WHERE u.id IS NOT NULL OR EXISTS (
      SELECT FROM auth.security_events e WHERE e.user_id = p.id AND e.event = 'user_erased')`
  return new Map(rows.map(({ id, why }) => [id, why]))
}

/**
 * One statement, with everything that there is with an account: the secret of an authenticator app, the event, and that
 * what was under way by mail for the address is over.
 *
 * @returns the ids of those that were made; of two with one address, the first
 */
async function makeAccounts(database: Database, batch: Prepared[], source: string): Promise<Set<string>> {
  const accounts = batch.map(({ account }) => account) as unknown as Prisma.JsonArray
  const made = await database.$queryRaw<{ id: string }[]>`
    WITH given AS (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(accounts)}::jsonb) AS p (
        id uuid, email text, name text, hash text, roles text[], locale text, disabled boolean, "createdAt" timestamptz,
        secret text, "keyId" text)
    ), made AS (
      INSERT INTO auth.users (id, email, name, password_hash, roles, locale, disabled_at, created_at)
      SELECT id, email, name, hash, roles, locale, CASE WHEN disabled THEN now() END, coalesce("createdAt", now())
      FROM given
      ON CONFLICT DO NOTHING
      RETURNING id, email
    ), factors AS (
      INSERT INTO auth.totp (user_id, secret, key_id, last_step)
      SELECT id, secret, "keyId", 0 FROM given JOIN made USING (id) WHERE secret IS NOT NULL
    ), tickets AS (
      UPDATE auth.tickets t SET used_at = now(), withdrawn = true FROM made WHERE t.email = made.email AND t.used_at IS NULL
    ), events AS (
      INSERT INTO auth.security_events (event, user_id, reason)
      SELECT 'user_created', id, ${`imported from ${source}`} FROM made
    )
    SELECT id::text AS id FROM made`
  return new Set(made.map(({ id }) => id))
}

/** What makeAccounts would say. @param seen the addresses of those before */
function pretend(batch: Prepared[], seen: Set<string>): Set<string> {
  const made = new Set<string>()
  for (const { account } of batch) {
    if (seen.has(account.email)) continue
    seen.add(account.email)
    made.add(account.id)
  }
  return made
}
