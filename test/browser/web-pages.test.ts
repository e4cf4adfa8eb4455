/// <reference lib="dom" />
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import t from 'tap'
import { startWebApp, tokenOf, withoutBrowser } from '../support/chromium.ts'
import { claimsOf, demoPassword, eventually, signIn } from '../support/system.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

/** Every page of the app, which role sees it, and how a test knows that it is there. */
const pages: { path: string; as?: string; shows: (page: Page) => Promise<unknown> }[] = [
  { path: '/login', shows: (page) => page.getByLabel('E-mail').waitFor() },
  { path: '/register', shows: (page) => page.getByLabel('E-mail').waitFor() },
  { path: '/forgot-password', shows: (page) => page.getByLabel('E-mail').waitFor() },
  { path: '/reset-password', shows: (page) => page.getByText('Open the link once more').waitFor() },
  { path: '/account', as: 'doctor', shows: (page) => page.getByLabel('New e-mail').waitFor() },
  { path: '/', as: 'doctor', shows: (page) => page.getByText('Pat Patient').first().waitFor() },
  { path: '/appointments', as: 'doctor', shows: (page) => page.getByText('Pat Patient').first().waitFor() },
  { path: '/appointments?new', as: 'doctor', shows: (page) => page.getByRole('dialog').waitFor() },
  { path: '/sessions', as: 'doctor', shows: (page) => page.getByText('this device').waitFor() },
  { path: '/token', as: 'doctor', shows: (page) => page.getByRole('timer').waitFor() },
  { path: '/users', as: 'doctor', shows: (page) => page.getByText('This page is for others').waitFor() },
  { path: '/nowhere', as: 'doctor', shows: (page) => page.getByText('There is nothing here').waitFor() },
  { path: '/', as: 'patient', shows: (page) => page.getByText('Dora Doctor').first().waitFor() },
  { path: '/appointments', as: 'patient', shows: (page) => page.getByText('Dora Doctor').first().waitFor() },
  { path: '/appointments', as: 'admin', shows: (page) => page.getByText('with Dora Doctor').first().waitFor() },
  { path: '/users', as: 'admin', shows: (page) => page.getByText('patient@example.com').waitFor() },
]

const themeOf = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)

/** What axe has against a page, as far as it is serious. */
async function faultsOf(page: Page): Promise<string[]> {
  const { passes, violations } = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  )
  if (passes.length < 10) throw new Error('axe did not look at the page')
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

/** The times of a page that take more than one line. */
const brokenTimesOf = (page: Page) =>
  page.evaluate(() => {
    const linesOf = (element: Element) => {
      const range = document.createRange()
      range.selectNodeContents(element)
      return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size
    }
    return [...document.querySelectorAll('time')].filter((time) => linesOf(time) > 1).map((time) => time.outerHTML)
  })

/** The name of the signed-in user as it stands around a page, and whether it is visible there. */
const userOn = (page: Page) =>
  page.evaluate(() => {
    const name = document.querySelector('.account strong') as Element
    const { left, right, top, width, height } = name.getBoundingClientRect()
    const isThere = width > 40 && height > 10 && left >= 0 && right <= innerWidth
    const isSeen = isThere && name.contains(document.elementFromPoint(left + width / 2, top + height / 2))
    return { names: document.querySelector('.account')?.textContent ?? '', isSeen }
  })

t.test('the pages of the web app, in a real browser', { skip: withoutBrowser }, async (t) => {
  const { system, network, newUser, open } = await startWebApp(t, {}, true)
  const { gateway } = system

  t.test(
    'every page: for everybody (axe finds nothing), light and dark, on a phone, and without a token',
    async (t) => {
      // The widest of common times: 10:30 AM.
      const { page, context, complaints, visit, signIn, close } = await open({ scripts: [axe], locale: 'en-US' })
      await page.emulateMedia({ reducedMotion: 'reduce' })
      let whose: string | undefined
      for (const { path, as, shows } of pages) {
        if (as !== whose) {
          await context.clearCookies()
          await page.evaluate(() => localStorage.clear())
          if (as) await signIn(`${as}@example.com`)
          whose = as
        }
        await visit(path)
        await shows(page)
        await t.test(`${path} ${as ?? ''}`, async (t) => {
          for (const theme of ['light', 'dark'] as const) {
            await page.emulateMedia({ colorScheme: theme })
            await eventually(`the page is ${theme}`, async () => (await themeOf(page)) === theme)
            t.strictSame(await faultsOf(page), [], theme)
          }
          t.equal(await page.locator('h1').count(), 1, 'one heading says what it is')
          t.strictSame(await brokenTimesOf(page), [], 'a time is on one line')
          await page.setViewportSize({ width: 375, height: 700 })
          t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 375, 'no wider than a phone')
          t.strictSame(await brokenTimesOf(page), [], 'a time is on one line, on a phone too')
          // A dialog is over everything.
          if (as && !path.endsWith('?new')) {
            const { names, isSeen } = await userOn(page)
            t.match(names, new RegExp(as, 'i'), 'who is signed in')
            t.ok(isSeen, 'can be seen')
          }
          t.strictSame(await faultsOf(page), [], 'on a phone')
          await page.setViewportSize({ width: 1280, height: 720 })

          const html = await page.content()
          const token = await tokenOf(page)
          t.equal(token === null, as === undefined)
          for (const part of token?.split('.') ?? []) t.notOk(html.includes(part), 'no part of the access token')
          t.notMatch(html, /<[^>]+\son\w+=/i, 'no inline handler')
          t.notMatch(html, /<script(?![^>]+src=)|<style|<[^>]+\sstyle=/i, 'no inline script or style')
        })
      }
      t.strictSame(complaints, [], 'the browser had nothing to refuse')
      await close()
    },
  )

  t.test('markup and scripts that get into the page do nothing', async (t) => {
    const { page, complaints, visit, close } = await open()
    await visit('/login')
    await page.getByLabel('E-mail').waitFor()
    const attempts = await page.evaluate(() => {
      const attempt = (act: () => void) => {
        try {
          act()
          return 'done'
        } catch (error) {
          return (error as Error).name
        }
      }
      const inline = document.createElement('script')
      const foreign = Object.assign(document.createElement('img'), { src: 'https://evil.test/?stolen' })
      document.body.append(foreign)
      return [
        attempt(() => {
          document.body.innerHTML += '<img src=x onerror="document.title = 1">'
        }),
        attempt(() => {
          inline.textContent = 'document.title = 2'
        }),
        attempt(() => document.body.setAttribute('onclick', 'document.title = 3')),
      ]
    })
    t.strictSame(attempts, ['TypeError', 'TypeError', 'TypeError'])
    await eventually('the browser refused to ask another server', () =>
      complaints.some((complaint) => complaint.includes('https://evil.test')),
    )
    t.equal(await page.title(), 'Sign in · Sallyport')
    await close()
  })

  t.test('over plain http, under a name of the local network, everything works', async (t) => {
    const address = `http://box.lan:${new URL(network.address).port}`
    const { page, signIn, complaints, close } = await open({ address })
    await signIn()
    t.equal(new URL(page.url()).origin, address)
    const powers = await page.evaluate(() => [isSecureContext, 'locks' in navigator, 'randomUUID' in crypto])
    t.strictSame(powers, [false, false, false], 'browsers give little to such a page')
    await page.getByText('Live', { exact: true }).waitFor()
    await page.getByRole('link', { name: 'Token' }).click()
    await page.getByRole('button', { name: 'Refresh now' }).click()
    await page.getByText('Refreshes since this page opened').waitFor()
    await page.evaluate(() => localStorage.removeItem('accessToken'))
    await page.reload()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    t.strictSame(complaints, [])
    await close()
  })

  t.test('where cookies and storage are blocked, a user is signed in until the page is closed', async (t) => {
    const { page, signIn, complaints, close } = await open({ blocksCookies: true })
    await signIn()
    const look = () => page.evaluate(() => localStorage.length).catch(({ message }: Error) => message)
    t.match(await look(), /SecurityError/, 'it is blocked')
    await page.getByText('Pat Patient').first().waitFor()
    await page.getByRole('button', { name: 'Use dark colours' }).click()
    await page.getByRole('link', { name: 'Sessions' }).click()
    await page.getByText('this device').waitFor()
    await page.getByRole('button', { name: 'Sign out', exact: true }).click()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await signIn('patient@example.com')
    await page.reload()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    t.strictSame(complaints, [])
    await close()
  })

  t.test('signing in and looking around with nothing but a keyboard', async (t) => {
    const { page, visit, close } = await open()
    const { keyboard } = page
    const focused = () => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.localName)
    const tabTo = async (name: string) => {
      for (let presses = 0; (await focused()) !== name; presses++) {
        if (presses > 30) throw new Error(`no way to ${name}`)
        await keyboard.press('Tab')
      }
    }
    await visit('/login')
    await page.getByLabel('E-mail').waitFor()
    await keyboard.type('doctor@example.com')
    await keyboard.press('Tab')
    await keyboard.type(demoPassword)
    await keyboard.press('Enter')
    await page.getByRole('navigation').waitFor()
    const focusedId = () => page.evaluate(() => document.activeElement?.id)
    t.equal(await focusedId(), 'main', 'after signing in the page is read')
    await page.reload()
    await page.getByRole('navigation').waitFor()

    await keyboard.press('Tab')
    t.equal(await focused(), 'Skip to the content')
    await tabTo('Appointments')
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle)
    t.equal(ring, 'solid', 'where one is can be seen')
    await keyboard.press('Enter')
    await page.getByText('Yearly check-up').waitFor()
    t.equal(await focusedId(), 'main', 'the new page is read')
    await tabTo('New appointment')
    await keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    t.equal(await focused(), 'New appointment', 'the focus is back where it was')
    await close()
  })

  t.test('a doctor makes and changes an appointment; the patient sees it happen', async (t) => {
    const [doctor, patient] = [await open(), await open()]
    await Promise.all([doctor.signIn(), patient.signIn('patient@example.com')])
    await patient.page.getByText('Live', { exact: true }).waitFor()
    await doctor.page.getByRole('link', { name: 'Appointments' }).click()
    await doctor.page.getByRole('button', { name: 'New appointment' }).click()
    const dialog = doctor.page.getByRole('dialog')
    await dialog.getByLabel('Patient').selectOption('Pat Patient')
    await dialog.getByLabel('Date and time').fill('2031-05-06T10:30')
    const reason = '<img src=x onerror="document.title=1"> knee'
    await dialog.getByLabel('Reason').fill(reason)
    await dialog.getByRole('button', { name: 'Make appointment' }).click()
    await dialog.waitFor({ state: 'detached' })
    const row = doctor.page.getByRole('listitem').filter({ hasText: reason })
    t.match(await row.textContent(), /10:30.*Pat Patient.*Scheduled/)

    const changes = patient.page.getByRole('list', { name: 'Changes, the newest first' })
    await changes.getByText(reason).waitFor()
    t.match(await changes.textContent(), 'New, for 6 May 2031')
    await row.getByRole('button', { name: 'Change' }).click()
    await dialog.getByLabel('Reason').fill('Knee')
    await dialog.getByLabel('Status').selectOption('Cancelled')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await row.waitFor({ state: 'detached' })
    await doctor.page.getByText('Past and cancelled').click()
    await doctor.page.getByRole('listitem').filter({ hasText: 'Knee' }).waitFor()
    await changes.getByText('Cancelled, 6 May 2031').waitFor()
    t.strictSame([...doctor.complaints, ...patient.complaints], [])
    await Promise.all([doctor.close(), patient.close()])
  })

  t.test('an admin finds a user, gives a role, ends sessions, disables and enables', async (t) => {
    const admin = await open()
    const patient = await signIn(gateway, 'patient@example.com')
    await admin.signIn('admin@example.com')
    const { page } = admin
    await page.getByRole('link', { name: 'Users' }).click()
    await page.getByLabel('Search by e-mail').fill('patient@')
    await page.getByText('doctor@example.com').waitFor({ state: 'detached' })
    const actions = page.getByRole('group', { name: 'Pat Patient' })
    const dialog = page.getByRole('dialog')

    await actions.getByRole('button', { name: 'Roles' }).click()
    await dialog.getByLabel('doctor').check()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await page.getByText('has new roles').waitFor()
    t.match((await patient.refresh()).body, { roles: ['patient', 'doctor'] })

    await actions.getByRole('button', { name: 'End sessions' }).click()
    await dialog.getByRole('button', { name: 'End sessions' }).click()
    await page.getByText('Every session of Pat Patient has ended').waitFor()
    t.match((await patient.refresh()).body, { code: 'SESSION_ENDED', reason: 'revoked_by_admin' })

    await actions.getByRole('button', { name: 'Disable' }).click()
    await dialog.getByRole('button', { name: 'Disable' }).click()
    await actions.getByRole('button', { name: 'Enable' }).waitFor()
    t.equal((await patient.login('patient@example.com')).status, 401)
    await actions.getByRole('button', { name: 'Enable' }).click()
    await dialog.getByRole('button', { name: 'Enable' }).click()
    await actions.getByRole('button', { name: 'Disable' }).waitFor()
    t.equal((await patient.login('patient@example.com')).status, 200)

    await page.getByLabel('Search by e-mail').fill('admin@')
    const own = page.getByRole('group', { name: 'Ada Admin' })
    await own.getByRole('button', { name: 'Disable' }).click()
    await dialog.getByRole('button', { name: 'Disable' }).click()
    t.match(await dialog.getByRole('alert').textContent(), 'This is the last admin')
    await admin.close()
  })

  t.test('own sessions: another device is signed out, and a new password ends the others', async (t) => {
    const [email, here] = [await newUser(), await open()]
    await here.signIn(email)
    const { page } = here
    const phone = await signIn(gateway, email)
    await here.visit('/sessions')
    await page.getByRole('listitem').filter({ hasNotText: 'Chrom' }).getByRole('button', { name: 'Sign out' }).click()
    await eventually('the phone is signed out', async () => (await phone.call('GET', '/api/whoami')).status === 401)

    const other = await signIn(gateway, email)
    await here.visit('/account')
    await page.getByRole('button', { name: 'Change password' }).click()
    const dialog = page.getByRole('dialog')
    const fill = async (current: string, next: string) => {
      await dialog.getByLabel('Current password').fill(current)
      await dialog.getByLabel('New password').fill(next)
      await dialog.getByRole('button', { name: 'Change password' }).click()
    }
    await fill('wrong', 'a new one of four words')
    await dialog.getByText('The current password is not right').waitFor()
    await fill(demoPassword, '🦊🪐🧵🥁🛶🌵🧊🎲')
    t.equal(
      await dialog.getByLabel('New password').evaluate((input) => input.matches(':invalid')),
      true,
      'eight emoji are eight',
    )
    await fill(demoPassword, 'a new one of four words')
    await page.getByText('The password was changed').waitFor()
    t.match((await other.refresh()).body, { reason: 'password_changed' })
    await page.getByRole('link', { name: 'Where you are signed in' }).click()
    await page.getByText('Password changed').first().waitFor()
    await here.close()
  })

  t.test('the token page shows the claims, and a new token when asked', async (t) => {
    const { page, signIn, visit, close } = await open()
    await signIn('admin@example.com')
    await visit('/token')
    const claims = claimsOf((await tokenOf(page)) as string)
    for (const value of [claims.sub, claims.sid, claims.jti, claims.email])
      t.equal(await page.getByText(String(value), { exact: true }).count(), 1)
    t.match(await page.getByRole('timer').textContent(), /^1[0-4]:\d\d$/)
    await page.getByRole('button', { name: 'Refresh now' }).click()
    await page.getByText(String(claims.jti)).waitFor({ state: 'detached' })
    await page.getByText('Refreshes since this page opened').waitFor()
    t.equal(await page.getByText(String(claims.sid), { exact: true }).count(), 1, 'the session is the same')
    await close()
  })

  t.test('the colours can be changed, and stay', async (t) => {
    const { page, signIn, close } = await open()
    await signIn('admin@example.com')
    t.equal(await themeOf(page), 'light')
    await page.getByRole('button', { name: 'Use dark colours' }).click()
    t.equal(await themeOf(page), 'dark')
    await page.reload()
    await page.getByRole('button', { name: 'Use light colours' }).waitFor()
    t.equal(await themeOf(page), 'dark')
    await close()
  })
})
