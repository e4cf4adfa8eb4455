import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { addSecret } from '@sallyport/auth/webhooks/secrets'
import { settingsFor } from '@sallyport/bench/settings'
import { createDatabase, seed } from '@sallyport/database'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { report } from './mail-system.ts'

/**
 * `kill -9` of the auth process or of the receiver of a webhook at random moments, while people are renamed and logins
 * fail. No event may be lost, each that comes twice has one `webhook-id`, and those of a person come in their order.
 *
 *   npm run webhooks:crashes -- [kills]
 */
const wanted = Number(process.argv[2] ?? 200)
/** Milliseconds: for which the receiver holds a delivery, within which a kill comes, and for what is left at the end. */
const longest = { hold: 100, kill: 400, rest: 180_000 }
const people = 8

const folder = mkdtempSync(join(tmpdir(), 'sallyport-webhooks-'))
const log = join(folder, 'received')
const postgres = await startPostgres({ folder, port: await freePort() })
const { auth: url } = await prepareOwnDatabase(postgres.url, seed)
const database = createDatabase(url, { connections: 4, onError: () => {} })
const [authPort, receiverPort] = [await freePort(), await freePort()]
const origin = `http://127.0.0.1:${authPort}`
const receiverOrigin = `http://127.0.0.1:${receiverPort}`
const nowhere = 'http://127.0.0.1:1'
const environment = {
  ...settingsFor(folder, { auth: origin, appointments: nowhere, notifications: nowhere }),
  DATABASE_URL: url,
  AUTH_PORT: String(authPort),
  WEBHOOK_ORIGINS: receiverOrigin,
  LOGIN_RATE_LIMIT_MAX: '1000000',
}

const startAuth = () => startProcess('auth', environment, () => {})
async function startReceiver(): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('webhook-receiver.js', import.meta.url))
  const args = [program, String(receiverPort), log, String(longest.hold)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}
let auth = await startAuth()
let receiver = await startReceiver()

// As an admin makes one: there is no admin here to step up.
const factorKey = createFactorKey({
  current: { factorKeys: [(environment as Record<string, string>).FACTOR_KEY] },
} as never)
await database.$transaction(async (transaction) => {
  const events = ['user.changed', 'login.failed']
  const { id } = await transaction.webhook.create({ data: { name: 'crashes', url: receiverOrigin, events } })
  await addSecret(transaction, factorKey, id)
})
const persons: { id: string; renamed: number }[] = []
for (let index = 0; index < people; index++) {
  const data = { email: `person-${index}@example.com`, name: '0', roles: ['patient'], passwordHash: 'x' }
  persons.push({ id: (await database.user.create({ data })).id, renamed: 0 })
}

interface Noted {
  id?: string
  type?: string
  user?: string
  name?: string
  confirmed?: string
}
const noted = (): Noted[] =>
  existsSync(log)
    ? readFileSync(log, 'utf8')
        .split('\n')
        .flatMap((line) => (line ? [JSON.parse(line)] : []))
    : []

/** Renames a person once more: names are numbers, so that their order can be seen. */
async function rename(person: (typeof persons)[number]): Promise<void> {
  person.renamed += 1
  await database.user.update({ where: { id: person.id }, data: { name: String(person.renamed) } })
}
const failToSignIn = () =>
  fetch(`${origin}/api/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'nobody@example.com', password: 'wrong' }),
  }).catch(() => {})

const begun = Date.now()
const counts = { auth: 0, receiver: 0, inFlight: 0 }
while (counts.auth + counts.receiver < wanted) {
  const isAuth = counts.auth <= counts.receiver
  const killed = sleep(Math.random() * longest.kill).then(async () => {
    const [child, ended] = isAuth ? [auth.child, auth.ended] : [receiver, once(receiver, 'exit')]
    child.kill('SIGKILL')
    await ended
  })
  const logins = [failToSignIn(), failToSignIn()]
  for (let index = 0; index < 6; index++)
    await rename(persons[Math.floor(Math.random() * people)] as (typeof persons)[number])
  await killed
  counts[isAuth ? 'auth' : 'receiver'] += 1
  const lines = noted()
  const confirmed = new Set(lines.map((line) => line.confirmed))
  if (lines.some(({ id }) => id !== undefined && !confirmed.has(id))) counts.inFlight += 1
  await Promise.all(logins)
  // Time passes for what waits to be tried again; while auth is down also for what it held.
  await database.$executeRaw`
    UPDATE auth.webhook_deliveries SET next_at = now(), queued_at = now()
    WHERE state = 'pending' AND (${isAuth} OR next_at > now() + interval '31 seconds')`
  if (isAuth) auth = await startAuth()
  else receiver = await startReceiver()
}

const left = () => database.webhookDelivery.count({ where: { state: { not: 'delivered' } } })
const deadline = performance.now() + longest.rest
while ((await left()) > 0 && performance.now() < deadline) {
  await database.$executeRaw`
    UPDATE auth.webhook_deliveries SET next_at = now() WHERE state = 'pending' AND next_at > now() + interval '31 seconds'`
  await sleep(200)
}

const received = noted().filter(({ id }) => id !== undefined)
const first = [...new Map(received.toReversed().map((line) => [line.id as string, line])).values()]
const namesOf = (user: string) =>
  received
    .filter((line, index) => line.user === user && received.findIndex(({ id }) => id === line.id) === index)
    .map(({ name }) => Number(name))
let lost = 0
let disordered = 0
for (const { id, renamed } of persons) {
  const names = namesOf(id)
  for (let name = 1; name <= renamed; name++) if (!names.includes(name)) lost += 1
  disordered += names.filter((name, index) => index > 0 && name < (names[index - 1] as number)).length
}
const failures = await database.securityEvent.count({ where: { event: 'login_failed' } })
const failuresTold = first.filter(({ type }) => type === 'login.failed').length
const renames = persons.reduce((sum, { renamed }) => sum + renamed, 0)
const renamesTold = first.filter(({ type }) => type === 'user.changed').length
const stuck = await left()
const differing = new Set(received.map(({ id, user, name }) => `${id} ${user} ${name}`)).size - first.length
await endProcesses([auth])
receiver.kill('SIGKILL')
await database.$disconnect()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })
report([
  ['kills with SIGKILL, of auth', counts.auth],
  ['of the receiver', counts.receiver],
  ['of all of them while something was in flight', counts.inFlight],
  ['people renamed, and logins that failed', `${renames}, ${failures}`],
  ['events of them that were received', `${renamesTold}, ${failuresTold}`],
  ['events lost', lost + failures - failuresTold],
  ['deliveries left or dead', stuck],
  ['deliveries that came more than once', received.length - first.length],
  ['of them with another id, or an id of two events', renamesTold - renames + differing],
  ['events out of the order of their person', disordered],
  ['minutes', ((Date.now() - begun) / 60_000).toFixed(1)],
])
const isGood =
  lost === 0 && failures === failuresTold && renames === renamesTold && differing + stuck + disordered === 0
process.exit(isGood ? 0 : 1)
