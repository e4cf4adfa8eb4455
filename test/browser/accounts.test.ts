/// <reference lib="dom" />
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'
import { startMail } from '../support/mail.ts'
import { Client, demoPassword, eventually } from '../support/system.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const password = 'seven quiet horses graze'
const other = 'nine loud geese at noon'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

const heading = (page: Page, name: string) => page.getByRole('heading', { name, exact: true, level: 1 })
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

/** Everywhere that a page, or whoever looks at it later, could have a secret. */
const keptBy = (page: Page) =>
  page.evaluate(() =>
    JSON.stringify([location.href, history.state, { ...localStorage }, { ...sessionStorage }, document.cookie]),
  )

/** What password managers go by: each field of the page that is filled in. */
const fieldsOf = (page: Page) =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLInputElement>('form input')].map(
      ({ name, autocomplete, inputMode, readOnly, minLength }) =>
        [name, autocomplete, inputMode, readOnly && 'readonly', minLength > 0 && minLength].filter(Boolean).join(' '),
    ),
  )

/** What is not as it should be for everybody: axe, in both colours, and the width of a phone. */
async function faultsOf(page: Page): Promise<string[]> {
  const faults: string[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    const { violations } = await page.evaluate(() =>
      (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
    )
    for (const { id, impact, nodes } of violations)
      if (impact === 'serious' || impact === 'critical')
        faults.push(`${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  }
  await page.setViewportSize({ width: 360, height: 700 })
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  if (width > 360) faults.push(`it is ${width} px wide`)
  await page.setViewportSize({ width: 1280, height: 720 })
  return faults
}

/** Types into a page as somebody does who has no mouse. */
function keyboardOn(page: Page) {
  const focused = () =>
    page.evaluate(() => {
      const { id, name, textContent } = document.activeElement as HTMLInputElement
      return name || id || textContent
    })
  const tabTo = async (what: string) => {
    for (let presses = 0; (await focused()) !== what; presses++) {
      if (presses > 30) throw new Error(`no way to ${what}`)
      await page.keyboard.press('Tab')
    }
  }
  return {
    focused,
    tabTo,
    async fill(field: string, text: string) {
      await tabTo(field)
      await page.keyboard.type(text)
    },
    async press(name: string) {
      await tabTo(name)
      await page.keyboard.press('Enter')
    },
  }
}

t.test('accounts, in a real browser', { skip: withoutBrowser }, async (t) => {
  const mail = await startMail(t)
  const { system, open } = await startWebApp(
    t,
    { ...mail.settings, REGISTRATION: 'open', REGISTRATION_ROLES: 'patient' },
    true,
  )
  const { gateway, sql, log } = system
  const stranger = new Client(gateway)
  const ask = (path: string, email: string) => stranger.call('POST', `/api/auth/${path}`, { body: { email } })
  /** Every sign-in was too long ago for what changes an account. */
  const age = () => sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
  const visitor = await open({ scripts: [axe] })
  const { page, context, visit } = visitor
  const requested: string[] = []
  context.on('request', (request) => requested.push(request.url() + JSON.stringify(request.headers())))
  const forget = async () => {
    await context.clearCookies()
    await page.evaluate(() => localStorage.clear())
  }
  const signIn = async (email: string, secret: string) => {
    await forget()
    await visit('/login')
    await page.getByLabel('E-mail').fill(email)
    await page.getByLabel('Password', { exact: true }).fill(secret)
    await button(page, 'Sign in').click()
    await page.getByRole('navigation').waitFor()
  }
  const stepUp = async (page: Page) => {
    const dialog = page.getByRole('dialog', { name: 'Confirm that it is you' })
    await dialog.getByLabel('Password', { exact: true }).fill(password)
    await dialog.getByRole('button', { name: 'Confirm' }).click()
    await dialog.waitFor({ state: 'detached' })
  }
  /** A page that has opened the link of a mail shows its heading, and holds the ticket nowhere that stays. */
  const openLink = async (t: Test, path: string, ticket: string | undefined, title: string) => {
    // Not a change of the hash in a page that is open.
    await page.goto('about:blank')
    await visit(`${path}#ticket=${ticket}`)
    await heading(page, title).waitFor()
    t.notMatch(await keptBy(page), ticket as string)
    t.equal(new URL(page.url()).hash, '')
    t.strictSame(await faultsOf(page), [])
  }

  await t.test('from the login to an account, by the link of a mail', async (t) => {
    await visit('/login')
    await page.getByRole('link', { name: 'Create account' }).click()
    t.equal(await page.getByLabel('E-mail').evaluate((field) => field === document.activeElement), true)
    t.strictSame(await fieldsOf(page), ['email username email'])
    t.strictSame(await faultsOf(page), [])
    await page.getByLabel('E-mail').fill(' nina@example.com')
    await button(page, 'Send the mail').click()
    await heading(page, 'Look in your mailbox').waitFor()
    t.strictSame(await faultsOf(page), [])
    const { ticket, text } = await mail.next('nina@example.com')
    t.match(text, `#ticket=${ticket}`)

    await openLink(t, '/complete-registration', ticket, 'Create account')
    t.equal(await page.getByLabel('Account').inputValue(), 'nina@example.com')
    t.strictSame(await fieldsOf(page), ['username username readonly', 'name name', 'newPassword new-password 15'])
    await page.getByLabel('Name').fill('Nina Newcomer')
    const field = page.getByLabel('Password', { exact: true })
    await field.fill('🦊🪐🧵🥁🛶🌵🧊🎲')
    t.equal(await field.evaluate((input) => input.matches(':invalid')), true, 'eight emoji are eight')
    await field.fill('nina@example.com is mine')
    await button(page, 'Create account').click()
    t.match(await page.getByRole('alert').textContent(), /too easy to guess/)
    t.equal(await keyboardOn(page).focused(), 'newPassword', 'what is to be corrected has the focus')
    await button(page, 'Show the password').click()
    t.equal(await field.getAttribute('type'), 'text')
    await field.fill(password)
    await button(page, 'Create account').click()
    await page.getByRole('navigation').waitFor()
    t.match(await page.locator('.account').textContent(), /Nina Newcomer.*patient/)

    const devTools = await context.newCDPSession(page)
    const { entries } = await devTools.send('Page.getNavigationHistory')
    t.ok(entries.length > 2)
    t.notMatch(entries.map(({ url }) => url).join(), ticket as string, 'nothing of the history leads back to it')
    await visit(`/complete-registration#ticket=${ticket}`)
    await heading(page, 'This link is no longer valid').waitFor()
    t.strictSame(await faultsOf(page), [])
    await page.reload()
    await heading(page, 'Open the link once more').waitFor()
    t.notMatch(await keptBy(page), ticket as string, 'a reload finds none')
    const named = (lines: string[]) => lines.filter((line) => line.includes(ticket as string))
    t.strictSame([named(requested), named(log)], [[], []], 'it was in no address, no Referer and no log')
  })

  await t.test('an account with nothing but a keyboard, by the code of a mail on another device', async (t) => {
    await forget()
    await visit('/register')
    await page.getByLabel('E-mail').waitFor()
    const { fill, press, focused } = keyboardOn(page)
    await page.keyboard.type('kim@example.com')
    await page.keyboard.press('Enter')
    await heading(page, 'Look in your mailbox').waitFor()
    t.equal(await focused(), 'Look in your mailbox', 'the next step is read')
    t.strictSame(await fieldsOf(page), [
      'code one-time-code numeric',
      'username username readonly',
      'name name',
      'newPassword new-password 15',
    ])
    const { code = '' } = await mail.next('kim@example.com')
    await fill('code', '1234567')
    t.equal(await page.getByLabel('Code from the mail').evaluate((input) => input.matches(':invalid')), true)
    await page.keyboard.press('Control+A')
    await page.keyboard.type(code === '00000000' ? '11111111' : '00000000')
    await fill('name', 'Kim')
    await fill('newPassword', password)
    await page.keyboard.press('Enter')
    t.match(await page.getByRole('alert').textContent(), /eight digits and ten minutes/)
    await eventually('the code has the focus', async () => (await focused()) === 'code')
    await page.keyboard.press('Control+A')
    await page.keyboard.type(`${code.slice(0, 4)} ${code.slice(4)}`)
    await press('Create account')
    await page.getByRole('navigation').waitFor()
    t.equal(await focused(), 'main', 'and signed in, the page is read')
  })

  await t.test('a forgotten password, by keyboard: every session ends, the one of this browser too', async (t) => {
    const phone = new Client(gateway)
    await phone.login('nina@example.com', password)
    await signIn('nina@example.com', password)
    const tab = await context.newPage()
    await tab.goto('/sessions')
    await tab.getByText('this device').waitFor()
    const elsewhere = await open()
    await elsewhere.visit('/login')
    await elsewhere.page.getByLabel('E-mail').fill('nina@example.com')
    await elsewhere.page.getByLabel('Password', { exact: true }).fill('wrong')
    await button(elsewhere.page, 'Sign in').click()
    await elsewhere.page.getByRole('alert').getByRole('link', { name: 'choose a new password by mail' }).click()
    await elsewhere.page.getByLabel('E-mail').fill('nina@example.com')
    await button(elsewhere.page, 'Send the mail').click()
    const { ticket } = await mail.next('nina@example.com')
    await elsewhere.close()

    await openLink(t, '/reset-password', ticket, 'Choose a new password')
    t.strictSame(await fieldsOf(page), ['username username readonly', 'newPassword new-password 15'])
    const { fill } = keyboardOn(page)
    await fill('newPassword', other)
    await page.keyboard.press('Enter')
    await page.getByText('Your password was changed').waitFor()
    t.match(new URL(page.url()).pathname, '/login')
    await heading(tab, 'Sign in').waitFor()
    await tab.close()
    t.match((await phone.refresh()).body, { code: 'SESSION_ENDED', reason: 'password_reset' })
    await mail.next('nina@example.com')
    await signIn('nina@example.com', other)

    await visit(`/reset-password#ticket=${ticket}`)
    await heading(page, 'This link is no longer valid').waitFor()
    await ask('password/forgot', 'nina@example.com')
    const late = await mail.next('nina@example.com')
    await sql("UPDATE auth.tickets SET expires_at = now() WHERE used_at IS NULL AND purpose = 'password_reset'")
    // In a page that is open already a link changes the hash alone.
    await page.evaluate((hash) => {
      location.hash = hash
    }, `#ticket=${late.ticket}`)
    await heading(page, 'This link is no longer valid').waitFor()
    t.notMatch(await keptBy(page), late.ticket as string)
    await page.getByRole('link', { name: 'Ask for another mail' }).click()
    await page.getByLabel('E-mail').fill('nina@example.com')
    await button(page, 'Send the mail').click()
    const { code = '' } = await mail.next('nina@example.com')
    await page.getByLabel('Code from the mail').fill(code)
    await page.getByLabel('New password').fill(password)
    await button(page, 'Change password').click()
    await page.getByText('Your password was changed').waitFor()
    await mail.next('nina@example.com')
  })

  await t.test('an address is changed after a step-up, and brought back', async (t) => {
    // A passkey that the browser may make by itself right after a sign-in is asked for before that was long ago.
    const asked = page.waitForResponse(/factors\/passkeys\/options$/)
    await signIn('nina@example.com', password)
    await asked
    await age()
    await page.getByRole('link', { name: 'Nina Newcomer' }).click()
    await heading(page, 'Account').waitFor()
    t.strictSame(await faultsOf(page), [])
    await page.getByLabel('New e-mail').fill('nina@elsewhere.example')
    await button(page, 'Change e-mail').click()
    const dialog = page.getByRole('dialog', { name: 'Confirm that it is you' })
    await dialog.waitFor()
    t.strictSame(await faultsOf(page), [])
    t.equal(await keyboardOn(page).focused(), 'currentPassword')
    const inDialog = (await fieldsOf(page)).slice(-2)
    t.strictSame(inDialog, ['username username readonly', 'currentPassword current-password'])
    await page.keyboard.press('Escape')
    t.match(await page.getByRole('alert').textContent(), /Nothing was done/)
    await button(page, 'Change e-mail').click()
    await dialog.getByLabel('Password', { exact: true }).fill('wrong')
    await dialog.getByRole('button', { name: 'Confirm' }).click()
    await dialog.getByText('The password is not right').waitFor()
    await stepUp(page)
    await page.getByText('A mail is on its way to nina@elsewhere.example').waitFor()
    await mail.next('nina@example.com')
    const { ticket } = await mail.next('nina@elsewhere.example')

    await openLink(t, '/confirm-email', ticket, 'Confirm your new address')
    t.equal((await sql("SELECT FROM auth.users WHERE email = 'nina@example.com'")).rowCount, 1, 'nothing happened yet')
    await button(page, 'Confirm this address').click()
    await heading(page, 'The address is confirmed').waitFor()
    t.strictSame(await faultsOf(page), [])
    await page.getByRole('link', { name: 'Go to your account' }).click()
    await page.getByText('You sign in with nina@elsewhere.example').waitFor()

    const { ticket: back } = await mail.next('nina@example.com')
    await openLink(t, '/revert-email', back, 'Bring your address back')
    await button(page, 'Bring this address back').click()
    await heading(page, 'The address is back').waitFor()
    t.strictSame(await faultsOf(page), [])
    await mail.next('nina@example.com')
    await visit('/')
    await page.getByText('was changed back, which ends every session').waitFor()
  })

  await t.test('the profile, the data as a file, and an account deleted and had back', async (t) => {
    await signIn('nina@example.com', password)
    await visit('/account')
    await page.getByLabel('Name').fill('Nina Nova')
    await page.getByLabel('Language of mails').selectOption('Deutsch')
    await button(page, 'Save profile').click()
    await page.getByText('Your profile is saved').waitFor()
    t.match(await page.locator('.account').textContent(), 'Nina Nova')
    t.match((await sql("SELECT name, locale FROM auth.users WHERE email = 'nina@example.com'")).rows, [
      { name: 'Nina Nova', locale: 'de' },
    ])

    await age()
    const downloaded = page.waitForEvent('download')
    await button(page, 'Download my data').click()
    await stepUp(page)
    const download = await downloaded
    t.equal(download.suggestedFilename(), 'account.json')
    const exported = JSON.parse(readFileSync(await download.path(), 'utf8'))
    t.match(exported, { user: { email: 'nina@example.com', name: 'Nina Nova' } })

    await age()
    await button(page, 'Delete my account').click()
    const dialog = page.getByRole('dialog', { name: 'Delete your account?' })
    t.match(await dialog.textContent(), /Every session ends now.*Signing in brings the account back, until the day/)
    t.strictSame(await faultsOf(page), [])
    await dialog.getByRole('button', { name: 'Delete my account' }).click()
    await stepUp(page)
    await page.getByText('Your account will be deleted on').waitFor()
    t.strictSame(await faultsOf(page), [])
    const due = async () =>
      (await sql("SELECT delete_after FROM auth.users WHERE email = 'nina@example.com'")).rows[0].delete_after
    t.ok(await due())
    await signIn('nina@example.com', password)
    t.equal(await due(), null, 'signing in undoes it')
  })

  await t.test('an invitation is accepted, and what is not valid says so', async (t) => {
    await forget()
    await openLink(t, '/accept-invitation', 'x'.repeat(43), 'This link is no longer valid')
    await ask('register', 'ivy@example.com')
    const { ticket } = await mail.next('ivy@example.com')
    await openLink(t, '/accept-invitation', ticket, 'This link is no longer valid')
    await sql("UPDATE auth.tickets SET purpose = 'invitation', roles = '{doctor}' WHERE email = 'ivy@example.com'")
    await openLink(t, '/accept-invitation', ticket, 'Accept the invitation')
    await page.getByLabel('Name').fill('Ivy')
    await page.getByLabel('Password', { exact: true }).fill(password)
    await button(page, 'Create account').click()
    await page.getByRole('navigation').waitFor()
    t.match(await page.locator('.account').textContent(), /Ivy.*doctor/)
  })

  t.strictSame(visitor.complaints, [], 'the browser had nothing to refuse')
  t.notMatch(log.join(), new RegExp([password, other, demoPassword].join('|')), 'no password in a log')
  await visitor.close()
})
