import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seed } from '@sallyport/database'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { request, WebSocket } from 'undici'
import { asUser, call, closeConnections, type HttpResponse, logIn, refresh, toUser, type User } from '../lib/caller.ts'
import { childrenOf, residentBytes } from '../lib/cpu.ts'
import { median } from '../lib/quantile.ts'
import { settingsFor } from '../lib/settings.ts'

/**
 * Whether processes under overload for a long time stay as they were: more logins than can be hashed, refreshes,
 * requests, logouts, forged tokens, clients that leave in the middle, WebSockets and event streams, all at once. Memory
 * is compared between the first and the last tenth of the storm; descriptors, sockets and timers before it and
 * after it, at rest.
 *
 *   npm run bench:storm -- [minutes]
 */
const minutes = Number(process.argv[2] ?? 30)
/** Of each of the two: together until the gateway's cache of tokens is full, and pools are as large as they get. */
const warmUpMinutes = Math.min(10, minutes / 3)
const users = 200
/** Most requests at once; the storm pauses there, as callers that wait for responses do. */
const mostAtOnce = 400

const folder = mkdtempSync(join(tmpdir(), 'sallyport-storm-'))
const postgres = await startPostgres({ folder, port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url, seed)
const ports = { auth: await freePort(), appointments: await freePort(), notifications: await freePort() }
const settings = settingsFor(folder, {
  auth: `http://127.0.0.1:${ports.auth}`,
  appointments: `http://127.0.0.1:${ports.appointments}`,
  notifications: `http://127.0.0.1:${ports.notifications}`,
})
const start = (name: 'auth' | 'appointments' | 'notifications' | 'gateway', own: Record<string, string>) =>
  startProcess(name, { ...settings, ...own }, () => {})
const auth = await start('auth', { DATABASE_URL: databases.auth, AUTH_PORT: String(ports.auth) })
const appointments = await start('appointments', {
  DATABASE_URL: databases.appointments,
  APPOINTMENTS_PORT: String(ports.appointments),
})
const notifications = await start('notifications', {
  DATABASE_URL: databases.notifications,
  NOTIFICATIONS_PORT: String(ports.notifications),
})
const gateway = await start('gateway', { GATEWAY_PORT: '0' })
const running = [auth, appointments, notifications, gateway]
const address = `http://127.0.0.1:${gateway.port}`

/** Node warns of an emitter with more listeners than anything should need, and of nothing else here. */
const warnings: string[] = []
for (const { name, child } of running)
  child.stderr?.on('data', (text: string) => warnings.push(`${name}: ${text.trim()}`))

async function signIn(): Promise<User> {
  for (;;) {
    const response = await logIn(address)
    if (response.status === 200) return toUser(response)
    await sleep(1_000)
  }
}
const signedIn = await Promise.all(Array.from({ length: users }, signIn))
/** Users who wait for a response. A browser makes one refresh at a time, and uses no token while it does. */
const busy = new Set<User>()

const counts = new Map<string, number>()
const faults: string[] = []
const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1)

/** Counts a response; any but those expected is a fault. */
function expect(what: string, { status, body }: HttpResponse, expected: number[]): void {
  count(`${what} ${status}`)
  if (!expected.includes(status)) faults.push(`${what}: ${status} ${body}`)
}

async function refreshAndRequest(user: User): Promise<void> {
  expect('refresh', await refresh(address, user), [200])
  expect('first use of a token', await call('GET', `${address}/api/whoami`, asUser(user)), [200])
}

async function signOut(user: User): Promise<void> {
  const { cookie } = user
  expect('logout', await call('POST', `${address}/api/auth/logout`, { cookie }), [200])
  Object.assign(user, await signIn())
}

async function leave(user: User): Promise<void> {
  const headers = asUser(user)
  const left = AbortSignal.timeout(Math.ceil(Math.random() * 10))
  await request(`${address}/api/doctor/appointments`, { headers, signal: left }).then(
    ({ body }) => body.dump(),
    () => count('clients that left'),
  )
}

async function openSocket({ token }: User): Promise<void> {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/api/notifications/ws`, [
    'notes',
    `sallyport.bearer.${token}`,
  ])
  const closed = new Promise((resolve) => socket.addEventListener('close', resolve))
  let isOpen = false
  socket.addEventListener('open', async () => {
    isOpen = true
    count('WebSockets')
    await sleep(Math.random() * 2_000)
    socket.close()
  })
  await closed
  if (!isOpen) faults.push('a WebSocket did not open')
}

async function openStream(user: User): Promise<void> {
  const left = AbortSignal.timeout(100 + Math.ceil(Math.random() * 2_000))
  const headers = { ...asUser(user), accept: 'text/event-stream' }
  await request(`${address}/api/notifications/stream`, { headers, signal: left }).then(
    ({ statusCode, body }) => {
      count(`event streams ${statusCode}`)
      return body.dump().catch(() => {})
    },
    () => count('clients that left'),
  )
}

/** What comes, and how often a second. What needs a user takes one who is idle. */
const weather: { perSecond: number; act: (user: User) => Promise<unknown> }[] = [
  { perSecond: 60, act: async () => expect('login', await logIn(address), [200, 503]) },
  { perSecond: 60, act: refreshAndRequest },
  {
    perSecond: 60,
    act: async (user) =>
      expect('appointments', await call('GET', `${address}/api/doctor/appointments`, asUser(user)), [200]),
  },
  {
    perSecond: 20,
    act: async (user) => expect('me', await call('GET', `${address}/api/auth/me`, asUser(user)), [200]),
  },
  {
    perSecond: 20,
    act: async ({ token }) => {
      const forged = `${token.slice(0, -8)}${randomBytes(6).toString('base64url')}`
      const response = await call('GET', `${address}/api/whoami`, { authorization: `Bearer ${forged}` })
      expect('forged token', response, [401])
    },
  },
  {
    perSecond: 10,
    act: async () =>
      expect(
        'forged cookie',
        await call('POST', `${address}/api/auth/refresh`, {
          cookie: `refreshToken=${randomBytes(300).toString('base64url')}`,
        }),
        [401],
      ),
  },
  { perSecond: 10, act: leave },
  { perSecond: 3, act: openSocket },
  { perSecond: 3, act: openStream },
  { perSecond: 1, act: signOut },
]

/** @param sample called every few seconds */
async function storm(forMinutes: number, sample: () => void): Promise<void> {
  const begun = performance.now()
  const under = new Set<Promise<unknown>>()
  const sent = weather.map(() => 0)
  for (let sampled = begun; performance.now() - begun < forMinutes * 60_000; await sleep(10)) {
    const seconds = (performance.now() - begun) / 1000
    for (const [index, { perSecond, act }] of weather.entries())
      for (; (sent[index] as number) < seconds * perSecond; sent[index] = (sent[index] as number) + 1) {
        const user = signedIn[Math.floor(Math.random() * users)] as User
        // A user who waits for a response sends nothing else: what is too much is skipped, not put off.
        if (under.size >= mostAtOnce || busy.has(user)) continue
        busy.add(user)
        const acting = act(user)
          .catch((error) => faults.push(String(error.cause ?? error)))
          .finally(() => {
            busy.delete(user)
            under.delete(acting)
          })
        under.add(acting)
      }
    if (performance.now() - sampled < 5_000) continue
    sampled = performance.now()
    sample()
  }
  await Promise.all(under)
}

interface AtRest {
  descriptors: number
  sockets: number
  timers: number
  handles: number
}

async function look({ child, managementPort }: (typeof running)[number]): Promise<AtRest> {
  const kinds = readdirSync(`/proc/${child.pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${child.pid}/fd/${fd}`)
    } catch {
      return ''
    }
  })
  const { body } = await call('GET', `http://127.0.0.1:${managementPort}/metrics`)
  const figure = (pattern: RegExp) => Number(pattern.exec(body)?.[1] ?? 0)
  return {
    descriptors: kinds.filter((kind) => kind !== '').length,
    sockets: kinds.filter((kind) => kind.startsWith('socket:')).length,
    timers: figure(/^nodejs_active_resources\{type="Timeout".*\} (\d+)/m),
    handles: figure(/^nodejs_active_resources_total.* (\d+)/m),
  }
}

/** Longer than an unused connection between two of our processes is kept, in milliseconds. */
const connectionsAreKept = 90_000

/** The least that a process has while there are no requests. */
async function rest(): Promise<Map<string, AtRest>> {
  await closeConnections()
  const least = new Map<string, AtRest>()
  for (const end = performance.now() + connectionsAreKept; performance.now() < end; await sleep(1_000))
    for (const process of running) {
      const now = await look(process)
      const before = least.get(process.name) ?? now
      const keys = Object.keys(now) as (keyof AtRest)[]
      least.set(
        process.name,
        Object.fromEntries(keys.map((key) => [key, Math.min(now[key], before[key])])) as unknown as AtRest,
      )
    }
  return least
}

const sampled: [string, number][] = [
  ...running.map(({ name, child }): [string, number] => [name, child.pid as number]),
  ['auth, hashing', childrenOf(auth.child.pid as number)[0] as number],
]
const memory = new Map(sampled.map(([name]) => [name, [] as number[]]))

await storm(warmUpMinutes, () => {})
const before = await rest()
// Heaps have shrunk by now, and grow again to what a storm needs.
await storm(warmUpMinutes, () => {})
counts.clear()
await storm(minutes, () => {
  for (const [name, pid] of sampled) memory.get(name)?.push(residentBytes(pid) / 1024 / 1024)
})
const after = await rest()
await endProcesses(running)
await postgres.stop()
rmSync(folder, { recursive: true, force: true })

const print = (line: string) => process.stdout.write(`${line}\n`)
print(`| in ${minutes} minutes | count |\n| --- | ---: |`)
for (const [what, times] of [...counts].toSorted()) print(`| ${what} | ${times} |`)
print('\n| process | resident in each tenth, in MiB | growth |\n| --- | --- | ---: |')
let leaks = 0
for (const [name, figures] of memory) {
  const tenths = Array.from({ length: 10 }, (_, at) => {
    const from = Math.floor((at * figures.length) / 10)
    return median(figures.slice(from, from + Math.ceil(figures.length / 10)))
  })
  const growth = (tenths.at(-1) as number) / (tenths[0] as number) - 1
  if (growth > 0.1) leaks += 1
  print(`| ${name} | ${tenths.map((tenth) => tenth.toFixed(0)).join(', ')} | ${(growth * 100).toFixed(1)} % |`)
}
print('\n| at rest | descriptors | sockets | timers | active resources |\n| --- | ---: | ---: | ---: | ---: |')
for (const [name, earlier] of before) {
  const later = after.get(name) as AtRest
  const keys = Object.keys(earlier) as (keyof AtRest)[]
  print(`| ${name} | ${keys.map((key) => `${earlier[key]}, then ${later[key]}`).join(' | ')} |`)
  leaks += keys.filter((key) => later[key] > earlier[key]).length
}
for (const fault of [...new Set(faults)].slice(0, 20)) print(`fault: ${fault}`)
for (const warning of warnings) print(`warning: ${warning}`)
print(`\nfaults: ${faults.length}, warnings of listeners: ${warnings.length}, leaks: ${leaks}`)
process.exit(faults.length + warnings.length + leaks === 0 ? 0 : 1)
