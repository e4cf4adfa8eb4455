import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AuthClient, createAuthClient } from '@sallyport/client'
import t, { type Test } from 'tap'
import { Browser, createLocks, type Tab } from '../support/browser.ts'
import { listen } from '../support/edge.ts'
import { type Fault, globalFaults, pageFaults, pairsOf, type Scope } from '../support/surroundings.ts'
import { eventually } from '../support/system.ts'

type Handler = (response: ServerResponse, request: IncomingMessage) => unknown

/** An access token, as far as a client can tell. */
function tokenOf({ sub = 'user-1', life = 900 } = {}): string {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iat, exp: iat + life, jti: Math.random(), sub, sid: `session of ${sub}`, email: 'd@example.com' }
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ ...claims, role: 'doctor', roles: ['doctor'] })}.c2lnbmF0dXJl`
}

const json =
  (status: number, body: object, headers: Record<string, string> = {}): Handler =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
const problem = (status: number, code: string, more: object = {}, headers: Record<string, string> = {}) =>
  json(status, { code, title: code, status, ...more }, headers)
const page =
  (status: number): Handler =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Welcome to the airport</h1>')
const signedIn = (token = tokenOf()) =>
  json(200, { accessToken: token, role: 'doctor', roles: ['doctor'] }, { 'set-cookie': 'refreshToken=r; Path=/' })

/** A server, or what is in front of it, whose responses a test chooses; and a browser with a tab that is signed in. */
async function start(t: Test, options: Parameters<Browser['open']>[0] = {}, login = signedIn()) {
  const handlers: Record<string, Handler> = { login, logout: json(200, {}), refresh: (r) => signedIn()(r, r.req) }
  const server = createServer((request, response) => {
    const name = (request.url as string).split('/').at(-1) as string
    const handler = handlers[name] ?? json(200, { authorization: request.headers.authorization ?? null })
    handler(response, request)
  })
  const baseUrl = await listen(t, server)
  const browser = new Browser(baseUrl)
  t.teardown(() => browser.close())
  const tab = browser.open(options)
  await tab.client.login({ email: 'd@example.com', password: 'x' })
  return { handlers, browser, tab, client: tab.client, baseUrl }
}

const wake = ({ window }: Tab) => window.dispatchEvent(new Event('focus'))

t.test('no response, or none of the auth service, signs nobody out', async (t) => {
  const cases: Record<string, [handler: Handler, code: string, wait?: number]> = {
    '500': [problem(500, 'INTERNAL'), 'INTERNAL'],
    '503 that says when': [problem(503, 'UNAVAILABLE', {}, { 'retry-after': '7' }), 'UNAVAILABLE', 7_000],
    '503 that asks for a day': [problem(503, 'UNAVAILABLE', {}, { 'retry-after': '86400' }), 'UNAVAILABLE', 300_000],
    '429 that says when': [problem(429, 'RATE_LIMITED', {}, { 'retry-after': '30' }), 'RATE_LIMITED', 30_000],
    "a proxy's 502": [page(502), 'ANSWER_INVALID'],
    "a proxy's 401": [page(401), 'ANSWER_INVALID'],
    'a 401 of another code': [problem(401, 'TOKEN_MISSING'), 'TOKEN_MISSING'],
    'a 403': [problem(403, 'ORIGIN_REFUSED'), 'ORIGIN_REFUSED'],
    'the page of a captive portal': [page(200), 'ANSWER_INVALID'],
    'JSON without a token': [json(200, {}), 'ANSWER_INVALID'],
    'JSON that is null': [(response) => response.end('null'), 'ANSWER_INVALID'],
    'a token of another kind': [json(200, { accessToken: 'a.e30.c' }), 'ANSWER_INVALID'],
    'a connection that breaks': [(response) => response.destroy(), 'NETWORK'],
    'a body that breaks': [
      (response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{')
        setImmediate(() => response.destroy())
      },
      'NETWORK',
    ],
  }
  const { handlers, browser, client, tab } = await start(t)
  for (const [name, [handler, code, wait = 0]] of Object.entries(cases))
    await t.test(name, async (t) => {
      handlers.refresh = handler
      tab.window.dispatchEvent(new Event('online'))
      const before = client.getAccessToken()
      await client.refresh().catch(() => {})
      await eventually('it failed', () => client.getSnapshot().trouble?.code === code)
      const { trouble, status } = client.getSnapshot()
      t.equal(status, 'signed-in')
      t.equal(client.getAccessToken(), before)
      const left = (trouble?.retryAt ?? 0) - Date.now()
      t.ok(left <= Math.max(wait, 60_000) && left > wait - 1_000, `tried again in ${left} ms`)
    })
  const attempts = new Set(browser.requests('refresh').map(({ attempt }) => attempt))
  t.equal(attempts.size, 1, 'all of it is one attempt')
  t.strictSame(tab.events, [])
  handlers.refresh = signedIn()
  tab.window.dispatchEvent(new Event('online'))
  await client.refresh()
  t.equal(client.getSnapshot().trouble, null)
})

t.test('a response that does not come is given up long before the next refresh is due', async (t) => {
  const { handlers, browser, client } = await start(t, {}, signedIn(tokenOf({ life: 1 })))
  handlers.refresh = () => {}
  await t.rejects(client.refresh(), { code: 'NETWORK' })
  t.equal(browser.requests('refresh').length, 1)
  t.equal(client.getSnapshot().status, 'signed-in')
})

t.test('a failure is not repeated by every tab, and not before its time', async (t) => {
  const { handlers, browser, tab, client } = await start(t)
  const other = browser.open()
  handlers.refresh = problem(503, 'UNAVAILABLE', {}, { 'retry-after': '60' })
  browser.values.delete('accessToken')
  for (const one of [tab, other]) wake(one)
  await eventually('both know', () => [tab, other].every((one) => one.client.getSnapshot().trouble))
  t.equal(browser.requests('refresh').length, 1)
  for (const one of [tab, other]) wake(one)
  await t.rejects(other.client.fetch('/anything'), { code: 'UNAVAILABLE', retryAfter: Number })
  t.equal(browser.requests('refresh').length, 1)
  t.equal(other.client.getSnapshot().refreshAt, client.getSnapshot().trouble?.retryAt)

  handlers.refresh = signedIn()
  other.window.dispatchEvent(new Event('online'))
  await eventually('the network is back for all', () =>
    [tab, other].every((one) => one.client.getAccessToken() && !one.client.getSnapshot().trouble),
  )
  t.equal(browser.requests('refresh').length, 2)
})

t.test('each code of a definite end signs out, and the app receives it', async (t) => {
  for (const code of ['REFRESH_MISSING', 'REFRESH_INVALID', 'REFRESH_EXPIRED', 'REFRESH_REUSED', 'SESSION_ENDED'])
    await t.test(code, async (t) => {
      const { handlers, client, tab } = await start(t)
      const signOut = { code, ...(code === 'SESSION_ENDED' && { reason: 'password_changed' }) }
      handlers.refresh = problem(401, code, signOut)
      await client.refresh()
      t.match(client.getSnapshot(), { status: 'signed-out', user: null, roles: [] })
      t.strictSame(client.getSnapshot().signOut, signOut)
      t.strictSame(tab.events, [{ type: 'tokenRefreshFailed', detail: signOut }])
      t.equal((await client.fetch('/anything')).status, 200, 'what needs nobody still works')
    })
})

t.test('an access token goes to the gateway and nowhere else', async (t) => {
  const { handlers, client } = await start(t)
  const received: IncomingMessage['headers'][] = []
  const elsewhere = await listen(
    t,
    createServer((request, response) => {
      received.push(request.headers)
      response.end('{}')
    }),
  )
  handlers.away = (response) => response.writeHead(307, { location: `${elsewhere}/there` }).end()
  t.match(await (await client.fetch('/anything')).json(), { authorization: `Bearer ${client.getAccessToken()}` })
  await client.fetch(`${elsewhere}/direct`)
  await client.fetch(new Request(`${elsewhere}/request`))
  await client.fetch(`//${new URL(elsewhere).host}/without-a-scheme`)
  await client.fetch('/away')
  t.equal(received.length, 4)
  t.ok(received.every((headers) => headers.authorization === undefined && headers.cookie === undefined))
})

t.test('storage that refuses everything keeps nobody out', async (t) => {
  const full = {
    getItem: () => null,
    setItem() {
      throw new Error('QuotaExceededError')
    },
    removeItem() {},
  }
  const { client } = await start(t, { storage: full })
  await client.refresh()
  t.equal((await client.fetch('/anything')).status, 200)
  await client.logout()
  t.equal(client.getRole(), null)
})

t.test('whatever is missing, full, wrong or throws around it, alone or in pairs, the client works', async (t) => {
  const { handlers, baseUrl } = await start(t)
  const complaints: unknown[] = []
  const complain = (error: unknown) => complaints.push(error)
  process.on('unhandledRejection', complain)
  t.teardown(() => process.off('unhandledRejection', complain))

  let played = 0
  const page = Object.entries(pageFaults)
  const everywhere = Object.entries(globalFaults)
  // What is wrong with a page is its own, so that all pages are there at once.
  const batches: [wrong: [string, Fault][], pages: [string, Fault][][]][] = [
    [[], [[], ...pairsOf(page)]],
    ...everywhere.map((one): (typeof batches)[number] => [[one], [[], ...page.map((other) => [other])]]),
    ...pairsOf(everywhere)
      .filter(({ length }) => length === 2)
      .map((two): (typeof batches)[number] => [two, [[]]]),
  ]
  for (const [wrong, pages] of batches) {
    // A refresh that hangs is given up after a quarter of a token's life, which has to be long enough for a busy machine.
    handlers.login = signedIn(tokenOf({ life: pages.length > 100 ? 12 : 3 }))
    const heal = breakEverywhere(wrong.map(([, fault]) => fault))
    const outcomes = await Promise.allSettled(
      pages.map((faults) =>
        visit(
          baseUrl,
          faults.map(([, fault]) => fault),
        ),
      ),
    )
    heal()
    for (const [index, outcome] of outcomes.entries()) {
      const name = [...wrong, ...(pages[index] as typeof page)].map(([name]) => name).join(' and ') || 'nothing'
      t.equal(outcome.status === 'rejected' ? outcome.reason : 'works', 'works', name)
      played += 1
    }
  }
  t.equal(played, 1 + (22 * 23) / 2)
  t.strictSame(complaints, [])
})

/** @returns a function that repairs it */
function breakEverywhere(faults: Fault[]): () => void {
  const names = ['crypto', 'performance', 'Date'] as const
  const before = names.map((name) => [globalThis, name, Object.getOwnPropertyDescriptor(globalThis, name)] as const)
  const own = [
    [Date, 'now', Object.getOwnPropertyDescriptor(Date, 'now')],
    [crypto, 'randomUUID', Object.getOwnPropertyDescriptor(crypto, 'randomUUID')],
    [crypto, 'subtle', Object.getOwnPropertyDescriptor(crypto, 'subtle')],
  ] as const
  for (const fault of faults) fault(globalThis as unknown as Scope)
  return () => {
    for (const [object, name, descriptor] of [...before, ...own]) {
      if (descriptor) Object.defineProperty(object, name, descriptor)
      else Reflect.deleteProperty(object, name)
    }
    Reflect.deleteProperty(globalThis, 'clockOff')
  }
}

/** A page where a user signs in, works, refreshes and signs out. Throws if anything goes wrong. */
async function visit(baseUrl: string, faults: Fault[]): Promise<void> {
  const values = new Map<string, string>()
  const storage = {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
    removeItem: (key: string) => void values.delete(key),
  }
  const window = Object.assign(new EventTarget(), {
    Storage: { prototype: storage },
    localStorage: Object.create(storage),
    navigator: { locks: createLocks() },
    BroadcastChannel: new Browser(baseUrl).BroadcastChannel,
    fetch,
  }) as unknown as Scope & EventTarget
  for (const fault of faults) fault(window)
  Object.assign(globalThis, { window })
  const platform = { fetch: (async (input, init) => window.fetch(input, init)) as typeof fetch }
  const client = createAuthClient({ baseUrl, platform })
  Reflect.deleteProperty(globalThis, 'window')
  client.startTokenMonitoring()
  /** A request whose token cannot be replaced now fails with NETWORK, and is sent again when the network is back. */
  const withNetwork = (send: () => Promise<void>): Promise<void> =>
    send().catch((error) => {
      if (error.code !== 'NETWORK') throw error
      window.dispatchEvent(new Event('online'))
      return withNetwork(send)
    })
  try {
    await client.login({ email: 'd@example.com', password: 'x' })
    if ((globalThis as unknown as Scope).clockOff) Object.assign(globalThis, { clockOff: 0 })
    await withNetwork(() => works(client))
    const before = client.getAccessToken()
    await withNetwork(() => client.refresh())
    if (client.getAccessToken() === before) throw new Error('there is no new token')
    await withNetwork(() => works(client))
    await client.logout()
    const { status, signOut } = client.getSnapshot()
    if (status !== 'signed-out' || signOut?.code !== 'LOGOUT' || client.getAccessToken() !== null)
      throw new Error('it is not signed out')
  } finally {
    client.stopTokenMonitoring()
  }
}

async function works(client: AuthClient): Promise<void> {
  if (client.getRole() !== 'doctor' || client.getSnapshot().status !== 'signed-in') throw new Error('not signed in')
  const { authorization } = (await (await client.fetch('/anything')).json()) as { authorization: string | null }
  if (authorization !== `Bearer ${client.getAccessToken()}`) throw new Error(`sent ${authorization}`)
}

/** The two clocks of a machine, each as wrong as a test makes it; in milliseconds. */
function takeClocks(t: Test) {
  const off = { machine: 0, steady: 0 }
  const [machine, steady] = [Date.now, performance.now.bind(performance)]
  t.intercept(Date, 'now', { value: () => machine() + off.machine })
  t.intercept(performance, 'now', { value: () => steady() + off.steady })
  return {
    pass(time: number): void {
      off.machine += time
      off.steady += time
    },
    /** The steady clock of most browsers stands still meanwhile. */
    sleep(time: number): void {
      off.machine += time
    },
    correct(): void {
      off.machine = off.steady
    },
    off,
  }
}

const minutes = 60_000
const hours = 60 * minutes

t.test('after a clock is corrected no expired token counts as valid', async (t) => {
  for (const by of [5 * hours, 10 * minutes, 2 * minutes, -2 * minutes, -10 * minutes, -5 * hours])
    await t.test(`it was ${by / minutes} minutes ahead`, async (t) => {
      const clocks = takeClocks(t)
      clocks.off.machine = by
      const { browser, client, tab } = await start(t)
      const token = client.getAccessToken()
      clocks.correct()
      wake(tab)
      if (by > 0) t.equal(await client.getFreshAccessToken(), token, 'the token is as good as before')
      const { expiresAt } = client.getSnapshot()
      if (by > 0) t.ok(Math.abs((expiresAt ?? 0) - Date.now() - 15 * minutes) < 5_000, 'the app sees the right time')
      const other = browser.open().client
      if (by > 0) t.equal(await other.getFreshAccessToken(), token, 'a page that is opened now knows it too')

      clocks.pass(14 * minutes)
      browser.close()
      const late = await client.getFreshAccessToken()
      clocks.pass(minutes)
      const next = await client.getFreshAccessToken()
      t.not(next, token, 'it is not handed out when it has expired')
      t.equal(by > 0, late === token)
      t.not(await other.getFreshAccessToken(), token, 'and by no other page')
    })
})

t.test('a page that is opened after the clock was set back does not trust a token of the future', async (t) => {
  const clocks = takeClocks(t)
  clocks.off.machine = 5 * hours
  const { browser, tab, client } = await start(t)
  const token = client.getAccessToken()
  tab.close()
  clocks.correct()
  t.not(await browser.open().client.getFreshAccessToken(), token)
})

t.test('a token does not outlive a sleep, also after the clock was set back', async (t) => {
  for (const by of [0, 5 * hours]) {
    const clocks = takeClocks(t)
    clocks.off.machine = by
    const { client, tab } = await start(t)
    const token = client.getAccessToken()
    clocks.correct()
    wake(tab)
    tab.close()
    clocks.sleep(hours)
    t.not(await client.getFreshAccessToken(), token, `${by}`)
  }
})

t.test('after a failure it is tried again in time, whatever becomes of the clock', async (t) => {
  for (const by of [5 * hours, -5 * hours]) {
    const clocks = takeClocks(t)
    clocks.off.machine = by
    const { handlers, browser, client, tab } = await start(t)
    const other = browser.open()
    handlers.refresh = problem(503, 'UNAVAILABLE')
    await t.rejects(client.refresh(), { code: 'UNAVAILABLE' })
    await eventually('the other tab knows', () => other.client.getSnapshot().trouble !== null)
    clocks.correct()
    for (const one of [tab, other]) wake(one)
    for (const one of [client, other.client]) {
      const { retryAt = Number.NaN } = one.getSnapshot().trouble ?? {}
      t.ok(by < 0 || Math.abs(retryAt - Date.now()) < minutes, 'the app sees when')
    }
    handlers.refresh = signedIn()
    clocks.pass(minutes)
    browser.values.delete('accessToken')
    for (const one of [tab, other]) t.equal((await one.client.fetch('/anything')).status, 200)
  }
})

t.test('an app that reads the token at each change is not kept busy by a clock that jumps at each look', async (t) => {
  const { client, tab } = await start(t)
  const seen: unknown[] = []
  const unsubscribe = client.subscribe(() => {
    if (seen.length < 100) seen.push(client.getAccessToken(), client.getRole())
  })
  const real = Date.now
  let looks = 0
  t.intercept(Date, 'now', { value: () => real() + ((looks++ % 3) - 1) * 5 * hours })
  wake(tab)
  unsubscribe()
  t.ok(seen.length > 0 && seen.length < 20, `${seen.length} looks`)
})

t.test('a request that is aborted ends at once, and what it waited for goes on', async (t) => {
  const expire = ({ values }: Browser) => values.delete('accessToken')
  const held: ServerResponse[] = []
  const { handlers, browser, client, baseUrl } = await start(t)
  handlers.refresh = (response) => held.push(response)
  expire(browser)
  const patient = client.fetch('/patient')
  await eventually('a refresh is on its way', () => held.length === 1)

  const controller = new AbortController()
  const reason = new Error('the user went elsewhere')
  const requests = [
    client.fetch('/x', { signal: controller.signal }),
    client.fetch(new Request(`${baseUrl}/x`, { signal: controller.signal })),
    client.fetch(new Request(`${baseUrl}/x`), { signal: controller.signal }),
  ]
  const timed = client.fetch('/x', { signal: AbortSignal.timeout(20) })
  await t.rejects(timed, { name: 'TimeoutError' }, 'a deadline of its own')
  controller.abort(reason)
  for (const request of requests) t.equal(await request.catch((error) => error), reason)
  t.equal(
    await client.fetch('/x', { signal: controller.signal }).catch((error) => error),
    reason,
    'also when it was aborted before',
  )
  const unsignalled = client.fetch(new Request(`${baseUrl}/x`, { signal: controller.signal }), { signal: null })

  for (const response of held) signedIn()(response, response.req)
  t.equal((await patient).status, 200, 'the others get the outcome')
  t.equal((await unsignalled).status, 200, 'a signal that was taken away is none')
  t.equal(browser.requests('refresh').length, 1)
  t.equal(browser.requests('x').length, 0)

  const old = { aborted: true } as AbortSignal
  await t.rejects(client.fetch('/x', { signal: old }), { name: 'AbortError' }, 'of a browser that gives no reasons')
  const before = browser.sent.length
  expire(browser)
  await client.fetch('/x', { signal: AbortSignal.abort(reason) }).catch(() => {})
  t.equal(browser.sent.length, before, 'nothing begins for an aborted request')
})

t.test('where there is no page, a relative baseUrl is accepted, and a request says what is missing', async (t) => {
  const elsewhere = await listen(
    t,
    createServer((_request, response) => response.end('{}')),
  )
  for (const baseUrl of ['/', '', '.', './', '/gateway', 'gateway', '//gateway.example', '?x', '#x'])
    await t.test(`"${baseUrl}"`, async (t) => {
      const client = createAuthClient({ baseUrl })
      t.match(client.getSnapshot(), { status: 'signed-out', user: null })
      t.equal(client.getAccessToken(), null)
      client.startTokenMonitoring()
      client.stopTokenMonitoring()
      await client.logout()
      const missing = { code: 'BASE_URL_RELATIVE', message: /whole address, such as https:\/\/api\.example\.com/ }
      await t.rejects(client.login({ email: 'd@example.com', password: 'x' }), missing)
      await t.rejects(client.fetch('/api/whoami'), missing)
      t.equal((await client.fetch(`${elsewhere}/x`)).status, 200, 'other servers are other servers')
      t.equal((await client.fetch(new Request(`${elsewhere}/x`))).status, 200)
    })
  for (const baseUrl of ['http://', 'https://:1', 'localhost:5000', 'ftp://api.example.com', 'file:///x'])
    t.throws(() => createAuthClient({ baseUrl }), TypeError, baseUrl)
})

t.test('a page has its own origin for a relative baseUrl', async (t) => {
  const paths: (string | undefined)[] = []
  const origin = await listen(
    t,
    createServer((request, response) => {
      paths.push(request.url)
      response.end('{}')
    }),
  )
  t.intercept(globalThis, 'location', { value: { href: `${origin}/deep/page?x#y` } as Location })
  for (const baseUrl of ['/', '', './', '/api/', '?y'])
    t.equal((await createAuthClient({ baseUrl }).fetch('/x')).status, 200)
  t.strictSame(paths, ['/x', '/deep/page/x', '/deep/x', '/api/x', '/deep/page/x'])
})

t.test('a message that no client sent is ignored', async (t) => {
  const { browser, client } = await start(t)
  const before = client.getSnapshot()
  const { BroadcastChannel } = browser
  const channel = new (BroadcastChannel as NonNullable<typeof BroadcastChannel>)('sallyport')
  t.teardown(() => channel.close())
  for (const message of [
    null,
    1,
    'x',
    {},
    { session: null },
    { session: { version: 9e15 } },
    { session: { roles: [] } },
  ])
    channel.postMessage(message)
  const other = browser.open()
  await other.client.refresh()
  await eventually('a real one is', () => client.getAccessToken() === other.client.getAccessToken())
  t.equal(client.getSnapshot().user?.id, before.user?.id)
})

t.test('what other code does in storage is respected', async (t) => {
  t.test('an app that kept a token and a role before it had this client', async (t) => {
    const { browser, tab } = await start(t)
    tab.close()
    browser.values.clear()
    browser.values.set('accessToken', tokenOf()).set('role', 'doctor').set('userName', 'Dora')
    const { client } = browser.open()
    t.match(client.getSnapshot(), { status: 'signed-in', roles: ['doctor'], user: { id: 'user-1', name: 'Dora' } })
    t.equal((await client.fetch('/anything')).status, 200)
    t.equal(browser.requests('refresh').length, 0)

    browser.values.delete('sallyport')
    browser.values.set('accessToken', 'no token at all')
    t.match(browser.open().client.getSnapshot(), { status: 'loading', role: 'doctor', user: null })
  })

  t.test('storage that was cleared, or lost its role, signs out in every tab', async (t) => {
    for (const clear of [
      (values: Browser['values']) => values.clear(),
      (values: Browser['values']) => values.delete('role'),
    ]) {
      const { browser, tab } = await start(t)
      const other = browser.open()
      clear(browser.values)
      for (const one of [tab, other]) wake(one)
      for (const { client } of [tab, other])
        t.match(client.getSnapshot(), { status: 'signed-out', signOut: { code: 'STORAGE_CLEARED' } })
      await tab.client.login({ email: 'd@example.com', password: 'x' })
      await eventually('the other tab follows the next login', () => other.client.getRole() === 'doctor')
    }
  })

  t.test('a tab whose token is in memory is signed out by it too', async (t) => {
    const { browser, tab } = await start(t, { storage: 'memory' })
    browser.values.set('userName', 'Somebody')
    wake(tab)
    t.equal(tab.client.getSnapshot().status, 'signed-in')
    browser.values.clear()
    t.equal(tab.client.getAccessToken(), null)
  })

  t.test('a record that is damaged', async (t) => {
    for (const record of ['{', '{}', 'null']) {
      const { browser } = await start(t)
      browser.values.set('sallyport', record)
      t.equal(browser.open().client.getSnapshot().status, 'signed-in')
    }
  })
})

t.test('where there are no channels, storage notifies the other tabs', async (t) => {
  const { browser, client } = await start(t)
  browser.BroadcastChannel = undefined
  const [one, two] = [browser.open(), browser.open()]
  client.stopTokenMonitoring()
  await one.client.refresh()
  await eventually('the other has it', () => two.events.length === 1)
  t.equal(two.client.getAccessToken(), one.client.getAccessToken())
  await one.client.logout()
  await eventually('the other is signed out', () => two.client.getSnapshot().status === 'signed-out')
  t.equal(two.client.getSnapshot().signOut?.code, 'LOGOUT')
})

t.test('a tab that missed the news of a refresh does not present its attempt again', async (t) => {
  const { browser, client } = await start(t, { storage: 'memory' })
  browser.BroadcastChannel = undefined
  const other = browser.open({ storage: 'memory' })
  await other.client.refresh()
  await client.refresh()
  const [first, second] = browser.requests('refresh').map(({ attempt }) => attempt)
  t.ok(first && second && first !== second)
})

t.test('a response to an older refresh never replaces what is newer', async (t) => {
  for (const locks of ['without locks', 'in one tab'])
    await t.test(locks, async (t) => {
      const { handlers, browser, client } = await start(t)
      browser.locks = undefined
      const late = locks === 'in one tab' ? client : browser.open().client
      const held: ServerResponse[] = []
      handlers.refresh = (response) => held.push(response)
      const refreshed = late.refresh()
      await eventually('the refresh is on its way', () => held.length === 1)
      handlers.login = signedIn(tokenOf({ sub: 'user-2' }))
      if (locks === 'in one tab') await client.logout()
      else await client.login({ email: 'e@example.com', password: 'x' })
      for (const response of held) signedIn(tokenOf({ sub: 'user-1' }))(response, response.req)
      await refreshed
      for (const one of [client, late])
        t.equal(one.getSnapshot().user?.id, locks === 'in one tab' ? undefined : 'user-2')
    })
})

t.test('a response is checked against storage, even if no event announced the change', async (t) => {
  const { handlers, browser, client } = await start(t)
  const held: ServerResponse[] = []
  handlers.refresh = (response) => held.push(response)
  const refreshed = client.refresh()
  await eventually('the refresh is on its way', () => held.length === 1)
  browser.values.clear()
  signedIn()(held[0] as ServerResponse, (held[0] as ServerResponse).req)
  await refreshed
  t.match(client.getSnapshot(), { status: 'signed-out', signOut: { code: 'STORAGE_CLEARED' } })
  t.equal(browser.values.size, 0)
})

t.test('a change that a tab was notified of is not reported again when it is found in storage', async (t) => {
  const { browser, tab } = await start(t)
  const other = browser.open()
  browser.storageEvents = false
  await tab.client.refresh()
  await eventually('it is notified', () => other.events.length === 1)
  const notified = other.client.getSnapshot()
  t.equal(other.client.getAccessToken(), tab.client.getAccessToken())
  t.equal(other.client.getSnapshot(), notified)
  t.equal(other.events.length, 1)
})

t.test('storage that lags behind reverts nothing', async (t) => {
  const { browser, client } = await start(t)
  const before = new Map(browser.values)
  await client.refresh()
  const token = client.getAccessToken()
  for (const [key, value] of before) browser.values.set(key, value)
  t.equal(client.getAccessToken(), token)
})

t.test('a logout that is due is dropped when somebody is signed in: it would end the wrong session', async (t) => {
  const { browser, tab } = await start(t)
  browser.values.set('sallyport.logout', 'due')
  wake(tab)
  await eventually('it is dropped', () => !browser.values.has('sallyport.logout'))
  t.strictSame(browser.requests('logout'), [])
})

t.test('a request that was rejected with an older token is sent again with the newest', async (t) => {
  const { handlers, browser, client } = await start(t)
  const held: ServerResponse[] = []
  handlers.thing = (response) => held.push(response)
  const response = client.fetch('/thing')
  await eventually('it is on its way', () => held.length === 1)
  await client.refresh()
  delete handlers.thing
  problem(401, 'SESSION_ENDED', { reason: 'logout' })(held[0] as ServerResponse, (held[0] as ServerResponse).req)
  t.match(await (await response).json(), { authorization: `Bearer ${client.getAccessToken()}` })
  t.equal(browser.requests('refresh').length, 1)
  t.equal(client.getSnapshot().status, 'signed-in')

  handlers.thing = problem(401, 'TOKEN_EXPIRED')
  handlers.refresh = problem(401, 'REFRESH_EXPIRED')
  t.equal((await client.fetch('/thing')).status, 401, 'the refusal itself, when the session turns out to be over')
  t.equal(client.getSnapshot().status, 'signed-out')
})

t.test(
  'a logout that the server cannot take now is tried again, and never from a tab that cannot get the lock',
  async (t) => {
    const { handlers, browser, client, tab } = await start(t)
    handlers.logout = problem(503, 'UNAVAILABLE', {}, { 'retry-after': '60' })
    await client.logout()
    wake(tab)
    t.equal(browser.requests('logout').length, 1, 'not before its time')
    browser.locks = { request: () => Promise.reject(new DOMException('no', 'SecurityError')) }
    const other = browser.open()
    handlers.logout = json(200, {})
    await other.client.login({ email: 'd@example.com', password: 'x' })
    t.equal(other.client.getRole(), 'doctor', 'while a login needs no lock')
    const before = browser.requests('logout').length
    await other.client.logout()
    t.equal(browser.requests('logout').length, before)
    tab.window.dispatchEvent(new Event('online'))
    await eventually('the first tab sees to it', () => browser.requests('logout').length > before)
  },
)

t.test('debug says what happens, and never a token or a part of one', async (t) => {
  const said: string[] = []
  const { handlers, client, browser } = await start(t, { debug: (event) => said.push(event) })
  const tokens = [client.getAccessToken() as string]
  await client.refresh()
  tokens.push(client.getAccessToken() as string, browser.cookie as string)
  handlers.refresh = page(502)
  await client.refresh().catch(() => {})
  await client.logout()
  t.strictSame(said, [
    'signed in',
    'refreshed',
    'refresh failed: ANSWER_INVALID',
    'signed out',
    'the server ended the session',
  ])
  const parts = tokens.flatMap((token) => token.split('.')).filter((part) => part.length > 4)
  t.ok(parts.every((part) => !said.join().includes(part)))

  const printed: unknown[] = []
  t.intercept(console, 'debug', { value: (line: unknown) => printed.push(line) })
  const loud = browser.open({ debug: true })
  await loud.client.login({ email: 'd@example.com', password: 'x' })
  t.strictSame(printed, ['[sallyport] signed in'])
})

t.test('a rejected login says how long to wait', async (t) => {
  const { handlers, client } = await start(t)
  handlers.login = problem(429, 'RATE_LIMITED', { detail: 'Too many' }, { 'retry-after': '12' })
  const login = client.login({ email: 'd@example.com', password: 'x' })
  await t.rejects(login, { code: 'RATE_LIMITED', status: 429, detail: 'Too many', retryAfter: 12_000 })
})

t.test("the surroundings are the page's own, and what is not there is done without", async (t) => {
  const bare = createAuthClient({ baseUrl: 'https://api.example.com/' })
  t.equal(bare.getSnapshot().status, 'signed-out')
  bare.startTokenMonitoring()
  bare.startTokenMonitoring()
  bare.stopTokenMonitoring()

  const values = new Map([
    ['accessToken', tokenOf()],
    ['role', 'doctor'],
  ])
  const page = {
    localStorage: { getItem: (key: string) => values.get(key) ?? null, setItem() {}, removeItem() {} },
    navigator: {},
  }
  t.teardown(() => Reflect.deleteProperty(globalThis, 'window'))
  Object.assign(globalThis, { window: Object.assign(new EventTarget(), page) })
  t.equal(createAuthClient({ baseUrl: 'https://api.example.com' }).getRole(), 'doctor')
  const blocked = Object.defineProperty(new EventTarget(), 'localStorage', {
    get() {
      throw new DOMException('blocked', 'SecurityError')
    },
  })
  Object.assign(globalThis, { window: blocked })
  t.equal(createAuthClient({ baseUrl: 'https://api.example.com' }).getRole(), null)

  const server = createServer((_request, response) => response.end('{}'))
  const baseUrl = await listen(t, server)
  const heard = once(server, 'request')
  t.equal((await createAuthClient({ baseUrl }).fetch('/x')).status, 200)
  await heard
})
