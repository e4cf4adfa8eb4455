import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { routesFile } from '@sallyport/bench/settings'
import { createDatabase, type Database, demoPassword } from '@sallyport/database'
import {
  type DatabaseUrls,
  type EmbeddedPostgres,
  endProcesses,
  freePort,
  keepSecrets,
  type RunningProcess,
  startPostgres,
  startProcess,
} from '@sallyport/local'
import pg from 'pg'
import type { Test } from 'tap'
import { openAuthHere, openGatewayHere } from './in-process.ts'
import { copyPreparedPostgres } from './prepared-postgres.ts'
import { borrowDatabase } from './shared-postgres.ts'

export { demoPassword } from '@sallyport/database'
export { freePort } from '@sallyport/local'

export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Nobody waits longer than this for a response, in milliseconds: a connection's deadline and a statement's. */
export const patience = 7_000

/** Waits for something to become true, and fails the test if it does not in time. */
export async function eventually(
  what: string,
  check: () => boolean | Promise<boolean>,
  withinMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + withinMs
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/**
 * What the gateway refuses a call of a client with whose session was just ended. It is notified by the auth service, which
 * on a machine that is busy may take a moment longer than the response to whoever ended it.
 */
export async function refusalOf(client: Client): Promise<ClientResponse['body']> {
  let response: ClientResponse | undefined
  await eventually('the gateway refuses the session', async () => {
    response = await client.call('GET', '/api/auth/me')
    return response.status === 401
  })
  return response?.body
}

/** Shifts a process's clock by so many seconds. */
export function shiftedClock(seconds: number): { NODE_OPTIONS: string } {
  const code = `
    const Real = Date
    globalThis.Date = class extends Real {
      constructor(...parts) { parts.length > 0 ? super(...parts) : super(Real.now() + ${seconds * 1000}) }
      static now() { return Real.now() + ${seconds * 1000} }
    }`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }
}

/** The child processes of one of our processes. */
export function children({ child: { pid } }: RunningProcess): number[] {
  const list = `/proc/${pid}/task/${pid}/children`
  // Elsewhere than on Linux there is always pgrep.
  const text = existsSync(list)
    ? readFileSync(list, 'utf8')
    : execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
  return text.trim().split(/\s+/).map(Number)
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

export interface TestDatabase {
  /** As the owner of everything. */
  url: string
  /** As the services sign in. */
  urls: DatabaseUrls
  /** As the auth service has it. */
  database: Database
  /** Runs plain SQL as the owner, for looking at the database from outside. */
  sql: (text: string, values?: unknown[]) => Promise<pg.QueryResult>
}

/** A database of the test's own, migrated and with the demo users, on a server that it shares with other tests. */
export async function startDatabase(t: Test): Promise<TestDatabase> {
  const { url, urls, giveBack } = await borrowDatabase()
  // Teardowns run from the last to the first.
  t.teardown(giveBack)
  return openDatabase(t, url, urls)
}

function openDatabase(t: Test, url: string, urls: DatabaseUrls): TestDatabase {
  const database = createDatabase(urls.auth, { connections: 8, onError: () => {} })
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  t.teardown(async () => {
    await database.$disconnect()
    await pool.end()
  })
  return { url, urls, database, sql: (text, values) => pool.query(text, values) }
}

export interface TestServer extends TestDatabase {
  postgres: EmbeddedPostgres
  /** Starts the server again on the same data, after it was stopped or killed. */
  restart: () => Promise<void>
}

/**
 * As startDatabase, on a PostgreSQL of the test's own: for tests that stop it, set it up or look at all of it.
 *
 * @param settings of the server, such as `ssl=on`
 */
export async function startServer(t: Test, settings: string[] = []): Promise<TestServer> {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const prepared = await copyPreparedPostgres(folder)
  const start = () => startPostgres({ folder, port, settings: ['fsync=off', 'max_connections=200', ...settings] })
  const state = { postgres: await start() }
  const here = (address: string) => Object.assign(new URL(address), { port }).toString()
  const urls = {
    auth: here(prepared.auth),
    appointments: here(prepared.appointments),
    notifications: here(prepared.notifications),
  }
  t.teardown(() => state.postgres.stop())
  const own = {
    get postgres() {
      return state.postgres
    },
    // The children of a server that was killed may hold its data for a moment.
    restart: () =>
      eventually('Postgres starts again', () =>
        start().then(
          (postgres) => {
            state.postgres = postgres
            return true
          },
          () => false,
        ),
      ),
  }
  // A spread would freeze what the getter says now.
  return Object.assign(own, openDatabase(t, state.postgres.url, urls))
}

interface Addresses {
  gateway: string
  /** Every line that any of them logged. */
  log: string[]
  secrets: Record<string, string>
  environment: Record<string, string | undefined>
}

/** Auth and gateway, with what they run on. */
export type OpenSystem = TestDatabase & Addresses & { auth: string }

export type System<Of extends TestDatabase = TestDatabase> = Of &
  Addresses & { processes: Record<'auth' | 'appointments' | 'notifications' | 'gateway', RunningProcess> }

type Sample = 'appointments' | 'notifications'

/**
 * The system with auth and gateway in the test's own process.
 *
 * @param samples the services behind the gateway that the test sends requests to; they are processes
 */
export async function openSystem(t: Test, settings?: Record<string, string>, samples?: Sample[]): Promise<OpenSystem> {
  return openSystemOn(await startDatabase(t), t, settings, samples)
}

/** As openSystem, on an existing database. */
export async function openSystemOn(
  database: TestDatabase,
  t: Test,
  settings: Record<string, string> = {},
  samples: Sample[] = [],
): Promise<OpenSystem> {
  const { environment, secrets } = prepareSystem(t, database, settings)
  const log: string[] = []
  const onLine = (line: string) => log.push(line)
  const auth = await openAuthHere(environment, onLine)
  t.teardown(auth.close)
  const services = await startSamples(samples, database, environment, onLine)
  t.teardown(() => endProcesses(Object.values(services)))
  const found = { ...environment, ...addressesOf({ auth, ...services }) }
  const gateway = await openGatewayHere({ ...found, ...streamsOf(found.AUTH_URL), ...settings }, onLine)
  t.teardown(gateway.close)
  return { ...database, gateway: at(gateway), auth: at(auth), log, secrets, environment: found }
}

/**
 * The system as it is deployed: every process its own, on ports of the system's choice.
 *
 * @param samples the services behind the gateway that the test needs; each of them makes the start slower
 */
export async function startSystem(t: Test, settings?: Record<string, string>, samples?: Sample[]): Promise<System> {
  return startSystemOn(await startDatabase(t), t, settings, samples)
}

/** As startSystem, on an existing database. */
export async function startSystemOn<Of extends TestDatabase>(
  database: Of,
  t: Test,
  settings: Record<string, string> = {},
  samples: Sample[] = [],
): Promise<System<Of>> {
  const { environment, secrets } = prepareSystem(t, database, settings)
  const log: string[] = []
  const onLine = (line: string) => log.push(line)
  const processes: Partial<System['processes']> = {}
  t.teardown(() => endProcesses(Object.values(processes)))
  const [auth, services] = await Promise.all([
    startProcess('auth', environment, onLine),
    startSamples(samples, database, environment, onLine),
  ])
  Object.assign(processes, { auth, ...services })
  const found = { ...environment, ...addressesOf({ auth, ...services }) }
  processes.gateway = await startProcess('gateway', { ...found, ...streamsOf(found.AUTH_URL), ...settings }, onLine)
  return Object.assign(database, {
    gateway: at(processes.gateway),
    processes: processes as System['processes'],
    log,
    secrets,
    environment: found,
  })
}

function prepareSystem(t: Test, { urls }: TestDatabase, settings: Record<string, string>) {
  const secrets = keepSecrets(temporaryFolder(t))
  const environment: Record<string, string | undefined> = {
    ...process.env,
    ...secrets,
    DATABASE_URL: urls.auth,
    AUTH_PORT: '0',
    APPOINTMENTS_PORT: '0',
    NOTIFICATIONS_PORT: '0',
    GATEWAY_PORT: '0',
    GATEWAY_ROUTES: routesFile,
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    TRUSTED_PROXIES: '127.0.0.1',
    CORS_ORIGINS: 'https://app.test',
    LOGIN_RATE_LIMIT_MAX: '10000',
    RATE_LIMIT_MAX: '100000',
    USER_RATE_LIMIT_MAX: '100000',
    ...settings,
  }
  return { environment, secrets }
}

async function startSamples(
  samples: Sample[],
  { urls }: TestDatabase,
  environment: Record<string, string | undefined>,
  onLine: (line: string) => void,
): Promise<Partial<Record<Sample, RunningProcess>>> {
  const start = async (name: Sample) =>
    [name, await startProcess(name, { ...environment, DATABASE_URL: urls[name] }, onLine)] as const
  return Object.fromEntries(await Promise.all(samples.map(start)))
}

const at = ({ port }: { port: number }) => `http://127.0.0.1:${port}`

/** Where what runs is found, as the gateway's routes name it; what does not run is nowhere. */
function addressesOf(running: { auth: { port: number } } & Partial<Record<Sample, RunningProcess>>) {
  const nowhere = { port: 1 }
  return {
    AUTH_URL: at(running.auth),
    APPOINTMENTS_URL: at(running.appointments ?? nowhere),
    NOTIFICATIONS_URL: at(running.notifications ?? nowhere),
  }
}

/** What a gateway reads from the auth service. */
const streamsOf = (auth: string) => ({
  JWKS_URL: `${auth}/.well-known/jwks.json`,
  REVOCATIONS_URL: `${auth}/internal/revocations`,
  API_KEYS_URL: `${auth}/internal/api-keys`,
  REPLICAS_URL: `${auth}/internal/replicas`,
})

export interface ClientResponse {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  body: any
}

/** A client with a jar for the cookies of the auth service, as a browser keeps them. */
export class Client {
  readonly base: string
  cookie: string | undefined
  /** The cookie that says whom its device is known to. */
  device: string | undefined
  accessToken: string | undefined

  constructor(base: string) {
    this.base = base
  }

  async call(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<ClientResponse> {
    const response = await fetch(this.base + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.cookie === undefined && this.device === undefined ? {} : { cookie: this.cookies }),
        ...(this.accessToken === undefined ? {} : { authorization: `Bearer ${this.accessToken}` }),
        ...options.headers,
      },
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
    })
    const text = await response.text()
    const result: ClientResponse = { status: response.status, headers: response.headers, body: parse(text) }
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^(?:__Host-)?(refreshToken|device)=([^;]*)/.exec(cookie) ?? []
      if (name === 'refreshToken') this.cookie = value || undefined
      if (name === 'device') this.device = value
    }
    if (result.body?.accessToken) this.accessToken = result.body.accessToken
    return result
  }

  private get cookies(): string {
    const { cookie: refreshToken, device } = this
    return Object.entries({ refreshToken, device })
      .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
      .join('; ')
  }

  login(email = 'doctor@example.com', password = demoPassword): Promise<ClientResponse> {
    this.accessToken = undefined
    return this.call('POST', '/api/auth/login', { body: { email, password } })
  }

  refresh(headers: Record<string, string> = {}): Promise<ClientResponse> {
    return this.call('POST', '/api/auth/refresh', { headers })
  }
}

export async function signIn(base: string, email?: string): Promise<Client> {
  const client = new Client(base)
  const { status, body } = await client.login(email)
  if (status !== 200) throw new Error(`sign-in returned ${status} ${JSON.stringify(body)}`)
  return client
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The claims of a JWT, unverified. */
export function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString())
}
