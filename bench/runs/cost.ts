import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seed } from '@sallyport/database'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import pg from 'pg'
import { asUser, call, closeConnections, logIn, refresh, toUser, type User } from '../lib/caller.ts'
import { startUpstream } from '../lib/contestants.ts'
import { childrenOf, cpuSeconds } from '../lib/cpu.ts'
import { median } from '../lib/quantile.ts'
import { settingsFor } from '../lib/settings.ts'
import { writtenAhead } from '../lib/written-ahead.ts'

/**
 * What a request, a refresh and a login cost each part of the system, whether the cost of a mixture is the sum of these,
 * and what follows for millions of users.
 *
 *   npm run bench:cost               (ROUNDS and SECONDS make it longer or shorter)
 */
const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 4)
/** Requests at once; few logins, since those beyond what can be hashed within a second are shed. */
const atOnce = { request: 16, refresh: 16, login: 4, mixed: 16 }
const users = 500

const folder = mkdtempSync(join(tmpdir(), 'sallyport-cost-'))
const postgres = await startPostgres({ folder, port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url, seed)
const upstream = await startUpstream()
const authPort = await freePort()
const settings = settingsFor(folder, {
  auth: `http://127.0.0.1:${authPort}`,
  appointments: `http://127.0.0.1:${upstream.port}`,
  notifications: `http://127.0.0.1:${upstream.port}`,
})
const auth = await startProcess(
  'auth',
  { ...settings, DATABASE_URL: databases.auth, AUTH_PORT: String(authPort) },
  () => {},
)
const gateway = await startProcess('gateway', { ...settings, GATEWAY_PORT: '0' }, () => {})
const address = `http://127.0.0.1:${gateway.port}`
const admin = new pg.Client({ connectionString: postgres.url })
await admin.connect()

const signedIn: User[] = []
while (signedIn.length < users) {
  const responses = await Promise.all(Array.from({ length: 4 }, () => logIn(address)))
  signedIn.push(...responses.filter(({ status }) => status === 200).map(toUser))
}

const kinds = {
  request: (user: User) => call('GET', `${address}/api/whoami`, asUser(user)),
  refresh: (user: User) => refresh(address, user),
  login: () => logIn(address),
}
type Kind = keyof typeof kinds
const names = Object.keys(kinds) as Kind[]

/** How often each comes in the mixture. */
const mixture: Record<Kind, number> = { request: 0.8, refresh: 0.19, login: 0.01 }

const sum = (figures: number[]) => figures.reduce((all, figure) => all + figure, 0)

/** CPU seconds used so far by each part. */
const parts = {
  gateway: () => cpuSeconds(gateway.child.pid as number),
  auth: () => cpuSeconds(auth.child.pid as number),
  hashing: () => sum(childrenOf(auth.child.pid as number).map(cpuSeconds)),
  PostgreSQL: () => sum(childrenOf(postgres.pid).map(cpuSeconds)),
}
type Part = keyof typeof parts
const partNames = Object.keys(parts) as Part[]
const used = () => Object.fromEntries(partNames.map((part) => [part, parts[part]()])) as Record<Part, number>

interface Cost {
  /** Microseconds of CPU of each part. */
  cpu: Record<Part, number>
  /** Bytes that PostgreSQL writes ahead. */
  written: number
  /** How many requests of each kind there were. */
  requests: Record<Kind, number>
}

/** Requests as fast as responses come. */
async function measure(callers: number, next: () => Kind): Promise<Cost> {
  const [before, beforehand] = [used(), await writtenAhead(admin)]
  const requests = { request: 0, refresh: 0, login: 0 }
  const end = performance.now() + seconds * 1000
  const own = (worker: number) => signedIn.filter((_, index) => index % callers === worker)
  await Promise.all(
    Array.from({ length: callers }, async (_, worker) => {
      const mine = own(worker)
      for (let turn = 0; performance.now() < end; turn++) {
        const kind = next()
        const { status, body } = await kinds[kind](mine[turn % mine.length] as User)
        if (status !== 200) throw new Error(`${kind} got ${status} ${body}`)
        requests[kind] += 1
      }
    }),
  )
  const after = used()
  const total = sum(Object.values(requests))
  return {
    cpu: Object.fromEntries(partNames.map((part) => [part, ((after[part] - before[part]) * 1e6) / total])) as Record<
      Part,
      number
    >,
    written: ((await writtenAhead(admin)) - beforehand) / total,
    requests,
  }
}

function draw(): Kind {
  const at = Math.random()
  if (at < mixture.login) return 'login'
  return at < mixture.login + mixture.refresh ? 'refresh' : 'request'
}

const figures: Record<Kind, Cost[]> = { request: [], refresh: [], login: [] }
const differences: number[] = []
for (let round = -2; round < rounds; round++) {
  const alone = {} as Record<Kind, Cost>
  for (const kind of names) alone[kind] = await measure(atOnce[kind], () => kind)
  const mixed = await measure(atOnce.mixed, draw)
  // The first two rounds warm up.
  if (round < 0) continue
  for (const kind of names) figures[kind].push(alone[kind])
  const requests = sum(Object.values(mixed.requests))
  const expected = sum(names.map((kind) => (sum(Object.values(alone[kind].cpu)) * mixed.requests[kind]) / requests))
  differences.push(sum(Object.values(mixed.cpu)) / expected)
}
await closeConnections()
await admin.end()
await endProcesses([gateway, auth])
await upstream.stop()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })

const print = (line: string) => process.stdout.write(`${line}\n`)
const cpuOf = (kind: Kind, part: Part) => median(figures[kind].map(({ cpu }) => cpu[part]))
const writtenBy = (kind: Kind) => median(figures[kind].map(({ written }) => written))
print(`| CPU of | ${partNames.join(' | ')} | all | WAL |\n| --- |${' ---: |'.repeat(partNames.length + 2)}`)
for (const kind of names) {
  const each = partNames.map((part) => cpuOf(kind, part))
  print(
    `| a ${kind} | ${each.map((us) => `${us.toFixed(0)} us`).join(' | ')} | ${sum(each).toFixed(0)} us | ${writtenBy(kind).toFixed(0)} B |`,
  )
}
const share = (kind: Kind) => `${(mixture[kind] * 100).toFixed(0)} %`
print(
  `\na mixture (requests ${share('request')}, refreshes ${share('refresh')}, logins ${share('login')}): ${median(differences).toFixed(2)} of the sum of these`,
)

/**
 * What a user with a page open does: a request in 10 s, a refresh when the token of 15 minutes has nearly run out, a
 * login a day.
 */
const perSecond: Record<Kind, number> = { request: 1 / 10, refresh: 1 / 870, login: 1 / 86_400 }
print(`\n| active sessions | requests | refreshes | logins |${partNames.map((part) => ` ${part} |`).join('')} WAL |`)
print(`| ---: |${' ---: |'.repeat(partNames.length + 4)}`)
for (const sessions of [1e6, 1e7, 1e8]) {
  const rates = names.map((kind) => sessions * perSecond[kind])
  const cores = partNames.map((part) =>
    sum(names.map((kind, index) => (cpuOf(kind, part) * (rates[index] as number)) / 1e6)),
  )
  const written = sum(names.map((kind, index) => writtenBy(kind) * (rates[index] as number)))
  print(
    `| ${sessions.toLocaleString('en')} | ${rates.map((rate) => `${Math.round(rate).toLocaleString('en')}/s`).join(' | ')} | ${cores.map((count) => `${count.toFixed(1)} cores`).join(' | ')} | ${(written / 1e6).toFixed(1)} MB/s |`,
  )
}
