import pg from 'pg'
import t from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { codeOf, openFactors, steadyStep } from '../support/factors.ts'
import { Client } from '../support/system.ts'

/*
 * What a sharded PostgreSQL would need (docs/scale.md): a statement that runs for one person all the time finds its shard by
 * that person's id.
 */

interface Sent {
  text: string
  values: unknown[]
}

/** Those that name nobody, and why a sharded database can answer them all the same. */
const others: [RegExp, string][] = [
  [/^SET TimeZone/, 'what a connection says first'],
  [/^(BEGIN|COMMIT|ROLLBACK)$/, 'of a transaction, whose statements say where it is'],
  [/FROM auth\.users WHERE email = ANY\(\$1\)/, 'who signs in has an address and no id yet: a directory by address'],
  [/pg_notify/, 'a message, of no table'],
  [/\bauth\.revocations\b|'user_erased'/, 'what a gateway reads once it connects: of every shard'],
  [/\bauth"\."impersonations"/, 'who acts as whom just now: few rows, which every node can have'],
  [/\bgraphile_worker\b/, 'the queue of mails: on one node, whoever they are for'],
  [
    /\bauth\.webhook|\bseal_security_events\b|\bauth\.replicas\b|\bWITH slice AS\b/,
    'what every process asks now and then: beside requests',
  ],
  [/\bauth"?\."?challenges\b/, 'a challenge is found by its own id, for minutes: a table by that id'],
]

/** What the auth service, which is in this process, sends to PostgreSQL. */
const sent: Sent[] = []
const { query } = pg.Client.prototype
t.before(() => {
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    const [what, given] = args as [Partial<Sent> | string, unknown]
    const { application_name: of } = (this as unknown as { connectionParameters: { application_name?: string } })
      .connectionParameters
    if (of === 'sallyport') {
      const { text = '', values } = typeof what === 'string' ? { text: what, values: given } : what
      sent.push({ text: text.trim(), values: Array.isArray(values) ? values : [] })
    }
    return (query as (...args: unknown[]) => unknown).apply(this, args)
  } as typeof query
})
t.teardown(() => {
  pg.Client.prototype.query = query
})

t.test('every statement of what people do all the time names the id of the person', async (t) => {
  const { gateway, call, post, register, registerWithTotp, beginLogin, forgetStep } = await openFactors(t)
  const person = await register('one@example.com')
  const strong = await registerWithTotp('two@example.com')

  /** Does something as somebody, and looks at what was sent for it. */
  async function look(what: string, id: string, act: () => Promise<{ status: number }>, status = 200) {
    sent.length = 0
    t.equal((await act()).status, status, what)
    const ofPerson = sent.filter(({ values }) => values.flat().some((value) => String(value).includes(id)))
    const unknown = sent.filter((one) => !ofPerson.includes(one) && !others.some(([form]) => form.test(one.text)))
    t.strictSame(
      unknown.map(({ text }) => text),
      [],
      what,
    )
    t.not(ofPerson.length, 0, `${what}: some were seen`)
  }

  const browser = new Client(gateway)
  const login = (typed: string) => post('login', { email: 'one@example.com', password: typed }, browser)
  await look('a login', person.id, () => login(password))
  await look('one from a known device, in place of a session', person.id, () => login(password))
  await look('one with a wrong password', person.id, () => login(otherPassword), 401)
  const used = Object.assign(new Client(gateway), { cookie: browser.cookie })
  await look('a refresh', person.id, () => browser.refresh())
  for (const [what, path] of [
    ['who I am', 'me'],
    ['my sessions', 'sessions'],
    ['my factors', 'factors'],
  ] as const)
    await look(what, person.id, () => call('GET', path, undefined, browser))
  await look('a step-up by the password', person.id, () => post('step-up', { password }, browser))
  const { sessions } = (await call('GET', 'sessions', undefined, browser)).body
  const another = sessions.find(({ current, endedAt }: { current: boolean; endedAt?: string }) => !current && !endedAt)
  await look('the end of another session', person.id, () =>
    call('DELETE', `sessions/${another.id}`, undefined, browser),
  )
  await browser.refresh()
  await look('a refresh token that was used', person.id, () => used.refresh(), 401)
  await login(password)
  await look('a logout', person.id, () => post('logout', undefined, browser))
  await login(password)
  await look('a logout everywhere', person.id, () => post('logout-all', undefined, browser))

  const { client, secret } = strong
  await steadyStep()
  await look(
    'a login that a factor is asked for',
    client.id,
    () => post('login', { email: 'two@example.com', password }),
    401,
  )
  await forgetStep(client)
  const { challenge, client: other } = await beginLogin('two@example.com')
  await look('its second factor', client.id, () =>
    post('login/second-factor', { challenge, code: codeOf(secret) }, other),
  )
  await forgetStep(client)
  await look('a step-up by a code', client.id, () => post('step-up', { code: codeOf(secret) }, other))
})
