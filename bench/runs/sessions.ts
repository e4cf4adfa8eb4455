import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rotateSession } from '@sallyport/auth/sessions/rotate'
import { createDatabase, type Database, migrate, seed } from '@sallyport/database'
import { freePort, startPostgres } from '@sallyport/local'
import pg from 'pg'
import { cpuSeconds } from '../lib/cpu.ts'
import { writtenAhead } from '../lib/written-ahead.ts'

/**
 * What sessions and refreshes cost Postgres with few and with many of them in the table: the CPU time of the backends,
 * the pages that one statement touches, what is written ahead, what a session takes, and how long a vacuum is after an
 * eighth of them changed: in one table, and in one of partitions by id. All tables are in one server and take turns, so
 * that a busy machine slows all of them.
 *
 *   npm run bench:sessions                (SIZES=10000,1000000/16 leaves out the largest; /16 is for 16 partitions)
 */
const layouts = (process.env.SIZES ?? '10000,1000000,5000000,5000000/16').split(',').map((layout) => {
  const [size, partitions] = layout.split('/').map(Number)
  return { size: size as number, partitions }
})
const rounds = 12
const refreshesEach = 500
const limits = { idleSeconds: 604_800, maxSeconds: 2_592_000, graceSeconds: 10 }

const folder = mkdtempSync(join(tmpdir(), 'sallyport-sessions-'))
const server = await startPostgres({
  folder,
  port: await freePort(),
  settings: ['fsync=off', 'shared_buffers=1GB', 'autovacuum=off', 'shared_preload_libraries=pg_stat_statements'],
})
const admin = new pg.Client({ connectionString: server.url })
await admin.connect()
await admin.query('CREATE EXTENSION pg_stat_statements')

/** Sessions in a database of their own, and those of them that are refreshed. */
interface Table {
  size: number
  /** The tables that hold them. */
  parts: string[]
  /** The database's. */
  name: string
  url: string
  database: Database
  userId: string
  bytes: number
  ids: string[]
  generation: number
  cpu: number
  written: number
  writtenFirst: number
}

/** Puts partitions in the place of the table of sessions while it is empty. @returns their names */
async function partition(client: pg.Client, partitions: number): Promise<string[]> {
  await client.query('ALTER TABLE auth.sessions RENAME TO whole')
  await client.query('CREATE TABLE auth.sessions (LIKE auth.whole INCLUDING ALL) PARTITION BY HASH (id)')
  await client.query('DROP TABLE auth.whole')
  const parts = Array.from({ length: partitions }, (_, index) => `auth.sessions_${index}`)
  for (const [index, part] of parts.entries())
    await client.query(
      `CREATE TABLE ${part} PARTITION OF auth.sessions FOR VALUES WITH (MODULUS ${partitions}, REMAINDER ${index}) WITH (fillfactor = 70)`,
    )
  await client.query('ALTER TABLE auth.sessions ADD FOREIGN KEY (user_id) REFERENCES auth.users ON DELETE CASCADE')
  return parts
}

const tables: Table[] = []
for (const { size, partitions } of layouts) {
  const name = `sessions_${size}_${partitions ?? 1}`
  await admin.query(`CREATE DATABASE ${name}`)
  const url = server.url.replace(/sallyport$/, name)
  await migrate(url)
  const database = createDatabase(url, { connections: 4, onError: process.emitWarning })
  await seed(database)
  const user = await database.user.findFirstOrThrow()
  const filler = new pg.Client({ connectionString: url })
  await filler.connect()
  const parts = partitions ? await partition(filler, partitions) : ['auth.sessions']
  await filler.query(
    `INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at)
     SELECT gen_random_uuid(), $1, now() + interval '7 days', now() + interval '30 days' FROM generate_series(1, $2::int)`,
    [user.id, size],
  )
  await filler.query('VACUUM ANALYZE auth.sessions')
  const { rows: space } = await filler.query(
    'SELECT sum(pg_total_relation_size(part::regclass)) AS bytes FROM unnest($1::text[]) part',
    [parts],
  )
  const { rows: sample } = await filler.query(`SELECT id FROM auth.sessions ORDER BY random() LIMIT ${refreshesEach}`)
  await filler.end()
  tables.push({
    size,
    parts,
    name,
    url,
    database,
    userId: user.id,
    bytes: Number(space[0].bytes),
    ids: sample.map(({ id }) => id),
    cpu: 0,
    written: 0,
    writtenFirst: 0,
    generation: 0,
  })
}

/** Seconds of CPU that the server's connections to a database have used so far. */
async function usedFor({ name }: Table): Promise<number> {
  const { rows } = await admin.query('SELECT pid FROM pg_stat_activity WHERE datname = $1', [name])
  return rows.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0)
}

/** Refreshes every session of the sample once. */
async function refreshAll(table: Table): Promise<void> {
  const waiting = [...table.ids]
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        const request = { sessionId: id, userId: table.userId, generation: table.generation, attemptHash: undefined }
        const { kind } = await rotateSession(table.database, request, limits)
        if (kind !== 'rotated') throw new Error(kind)
      }
    }),
  )
  table.generation += 1
}

for (let round = 0; round <= rounds; round++)
  for (const table of tables) {
    const before = await usedFor(table)
    const beforehand = await writtenAhead(admin)
    await refreshAll(table)
    // The first round warms caches and prepares statements.
    if (round === 0) continue
    table.cpu += (await usedFor(table)) - before
    table.written += (await writtenAhead(admin)) - beforehand
  }

// A page that changes for the first time after a checkpoint is written ahead whole.
for (const table of tables) {
  await admin.query('CHECKPOINT')
  const beforehand = await writtenAhead(admin)
  await refreshAll(table)
  table.writtenFirst = (await writtenAhead(admin)) - beforehand
}

process.stdout.write(
  '| sessions | tables | backend CPU per refresh | WAL per refresh | the first after a checkpoint | bytes per session | pages touched (EXPLAIN) | vacuum of all | the longest of one table |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n',
)
const costs: number[] = []
for (const { size, parts, url, database, ids, cpu, written, writtenFirst, bytes } of tables) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) UPDATE auth.sessions SET generation = generation + 1, rotated_at = now() WHERE id = '${ids[0]}' AND revoked_at IS NULL`,
  )
  const text = JSON.stringify(rows[0])
  const pages =
    Number(/"Shared Hit Blocks":(\d+)/.exec(text)?.[1]) + Number(/"Shared Read Blocks":(\d+)/.exec(text)?.[1])
  const cost = (cpu * 1e6) / (rounds * refreshesEach)
  costs.push(cost)
  await client.query("UPDATE auth.sessions SET rotated_at = now() WHERE left(id::text, 1) IN ('0', '8')")
  const vacuums: number[] = []
  for (const part of parts) {
    const began = performance.now()
    await client.query(`VACUUM ${part}`)
    vacuums.push((performance.now() - began) / 1000)
  }
  const allVacuums = vacuums.reduce((sum, one) => sum + one, 0)
  process.stdout.write(
    `| ${size} | ${parts.length} | ${cost.toFixed(0)} us | ${Math.round(written / (rounds * refreshesEach))} B | ${Math.round(writtenFirst / refreshesEach)} B | ${Math.round(bytes / size)} | ${pages} | ${allVacuums.toFixed(2)} s | ${Math.max(...vacuums).toFixed(2)} s |\n`,
  )
  await client.end()
  await database.$disconnect()
}
process.stdout.write(`\nin the first's: ${costs.map((cost) => (cost / (costs[0] as number)).toFixed(2)).join(', ')}\n`)

const { rows: statements } = await admin.query(
  `SELECT regexp_replace(left(query, 60), '\\s+', ' ', 'g') AS statement, sum(calls) AS calls,
     sum(total_exec_time) * 1000 / sum(calls) AS us, sum(wal_bytes) / sum(calls) AS wal
   FROM pg_stat_statements WHERE query ILIKE '%sessions%' GROUP BY 1 HAVING sum(calls) > 1000 ORDER BY 2 DESC`,
)
process.stdout.write('\n| statement (pg_stat_statements) | calls | mean time | WAL |\n| --- | ---: | ---: | ---: |\n')
for (const { statement, calls, us, wal } of statements)
  process.stdout.write(`| ${statement} | ${calls} | ${Number(us).toFixed(0)} us | ${Math.round(wal)} |\n`)
await admin.end()
await server.stop()
rmSync(folder, { recursive: true, force: true })
