import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { auc, bootstrapInterval } from '../lib/auc.ts'
import { startMailingSystem } from '../lib/mailing-system.ts'
import { TimedConnection, type TimedResponse } from '../lib/timed-connection.ts'

/**
 * Whether an answer, its time, or what it does to the requests after it says that an address has an account. So many
 * addresses with an account and as many without are each asked about once, in random order, one at a time over one
 * connection through the gateway, at login (with a wrong password), registration and forgotten password. After each, the
 * service is sampled with small requests for as long as the work that was queued may take.
 *
 * Each time is judged by its AUC: the probability that a random address with an account has the larger one. Nothing may
 * be further from 0.5 than chance puts 1 in 1,000 (0.03 with 2,000 addresses each), and all answers to one call are equal
 * byte for byte, but for ids, the date and counts of rate limits. Exits with 1 otherwise.
 *
 *   npm run bench:enumeration            (-- 300 asks about 300 each, with the line where chance then puts 1 in 1,000;
 *                                         -- 2000 login asks at one of the three;
 *                                         -- 2000 login imported has two thirds of the people imported from elsewhere)
 */
const count = Number(process.argv[2] ?? 2_000)
/** 3.286 standard errors of the AUC of figures that nothing tells apart (of a rank sum, so whatever the figures). */
const line = 3.286 * Math.sqrt((2 * count + 1) / (12 * count * count))
const warmUp = 40
/** Milliseconds in which the service is sampled after an answer: work that was queued takes as long. A login queues none. */
const sampled = (call: string) => (call === 'login' ? 5 : 60)

const print = (text: string) => process.stdout.write(`${text}\n`)
const system = await startMailingSystem()

interface Subject {
  email: string
  exists: boolean
}
const subjects: Subject[] = Array.from({ length: 2 * (count + warmUp) }, (_, index) => ({
  email: `${randomBytes(6).toString('hex')}@example.net`,
  exists: index % 2 === 0,
}))
const { rows } = await system.owner.query('SELECT password_hash FROM auth.users LIMIT 1')
/** With a salt of their own, as people have it: argon2id takes some microseconds more or less by the salt. */
const ownHash = () =>
  rows[0].password_hash.split('$').with(4, randomBytes(16).toString('base64').slice(0, 22)).join('$')
/** As many have each: ours, and in the second and third place what people of other systems have. */
const hashes =
  process.argv[4] === 'imported'
    ? [
        ownHash,
        () => `$2b$10$${randomBytes(60).toString('base64').replace(/[+/=]/g, '').slice(0, 53)}`,
        () =>
          `$scrypt$ln=14,r=16,p=1,u=nfkc$${randomBytes(24).toString('base64')}$${randomBytes(63).toString('base64')}`,
      ]
    : [ownHash]
const existing = subjects.filter(({ exists }) => exists)
await system.owner.query(
  `INSERT INTO auth.users (id, email, name, roles, password_hash)
   SELECT gen_random_uuid(), address, 'Some Person', '{patient}', hash FROM unnest($1::text[], $2::text[]) u (address, hash)`,
  [existing.map(({ email }) => email), existing.map((_, index) => hashes[index % hashes.length]?.())],
)
await system.owner.query('VACUUM ANALYZE auth.users')
// The service counts the hashes of users every minute.
if (hashes.length > 1) await sleep(65_000)

function shuffle<Item>(items: Item[]): Item[] {
  const shuffled = [...items]
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = randomInt(at + 1)
    ;[shuffled[at], shuffled[other]] = [shuffled[other] as Item, shuffled[at] as Item]
  }
  return shuffled
}

let clients = 0
/** Each from a client of its own, as nobody's limit is the subject. */
function requestTo(path: string, body: object): string {
  const text = JSON.stringify(body)
  const client = ++clients
  const from = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`
  return `POST ${path} HTTP/1.1\r\nhost: gateway\r\nx-forwarded-for: ${from}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`
}
const sample = 'GET /.well-known/jwks.json HTTP/1.1\r\nhost: gateway\r\n\r\n'

/** An answer without what differs by nature: ids keep their form. */
function masked({ head, body }: TimedResponse): string {
  const id = /[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g
  return `${head}\r\n\r\n${body}`
    .replace(/^(date|ratelimit|x-ratelimit-(?:remaining|reset)): .*$/gim, '$1: ...')
    .replace(id, '<id of version $1>')
}

const allCalls: Record<string, (email: string) => string> = {
  login: (email) => requestTo('/api/auth/login', { email, password: 'none-of-these-people-has-this' }),
  register: (email) => requestTo('/api/auth/register', { email }),
  forgot: (email) => requestTo('/api/auth/password/forgot', { email }),
}

const calls = Object.entries(allCalls).filter(([call]) => [undefined, call].includes(process.argv[3]))
const connection = new TimedConnection(system.address)
const features = ['first byte', 'last byte', 'samples after it, mean', 'samples after it, longest'] as const
let leaks = 0
print(`${count} addresses with an account, ${count} without\n`)
print(
  '| call | time | median with an account | without | AUC | 95 of 100 samples | |\n| --- | --- | ---: | ---: | ---: | --- | --- |',
)
for (const [call, request] of calls) {
  const answers = new Map<string, Subject[]>()
  const times = features.map(() => ({ existing: [] as number[], unknown: [] as number[] }))
  const inOrder = [
    ...shuffle(subjects.slice(0, 2 * warmUp)).map((subject) => ({ ...subject, counts: false })),
    ...shuffle(subjects.slice(2 * warmUp)).map((subject) => ({ ...subject, counts: true })),
  ]
  for (const subject of inOrder) {
    const answer = await connection.exchange(request(subject.email))
    const samples: number[] = []
    const until = performance.now() + sampled(call)
    do samples.push((await connection.exchange(sample)).total)
    while (performance.now() < until)
    if (!subject.counts) continue
    const seen = masked(answer)
    answers.set(seen, [...(answers.get(seen) ?? []), subject])
    const mean = samples.reduce((sum, time) => sum + time, 0) / samples.length
    const figures = [answer.firstByte, answer.total, mean, Math.max(...samples)]
    for (const [at, figure] of figures.entries()) times[at]?.[subject.exists ? 'existing' : 'unknown'].push(figure)
  }
  for (const [at, { existing, unknown }] of times.entries()) {
    const value = auc(existing, unknown)
    const [from, to] = bootstrapInterval(existing, unknown)
    const isLeak = Math.abs(value - 0.5) > line
    if (isLeak) leaks += 1
    const middle = (figures: number[]) =>
      `${(figures.toSorted((a, b) => a - b)[figures.length >> 1] as number).toFixed(3)} ms`
    print(
      `| ${call} | ${features[at]} | ${middle(existing)} | ${middle(unknown)} | ${value.toFixed(4)} | ${from.toFixed(3)} to ${to.toFixed(3)} | ${isLeak ? 'LEAK' : ''} |`,
    )
  }
  if (answers.size > 1) {
    leaks += 1
    print(`\n${call} has ${answers.size} different answers:`)
    for (const [text, whose] of answers)
      print(
        `${whose.filter(({ exists }) => exists).length} with an account, ${whose.filter(({ exists }) => !exists).length} without:\n${text}\n`,
      )
  } else print(`| ${call} | answers | all equal: | ${[...answers.keys()][0]?.slice(9, 12)} | | | |`)
}
connection.close()
// Samples say nothing unless the queue did its work: a mail for each registration, and for each forgotten password of an
// account.
const mailsOf: Record<string, number> = { register: 2, forgot: 1 }
const expected = calls.reduce((sum, [call]) => sum + (mailsOf[call] ?? 0) * (count + warmUp), 0)
for (let left = 600; left > 0 && (await system.smtp.count()) < expected; left--) await sleep(100)
const mails = await system.smtp.count()
if (mails !== expected) throw new Error(`${mails} mails came, in place of ${expected}`)
await system.stop()
print(`\nat most ${(0.5 + line).toFixed(4)}; leaks: ${leaks}`)
process.exit(leaks === 0 ? 0 : 1)
