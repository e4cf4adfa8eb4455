import { databaseAddress, readSettings } from '@sallyport/chassis/settings'
import { createPool, listen, migrationNames } from '@sallyport/database'
import type { Io } from '../io.ts'
import { type Database, type DatabaseCheck, type Finding, failure, ok, orOk, unknown, warning } from './check.ts'
import { replicasOf } from './replicas.ts'

const oldest = 14
const migrate = 'run `npm run migrate` as the owner, with the name of this role in AUTH_DATABASE_ROLE'

/** Tables of which nothing is changed or deleted but by functions of their owner. */
const appendOnly = ['security_events', 'event_chain', 'event_chain_state']

/** What is noticed by what does not come. */
const ignore = () => {}

/** @returns what went wrong, if no connection was to be had */
export async function openDatabase(env: Io['env']): Promise<Database | string> {
  let url: string
  try {
    url = readSettings(env, { DATABASE_URL: databaseAddress({ desc: 'an address' }) }).DATABASE_URL
  } catch {
    return 'DATABASE_URL is not right'
  }
  const pool = createPool(url, { connections: 2, onError: ignore })
  try {
    await pool.query('SELECT')
    return { url, pool }
  } catch (error) {
    await pool.end()
    const { message, code } = error as Error & { code?: string }
    // Of several addresses that were tried there is only a code.
    return [message, code].find(Boolean) as string
  }
}

export const server: DatabaseCheck = async ({ pool }) => {
  const { rows } = await pool.query(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
       getdatabaseencoding() AS encoding, current_user AS role`,
  )
  const { version, major, encoding, role } = rows[0]
  return orOk(
    [
      major < oldest && failure(`it is PostgreSQL ${version}`, `have ${oldest} or later`),
      encoding !== 'UTF8' && failure(`its encoding is ${encoding}`, 'move to a database whose encoding is UTF8'),
    ],
    `PostgreSQL ${version}, as ${role}`,
  )
}

export const migrations: DatabaseCheck = async ({ pool }) => {
  const { rows } = await pool.query<{ name: string; done: boolean }>(
    `SELECT migration_name AS name, bool_or(finished_at IS NOT NULL AND rolled_back_at IS NULL) AS done
     FROM _prisma_migrations GROUP BY migration_name`,
  )
  const done = new Set(rows.filter((row) => row.done).map(({ name }) => name))
  const missing = migrationNames.filter((name) => !done.has(name))
  const newer = [...done].filter((name) => !migrationNames.includes(name))
  return orOk(
    [
      missing.length > 0 && failure(`these are not applied: ${missing.join(', ')}`, migrate),
      newer.length > 0 &&
        warning(
          `the database is newer than this version: ${newer.join(', ')}`,
          'it will do; finish the upgrade of the processes',
        ),
    ],
    `all ${migrationNames.length} are applied`,
  )
}

export const rights: DatabaseCheck = async ({ pool }) => {
  const { rows } = await pool.query<{ table: string; missing: string[]; owned: boolean; changes: boolean }>(
    `SELECT relname AS table, pg_has_role(relowner, 'MEMBER') AS owned,
       has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE') AS changes,
       ARRAY(SELECT name FROM unnest(CASE WHEN relname = ANY($1) THEN '{SELECT}'::text[]
           ELSE '{SELECT,INSERT,UPDATE,DELETE}' END) AS name WHERE NOT has_table_privilege(oid, name)) AS missing
     FROM pg_class WHERE relnamespace = to_regnamespace('auth') AND relkind IN ('r', 'p') ORDER BY relname`,
    [appendOnly],
  )
  if (rows.length === 0) return [failure('the schema auth is not there', migrate)]
  const {
    rows: [role],
  } = await pool.query<{ superuser: boolean; queue: boolean }>(
    `SELECT rolsuper AS superuser, has_table_privilege('graphile_worker._private_jobs', 'SELECT')
       AND has_table_privilege('graphile_worker._private_jobs', 'INSERT')
       AND has_table_privilege('graphile_worker._private_jobs', 'DELETE') AS queue
     FROM pg_roles WHERE rolname = current_user`,
  )
  const lacking = rows.filter(({ missing }) => missing.length > 0)
  const kept = rows.filter(({ table, changes }) => appendOnly.includes(table) && changes)
  const isOwner = role?.superuser || rows.some(({ owned }) => owned)
  return orOk(
    [
      ...lacking.map(({ table, missing }) => failure(`auth.${table} lacks ${missing.join(', ')}`, migrate)),
      !role?.queue && failure('the role may not use the queue of mails', migrate),
      isOwner &&
        failure(
          'DATABASE_URL signs in as the owner of the tables, or as a superuser',
          'make a role for auth alone (docs/operations.md), and sign in as that',
        ),
      ...(isOwner ? [] : kept.map(({ table }) => failure(`the role may change what is in auth.${table}`, migrate))),
    ],
    `the role has those that it needs in ${rows.length} tables, and no others`,
  )
}

/** Milliseconds until the first proof, and how many may be missing: 3 s in all. */
const timing = { retryAfter: 500, proveEvery: 300, mayMiss: 10 }

export const listening: DatabaseCheck = async ({ url, pool }, { env }) => {
  const { DATABASE_DIRECT_URL: direct = url } = readSettings(env, {
    DATABASE_DIRECT_URL: databaseAddress({ default: undefined, desc: 'an address' }),
  })
  const close: (() => Promise<void>)[] = []
  const fault = await new Promise<string | undefined>((resolve) => {
    const listener = listen(
      direct,
      'sallyport_doctor',
      {
        onMessage: ignore,
        onProof: () => resolve(undefined),
        onDisconnect: ignore,
        onError: ({ message }) => resolve(message),
        notify: (channel, message) => pool.query('SELECT pg_notify($1, $2)', [channel, message]),
      },
      timing,
    )
    close.push(listener.close)
  })
  await close[0]?.()
  if (fault === undefined) return [ok('LISTEN hears what NOTIFY sends')]
  return [
    failure(
      `LISTEN hears nothing: ${fault}`,
      'until it does, gateways learn nothing of ended sessions (docs/operations.md)',
    ),
  ]
}

export const connections: DatabaseCheck = async ({ pool }, { config }) => {
  if (!config) return [unknown('the settings of auth are wrong')]
  const { rows } = await pool.query<{ most: number; others: number; limits: number[] }>(
    `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
       (SELECT count(*)::int FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM current_user) AS others,
       ARRAY(SELECT limits FROM (SELECT rolconnlimit AS limits FROM pg_roles WHERE rolname = current_user
         UNION ALL SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS all_limits
         WHERE limits >= 0) AS limits`,
  )
  const { most, others, limits } = rows[0] as (typeof rows)[0]
  const processes = Math.max(
    1,
    ((await replicasOf(pool)) ?? []).filter(({ kind, gone }) => kind === 'auth' && !gone).length,
  )
  const { forLogins, others: shared } = config.databaseConnections
  // One listens; where mail is sent, two are for its queue.
  const each = forLogins + shared + 1 + (config.mail ? 2 : 0)
  const free = Math.min(most - others, ...limits)
  const sum = `${processes} × ${each} for auth, of ${free} that it can have`
  return orOk(
    [
      processes * each > free &&
        warning(sum, 'lower DATABASE_CONNECTIONS, raise max_connections, or put a pooler between (docs/operations.md)'),
    ],
    sum,
  )
}

/** Seconds by which clocks may differ: more is seen in logs, and from the second on assertions are refused. */
const [noticed, refused] = [1, 5]

export function clockFinding(whose: string, seconds: number): Finding | undefined {
  const by = Math.abs(seconds)
  if (by < noticed) return undefined
  const finding = `the clock of ${whose} ${seconds > 0 ? 'is ahead of' : 'lags behind'} the database by ${by.toFixed(1)} s`
  return (by < refused ? warning : failure)(finding, 'let NTP set both clocks')
}

export const clock: DatabaseCheck = async ({ pool }) => {
  const looks: { took: number; skew: number }[] = []
  for (let look = 0; look < 5; look += 1) {
    const before = Date.now()
    const { rows } = await pool.query<{ now: number }>(
      'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now',
    )
    const after = Date.now()
    looks.push({ took: after - before, skew: ((before + after) / 2 - Number(rows[0]?.now)) / 1000 })
  }
  // The quickest tells it best.
  const { skew } = looks.reduce((best, look) => (look.took < best.took ? look : best))
  return orOk([clockFinding('this machine', skew)], `it differs from the database by ${Math.abs(skew).toFixed(3)} s`)
}
