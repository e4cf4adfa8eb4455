import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { asUser, call, closeConnections, logIn, toUser, type User } from '@sallyport/bench/caller'
import { settingsFor } from '@sallyport/bench/settings'
import { seed } from '@sallyport/database'
import { endProcesses, prepareOwnDatabase, type RunningProcess, startProcess } from '@sallyport/local'
import { startPatroni } from './patroni.ts'

/**
 * Three PostgreSQL under Patroni, by the files of examples/patroni; two auth replicas and two gateways. The machine of the
 * primary is killed again and again while clients sign in, refresh and sign out. A client does what a browser does: it
 * keeps its attempt id until it has a response, and tries again. No session may be lost, and whoever was told that a
 * session has ended finds it ended.
 *
 *   npm run failover -- [kills] [--asynchronous] [--behind SECONDS] [--maximum-lag BYTES]
 *
 * With --asynchronous commits are not waited for on a standby, and what a failover lost is counted. With --behind standbys
 * get nothing any more for so long before each kill. --maximum-lag is maximum_lag_on_failover of Patroni.
 */
const { values, positionals } = parseArgs({
  options: {
    asynchronous: { type: 'boolean', default: false },
    behind: { type: 'string', default: '0' },
    'maximum-lag': { type: 'string', default: '1048576' },
  },
  allowPositionals: true,
})
const wanted = Number(positionals[0] ?? 10)
const behind = Number(values.behind) * 1_000
const sessions = 16

/** Milliseconds: between two calls of a client, with a cluster that is whole, and until a new primary serves. */
const [pause, quiet, mostWait] = [150, 3_000, 60_000]

const cluster = await startPatroni(!values.asynchronous, values['maximum-lag'])
const folder = mkdtempSync(join(tmpdir(), 'sallyport-failover-'))
const databases = await prepareOwnDatabase(cluster.url, seed)
const processes: RunningProcess[] = []
const nowhere = 'http://127.0.0.1:1'
const logged = new Map<string, number>()
async function start(name: 'auth' | 'gateway', auth: string): Promise<string> {
  const ports = { AUTH_PORT: '0', GATEWAY_PORT: '0', DATABASE_URL: databases.auth }
  const addresses = { auth, appointments: nowhere, notifications: nowhere }
  const started = await startProcess(name, { ...settingsFor(folder, addresses), ...ports }, (line) => {
    const { event } = JSON.parse(line)
    logged.set(event, (logged.get(event) ?? 0) + 1)
  })
  processes.push(started)
  return `http://127.0.0.1:${started.port}`
}
const gateways: string[] = []
for (let replica = 0; replica < 2; replica++) gateways.push(await start('gateway', await start('auth', nowhere)))
const anyGateway = () => gateways[Math.floor(Math.random() * gateways.length)] as string

const counts = { logins: 0, refreshes: 0, logouts: 0, unavailable: 0, other: 0, slowest: 0, lost: 0 }
const wrong: string[] = []
let isOver = false
/** Sent after the last kill, and answered with success. */
let killedAt = Number.POSITIVE_INFINITY
let servedAt: number | undefined

/** Sends until the answer is final. @returns it; undefined if the run is over */
async function insist(send: () => ReturnType<typeof call>, isFinal: (status: number) => boolean) {
  while (!isOver) {
    const begun = performance.now()
    const response = await send()
    counts.slowest = Math.max(counts.slowest, performance.now() - begun)
    if (response.status === 200 && begun > killedAt) servedAt ??= performance.now()
    if (isFinal(response.status)) return response
    if (response.status === 503) counts.unavailable += 1
    else {
      counts.other += 1
      wrong.push(`${response.status} ${response.body}`)
    }
    await sleep(pause)
  }
  return undefined
}

/** Sessions whose end was answered, since the last failover and before. */
let ended: User[] = []

/** A session after the other: signed in, refreshed some times, signed out. */
async function live(): Promise<void> {
  for (;;) {
    const login = await insist(
      () => logIn(anyGateway()),
      (status) => status === 200,
    )
    if (!login) return
    counts.logins += 1
    const user = toUser(login)
    const times = 5 + Math.floor(Math.random() * 30)
    let isLost = false
    for (let time = 0; time < times && !isLost; time++) {
      await sleep(pause)
      const headers = { cookie: user.cookie, 'x-refresh-attempt': randomBytes(16).toString('base64url') }
      const response = await insist(
        () => call('POST', `${anyGateway()}/api/auth/refresh`, headers),
        (status) => status === 200 || status === 401,
      )
      if (!response) return
      if (response.status === 200) {
        counts.refreshes += 1
        Object.assign(user, toUser(response))
      } else {
        counts.lost += 1
        isLost = true
        wrong.push(`lost: ${response.body}`)
      }
    }
    if (isLost) continue
    const logout = await insist(
      () => call('POST', `${anyGateway()}/api/auth/logout`, { cookie: user.cookie }),
      (status) => status === 200,
    )
    if (!logout) return
    counts.logouts += 1
    ended.push(user)
  }
}

/** What has become of the sessions that had ended: how many refresh again, and how many access tokens are good. */
async function lookAtEnded() {
  const looked = ended
  ended = []
  let [refreshed, used] = [0, 0]
  for (const user of looked) {
    if ((await call('GET', `${anyGateway()}/api/whoami`, asUser(user))).status === 200) used += 1
    const { status } = await call('POST', `${anyGateway()}/api/auth/refresh`, { cookie: user.cookie })
    if (status === 200) refreshed += 1
  }
  return { looked: looked.length, refreshed, used }
}

const living = Array.from({ length: sessions }, live)
const spans: number[] = []
const lags: number[] = []
let [looked, revived, usable, waited] = [0, 0, 0, 0]
for (let kill = 0; kill < wanted; kill++) {
  await cluster.whole()
  await sleep(quiet)
  const node = await cluster.primary()
  if (behind > 0) lags.push(await cluster.fallBehind(node, behind))
  cluster.kill(node)
  killedAt = performance.now()
  servedAt = undefined
  while (servedAt === undefined && performance.now() < killedAt + mostWait) await sleep(20)
  // Nobody has enough to take over: it has to be the one that was killed.
  if (servedAt === undefined) waited += 1
  cluster.startNode(node)
  while (servedAt === undefined) await sleep(20)
  const span = ((servedAt as number) - killedAt) / 1_000
  spans.push(span)
  await cluster.whole()
  const found = await lookAtEnded()
  looked += found.looked
  revived += found.refreshed
  usable += found.used
  process.stderr.write(
    `kill ${kill + 1}: ${node.name}, ${span.toFixed(1)} s without a primary, ${found.refreshed} of ${found.looked} ended sessions alive\n`,
  )
}
isOver = true
await Promise.all(living)
await closeConnections()
await endProcesses(processes)
await cluster.stop()
rmSync(folder, { recursive: true, force: true })

/** How far standbys were behind, and may be to take over. */
function behindRows(): [string, string][] {
  return [
    ['standbys were behind', `${values.behind} s, ${Math.min(...lags)} to ${Math.max(...lags)} bytes`],
    ['`maximum_lag_on_failover`', `${values['maximum-lag']} bytes`],
  ]
}
const seconds = (values: number[]) => `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} s`
const rows: [string, number | string][] = [
  ['standbys', values.asynchronous ? 'asynchronous' : 'synchronous'],
  ['kills of the primary', wanted],
  ...(behind > 0 ? behindRows() : []),
  ['logins, refreshes, logouts answered', `${counts.logins}, ${counts.refreshes}, ${counts.logouts}`],
  ['from the kill to the first answer of the new primary', seconds(spans)],
  ['of these after the old one came back', waited],
  ['503 meanwhile', counts.unavailable],
  ['other answers', counts.other],
  ['slowest answer', `${(counts.slowest / 1_000).toFixed(1)} s`],
  ['sessions lost', counts.lost],
  ['ended sessions looked at', looked],
  ['of these alive again', revived],
  ['of these with an access token that a gateway takes', usable],
  ['refreshes with a token newer than the database', logged.get('refresh_fast_forward') ?? 0],
]
process.stdout.write(
  `| what | figure |\n| --- | ---: |\n${rows.map(([what, figure]) => `| ${what} | ${figure} |\n`).join('')}`,
)
for (const line of wrong.slice(0, 20)) process.stdout.write(`${line}\n`)
const isKept = values.asynchronous || (counts.lost === 0 && revived === 0)
process.exit(isKept && counts.other === 0 && usable === 0 ? 0 : 1)
