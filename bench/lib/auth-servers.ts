import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { refreshClaims, refreshSigning } from '@sallyport/auth/tokens/refresh'
import { seed } from '@sallyport/database'
import { endProcesses, freePort, keepSecrets, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { createSigner } from 'fast-jwt'
import pg from 'pg'
import { onCores, ownCores } from './cores.ts'
import { childrenOf } from './cpu.ts'

export interface Server {
  name: string
  address: string
  method: 'GET' | 'POST'
  path: string
  pid: number
  /** Of the process that hashes passwords for it, if there is one. */
  hashingPid?: number
  /** One for each session; a refresh replaces its own. */
  cookies: string[]
  stop(): Promise<unknown>
}

/** So many that none is refreshed twice within a second, in which some designs find nothing to write. */
const sessions = 4_000

/** Who sign in: so many that hardly two logins at the same time are of one. */
export const usersToLogIn = 1_000

const baselines = fileURLToPath(new URL('../../baselines/auth/', import.meta.url))

/** Installs what the baselines need, the first time. */
export function installBaselines(): void {
  if (!existsSync(join(baselines, 'node_modules')))
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: baselines, stdio: 'ignore' })
}

/**
 * An auth process on a PostgreSQL of its own.
 *
 * @param cores those that auth and its process that hashes run on
 */
export async function startAuth(cores: number[]) {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-auth-'))
  const postgres = await startPostgres({ folder, port: await freePort(), settings: ['max_connections=200'] })
  const owner = new pg.Client({ connectionString: postgres.url })
  await owner.connect()
  const ours = await startOurs(postgres.url, owner, join(folder, 'secrets'), cores)
  return {
    ours,
    postgres,
    owner,
    async stop() {
      await ours.stop()
      await owner.end()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The same, and on that PostgreSQL every other server that checks or refreshes a session. */
export async function startServers() {
  installBaselines()
  const { ours, postgres, owner, stop } = await startAuth(ownCores())
  const others: Server[] = []
  for (const [name, script, more] of [
    ['bare node:http', 'bare', {}],
    ['the design it replaces', 'original', {}],
    ['the design it replaces, keys prepared', 'original', { KEYS: 'prepared' }],
    ["better-auth's session check", 'better-auth', {}],
  ] as const) {
    const database = `other_${others.length}`
    await owner.query(`CREATE DATABASE ${database}`)
    const DATABASE_URL = postgres.url.replace(/sallyport$/, database)
    const child = startBaseline(script, { ...more, DATABASE_URL, SESSIONS: String(sessions) })
    const [{ port, cookies }] = (await once(child, 'message')) as [{ port: number; cookies: string[] }]
    others.push({
      name,
      address: `http://127.0.0.1:${port}`,
      ...(script === 'better-auth'
        ? { method: 'GET', path: '/api/auth/get-session' }
        : { method: 'POST', path: '/api/auth/refresh' }),
      pid: child.pid as number,
      cookies,
      stop: () => endChild(child),
    })
  }
  return {
    ours,
    others,
    async stop() {
      await Promise.all(others.map((server) => server.stop()))
      await stop()
    },
  }
}

export function startBaseline(script: string, environment: Record<string, string>): ChildProcess {
  return fork(join(baselines, `${script}.js`), { env: { ...process.env, NODE_ENV: 'production', ...environment } })
}

export async function endChild(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.disconnect()
  await gone
}

async function startOurs(url: string, owner: pg.Client, secretsFolder: string, cores: number[]): Promise<Server> {
  const databases = await prepareOwnDatabase(url, seed)
  const secrets = keepSecrets(secretsFolder)
  const environment = {
    ...process.env,
    ...secrets,
    NODE_ENV: 'production',
    DATABASE_URL: databases.auth,
    AUTH_PORT: '0',
    JWT_ISSUER: 'https://issuer.bench',
    JWT_AUDIENCE: 'https://api.bench',
    LOGIN_RATE_LIMIT_MAX: '100000000',
    LOG_LEVEL: 'fatal',
  }
  const running = await onCores(cores, () => startProcess('auth', environment, () => {}))
  const pid = running.child.pid as number
  const sign = createSigner({ key: secrets.JWT_REFRESH_SECRET as string, ...refreshSigning })
  const { rows } = await owner.query("SELECT id, email, name, roles FROM auth.users WHERE email = 'doctor@example.com'")
  await owner.query(
    `INSERT INTO auth.users (id, email, name, password_hash, roles)
     SELECT gen_random_uuid(), 'user-' || number || '@example.com', name, password_hash, roles
     FROM auth.users, generate_series(0, $1 - 1) number WHERE email = 'doctor@example.com'`,
    [usersToLogIn],
  )
  const ids = Array.from({ length: sessions }, () => randomUUID())
  await owner.query(
    `INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at)
     SELECT unnest($1::uuid[]), $2, now() + interval '7 days', now() + interval '30 days'`,
    [ids, rows[0].id],
  )
  const expiresAt = Math.floor(Date.now() / 1000) + 604_800
  return {
    name: 'Sallyport',
    address: `http://127.0.0.1:${running.port}`,
    method: 'POST',
    path: '/api/auth/refresh',
    pid,
    hashingPid: childrenOf(pid)[0] as number,
    cookies: ids.map(
      (id) =>
        `__Host-refreshToken=${sign(refreshClaims({ id, user: rows[0], generation: 0, rotatedAt: 0, expiresAt }))}`,
    ),
    stop: () => endProcesses([running]),
  }
}
