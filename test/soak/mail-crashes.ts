import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@sallyport/local'
import { type Received, report, startMailSystem, startServer } from './mail-system.ts'

/**
 * `kill -9` of the auth process at random moments between the commit that queues a mail and the reply of the SMTP server
 * that confirms it. No mail may be lost, each that comes twice has one Message-ID, and what the killed process held is
 * sent within a minute of the kill.
 *
 *   npm run mail:crashes -- [kills]
 */
const wanted = Number(process.argv[2] ?? 200)
/** Milliseconds. */
const longest = { hold: 200, held: 60_000 }
const mailsEach = 2

const received: Received[] = []
let heldAtServer = 0
const smtp = await startServer(
  await freePort(),
  async () => {
    heldAtServer += 1
    await sleep(Math.random() * longest.hold)
    heldAtServer -= 1
  },
  received,
)
const system = await startMailSystem(smtp.port)
const { database } = system

const queued: string[] = []
/** By address: which process held the mail when it was killed, and when that was. */
const held = new Map<string, { by: string; at: number }>()
const counts = { kills: 0, early: 0, atServer: 0, late: 0 }
const begun = Date.now()
const left = async () => (await database.$queryRaw<object[]>`SELECT id FROM graphile_worker._private_jobs`).length
/** Waits until the process has sent what it can: what is left is held by processes that are gone. */
async function settle(): Promise<void> {
  const open = () => database.$queryRaw<object[]>`SELECT id FROM graphile_worker._private_jobs WHERE locked_at IS NULL`
  while ((await open()).length > 0 || heldAtServer > 0) await sleep(20)
}
const isSent = (mails: string[]) => mails.every((to) => received.some((mail) => mail.to === to))
/** Milliseconds from the commit to the reply, as it is on this machine. */
let usual = 0
for (let index = 0; index < 5; index++) {
  const committed = performance.now()
  await system.queueMail(`first-${index}@example.com`)
  while (received.length === index) await sleep(1)
  if (index > 0) usual = Math.max(usual, performance.now() - committed)
}
received.length = 0

while (counts.kills < wanted) {
  const added = Array.from({ length: mailsEach }, (_, index) => `user-${queued.length + index}@example.com`)
  await settle()
  for (const to of added) await system.queueMail(to)
  queued.push(...added)
  // Half of them at any moment; half once the server has the mail, when it may come a second time.
  if (Math.random() < 0.5) await sleep(Math.random() * usual)
  else {
    while (heldAtServer === 0 && !isSent(added)) await sleep(1)
    await sleep(Math.random() * longest.hold)
  }
  const atServer = heldAtServer
  await system.kill()
  const at = performance.now()
  const isDone = isSent(added)
  const locked = await database.$queryRaw<{ to: string; by: string }[]>`
    SELECT payload->>'to' AS to, locked_by AS by FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL`
  for (const { to, by } of locked) if (held.get(to)?.by !== by) held.set(to, { by, at })
  if (isDone) counts.late += 1
  else {
    counts.kills += 1
    if (atServer > 0) counts.atServer += 1
    else counts.early += 1
  }
  await system.restart()
}

const deadline = performance.now() + 2 * longest.held
const missing = () => queued.filter((to) => !received.some((mail) => mail.to === to))
while ((missing().length > 0 || (await left()) > 0) && performance.now() < deadline) await sleep(100)

const waits = [...held].map(([to, { at }]) => {
  const again = received.find((mail) => mail.to === to && mail.at > at)
  return again && (again.at - at) / 1000
})
const again = waits.filter((wait) => wait !== undefined).sort((a, b) => a - b)
const ids = new Map<string, Set<string>>()
for (const { to, messageId } of received) ids.set(to, (ids.get(to) ?? new Set()).add(messageId))
const different = [...ids.values()].filter((set) => set.size > 1).length
const shared = ids.size - new Set([...ids.values()].map(([id]) => id)).size
const lost = missing().length
const stuck = await left()
await system.stop()
await smtp.close()
const slowest = again.at(-1) ?? 0
report([
  ['kills with SIGKILL between commit and reply', counts.kills],
  ['of them while the server had the mail and had not replied', counts.atServer],
  ['further kills, after the reply', counts.late],
  ['mails queued', queued.length],
  ['mails lost', lost],
  ['mails left in the queue', stuck],
  ['mails that a killed process held', held.size],
  [
    'of them sent again: median, slowest after the kill',
    `${(again[again.length >> 1] ?? 0).toFixed(1)} s, ${slowest.toFixed(1)} s`,
  ],
  ['mails that came more than once', received.length - ids.size],
  ['of them with another Message-ID; ids of two mails', `${different}; ${shared}`],
  ['minutes', ((Date.now() - begun) / 60_000).toFixed(1)],
])
process.exit(lost + stuck + different + shared === 0 && slowest * 1000 < longest.held ? 0 : 1)
