/// <reference lib="dom" />
import { endProcesses, startProcess } from '@sallyport/local'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { nextToken, startWebApp, tokenOf, withoutBrowser } from '../support/chromium.ts'
import { globalFaults, pageFaults } from '../support/surroundings.ts'
import { claimsOf, eventually, signIn } from '../support/system.ts'

const minutes = 60_000

// Most of it is waiting for tokens to age; a slow machine needs longer than a file of tests usually may.
t.setTimeout(5 * minutes)

t.test('staying signed in, in a real browser', { skip: withoutBrowser }, async (t) => {
  // Access tokens hold so short (5 seconds, or 4 by chance) that a few seconds are hours of use.
  const { system, network, newUser, open } = await startWebApp(t, { JWT_EXPIRES_IN: '5s', REFRESH_GRACE: '0' })
  /** A refresh is due at 73 % of a token's life at the earliest; in milliseconds. */
  const shortestUse = 0.73 * 4_000
  const { gateway, sql } = system
  const asAdmin = async (t: Test, method: string, path: string, body?: object) => {
    const admin = await signIn(gateway, 'admin@example.com')
    t.equal((await admin.call(method, path, { body })).status, 200)
  }
  const openSignedIn = async (options = {}) => {
    const [email, visitor] = [await newUser(), await open(options)]
    await visitor.signIn(email)
    return { email, ...visitor }
  }
  const generationOf = async (token: string | null) => {
    const { rows } = await sql('SELECT generation FROM auth.sessions WHERE id = $1', [claimsOf(token as string).sid])
    return rows[0].generation as number
  }
  /**
   * Lets a page refresh so often at least, and asserts that no refresh came before it was due. How often it did is not
   * known beforehand: a late look finds that two have passed.
   */
  async function refreshSteadily(t: Test, page: Page, refreshes: () => number, times: number): Promise<void> {
    let token = await nextToken(page, await tokenOf(page))
    const [began, before, generation] = [Date.now(), refreshes(), await generationOf(token)]
    for (let time = 0; time < times; time++) token = await nextToken(page, token)
    const [took, asked] = [Date.now() - began, refreshes() - before]
    t.ok(asked >= times)
    t.ok(took > (asked - 1) * shortestUse, `each token was used as long as it holds (${asked} in ${took} ms)`)
    await eventually(
      'each of them was a rotation',
      async () => (await generationOf(token)) - generation === refreshes() - before,
    )
  }

  await t.test('while everything runs', async (t) => {
    // Much of the time is waiting for tokens to age, which all do at once. Each test has users of its own.
    t.jobs = 2

    t.test('signing in and out, and a reload between', async (t) => {
      const { page, context, visit, signIn, close } = await open()
      const email = await newUser()
      await visit('/sessions')
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      await page.getByLabel('E-mail').fill(email)
      await page.getByLabel('Password', { exact: true }).fill('wrong')
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
      t.match(await page.getByRole('alert').textContent(), /do not go together/)
      t.equal(await page.getByLabel('E-mail').inputValue(), email, 'what was typed is there still')
      await page.getByLabel('Password', { exact: true }).fill('correct-horse-battery-staple')
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
      await page.getByText('this device').waitFor()
      t.match(page.url(), /\/sessions$/, 'the page that was asked for first')

      await page.reload()
      await page.getByText('this device').waitFor()
      const other = await context.newPage()
      await other.goto('/')
      await other.getByRole('button', { name: 'Sign out' }).click()
      for (const each of [other, page]) await each.getByRole('heading', { name: 'Sign in' }).waitFor()
      t.equal(await tokenOf(page), null)
      const names = async () => (await context.cookies()).map(({ name }) => name)
      await eventually('the refresh cookie is gone', async () => (await names()).join() === 'device')
      await signIn(email)
      await close()
    })

    t.test('a refresh in the middle of filling in a form is not noticed', async (t) => {
      const { page, visit, close } = await openSignedIn()
      await visit('/appointments?new')
      await page.getByLabel('Reason').fill('half a sen')
      let token = await tokenOf(page)
      for (let cycle = 0; cycle < 2; cycle++) token = await nextToken(page, token)
      await page.keyboard.type('tence')
      t.equal(await page.getByLabel('Reason').inputValue(), 'half a sentence', 'the focus stayed where it was')
      await page.getByRole('button', { name: 'Make appointment' }).click()
      await page.getByText('half a sentence').first().waitFor()
      await close()
    })

    t.test('ten tabs, five times: one refresh each time, and nobody is signed out', async (t) => {
      const { page, context, refreshes, visit, close } = await openSignedIn()
      const tabs = [page, ...(await Promise.all(Array.from({ length: 9 }, () => context.newPage())))]
      await Promise.all(tabs.map((tab) => visit('/token', tab)))
      await Promise.all(tabs.map((tab) => tab.getByRole('timer').waitFor()))

      await refreshSteadily(t, page, refreshes, 5)

      await eventually('all have the last one', async () => {
        const shown = await Promise.all(tabs.map((tab) => tab.locator('.claims dd').nth(5).textContent()))
        return new Set([claimsOf((await tokenOf(page)) as string).jti, ...shown]).size === 1
      })
      await close()
    })

    t.test('offline longer than the token holds, and back', async (t) => {
      const { page, context, close } = await openSignedIn()
      await context.setOffline(true)
      await page.getByText('cannot be reached').waitFor()
      const token = await tokenOf(page)
      t.ok(await page.getByRole('navigation').isVisible(), 'still signed in')
      await context.setOffline(false)
      await nextToken(page, token)
      await page.getByText('cannot be reached').waitFor({ state: 'detached' })
      await page.getByRole('link', { name: 'Sessions' }).click()
      await page.getByText('this device').waitFor()
      await close()
    })

    t.test('the response to a refresh is lost: the retry gets the same one', async (t) => {
      const { page, context, close } = await openSignedIn()
      const token = await tokenOf(page)
      const before = await generationOf(token)
      const [cookie] = await context.cookies()
      network.loseResponseTo('POST /api/auth/refresh', cookie?.value as string)
      const next = await nextToken(page, token)
      t.equal(network.lost, 1)
      // The row may be further on by now: what the log says of the second try is not.
      const { sid } = claimsOf(next as string)
      const secondTry = () =>
        system.log.find((line) => line.includes('"refresh_repeated"') && line.includes(`"${sid}"`))
      await eventually('the log has the second try', () => secondTry() !== undefined)
      const { generation } = JSON.parse(secondTry() as string)
      t.equal(generation - before, 1, 'the server had done it, and knew the second try')
      await page.getByRole('link', { name: 'Sessions' }).click()
      await page.getByText('this device').waitFor()
      await close()
    })

    for (const [words, clockOff] of [
      ['ten minutes fast', 10 * minutes],
      ['ten minutes slow', -10 * minutes],
    ] as const)
      t.test(`on a machine whose clock is ${words}, tokens are refreshed in time and not more often`, async (t) => {
        const { page, refreshes, visit, close } = await openSignedIn({ clockOff })
        await visit('/token')
        await refreshSteadily(t, page, refreshes, 2)
        t.match(await page.getByRole('timer').textContent(), /^0:0\d$/, 'the countdown is right')
        await close()
      })

    const faults = { ...pageFaults, ...globalFaults }
    const pairs = [
      ['storage that throws when it is looked at', 'no locks'],
      ['storage that is full', 'channels that carry nothing'],
      ['storage that throws when it is read', 'a first refresh that fails'],
      ['locks that are stolen', 'a first refresh that hangs'],
      ['no crypto', 'a clock 5 h ahead, then corrected'],
      ['no channels', 'a clock that jumps'],
    ]
    t.test('whatever is missing, full, wrong or throws around the page, it works', async (t) => {
      t.jobs = 2
      const email = await newUser()
      for (const names of [...Object.keys(faults).map((name) => [name]), ...pairs])
        t.test(names.join(' and '), async (t) => {
          const scripts = names.map((name) => `(${faults[name]})(globalThis)`)
          const { page, signIn, complaints, refreshes, close } = await open({ scripts })
          await signIn(email)
          await page.evaluate(() => 'clockOff' in globalThis && Object.assign(globalThis, { clockOff: 0 }))
          const before = refreshes()
          await page.getByRole('link', { name: 'Token' }).click()
          // One that fails is made again by itself.
          await page.getByRole('button', { name: 'Refresh now' }).click()
          await page.getByText('Refreshes since this page opened').waitFor()
          await page.getByRole('link', { name: 'Sessions' }).click()
          await page.getByText('this device').waitFor()
          t.ok(refreshes() > before, 'there was a refresh')
          await page.getByRole('button', { name: 'Sign out', exact: true }).click()
          await page.getByRole('heading', { name: 'Sign in' }).waitFor()
          t.strictSame(complaints, [])
          await close()
        })
    })

    t.test('signed out from another device: at the next request, with the reason', async (t) => {
      const { email, page, close } = await openSignedIn()
      const phone = await signIn(gateway, email)
      const sid = claimsOf((await tokenOf(page)) as string).sid as string
      // The gateway ends the page's WebSocket, and the page asks why.
      const refused = page.waitForResponse((response) => response.status() === 401)
      t.equal((await phone.call('DELETE', `/api/auth/sessions/${sid}`)).status, 200)
      await refused
      const began = Date.now()
      t.match(await page.getByRole('alert').textContent(), 'signed out from another device')
      t.ok(Date.now() - began < 2_000)
      t.match(page.url(), /\/login$/)
      await close()
    })

    t.test('an admin ends the sessions, or disables the account: signed out, with the reason', async (t) => {
      const { email, page, signIn: signInAgain, close } = await openSignedIn()
      const user = `/api/admin/users/${claimsOf((await tokenOf(page)) as string).sub}`
      await asAdmin(t, 'DELETE', `${user}/sessions`)
      await page.getByText('An administrator ended your sessions.').waitFor()
      await signInAgain(email)
      await asAdmin(t, 'PATCH', user, { disabled: true })
      await page.getByText('This account was disabled by an administrator.').waitFor()
      await close()
    })

    t.test('new roles: the page follows, without a sign-out', async (t) => {
      const { page, visit, close } = await openSignedIn()
      const user = `/api/admin/users/${claimsOf((await tokenOf(page)) as string).sub}`
      t.equal(await page.getByRole('link', { name: 'Users' }).count(), 0)
      await asAdmin(t, 'PATCH', user, { roles: ['doctor', 'admin'] })
      await page.getByRole('link', { name: 'Users' }).click()
      await page.getByText('patient@example.com').waitFor()
      await asAdmin(t, 'PATCH', user, { roles: ['doctor'] })
      await page.getByText('This page is for others').waitFor()
      t.equal(await page.getByRole('link', { name: 'Users' }).count(), 0)
      await visit('/sessions')
      await page.getByText('this device').waitFor()
      await close()
    })

    t.test('signing out everywhere ends this device and the others', async (t) => {
      const [one, other] = [await openSignedIn(), await open()]
      await other.signIn(one.email)
      await one.visit('/sessions')
      const devices = one.page.getByRole('button', { name: /^Sign out Chrom/ })
      await devices.nth(1).waitFor()
      t.equal(await devices.count(), 2)
      await one.page.getByRole('button', { name: 'Sign out everywhere' }).click()
      await one.page.getByRole('dialog').getByRole('button', { name: 'Sign out everywhere' }).click()
      await one.page.getByRole('heading', { name: 'Sign in' }).waitFor()
      await other.page.getByText('You signed out everywhere.').waitFor()
      await eventually('the server ended them', async () => {
        const { rows } = await sql("SELECT FROM auth.sessions WHERE revoked_reason = 'logout_all'")
        return rows.length >= 2
      })
      await Promise.all([one.close(), other.close()])
    })
  })

  await t.test('what a browser sends takes the fast path', async (t) => {
    const { page, visit, close } = await openSignedIn()
    const { managementPort } = system.processes.gateway
    const countRequests = async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${managementPort}/metrics`)).text()
      return ['fast_path', 'node'].map((reader) =>
        Number(new RegExp(`^sallyport_http1_requests_total\\{reader="${reader}"\\} (\\d+)$`, 'm').exec(metrics)?.[1]),
      ) as [number, number]
    }
    do {
      await visit('/sessions')
      await page.getByText('this device').waitFor()
    } while (!((await countRequests())[0] > 100))
    await close()
    const [fast, node] = await countRequests()
    t.ok(fast / (fast + node) >= 0.99, `${node} of ${fast + node} did not`)
  })

  t.test('the gateway goes down and comes back: a notice, and everything goes on', async (t) => {
    const { page, close } = await openSignedIn()
    const token = await tokenOf(page)
    await endProcesses([system.processes.gateway])
    await page.getByText('cannot be reached').waitFor()
    await page.getByText('Connecting again').waitFor()
    t.ok(await page.getByRole('navigation').isVisible(), 'still signed in')
    system.processes.gateway = await startProcess(
      'gateway',
      {
        ...system.environment,
        GATEWAY_PORT: new URL(gateway).port,
        MANAGEMENT_PORT: '0',
        JWKS_URL: `${system.environment.AUTH_URL}/.well-known/jwks.json`,
        REVOCATIONS_URL: `${system.environment.AUTH_URL}/internal/revocations`,
      },
      (line) => system.log.push(line),
    )
    await nextToken(page, token)
    await page.getByText('cannot be reached').waitFor({ state: 'detached' })
    await page.getByText('Live', { exact: true }).waitFor()
    await close()
  })
})
