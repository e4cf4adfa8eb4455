/// <reference lib="dom" />
import type { Page } from 'playwright-core'
import t from 'tap'
import { axe, faultsOf } from '../support/axe.ts'
import { startWebApp, tokenOf, type Visitor, withoutBrowser } from '../support/chromium.ts'
import { startMail } from '../support/mail.ts'
import { demoPassword } from '../support/system.ts'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

const banner = (page: Page) => page.getByRole('region', { name: 'Acting for somebody' })

t.test('an admin acts as somebody, in a real browser', { skip: withoutBrowser }, async (t) => {
  const mail = await startMail(t)
  const { system, newUser, open } = await startWebApp(t, { ...mail.settings, IMPERSONATION_ROLES: 'admin' }, true)
  const { sql } = system
  const idOf = async (email: string) => (await sql('SELECT id FROM auth.users WHERE email = $1', [email])).rows[0].id

  /** An admin on the page of a user, who has a name that is as long as names are. */
  async function openAdmin(options: Parameters<typeof open>[0] = {}) {
    const email = await newUser()
    const name = `Maximiliane Théodora von und zu ${'Hohenlohe'.repeat(10)}`
    await sql('UPDATE auth.users SET name = $2 WHERE email = $1', [email, name])
    const visitor = await open({ scripts: [axe], ...options })
    await visitor.signIn('admin@example.com')
    await visitor.visit(`/users/${await idOf(email)}`)
    return { email, name, id: await idOf(email), visitor }
  }

  async function begin({ page }: Visitor) {
    await page.getByRole('button', { name: 'Sign in as' }).click()
    await page.getByLabel('Reason').fill('Ticket 4711')
    await page.getByRole('button', { name: 'Sign in as them' }).click()
    await banner(page).waitFor()
  }

  /** What a browser keeps of who is signed in. */
  const keptBy = async ({ page, context }: Visitor) => ({
    storage: await page.evaluate(() => ({ ...localStorage })),
    cookies: (await context.cookies()).map(({ name, value }) => `${name} ${value}`),
  })

  await t.test('this tab is the user’s, under a banner, and nothing of the admin’s session changes', async (t) => {
    const { name, id, visitor } = await openAdmin()
    const { page, context, complaints } = visitor
    await page.emulateMedia({ reducedMotion: 'reduce' })
    const before = await keptBy(visitor)
    await page.getByRole('button', { name: 'Sign in as' }).click()
    await page.getByRole('button', { name: 'Sign in as them' }).click()
    t.notOk(
      await page.getByLabel('Reason').evaluate((input: HTMLInputElement) => input.validity.valid),
      'not without a reason',
    )
    t.strictSame(await faultsOf(page), [])
    await page.keyboard.press('Escape')
    await begin(visitor)
    t.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the page is read anew')
    t.match(await banner(page).textContent(), name)
    t.match(await banner(page).textContent(), /You are Ada Admin1[45]:\d\d left/)
    await page.getByText('Good', { exact: false }).first().waitFor()
    t.match(await page.locator('.account').textContent(), name)
    await page.getByText('Live', { exact: true }).waitFor()

    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      t.strictSame(await faultsOf(page), [], colorScheme)
    }
    await page.setViewportSize({ width: 360, height: 700 })
    t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'no wider than a phone')
    t.strictSame(await faultsOf(page), [], 'on a phone')
    t.ok(await banner(page).getByRole('button', { name: 'Stop' }).isVisible())
    await page.setViewportSize({ width: 1280, height: 720 })

    const places = await page.getByRole('navigation').getByRole('link').allInnerTexts()
    t.strictSame(places, ['Home', 'Appointments', 'Token'])
    t.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0)
    t.equal(await page.getByText('Create a passkey').count(), 0)
    for (const path of ['/account', '/account/factors', '/sessions', '/users', '/admin/machines']) {
      await page.evaluate((to) => {
        history.pushState(null, '', to)
        dispatchEvent(new PopStateEvent('popstate'))
      }, path)
      await page.getByRole('heading', { name: 'Not while you act for somebody' }).waitFor()
      t.ok(await banner(page).isVisible(), path)
    }
    await page.getByRole('link', { name: 'Token' }).click()
    await page.getByText('"act"', { exact: false }).or(page.getByText('who acts for this person')).first().waitFor()
    t.equal(await page.getByRole('button', { name: 'Refresh now' }).count(), 0)

    const other = await context.newPage()
    await visitor.visit('/users', other)
    await other.getByRole('heading', { name: 'Users' }).waitFor()
    t.equal(await banner(other).count(), 0, 'other tabs are the admin’s')
    t.strictSame(await keptBy(visitor), before)

    await banner(page).getByRole('button', { name: 'Stop' }).click()
    await page.waitForURL(`**/users/${id}`)
    await page.getByText('Ticket 4711').first().waitFor()
    await page.getByText('Impersonation ended').waitFor()
    t.equal(await banner(page).count(), 0)
    t.strictSame(await keptBy(visitor), before)
    t.strictSame(complaints, [])
    await visitor.close()
  })

  await t.test('on a phone the page begins below the banner and the head', async (t) => {
    const { visitor } = await openAdmin()
    await visitor.page.setViewportSize({ width: 360, height: 700 })
    await begin(visitor)
    await visitor.page.getByText('Live', { exact: true }).waitFor()
    t.equal(await visitor.page.evaluate(() => scrollY), 0)
    await visitor.close()
  })

  await t.test('a reload ends it', async (t) => {
    const { visitor } = await openAdmin()
    await begin(visitor)
    await visitor.page.reload()
    await visitor.page.getByRole('link', { name: 'Users' }).waitFor()
    t.equal(await banner(visitor.page).count(), 0)
    await visitor.close()
  })

  await t.test('the user sees who acts, and ends it; the admin is told', async (t) => {
    const { email, name, visitor } = await openAdmin()
    await begin(visitor)
    const person = await open({ scripts: [axe] })
    await person.signIn(email)
    await person.visit('/sessions')
    await person.page.getByText('Ada Admin acting for you').waitFor()
    t.strictSame(await faultsOf(person.page), [])
    await person.page.getByRole('button', { name: 'End: Ada Admin acting for you' }).click()
    await person.page.getByText('Ada Admin no longer acts for you').waitFor()

    const { page } = visitor
    // The WebSocket of the page ends with the token, or else its next call says so.
    const notice = page.getByText('You are yourself again')
    await notice.waitFor()
    t.match(await notice.textContent(), `${name} no longer: they ended it`)
    t.strictSame(await faultsOf(page), [])
    t.match(await page.locator('.account').textContent(), 'Ada Admin')
    await page.getByRole('button', { name: 'OK' }).click()
    await notice.waitFor({ state: 'detached' })
    t.not(await tokenOf(page), null)
    await person.close()
    await visitor.close()
  })

  await t.test('it ends when its time is over', async () => {
    const { visitor } = await openAdmin()
    const { page } = visitor
    await page.clock.install()
    await page.reload()
    await begin(visitor)
    await page.clock.fastForward('15:01')
    await page.getByText('the time is over').waitFor()
    await page.getByRole('link', { name: 'Users' }).waitFor()
    await visitor.close()
  })

  await t.test('after a while the admin confirms who they are first', async () => {
    const { visitor } = await openAdmin()
    const { page } = visitor
    await sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
    await page.getByRole('button', { name: 'Sign in as' }).click()
    await page.getByLabel('Reason').fill('Ticket 4711')
    await page.getByRole('button', { name: 'Sign in as them' }).click()
    await page.getByLabel('Password', { exact: true }).fill(demoPassword)
    await page.getByRole('button', { name: 'Confirm' }).click()
    await banner(page).waitFor()
    await visitor.close()
  })

  await t.test('nobody is offered to act for themselves or for an admin', async (t) => {
    const { visitor } = await openAdmin()
    const { page, visit } = visitor
    for (const email of ['admin@example.com', await newUser('admin')]) {
      await visit(`/users/${await idOf(email)}`)
      await page.getByRole('button', { name: 'End everything' }).waitFor()
      t.equal(await page.getByRole('button', { name: 'Sign in as' }).count(), 0)
    }
    await visitor.close()
  })
})
