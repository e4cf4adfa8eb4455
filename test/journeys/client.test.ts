import { AuthError, readAccessToken } from '@sallyport/client'
import t, { type Test } from 'tap'
import { Browser, type Tab } from '../support/browser.ts'
import { Client, demoPassword, eventually, signIn, startSystem } from '../support/system.ts'

const doctor = { email: 'doctor@example.com', password: demoPassword }
const minutes = 60_000

/** Lets this machine's clock jump, as it does when it was asleep, or is simply wrong. */
function moveClock(t: Test, by: number): void {
  const now = Date.now
  t.intercept(Date, 'now', { value: () => now() + by })
}

/** Damages the signature of the access token, for all tabs. */
function spoil({ values }: Browser): void {
  const record = JSON.parse(values.get('sallyport') as string)
  const damaged = { ...record, version: record.version + 1, accessToken: `${record.accessToken}x` }
  values.set('sallyport', JSON.stringify(damaged))
}

const wake = ({ window }: Tab) => window.dispatchEvent(new Event('focus'))
const isSignedOut = ({ client }: Tab) => client.getSnapshot().status === 'signed-out'

t.test('the client, with the whole system', async (t) => {
  // Without a grace period, only the attempt id tells a retry from reuse.
  const { gateway } = await startSystem(t, { REFRESH_GRACE: '0' }, ['appointments'])

  const open = (t: Test) => {
    const browser = new Browser(gateway)
    t.teardown(() => browser.close())
    return browser
  }
  const openSignedIn = async (t: Test) => {
    const browser = open(t)
    const tab = browser.open()
    await tab.client.login(doctor)
    return { browser, tab }
  }

  t.test('a login says who it is, here and in the other tabs, and a logout ends it in all', async (t) => {
    const browser = open(t)
    const [tab, other] = [browser.open(), browser.open()]
    t.match(tab.client.getSnapshot(), { status: 'signed-out', user: null, role: null, roles: [], signOut: null })
    t.equal(tab.client.getAccessToken(), null)
    t.equal(tab.client.getRole(), null)

    await tab.client.login(doctor)
    const snapshot = tab.client.getSnapshot()
    t.match(snapshot, {
      status: 'signed-in',
      user: { email: 'doctor@example.com', name: 'Dora Doctor' },
      role: 'doctor',
      roles: ['doctor'],
      trouble: null,
      signOut: null,
    })
    t.equal(tab.client.getSnapshot(), snapshot, 'the same object until something changes')
    const claims = readAccessToken(tab.client.getAccessToken() as string)
    t.equal(claims?.sub, snapshot.user?.id)
    await eventually('the other tab knows', () => other.client.getRole() === 'doctor')
    t.equal(other.client.getAccessToken(), tab.client.getAccessToken())
    t.equal(browser.values.get('accessToken'), tab.client.getAccessToken())
    t.equal(browser.values.get('userName'), 'Dora Doctor')

    const { cookie } = browser
    const loggedOut = tab.client.logout()
    t.match(tab.client.getSnapshot(), { status: 'signed-out', signOut: { code: 'LOGOUT' } }, 'at once')
    t.notOk(browser.values.has('accessToken') || browser.values.has('role') || browser.values.has('userName'))
    await eventually('the other tab is signed out', () => isSignedOut(other))
    await loggedOut
    const copy = Object.assign(new Client(gateway), { cookie })
    t.match((await copy.refresh()).body, { code: 'SESSION_ENDED', reason: 'logout' })
    t.strictSame([tab.events, other.events], [[], []], 'nobody failed to refresh')
    await t.rejects(tab.client.refresh(), { code: 'SIGNED_OUT' })
  })

  t.test('a rejected login says why, and changes nothing', async (t) => {
    const { client } = open(t).open()
    const before = client.getSnapshot()
    const refusal = await client.login({ ...doctor, password: 'wrong' }).catch((error) => error)
    t.ok(refusal instanceof AuthError)
    t.match(refusal, { code: 'AUTH_INVALID_CREDENTIALS', status: 401, message: 'Wrong e-mail or password' })
    t.equal(client.getSnapshot(), before)
  })

  t.test('fetch brings the access token, and leaves 401s that it cannot fix alone', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    t.match(await (await tab.client.fetch('/api/whoami')).json(), { 'x-user-email': doctor.email })
    t.equal((await tab.client.fetch(new URL('/api/whoami', gateway))).status, 200)
    t.equal((await tab.client.fetch('/api/admin/users')).status, 403)
    const login = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(doctor) }
    t.equal(
      (await tab.client.fetch('/api/auth/login', { ...login, body: '{"email":"a@b","password":"c"}' })).status,
      401,
    )
    const own = await tab.client.fetch('/api/whoami', { headers: { authorization: 'Bearer of.my.own' } })
    t.equal(own.status, 401, "a token of the app's own is the app's own business")
    t.equal((await open(t).open().client.fetch('/api/whoami')).status, 401, 'nobody is signed in')
    t.equal(browser.requests('refresh').length, 0)
  })

  t.test('an invalid access token is replaced, and the request sent again', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const { client } = tab
    const create = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ patientId: client.getSnapshot().user?.id, startsAt: '2031-01-01T09:00:00Z', reason: 'x' }),
    }
    spoil(browser)
    t.equal((await client.fetch('/api/doctor/appointments', create)).status, 201, 'with its body')
    t.equal(browser.requests('refresh').length, 1)
    spoil(browser)
    const responses = await Promise.all(Array.from({ length: 5 }, () => client.fetch('/api/whoami')))
    t.ok(responses.every(({ status }) => status === 200))
    t.equal(browser.requests('refresh').length, 2, 'five requests, one refresh')
    spoil(browser)
    const request = new Request(`${gateway}/api/whoami`, { headers: { 'x-mine': 'kept' } })
    t.equal((await client.fetch(request)).status, 200, 'a Request without a body is made again too')
  })

  t.test('a body that is a stream is not sent twice, and the error says so', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const { client } = tab
    const streams = {
      'a ReadableStream': () => new Blob(['{"reason":"x"}']).stream(),
      'an async iterable': async function* () {
        yield Buffer.from('{"reason":"x"}')
      },
    }
    for (const [name, stream] of Object.entries(streams)) {
      spoil(browser)
      const init = { method: 'POST', body: stream(), duplex: 'half' } as RequestInit
      await t.rejects(
        client.fetch('/api/doctor/appointments', init),
        { code: 'BODY_NOT_REPEATABLE', status: 401 },
        name,
      )
    }
    spoil(browser)
    const request = new Request(`${gateway}/api/doctor/appointments`, { method: 'POST', body: '{"reason":"x"}' })
    await t.rejects(client.fetch(request), { code: 'BODY_NOT_REPEATABLE' }, 'the body of a Request')
    t.equal((await client.fetch('/api/whoami')).status, 200, 'the token is good now')
  })

  t.test('roles that an admin changed arrive with the next request, without a sign-out', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const admin = await signIn(gateway, 'admin@example.com')
    const path = `/api/admin/users/${tab.client.getSnapshot().user?.id}`
    t.teardown(() => admin.call('PATCH', path, { body: { roles: ['doctor'] } }))
    await admin.call('PATCH', path, { body: { roles: ['patient', 'doctor'] } })
    await eventually('the page follows', async () => {
      t.equal((await tab.client.fetch('/api/whoami')).status, 200)
      return tab.client.getSnapshot().role === 'patient'
    })
    t.strictSame(tab.client.getSnapshot().roles, ['patient', 'doctor'])
    t.equal(browser.values.get('role'), 'patient')
    t.match(tab.events, [{ type: 'tokenRefreshed', detail: { role: 'patient', roles: ['patient', 'doctor'] } }])
  })

  t.test('a session that was ended elsewhere is over in every tab at the next request, with the reason', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const other = browser.open()
    await signIn(gateway).then((phone) => phone.call('POST', '/api/auth/logout-all'))
    await eventually('the next request is rejected', async () => (await tab.client.fetch('/api/whoami')).status === 401)
    const signOut = { code: 'SESSION_ENDED', reason: 'logout_all' }
    t.match(tab.client.getSnapshot(), { status: 'signed-out', signOut })
    await eventually('the other tab is notified', () => isSignedOut(other))
    t.match(other.client.getSnapshot(), { signOut })
    t.strictSame(other.events, [{ type: 'tokenRefreshFailed', detail: signOut }])
    t.match(browser.open().client.getSnapshot(), { status: 'signed-out', signOut }, 'also after a reload')
  })

  t.test('a missing token with a known role is restored', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const before = tab.client.getAccessToken()
    browser.values.delete('accessToken')
    await eventually('a second passes', () => tab.events.length > 0)
    const after = tab.client.getAccessToken()
    t.ok(after && after !== before)
    t.match(tab.client.getSnapshot(), { status: 'signed-in', user: { name: 'Dora Doctor' } })
    t.match(tab.events, [{ type: 'tokenRefreshed', detail: { role: 'doctor', roles: ['doctor'] } }])
    t.notMatch(JSON.stringify(tab.events), after, 'events hold no token')
  })

  t.test(
    'with the token in memory it is in no storage, other tabs get it, and a reload fetches a new one',
    async (t) => {
      const browser = open(t)
      const memory = { storage: 'memory' } as const
      const [tab, other] = [browser.open(memory), browser.open(memory)]
      await tab.client.login(doctor)
      await eventually('the other tab has it', () => other.client.getAccessToken() === tab.client.getAccessToken())
      t.notMatch([...browser.values.values()].join(), tab.client.getAccessToken() as string)
      t.equal(browser.requests('refresh').length, 0)
      tab.close()
      other.close()

      const reloaded = browser.open(memory)
      t.match(reloaded.client.getSnapshot(), { status: 'loading', role: 'doctor', user: { name: 'Dora Doctor' } })
      t.match(await reloaded.client.getFreshAccessToken(), /^ey/)
      t.equal(reloaded.client.getSnapshot().status, 'signed-in')
      t.equal(browser.requests('refresh').length, 1)
    },
  )

  t.test('ten tabs that wake up at once refresh once', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const tabs = [tab, ...Array.from({ length: 9 }, () => browser.open())]
    for (const cycle of [1, 2]) {
      moveClock(t, 15 * minutes)
      tabs.map(wake)
      await eventually('all have a new token', () => tabs.every(({ events }) => events.length === cycle))
      t.equal(new Set(tabs.map(({ client }) => client.getAccessToken())).size, 1)
      t.equal(browser.requests('refresh').length, cycle)
    }
  })

  t.test('a clock that is ten minutes off changes nothing', async (t) => {
    for (const by of [10 * minutes, -10 * minutes])
      await t.test(`${by} ms`, async (t) => {
        moveClock(t, by)
        const { browser, tab } = await openSignedIn(t)
        const { expiresAt, refreshAt } = tab.client.getSnapshot() as { expiresAt: number; refreshAt: number }
        const life = (expiresAt - Date.now()) / minutes
        t.ok(life > 14 && life <= 15, `it expires in ${life} minutes of this clock`)
        t.ok(expiresAt - refreshAt >= 90_000 && expiresAt - refreshAt <= 120_000)
        t.equal((await browser.open().client.fetch('/api/whoami')).status, 200)
        t.equal(browser.requests('refresh').length, 0)
      })
  })

  t.test(
    'after a lost response the refresh is sent again with the same attempt, and is not taken for reuse',
    async (t) => {
      const { browser, tab } = await openSignedIn(t)
      browser.network = async (deliver, { path }) => {
        const response = await deliver()
        if (path.endsWith('/refresh')) throw new TypeError('the response was lost')
        return response
      }
      await t.rejects(tab.client.refresh(), { code: 'NETWORK', status: 0 })
      t.match(tab.client.getSnapshot(), { status: 'signed-in', trouble: { code: 'NETWORK', failures: 0 } })
      await t.rejects(tab.client.refresh(), { code: 'NETWORK' }, 'it is too early to try again')
      browser.network = (deliver) => deliver()
      const reloaded = browser.open()
      await reloaded.client.refresh()
      const attempts = browser.requests('refresh').map(({ attempt }) => attempt)
      t.equal(attempts.length, 2)
      t.equal(attempts[0], attempts[1])
      await eventually('the first tab is well again', () => tab.client.getSnapshot().trouble === null)
      await tab.client.refresh()
      t.not(browser.requests('refresh').at(-1)?.attempt, attempts[0], 'an attempt that got its response is over')
    },
  )

  t.test('a copy of the cookie in other hands ends the session, and the app is notified', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    await Object.assign(new Client(gateway), { cookie: browser.cookie }).refresh()
    await tab.client.refresh()
    t.match(tab.client.getSnapshot(), { status: 'signed-out', signOut: { code: 'REFRESH_REUSED' } })
    t.match(tab.events, [{ type: 'tokenRefreshFailed', detail: { code: 'REFRESH_REUSED' } }])
  })

  t.test('a logout without a network is sent later', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const copy = Object.assign(new Client(gateway), {
      cookie: browser.cookie,
      accessToken: tab.client.getAccessToken(),
    })
    browser.network = async () => {
      throw new TypeError('offline')
    }
    await tab.client.logout()
    t.ok(isSignedOut(tab))
    t.equal((await copy.call('GET', '/api/whoami')).status, 200, 'the server knows nothing of it')
    tab.close()

    browser.network = (deliver) => deliver()
    const reloaded = browser.open()
    await eventually('the server was notified', async () => (await copy.call('GET', '/api/whoami')).status === 401)
    t.equal(reloaded.client.getSnapshot().signOut?.code, 'LOGOUT')
    const before = browser.requests('logout').length
    wake(reloaded)
    t.equal(browser.requests('logout').length, before, 'once is enough')
  })

  t.test('a logout that is still due ends the old session, and never the next one', async (t) => {
    const { browser, tab } = await openSignedIn(t)
    const old = Object.assign(new Client(gateway), { accessToken: tab.client.getAccessToken() })
    browser.network = async () => {
      throw new TypeError('offline')
    }
    await tab.client.logout()
    browser.network = (deliver) => deliver()
    await tab.client.login(doctor)
    await eventually('the old session is over', async () => (await old.call('GET', '/api/whoami')).status === 401)
    const other = browser.open()
    tab.window.dispatchEvent(new Event('online'))
    wake(other)
    await tab.client.refresh()
    t.equal((await tab.client.fetch('/api/whoami')).status, 200)
    t.notOk(isSignedOut(other))
  })
})
