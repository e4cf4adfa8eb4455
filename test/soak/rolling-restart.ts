import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Answer,
  asPerson,
  call,
  closeConnections,
  logIn,
  type Person,
  refresh,
  toPerson,
} from '@sallyport/bench/caller'
import { settingsFor } from '@sallyport/bench/settings'
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
 * Every process of the system is restarted in turn, two of each, while clients call: 200 requests a second, mixed, over
 * kept connections through a plain TCP balancer. A request that is not answered as it should be has failed; clients try
 * nothing twice.
 *
 *   npm run rolling -- [requests]
 */
const wanted = Number(process.argv[2] ?? 50_000)
const perSecond = 200
const people = 40

type Name = 'auth' | 'appointments' | 'notifications' | 'gateway' | 'web'
const kinds: Name[] = ['auth', 'appointments', 'notifications', 'gateway', 'web']

const folder = mkdtempSync(join(tmpdir(), 'sallyport-rolling-'))
const postgres = await startPostgres({ folder, port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url)
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

const counts = { sent: 0, answered: 0, failed: 0, restarts: 0 }
const byKind = new Map<string, number>()

const crowd: Person[] = []
while (crowd.length < people) crowd.push(toPerson(await logIn(at('gateway'))))
/** Those whose refresh is under way; a browser makes one at a time. */
const refreshing = new Set<Person>()

async function refreshOnce(person: Person): Promise<Answer> {
  refreshing.add(person)
  return refresh(at('gateway'), person).finally(() => refreshing.delete(person))
}

const whoami = (person: Person) => call('GET', `${at('gateway')}/api/whoami`, asPerson(person))

/** What people do, and how often of a hundred times. */
const habits: Record<string, { share: number; act: (person: Person) => Promise<Answer> }> = {
  login: { share: 1, act: () => logIn(at('gateway')) },
  refresh: { share: 20, act: (person) => (refreshing.has(person) ? whoami(person) : refreshOnce(person)) },
  whoami: { share: 30, act: whoami },
  appointments: {
    share: 24,
    act: (person) => call('GET', `${at('gateway')}/api/doctor/appointments`, asPerson(person)),
  },
  me: { share: 20, act: (person) => call('GET', `${at('gateway')}/api/auth/me`, asPerson(person)) },
  page: { share: 5, act: () => call('GET', `${at('web')}/login`, { accept: 'text/html' }) },
}
const hundred = Object.entries(habits).flatMap(([name, { share }]) => Array<string>(share).fill(name))

async function act(): Promise<void> {
  const person = crowd[counts.sent++ % people] as Person
  const name = hundred[Math.floor(Math.random() * hundred.length)] as string
  byKind.set(name, (byKind.get(name) ?? 0) + 1)
  const why = await (habits[name] as (typeof habits)[string]).act(person).then(
    ({ status, body }) => (status === 200 ? undefined : `${status} ${body}`),
    (error: Error) => String(error.cause ?? error),
  )
  counts.answered += 1
  if (why === undefined) return
  counts.failed += 1
  process.stdout.write(`failed: ${name}: ${why}\n`)
}

/** One after another, round and round, as long as there is load. */
async function restartInTurn(): Promise<void> {
  for (let turn = 0; counts.sent < wanted; turn++) {
    const index = turn % places.length
    const { child, ended } = running[index] as RunningProcess
    child.kill('SIGTERM')
    const [code] = await ended
    if (code !== 0) throw new Error(`${places[index]?.kind} ended with ${code}`)
    await start(index)
    counts.restarts += 1
    // As an orchestrator does: the next one only when this one serves again.
    await sleep(500)
  }
}

const begun = Date.now()
const restarting = restartInTurn()
while (counts.sent < wanted) {
  const due = ((Date.now() - begun) / 1000) * perSecond
  while (counts.sent < Math.min(due, wanted)) void act()
  await sleep(5)
}
await restarting
while (counts.answered < counts.sent) await sleep(50)
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
