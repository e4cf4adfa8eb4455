import { createServer } from 'node:http'
import { type ActingClient, type Impersonation, withImpersonation } from '@sallyport/client/impersonation'
import t, { type Test } from 'tap'
import { Browser, type Sent } from '../support/browser.ts'
import { listen } from '../support/edge.ts'
import { eventually } from '../support/system.ts'

const admin = { id: 'admin-1', email: 'ada@example.com', name: 'Ada Admin', roles: ['admin'] }
const pat = { id: 'user-1', email: 'pat@example.com', name: 'Pat Patient', roles: ['patient', 'doctor'] }
const credentials = { email: admin.email, password: 'x' }

/** An access token, as far as a client can tell. */
function tokenOf({ id, email, roles }: typeof admin, act?: object): string {
  const iat = Math.floor(Date.now() / 1_000)
  const claims = { iat, exp: iat + 900, jti: Math.random(), sub: id, sid: `session of ${id}`, email, roles, act }
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`
}

const grant = (more: Partial<Impersonation> = {}): Impersonation => ({
  accessToken: tokenOf(pat, { sub: admin.id, sid: `session of ${admin.id}` }),
  expiresIn: 900,
  user: pat,
  ...more,
})

/** A server that says what it was sent, unless a test has it answer otherwise; and a browser in which an admin is signed in. */
async function start(t: Test) {
  const answers: Record<string, [status: number, content: object]> = {}
  const signedIn = () => ({ accessToken: tokenOf(admin), user: admin })
  const server = createServer((request, response) => {
    const { authorization = null, cookie = null } = request.headers
    const name = (request.url as string).split('/').at(-1) as string
    const opens = name === 'login' || name === 'refresh'
    const [status, content] = answers[name] ?? [200, opens ? signedIn() : { authorization, cookie }]
    const set = `refreshToken=${opens ? 'of-the-admin' : 'of-somebody-else'}; Path=/`
    response.writeHead(status, { 'content-type': 'application/json', 'set-cookie': set }).end(JSON.stringify(content))
  })
  const baseUrl = await listen(t, server)
  const browser = new Browser(baseUrl)
  t.teardown(() => browser.close())
  const tab = browser.open()
  await tab.client.login(credentials)
  const client = withImpersonation(tab.client)
  t.teardown(() => void client.stopActing())
  const seenBy = async (client: ActingClient, path: string | Request = '/api/mine', init?: RequestInit) =>
    (await client.fetch(path, init)).json()
  return { answers, browser, tab, client, baseUrl, seenBy, own: tab.client.getAccessToken() }
}

t.test('who acts for somebody calls as them in this tab alone, and nothing of it is kept', async (t) => {
  const { browser, client, own, seenBy } = await start(t)
  const other = withImpersonation(browser.open().client)
  await eventually('the other tab is signed in', () => other.getRole() === 'admin')
  t.match(client.getSnapshot(), { user: { id: admin.id }, actor: null, actingEnd: null })
  const kept = [...browser.values]
  let changes = 0
  const unsubscribe = client.subscribe(() => {
    changes += 1
  })

  const given = grant()
  client.actAs(given)
  t.equal(changes, 1)
  const snapshot = client.getSnapshot()
  t.match(snapshot, {
    ...{ status: 'signed-in', role: 'patient', roles: pat.roles, refreshAt: null, signOut: null, actingEnd: null },
    actor: { id: admin.id, name: 'Ada Admin' },
  })
  t.strictSame(snapshot.user, { id: pat.id, email: pat.email, name: pat.name })
  t.equal(client.getSnapshot(), snapshot, 'the same object until something changes')
  const life = (snapshot.expiresAt as number) - Date.now()
  t.ok(life > 890_000 && life <= 900_000, `it lasts ${life} ms`)
  t.equal(client.getRole(), 'patient')
  t.equal(client.getAccessToken(), given.accessToken)
  t.equal(await client.getFreshAccessToken(), given.accessToken)
  t.strictSame(await seenBy(client), { authorization: `Bearer ${given.accessToken}`, cookie: null })
  const request = new Request(`${client.baseUrl}/api/mine`, { headers: { 'x-mine': 'kept' } })
  t.match(await seenBy(client, request), { authorization: `Bearer ${given.accessToken}` })

  t.match(other.getSnapshot(), { user: { id: admin.id }, actor: null }, 'other tabs know nothing of it')
  t.match(await seenBy(other), { authorization: `Bearer ${own}` })
  t.strictSame([...browser.values], kept)
  t.match(withImpersonation(browser.open().client).getSnapshot(), { user: { id: admin.id } }, 'nor does a reload')

  const told = client.stopActing()
  t.match(client.getSnapshot(), { user: { id: admin.id }, role: 'admin', actor: null, actingEnd: null }, 'at once')
  t.equal(client.getAccessToken(), own)
  t.equal(client.getRole(), 'admin')
  t.match(await seenBy(client), { authorization: `Bearer ${own}` })
  await told
  const isEnd = ({ path }: Sent) => path === '/api/auth/impersonation'
  const [end] = browser.sent.filter(isEnd)
  t.equal(end?.authorization, `Bearer ${given.accessToken}`, 'and the server is notified')
  const before = changes
  unsubscribe()
  await client.stopActing()
  t.equal(changes, before, 'who no longer listens is not called')
  t.equal(browser.sent.filter(isEnd).length, 1, 'once')

  client.actAs(grant())
  browser.network = async () => {
    throw new TypeError('offline')
  }
  await client.stopActing()
  t.equal(client.getSnapshot().actor, null, 'also without a network')
  client.actAs(grant({ user: { ...pat, roles: [] } }))
  t.equal(client.getSnapshot().role, null, 'somebody may have no role')
})

t.test('the cookie of the admin goes with no call as somebody else, and no answer to one changes it', async (t) => {
  const { browser, client } = await start(t)
  client.actAs(grant())
  await client.fetch('/api/mine', { credentials: 'include' })
  t.equal(browser.cookie, 'of-the-admin')
})

t.test('the token goes to the gateway alone, and never beside one that the app sends itself', async (t) => {
  const { client, seenBy } = await start(t)
  const elsewhere = await start(t)
  client.actAs(grant())
  t.strictSame(await seenBy(client, `${elsewhere.baseUrl}/api/mine`), { authorization: null, cookie: null })
  const own = { headers: { authorization: 'Bearer of.my.own' } }
  t.match(await seenBy(client, '/api/mine', own), { authorization: 'Bearer of.my.own' })
})

t.test('nobody acts by a token that is not for the one who is signed in', async (t) => {
  const { client } = await start(t)
  for (const accessToken of ['no token', tokenOf(pat), tokenOf(pat, { sub: 'admin-2' })])
    t.throws(() => client.actAs(grant({ accessToken })), { code: 'ANSWER_INVALID' })
  await client.logout()
  t.throws(() => client.actAs(grant()), { code: 'ANSWER_INVALID' })
})

t.test('a rejected token ends it with the reason, and the call is not made again as the admin', async (t) => {
  for (const code of ['TOKEN_STALE', 'TOKEN_EXPIRED', 'TOKEN_INVALID', 'SESSION_ENDED']) {
    const { answers, browser, tab, client, own } = await start(t)
    const reason = code === 'SESSION_ENDED' ? { reason: 'logout' } : {}
    answers.mine = [401, { code, title: code, ...reason }]
    client.actAs(grant())
    const responses = await Promise.all([client.fetch('/api/mine'), client.fetch('/api/mine')])
    t.match(
      responses.map(({ status }) => status),
      [401, 401],
    )
    t.match(await responses[0]?.json(), { code }, 'the answer is the caller’s')
    t.equal(browser.sent.filter(({ path }) => path === '/api/mine').length, 2)
    t.equal(browser.requests('refresh').length, 0)
    t.match(client.getSnapshot(), { user: { id: admin.id }, actingEnd: { code, ...reason, user: { id: pat.id } } })
    t.match(tab.client.getSnapshot(), { status: 'signed-in' }, 'the session of the admin goes on')
    t.equal(client.getAccessToken(), own)
    await client.stopActing()
    t.equal(client.getSnapshot().actingEnd, null, 'once the admin was told')
  }
})

t.test('other refusals change nothing', async (t) => {
  const { answers, client } = await start(t)
  client.actAs(grant())
  for (const [status, code] of [
    [401, 'STEP_UP_REQUIRED'],
    [401, 'AUTH_INVALID_CREDENTIALS'],
    [403, 'ACTOR_REFUSED'],
  ] as const) {
    answers.mine = [status, { code }]
    t.equal((await client.fetch('/api/mine')).status, status)
    t.match(client.getSnapshot(), { user: { id: pat.id }, actor: { id: admin.id } })
  }
})

t.test('an answer to one who acted before does not end what was begun since', async (t) => {
  const { answers, browser, client } = await start(t)
  answers.mine = [401, { code: 'SESSION_ENDED' }]
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  browser.network = async (deliver) => {
    const response = await deliver()
    await held
    return response
  }
  client.actAs(grant())
  const late = client.fetch('/api/mine')
  await eventually('it was sent', () => browser.sent.some(({ path }) => path === '/api/mine'))
  client.actAs(grant({ user: { ...pat, name: 'Pat once more' } }))
  release()
  t.equal((await late).status, 401)
  t.match(client.getSnapshot(), { user: { name: 'Pat once more' }, actor: { id: admin.id } })
})

t.test('it ends by itself when the token expires, by a clock that goes on during sleep', async (t) => {
  const { client } = await start(t)
  client.actAs(grant({ expiresIn: 1 }))
  await eventually('it ended', () => client.getSnapshot().actor === null)
  t.match(client.getSnapshot(), {
    user: { id: admin.id },
    actingEnd: { code: 'TOKEN_EXPIRED', user: { name: pat.name } },
  })

  client.actAs(grant())
  t.equal(client.getSnapshot().actingEnd, null)
  const now = Date.now
  t.intercept(Date, 'now', { value: () => now() + 901_000 })
  const ends = { code: 'TOKEN_EXPIRED', status: 401 }
  await t.rejects(client.fetch('/api/mine'), ends, 'a call that comes too late is not made as the admin')
  t.match(client.getSnapshot(), { user: { id: admin.id }, actingEnd: { code: 'TOKEN_EXPIRED' } })
  client.actAs(grant({ expiresIn: 0 }))
  await t.rejects(client.getFreshAccessToken(), ends)
  t.match(await client.getFreshAccessToken(), /^e30/, 'the next one is as the admin')
})

t.test('it goes on while the session of the admin is refreshed, and ends with it, also in another tab', async (t) => {
  const { browser, tab, client } = await start(t)
  client.actAs(grant())
  await client.refresh()
  t.equal(browser.requests('refresh').length, 1)
  t.match(client.getSnapshot(), { user: { id: pat.id }, actor: { id: admin.id } })
  const other = browser.open()
  void other.client.logout()
  await eventually('the tab is signed out', () => tab.client.getSnapshot().status === 'signed-out')
  const nobody = { status: 'signed-out', user: null, actor: null, signOut: { code: 'LOGOUT' }, actingEnd: null }
  t.match(client.getSnapshot(), nobody)
  t.equal(client.getAccessToken(), null)
})

t.test('whoever signs in next is not told for whom somebody acted', async (t) => {
  const { answers, tab, client } = await start(t)
  answers.mine = [401, { code: 'TOKEN_STALE' }]
  client.actAs(grant())
  await client.fetch('/api/mine')
  t.match(client.getSnapshot(), { actingEnd: { user: { id: pat.id } } })
  answers.login = [200, { accessToken: tokenOf(pat), user: pat }]
  await tab.client.login(credentials)
  t.match(client.getSnapshot(), { user: { id: pat.id }, actor: null, actingEnd: null })
})
