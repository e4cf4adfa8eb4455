import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { PrismaPg } from '@prisma/adapter-pg'
import { ConfigurationError } from '@sallyport/chassis'
import pg from 'pg'
import { Gauge } from 'prom-client'
import { Connection, PooledConnection } from './connection.ts'
import { Prisma, PrismaClient } from './generated/client.ts'
import { migrationNames } from './migration-files.ts'

/** A statement that runs so often that Prisma's own work would be half of its cost. */
export interface Statement {
  /** Under which each connection prepares it, once. */
  name: string
  /** With `$1` and so on for its values. */
  text: string
}

export interface Database extends PrismaClient {
  /** Whether it is reached by a pooler that gives each transaction any of its own connections. */
  readonly pooled: boolean
  /**
   * Runs a statement on the connections of Prisma, past Prisma itself.
   *
   * @returns its rows, with values as pg reads them: numbers, text, booleans, dates, and arrays of these
   * @throws what pg throws; isOutage knows it
   */
  run<Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row[]>
}

interface DatabaseOptions {
  /** The most connections this process opens. */
  connections: number
  /** Receives errors on connections that nobody is waiting for. */
  onError: (error: Error) => void
  /** Whether the address may be that of a pooler which gives each transaction any of its own connections. */
  pooled?: boolean
}

/** How long a statement may wait for a connection, and for its result, in milliseconds. */
const connectTimeout = 2_000
const queryTimeout = 4_000

/** How long a connection is kept that nobody needs: opening one takes the time of ten statements, and comes at the worst time. */
const idleTimeout = 60_000

// Prisma compiles each query once, in WebAssembly, and keeps the plan. V8 would take longer to optimize that code (0.7 s of
// CPU in every process that starts) than it ever runs.
setFlagsFromString('--liftoff-only')

/** Opens a pool of connections, for what works on pg itself. Nothing connects before the first query. */
export function createPool(url: string, { connections, onError, pooled = false }: DatabaseOptions): pg.Pool {
  const pool = new pg.Pool({
    Client: pooled ? PooledConnection : Connection,
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: connectTimeout,
    query_timeout: queryTimeout,
    idleTimeoutMillis: idleTimeout,
    keepAlive: true,
    application_name: 'sallyport',
  })
  pools.push(pool)
  pool.on('error', onError)
  // Each handles its own errors while it is used (connection.ts), which graphile-worker looks for here.
  pool.on('connect', () => {})
  return pool
}

/** Opens Prisma on a pool of connections. Nothing connects before the first query. */
export function createDatabase(url: string, options: DatabaseOptions): Database {
  const { onError, pooled = false } = options
  const pool = createPool(url, options)
  // A name would be known to one connection of the pooler, or be somebody else's there.
  const naming = pooled ? {} : { statementNameGenerator: nameStatements() }
  const adapter = new PrismaPg(pool, { onConnectionError: onError, ...naming })
  const prisma = new PrismaClient({ adapter })
  const disconnect = prisma.$disconnect.bind(prisma)
  return Object.assign(prisma, {
    pooled,
    async run<Row extends pg.QueryResultRow>({ name, text }: Statement, values: unknown[]) {
      const { rows } = await pool.query<Row>({ ...(!pooled && { name }), text, values: values.map(toWritable) })
      return rows
    },
    // Prisma ends the pool only if it has used it.
    async $disconnect() {
      await disconnect()
      await pool.end()
    },
  })
}

/** JSON of an object, as pg makes it too, but before a connection is taken: one that cannot be written costs none. */
function toWritable(value: unknown): unknown {
  const isPlain = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return isPlain ? JSON.stringify(value) : value
}

/** Every pool of this process: auth has one for logins and one for everything else. */
const pools: pg.Pool[] = []

new Gauge({
  name: 'sallyport_database_connections',
  help: 'Connections to the database, by whether one is in use',
  labelNames: ['state'],
  collect() {
    this.reset()
    for (const { totalCount, idleCount } of pools) {
      this.inc({ state: 'active' }, totalCount - idleCount)
      this.inc({ state: 'idle' }, idleCount)
    }
  },
})
new Gauge({
  name: 'sallyport_database_waiting',
  help: 'Queries that wait for a connection to the database',
  collect() {
    this.set(pools.reduce((sum, { waitingCount }) => sum + waitingCount, 0))
  },
})

/** Names statements so that each connection prepares a text once: a third of a rotation's cost is planning. */
function nameStatements(): (query: { sql: string }) => string {
  const names = new Map<string, string>()
  return ({ sql }) => {
    const name = names.get(sql) ?? `s${names.size}`
    names.set(sql, name)
    return name
  }
}

/**
 * SQLSTATE classes that mean "cannot serve just now": connection, resources, shutdown, system, serialization, read-only,
 * and that it lets us in no more, or has no such database.
 */
const passing = /^(08|53|57|58|40|25006|28|3D)/

/** What the system and TLS say of a connection, and what the driver says, which has no codes. */
const unreachable =
  /^(EPIPE|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ECONN[A-Z]+|ETIMEDOUT|ERR_TLS_\w+|CERT_\w+|UNABLE_TO_\w+|\w+_SIGNED_CERT\w*)$/
const lost =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client (was closed|has encountered)|The server does not support SSL|There was an error establishing an SSL)/

/**
 * Whether an error says that the database is unavailable, or did not say whether it committed. Everything else
 * (a broken constraint, a wrong statement) is about what was asked.
 */
export function isOutage(error: unknown): boolean {
  if (error instanceof Prisma.PrismaClientInitializationError) return true
  if (error instanceof Prisma.PrismaClientUnknownRequestError) return true
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return isOutageOfDriver(error)
  // P1xxx: could not reach the server; P2024, P2028: no connection or transaction to be had in time.
  if (/^(P1|P2024|P2028)/.test(error.code)) return true
  const state = stateOf(error)
  return state === undefined ? error.code === 'P2010' : passing.test(state)
}

/** Whether an error says that another row has a value which only one may have. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002'
}

/** The SQLSTATE by which Postgres refused, if it is that. */
function stateOf(error: unknown): string | undefined {
  if (error instanceof pg.DatabaseError) return error.code
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return undefined
  return (error.meta?.driverAdapterError as { cause?: { originalCode?: string } } | undefined)?.cause?.originalCode
}

/** What comes from the driver: past Prisma, or through it as it is where a connection is gone or was too late. */
function isOutageOfDriver(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string') return lost.test(error.message)
  return error instanceof pg.DatabaseError ? passing.test(code) : unreachable.test(code)
}

/**
 * Waits until the database answers, takes writes and is migrated to this version, since it may be starting, or
 * migrating, beside us. A database that is ahead of this version will do.
 *
 * @param seconds how long to wait before giving up
 * @throws ConfigurationError saying what to correct
 */
export function waitForDatabase(database: Database, seconds: number): Promise<void> {
  const check = database.pooled
    ? () => database.$transaction((transaction) => checkPooled(transaction))
    : () => checkVersion(database)
  return retry(seconds, check)
}

/**
 * Asks the database again and again until it answers.
 *
 * @throws ConfigurationError saying what to correct, if it does not within so many seconds
 */
export async function retry<Result>(seconds: number, ask: () => Promise<Result>): Promise<Result> {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (Date.now() >= deadline) throw explain(error)
      await sleep(250)
    }
  }
}

async function checkVersion(database: Prisma.TransactionClient): Promise<void> {
  const newest = migrationNames.at(-1) as string
  const found = await database.$queryRaw<unknown[]>`
    SELECT FROM _prisma_migrations WHERE migration_name = ${newest} AND finished_at IS NOT NULL`
  if (found.length === 0)
    throw new ConfigurationError(
      `the database is older than this version (${newest} is missing); run \`npm run migrate\``,
    )
}

/** Settings of a session that ours have by their first statement (connection.ts): a value by which statements do as well. */
const fitting: Record<string, RegExp> = {
  TimeZone: /^(Etc\/)?(UTC|GMT)$/i,
  DateStyle: /^ISO/,
  IntervalStyle: /^postgres$/,
  extra_float_digits: /^[1-3]$/,
  default_transaction_isolation: /^read committed$/,
  default_transaction_deferrable: /^off$/,
}

/** A pooler's connections have the settings of the role. In a transaction, which not every pooler lets pass. */
async function checkPooled(transaction: Prisma.TransactionClient): Promise<void> {
  await checkVersion(transaction)
  const found = await transaction.$queryRaw<{ name: string; setting: string }[]>`
    SELECT name, setting FROM pg_settings WHERE name = ANY(${Object.keys(fitting)})`
  const wrong = found.find(({ name, setting }) => !fitting[name]?.test(setting))
  if (wrong)
    throw new ConfigurationError(
      `${wrong.name} is ${wrong.setting} on the connections of the pooler; run \`ALTER ROLE ... SET\` as docs/operations.md has it (A pooler), and let the pooler connect again`,
    )
}

const takesNoWrites =
  'the database takes no writes (it is a standby, or default_transaction_read_only is on); have DATABASE_URL lead to the primary, or let it write'

/** What to do about an address that leads to a pooler which gives each transaction any of its connections. */
export const howToKeepSessions =
  'let it lead to PostgreSQL itself or to a pooler that keeps sessions (PgBouncer: pool_mode=session), or name PostgreSQL itself in DATABASE_DIRECT_URL'

/** What a user can do about a database that does not serve. */
export function explain(error: unknown): ConfigurationError {
  if (error instanceof ConfigurationError) return error
  const { code } = error as { code?: string }
  switch (stateOf(error)) {
    case '42P01':
      return new ConfigurationError('the database has no tables yet; run `npm run migrate`', { cause: error })
    case '25006':
      return new ConfigurationError(takesNoWrites, { cause: error })
    // A statement that was prepared on another connection, or by another process.
    case '26000':
    case '42P05':
      return new ConfigurationError(`the address in DATABASE_URL does not keep sessions; ${howToKeepSessions}`, {
        cause: error,
      })
    case '42501':
      return new ConfigurationError(
        'the role in DATABASE_URL has no rights in the database; run `npm run migrate` with its name in AUTH_DATABASE_ROLE or APPOINTMENTS_DATABASE_ROLE',
        { cause: error },
      )
  }
  const reason = (error as Error).message.trim().split('\n').at(-1) || code
  return new ConfigurationError(`the database does not answer (${reason}); start it, or correct DATABASE_URL`, {
    cause: error,
  })
}
