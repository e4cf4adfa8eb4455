import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  asUser,
  call,
  closeConnections,
  type HttpResponse,
  logIn,
  refresh,
  toUser,
  type User,
} from '@sallyport/bench/caller'
import { settingsFor } from '@sallyport/bench/settings'
import { seed } from '@sallyport/database'
import {
  endProcesses,
  freePort,
  prepareOwnDatabase,
  type RunningProcess,
  startPostgres,
  startProcess,
} from '@sallyport/local'
import { startBalancer } from './balancer.ts'

/**
 * Every process of the system is restarted one after another, two of each, under load: 200 requests a second, mixed,
 * over keep-alive connections through a plain TCP balancer. A request without the response that it should have has
 * failed; clients do not retry.
 *
 *   npm run rolling -- [requests]
 */
const wanted = Number(process.argv[2] ?? 50_000)
const perSecond = 200
const users = 40

type Name = 'auth' | 'appointments' | 'notifications' | 'gateway' | 'web'
const kinds: Name[] = ['auth', 'appointments', 'notifications', 'gateway', 'web']

const folder = mkdtempSync(join(tmpdir(), 'sallyport-rolling-'))
const postgres = await startPostgres({ folder, port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url, seed)
const places: { kind: Name; port: number; managementPort: number }[] = []
for (const kind of [...kinds, ...kinds]) places.push({ kind, port: await freePort(), managementPort: await freePort() })

const balancers = {} as Record<Name, Awaited<ReturnType<typeof startBalancer>>>
for (const kind of kinds) balancers[kind] = await startBalancer(places.filter((place) => place.kind === kind))
const at = (kind: Name) => `http://127.0.0.1:${balancers[kind].port}`

const environment = {
  ...settingsFor(folder, {
    auth: at('auth'),
    appointments: at('appointments'),
    notifications: at('notifications'),
  }),
  SHUTDOWN_WAIT: '2s',
}
const running: RunningProcess[] = []
async function start(index: number): Promise<void> {
  const { kind, port, managementPort } = places[index] as (typeof places)[number]
  const own = {
    ...(kind === 'web' || kind === 'gateway' ? {} : { DATABASE_URL: databases[kind] }),
    [`${kind.toUpperCase()}_PORT`]: String(port),
    MANAGEMENT_PORT: String(managementPort),
  }
  running[index] = await startProcess(kind, { ...environment, ...own }, (line) => process.stdout.write(`${line}\n`))
}
for (const index of places.keys()) await start(index)
for (const kind of kinds) await balancers[kind].look()

const counts = { sent: 0, completed: 0, failed: 0, restarts: 0 }
const byKind = new Map<string, number>()

const signedIn: User[] = []
while (signedIn.length < users) signedIn.push(toUser(await logIn(at('gateway'))))
/** Users whose refresh is in flight; a browser makes one at a time. */
const refreshing = new Set<User>()

async function refreshOnce(user: User): Promise<HttpResponse> {
  refreshing.add(user)
  return refresh(at('gateway'), user).finally(() => refreshing.delete(user))
}

const whoami = (user: User) => call('GET', `${at('gateway')}/api/whoami`, asUser(user))

/** What users do, and how often out of a hundred times. */
const habits: Record<string, { share: number; act: (user: User) => Promise<HttpResponse> }> = {
  login: { share: 1, act: () => logIn(at('gateway')) },
  refresh: { share: 20, act: (user) => (refreshing.has(user) ? whoami(user) : refreshOnce(user)) },
  whoami: { share: 30, act: whoami },
  appointments: {
    share: 24,
    act: (user) => call('GET', `${at('gateway')}/api/doctor/appointments`, asUser(user)),
  },
  me: { share: 20, act: (user) => call('GET', `${at('gateway')}/api/auth/me`, asUser(user)) },
  page: { share: 5, act: () => call('GET', `${at('web')}/login`, { accept: 'text/html' }) },
}
const hundred = Object.entries(habits).flatMap(([name, { share }]) => Array<string>(share).fill(name))

async function act(): Promise<void> {
  const user = signedIn[counts.sent++ % users] as User
  const name = hundred[Math.floor(Math.random() * hundred.length)] as string
  byKind.set(name, (byKind.get(name) ?? 0) + 1)
  const why = await (habits[name] as (typeof habits)[string]).act(user).then(
    ({ status, body }) => (status === 200 ? undefined : `${status} ${body}`),
    (error: Error) => String(error.cause ?? error),
  )
  counts.completed += 1
  if (why === undefined) return
  counts.failed += 1
  process.stdout.write(`failed: ${name}: ${why}\n`)
}

/** One after another, round and round, as long as there is load. */
async function restartOneByOne(): Promise<void> {
  for (let turn = 0; counts.sent < wanted; turn++) {
    const index = turn % places.length
    const { child, ended } = running[index] as RunningProcess
    child.kill('SIGTERM')
    const [code] = await ended
    if (code !== 0) throw new Error(`${places[index]?.kind} ended with ${code}`)
    await start(index)
    counts.restarts += 1
    // As an orchestrator does: the next one only once this one serves again.
    await sleep(500)
  }
}

const begun = Date.now()
const restarting = restartOneByOne()
while (counts.sent < wanted) {
  const due = ((Date.now() - begun) / 1000) * perSecond
  while (counts.sent < Math.min(due, wanted)) void act()
  await sleep(5)
}
await restarting
while (counts.completed < counts.sent) await sleep(50)
const seconds = (Date.now() - begun) / 1000

await closeConnections()
for (const balancer of Object.values(balancers)) balancer.stop()
await endProcesses(running)
await postgres.stop()
rmSync(folder, { recursive: true, force: true })
process.stdout.write(`| what | count |
| --- | ---: |
| requests (${[...byKind].map(([name, count]) => `${name} ${count}`).join(', ')}) | ${counts.sent} |
| restarts with SIGTERM | ${counts.restarts} |
| seconds | ${seconds.toFixed(0)} |
| requests failed | ${counts.failed} |
`)
process.exit(counts.failed === 0 ? 0 : 1)
