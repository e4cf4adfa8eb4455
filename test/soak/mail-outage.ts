import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { logIn, refresh, toUser } from '@sallyport/bench/caller'
import { quantile } from '@sallyport/bench/quantile'
import { freePort } from '@sallyport/local'
import { type Received, report, startMailSystem, startServer } from './mail-system.ts'

/**
 * The SMTP server is away for minutes while mails are queued and sessions refreshed: half of the time it refuses
 * connections, then it takes them and says nothing. A second system beside, whose server stays, has the same load:
 * refreshes take as long, and the mails go out within a minute of the server's return. Nine of ten of them are judged: the
 * slowest of a few hundred say more of what else the machine does.
 *
 *   npm run mail:outage -- [minutes]
 */
const minutes = Number(process.argv[2] ?? 1)
/** Milliseconds. */
const pause = { refresh: 20, mail: 1_000 }
const most = { slower: 5, back: 60_000 }

const port = await freePort()
const received: Received[] = []
const smtp = {
  gone: await startServer(port, async () => {}, received),
  stays: await startServer(0, async () => {}, []),
}
const subject = await startMailSystem(smtp.gone.port)
const control = await startMailSystem(smtp.stays.port)

const state = { phase: 'before' as 'before' | 'away', over: false }
const times = {
  before: { subject: [] as number[], control: [] as number[] },
  away: { subject: [] as number[], control: [] as number[] },
}
let failed = 0
const refreshing = (async () => {
  const users = { subject: toUser(await logIn(subject.url)), control: toUser(await logIn(control.url)) }
  for (; !state.over; await sleep(pause.refresh)) {
    // In turn, and in either order, so that what else the machine does is the same to both.
    const order = Math.random() < 0.5 ? (['subject', 'control'] as const) : (['control', 'subject'] as const)
    for (const name of order) {
      const { phase } = state
      const begun = performance.now()
      const { status } = await refresh(name === 'subject' ? subject.url : control.url, users[name])
      times[phase][name].push(performance.now() - begun)
      if (status !== 200) failed += 1
    }
  }
})()
let queued = 0
const queueing = (async () => {
  for (; !state.over; await sleep(pause.mail)) {
    await Promise.all([
      subject.queueMail(`user-${queued}@example.com`),
      control.queueMail(`user-${queued}@example.com`),
    ])
    queued += 1
  }
})()

await sleep(Math.min(minutes, 1) * 60_000)
await smtp.gone.close()
state.phase = 'away'
await sleep(minutes * 30_000)
const sockets = new Set<Socket>()
const silent = createServer((socket) => sockets.add(socket.on('error', () => {}))).listen(port, '127.0.0.1')
await sleep(minutes * 30_000)
state.over = true
await Promise.all([refreshing, queueing])
const waiting = queued - new Set(received.map(({ to }) => to)).size
silent.close()
for (const socket of sockets) socket.destroy()
smtp.gone = await startServer(port, async () => {}, received)
const back = performance.now()
const complete = () => new Set(received.map(({ to }) => to)).size === queued
while (!complete() && performance.now() < back + 2 * most.back) await sleep(20)
const took = performance.now() - back
const first = (received.find(({ at }) => at > back)?.at ?? Number.POSITIVE_INFINITY) - back
await Promise.all([subject.stop(), control.stop(), smtp.gone.close(), smtp.stays.close()])

type Phase = keyof typeof times
type Name = 'subject' | 'control'
const p90 = (phase: Phase, name: Name) => quantile(times[phase][name], 0.9)
const p99 = (phase: Phase, name: Name) => quantile(times[phase][name], 0.99)
const ms = (value: number) => `${value.toFixed(1)} ms`
const slower =
  p90('away', 'subject') - p90('away', 'control') - Math.max(0, p90('before', 'subject') - p90('before', 'control'))
report([
  ['minutes without the SMTP server', minutes],
  ['refreshes of each system', times.before.subject.length + times.away.subject.length],
  ['of them not served', failed],
  ['p90 before: system, the one beside', `${ms(p90('before', 'subject'))}, ${ms(p90('before', 'control'))}`],
  ['p90 meanwhile: system, the one beside', `${ms(p90('away', 'subject'))}, ${ms(p90('away', 'control'))}`],
  ['p90 moved by', ms(slower)],
  ['p99 before: system, the one beside', `${ms(p99('before', 'subject'))}, ${ms(p99('before', 'control'))}`],
  ['p99 meanwhile: system, the one beside', `${ms(p99('away', 'subject'))}, ${ms(p99('away', 'control'))}`],
  ['mails that waited at its return', waiting],
  ['first and last of them after its return', `${(first / 1000).toFixed(1)} s, ${(took / 1000).toFixed(1)} s`],
  ['mails sent twice', received.length - queued],
])
process.exit(failed === 0 && complete() && slower < most.slower && took < most.back ? 0 : 1)
