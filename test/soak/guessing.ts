import { setTimeout as sleep } from 'node:timers/promises'
import { startReplicas } from '@sallyport/bench/replicas'
import pg from 'pg'
import { startMail } from '../support/mail.ts'
import { Client, type ClientResponse, demoPassword } from '../support/system.ts'

/**
 * Thousands of addresses guess at one account through two gateways and two auth services: few passwords are tried, and
 * neither its owner nor anybody else is locked out.
 *
 *   npm run guessing -- [addresses]
 *
 * The owner comes by mail to accounts that are guessed at as well, another each time: of one account five mails an hour
 * are sent, and each reset opens it to five more guesses.
 */
const addresses = Number(process.argv[2] ?? 10_000)
const times = 100
const inFlight = 32
const victim = 'doctor@example.com'
const ownerOf = (index: number) => `owner${index}@example.com`
const newPassword = 'seven quiet horses graze'

const mail = await startMail({ teardown: () => {} } as never)
const { gateways, databaseUrl, stop } = await startReplicas({ ...mail.settings, TRUSTED_PROXIES: '127.0.0.1' })
const database = new pg.Pool({ connectionString: databaseUrl, max: 4 })
await database.query(
  `INSERT INTO auth.users (id, email, name, password_hash, roles)
   SELECT gen_random_uuid(), 'owner' || at || '@example.com', 'Olga Owner', password_hash, roles
   FROM generate_series(0, $1 - 1) at, auth.users WHERE email = $2`,
  [times, victim],
)

/** IPv4 and IPv6 by turns; each is another client, so that no limit per client holds any of them. */
const addressOf = (index: number) =>
  index % 2 === 0
    ? `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`
    : `2001:db8:${(index >> 8).toString(16)}:${(index & 255).toString(16)}::1`
const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })

let shed = 0
/** As a client does that hears that it cannot be served just now: it comes again. */
async function patiently(ask: () => Promise<ClientResponse>): Promise<ClientResponse> {
  for (;;) {
    const response = await ask()
    if (response.status !== 503) return response
    process.stderr.write(`503 ${response.body?.code}\n`)
    shed += 1
    await sleep(200)
  }
}
const logIn = (client: Client, email: string, password: string, address: string) =>
  patiently(() => client.call('POST', '/api/auth/login', { body: { email, password }, ...from(address) }))
const gatewayOf = (index: number) => gateways[index % gateways.length] as string

const guesses = { sent: 0, letIn: 0, shed: 0 }
let isOver = false
async function guess(email: string, index: number): Promise<void> {
  const body = { email, password: `guess number ${index}` }
  const options = { body, ...from(addressOf(index)) }
  const response = await new Client(gatewayOf(index)).call('POST', '/api/auth/login', options)
  guesses.sent += 1
  if (response.status === 200) guesses.letIn += 1
  if (response.status === 503) guesses.shed += 1
}

// The owner has a session, and has signed in with this browser.
const owner = new Client(gatewayOf(0))
await logIn(owner, victim, demoPassword, '192.0.2.1')
const session = new Client(gatewayOf(1))
await logIn(session, victim, demoPassword, '192.0.2.2')
const events = `SELECT count(*)::int AS count FROM auth.security_events e JOIN auth.users u ON u.id = e.user_id
  WHERE u.email = $1 AND event = 'login_failed' AND reason <> 'throttled'`

const began = Date.now()
let next = 0
const attack = Promise.all(
  Array.from({ length: inFlight }, async () => {
    while (next < addresses) await guess(victim, next++)
  }),
)

const figures = { known: 0, byMail: 0, refreshes: 0, refreshesFailed: 0, others: 0, othersFailed: 0 }
async function fromKnownDevice(): Promise<void> {
  for (let time = 0; time < times; time++) {
    const { status } = await logIn(owner, victim, demoPassword, `192.0.2.${3 + (time % 200)}`)
    if (status === 200) figures.known += 1
  }
}

/** Mails wait as well while both cores are busy with guesses. */
async function ticketFor(email: string, tries = 6): Promise<string | undefined> {
  return mail.next(email).then(
    ({ ticket }) => ticket,
    (error) => {
      if (tries === 0) throw error
      return ticketFor(email, tries - 1)
    },
  )
}

async function byMail(index: number): Promise<void> {
  const email = ownerOf(index)
  const browser = new Client(gatewayOf(index))
  const here = from(`203.0.113.${index}`)
  await Promise.all(Array.from({ length: 6 }, (_, at) => guess(email, addresses + 6 * index + at)))
  await database.query(
    `UPDATE auth.password_failures SET failures = 100 FROM auth.users u WHERE person = u.id::text AND email = $1`,
    [email],
  )
  await browser.call('POST', '/api/auth/password/forgot', { body: { email }, ...here })
  const ticket = await ticketFor(email)
  const body = { ticket, password: newPassword }
  await patiently(() => browser.call('POST', '/api/auth/password/reset', { body, ...here }))
  await Promise.all(Array.from({ length: 6 }, (_, at) => guess(email, addresses + 6 * (times + index) + at)))
  const { status } = await logIn(browser, email, newPassword, here.headers['x-forwarded-for'])
  if (status === 200) figures.byMail += 1
}
async function allByMail(): Promise<void> {
  let index = 0
  const one = async () => {
    while (index < times) await byMail(index++)
  }
  await Promise.all([one(), one(), one()])
}

async function refreshes(): Promise<void> {
  for (; !isOver; await sleep(100)) {
    const { status } = await session.refresh()
    figures.refreshes += 1
    if (status !== 200) figures.refreshesFailed += 1
  }
}

async function others(): Promise<void> {
  for (let index = 0; !isOver; await sleep(500)) {
    const { status, body } = await logIn(
      new Client(gatewayOf(index)),
      'patient@example.com',
      demoPassword,
      addressOf(60_000 + index++),
    )
    figures.others += 1
    if (status !== 200) figures.othersFailed += 1
    if (status !== 200) process.stderr.write(`${status} ${JSON.stringify(body)}\n`)
  }
}

const beside = [refreshes(), others()]
await Promise.all([attack, fromKnownDevice(), allByMail()])
isOver = true
await Promise.all(beside)
const seconds = (Date.now() - began) / 1000
const { rows } = await database.query<{ count: number }>(events, [victim])
const tried = rows[0]?.count ?? Number.NaN
await database.end()
await mail.smtp.close()
await stop()

process.stdout.write(`| what | figure |
| --- | ---: |
| addresses that guessed at one account | ${addresses} |
| guesses, with those at ${times} others | ${guesses.sent} in ${seconds.toFixed(0)} s |
| of them let in | ${guesses.letIn} |
| of them shed with 503 | ${guesses.shed} |
| passwords tried for the account | ${tried} |
| its owner got in from a known device | ${figures.known} of ${times} |
| owners got in by mail | ${figures.byMail} of ${times} |
| refreshes of the owner's session, failed | ${figures.refreshes}, ${figures.refreshesFailed} |
| logins of another person, failed | ${figures.others}, ${figures.othersFailed} |
| honest requests that came again after a 503 | ${shed} |
`)
const isGood =
  guesses.letIn === 0 &&
  tried <= 100 &&
  figures.known === times &&
  figures.byMail === times &&
  figures.refreshes > 0 &&
  figures.others > 0 &&
  figures.refreshesFailed + figures.othersFailed === 0
process.exit(isGood ? 0 : 1)
