import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { call, type HttpResponse, logIn } from '@sallyport/bench/caller'
import { startReplicas } from '@sallyport/bench/replicas'
import { findContainers } from './containers.ts'

/**
 * Real processes, killed without warning while clients refresh: two auth replicas, two gateways, one Postgres; or the
 * containers of a compose project. A client does what a browser does: it keeps its attempt id until it has a response,
 * and retries with it. Responses are dropped and requests sent twice on purpose. No session may be lost, and no
 * generation may have two successors.
 *
 *   npm run chaos -- [refreshes] [sessions] [--project NAME --engine docker --gateway http://localhost:5000]
 */
const { values, positionals } = parseArgs({
  options: {
    project: { type: 'string' },
    engine: { type: 'string', default: 'docker' },
    gateway: { type: 'string', default: 'http://localhost:5000' },
  },
  allowPositionals: true,
})
const wanted = Number(positionals[0] ?? 5_000)
const sessions = Number(positionals[1] ?? 50)

/** How often a response is dropped, and a request sent twice. */
const loss = 0.1
const sendingTwice = 0.05

/** How long a client retries before its session counts as lost, in milliseconds. */
const retryFor = 60_000

const counts = { refreshes: 0, retries: 0, refused: 0, dropped: 0, sentTwice: 0, differed: 0, lost: 0, kills: 0 }
const reasons: string[] = []
const { gateways, kills, stop } = values.project
  ? findContainers(values.engine, values.project, values.gateway)
  : await startReplicas()

const anyGateway = () => gateways[Math.floor(Math.random() * gateways.length)] as string
const requestNext = (headers: Record<string, string>): Promise<HttpResponse> =>
  call('POST', `${anyGateway()}/api/auth/refresh`, headers)

/** One session's life: refresh after refresh, until all together have made as many as wanted. */
async function live(): Promise<void> {
  let cookie = await begin()
  while (counts.refreshes < wanted) {
    const next = await refresh(cookie)
    if (next === undefined) return
    cookie = next
    counts.refreshes += 1
  }
}

async function begin(): Promise<string> {
  for (;;) {
    const login = await logIn(anyGateway()).catch(() => undefined)
    if (login?.cookie) return login.cookie
    await sleep(200)
  }
}

/** @returns the next cookie; undefined if the session is lost */
async function refresh(cookie: string): Promise<string | undefined> {
  const headers = { cookie, 'x-refresh-attempt': randomBytes(16).toString('base64url') }
  const successors = new Set<string>()
  const deadline = Date.now() + retryFor
  for (let attempts = 0; Date.now() < deadline; attempts++) {
    if (attempts > 0) counts.retries += 1
    const twice = Math.random() < sendingTwice
    if (twice) counts.sentTwice += 1
    const responses = await Promise.allSettled([requestNext(headers), ...(twice ? [requestNext(headers)] : [])])
    const received = responses.flatMap((response) => (response.status === 'fulfilled' ? [response.value] : []))
    for (const { status, cookie: next } of received) if (status === 200 && next) successors.add(next)
    if (successors.size > 1) counts.differed += 1

    const over = received.find(({ status }) => status === 401)
    if (over) {
      counts.lost += 1
      reasons.push(over.body)
      return undefined
    }
    if (received.every(({ status }) => status !== 200)) {
      counts.refused += 1
      await sleep(50 + Math.random() * 200)
    } else if (Math.random() < loss) counts.dropped += 1
    else return [...successors][0]
  }
  counts.lost += 1
  reasons.push('no response in time')
  return undefined
}

async function at(share: number, event: () => Promise<void>): Promise<void> {
  while (counts.refreshes < wanted * share) await sleep(10)
  counts.kills += 1
  await event()
}

const begun = Date.now()
await Promise.all([
  ...Array.from({ length: sessions }, live),
  ...kills.map(([, kill], index) => at(0.15 + index * 0.175, kill)),
])
const seconds = (Date.now() - begun) / 1000
await stop()

const rows: [string, number | string][] = [
  ['sessions', sessions],
  ['refreshes', counts.refreshes],
  [`kills with SIGKILL (${kills.map(([name]) => name).join(', ')})`, counts.kills],
  ['responses dropped', counts.dropped],
  ['requests sent twice', counts.sentTwice],
  ['attempts without a response, or with a 5xx', counts.refused],
  ['retries in all', counts.retries],
  ['byte-different successors', counts.differed],
  ['sessions lost', counts.lost],
  ['seconds', seconds.toFixed(0)],
]
process.stdout.write(
  `| what | count |\n| --- | ---: |\n${rows.map(([what, count]) => `| ${what} | ${count} |\n`).join('')}`,
)
for (const reason of reasons) process.stdout.write(`lost: ${reason}\n`)
process.exit(counts.lost + counts.differed === 0 ? 0 : 1)
