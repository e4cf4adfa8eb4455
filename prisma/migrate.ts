import '@sallyport/chassis/node-version'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrismaPg } from '@prisma/adapter-pg'
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils'
import * as engine from '@prisma/schema-engine-wasm/schema_engine_bg'
import { databaseAddress, databaseSettings, duration, readSettings, text } from '@sallyport/chassis'
import pg from 'pg'
import { Connection } from './connection.ts'
import { retry } from './database.ts'
import { waitForSessions } from './listen.ts'
import { migrationNames, migrationsFolder, readMigrationFile } from './migration-files.ts'
import { grantRights, queueSchema, type Role, type Roles } from './roles.ts'

/** Any number will do, as long as every process that migrates uses the same. */
const migrationLock = 5_001_7259

/**
 * Brings a database to the schema of this version with Prisma's own engine (its wasm build, so that no binary is
 * needed), records it as Prisma does, and gives the roles that the services run as their rights. Migrating twice
 * changes nothing; two at once wait for each other. Each migration is applied whole or not at all, also when the process
 * or the server is killed meanwhile: then migrating again goes on from there.
 *
 * @param url signs in as the role that owns the tables, or will
 * @param wait how long to wait until the database answers, in seconds
 * @returns the names of the migrations that were applied now
 * @throws ConfigurationError when the database does not answer, or a role cannot be given rights
 */
export async function migrate(url: string, roles: Roles = {}, wait = 0): Promise<string[]> {
  const guard = await retry(wait, () => connect(url))
  // One connection, for a transaction around what the engine does.
  const pool = new pg.Pool({ Client: Connection, connectionString: url, onConnect: takeTurns, max: 1 })
  try {
    // A lock that a pooler keeps on a connection of its own would outlive us.
    await waitForSessions(url, wait, (...values) => guard.query('SELECT pg_notify($1, $2)', values))
    await guard.query('SELECT pg_advisory_lock($1)', [migrationLock])
    await installQueue(pool)
    const schemaEngine = await startEngine(pool)
    const applied: string[] = []
    for (const before of migrationNames.keys()) applied.push(...(await applyFirst(before + 1, schemaEngine, pool)))
    await grantRights(guard, roles)
    return applied
  } finally {
    // The engine locks too, for as long as it is connected.
    await pool.end()
    await guard.end()
  }
}

/**
 * The tables of the queue that mails wait in, by the migrations of what runs it. Loaded when it is needed: services
 * import this file too.
 */
async function installQueue(pgPool: pg.Pool): Promise<void> {
  const { Logger, runMigrations } = await import('graphile-worker')
  // Connections handle errors of their own (connection.ts), and a failure of the pool fails what waits for it.
  pgPool.on('error', () => {}).on('connect', () => {})
  await runMigrations({ pgPool, schema: queueSchema, logger: new Logger(() => () => {}) })
}

/**
 * Applies what is missing of the first so many migrations. The engine notes that one has begun and, later, that it has
 * ended; killed in between without a transaction, it would refuse to go on until somebody has decided by hand.
 */
async function applyFirst(count: number, schemaEngine: engine.SchemaEngine, pool: pg.Pool): Promise<string[]> {
  await pool.query('BEGIN')
  try {
    const { appliedMigrationNames } = await schemaEngine.applyMigrations({
      migrationsList: readMigrations(migrationNames.slice(0, count)),
      filters: { externalTables: [], externalEnums: [] },
    })
    await pool.query('COMMIT')
    return appliedMigrationNames
  } catch (error) {
    await pool.query('ROLLBACK')
    if (!/55P03|lock timeout|40P01|deadlock detected/.test(String((error as Error).message))) throw error
  }
  await sleep(pause)
  return applyFirst(count, schemaEngine, pool)
}

async function connect(url: string): Promise<Connection> {
  const connection = await new Connection({ connectionString: url }).connect()
  await takeTime(connection)
  return connection
}

/** A migration, and the wait for another one, takes as long as it takes, however short statements are elsewhere. */
const takeTime = (connection: pg.ClientBase) => connection.query('SET statement_timeout TO 0')

/** Milliseconds that a migration waits for a lock, and then leaves to whoever waits behind it. */
const [lockTimeout, pause] = [1_000, 1_000]

/**
 * So that a service that still runs never waits for long: a lock on a table is waited for behind what has one already,
 * such as a backup, and whatever asks for the table meanwhile waits behind us.
 */
async function takeTurns(connection: pg.ClientBase): Promise<void> {
  await takeTime(connection)
  await connection.query(`SET lock_timeout TO ${lockTimeout}`)
}

async function startEngine(pool: pg.Pool): Promise<engine.SchemaEngine> {
  loading ??= loadEngine()
  await loading
  const adapter = bindMigrationAwareSqlAdapterFactory(new PrismaPg(pool))
  return engine.SchemaEngine.new({ datamodels: undefined }, () => {}, adapter)
}

/** The bindings hold the state of one instance, so a process loads it once. */
let loading: Promise<void> | undefined

/** The package imports its wasm as a module, which Node 20 cannot; these are the same steps by hand. */
async function loadEngine(): Promise<void> {
  const folder = dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'))
  const { instance } = await WebAssembly.instantiate(readFileSync(join(folder, 'schema_engine_bg.wasm')), {
    './schema_engine_bg.js': engine as unknown as WebAssembly.ModuleImports,
  })
  engine.__wbg_set_wasm(instance.exports)
  ;(instance.exports.__wbindgen_start as () => void)()
}

function readMigrations(names: readonly string[]) {
  return {
    baseDir: migrationsFolder,
    lockfile: { path: 'migration_lock.toml', content: readMigrationFile('migration_lock.toml') },
    shadowDbInitScript: '',
    migrationDirectories: names.map((path) => ({
      path,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok' as const, value: readMigrationFile(`${path}/migration.sql`) },
      },
    })),
  }
}

function roleOf(name: string | undefined, password: string | undefined): Role | undefined {
  return name === undefined ? undefined : { name, password }
}

/** @throws ConfigurationError with a line for every setting to fix */
export function readConfig(environment: Record<string, string | undefined>) {
  const role = (service: string) =>
    text({ default: undefined, desc: `the role that ${service} signs in to the database as` })
  const password = text({ default: undefined, desc: 'its password, if the role is to be made or changed' })
  const settings = readSettings(environment, {
    DATABASE_URL: databaseAddress({ desc: 'postgresql://owner:password@host:5432/database' }),
    DATABASE_DIRECT_URL: databaseSettings.DATABASE_DIRECT_URL,
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database, such as 10s' }),
    AUTH_DATABASE_ROLE: role('the auth service'),
    AUTH_DATABASE_PASSWORD: password,
    APPOINTMENTS_DATABASE_ROLE: role('appointments'),
    APPOINTMENTS_DATABASE_PASSWORD: password,
  })
  return {
    url: settings.DATABASE_DIRECT_URL ?? settings.DATABASE_URL,
    wait: settings.DATABASE_WAIT,
    roles: {
      auth: roleOf(settings.AUTH_DATABASE_ROLE, settings.AUTH_DATABASE_PASSWORD),
      appointments: roleOf(settings.APPOINTMENTS_DATABASE_ROLE, settings.APPOINTMENTS_DATABASE_PASSWORD),
    },
  }
}

const [, program = ''] = process.argv
// The package may be linked into node_modules.
if (existsSync(program) && realpathSync(program) === import.meta.filename) {
  try {
    const { url, wait, roles } = readConfig(process.env)
    const applied = await migrate(url, roles, wait)
    const outcome = applied.length === 0 ? 'The database is up to date.\n' : `Applied ${applied.join(', ')}.\n`
    // The engine leaves a timer of ten seconds behind, which nothing waits for.
    process.stdout.write(outcome, () => process.exit())
  } catch (error) {
    process.stderr.write(`sallyport migrate: ${(error as Error).message}\n`)
    process.exit(1)
  }
}
