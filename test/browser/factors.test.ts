/// <reference lib="dom" />
import type { CDPSession, Page } from 'playwright-core'
import t from 'tap'
import { startWebApp, tokenOf, type Visitor, withoutBrowser } from '../support/chromium.ts'
import { codeOf, steadyStep } from '../support/factors.ts'
import { startMail } from '../support/mail.ts'
import { claimsOf, demoPassword, eventually } from '../support/system.ts'

/** An authenticator in the machine, which is asked in Chromium's own dialogs as those of people are. */
async function plugIn({ context, page }: Visitor) {
  const session: CDPSession = await context.newCDPSession(page)
  await session.send('WebAuthn.enable', { enableUI: false })
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      ...{ protocol: 'ctap2', transport: 'internal' },
      ...{ hasResidentKey: true, hasUserVerification: true, isUserVerified: true },
      // The user is not there before the test says so, or would choose what the login offers at once.
      automaticPresenceSimulation: false,
    },
  })
  return {
    /** Whether the user touches it whenever something is asked. */
    touches: (enabled: boolean) =>
      session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled }),
    credentials: async () => (await session.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    add: (credential: Awaited<ReturnType<typeof stranger>>) =>
      session.send('WebAuthn.addCredential', { authenticatorId, credential }),
  }
}

/** A passkey for a domain that the server there knows nothing of. */
async function stranger(rpId: string) {
  const { privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', privateKey)
  return {
    ...{ rpId, isResidentCredential: true, signCount: 0 },
    credentialId: Buffer.alloc(32, 7).toString('base64'),
    privateKey: Buffer.from(pkcs8).toString('base64'),
    userHandle: Buffer.from('somebody').toString('base64'),
  }
}

const claims = async (page: Page) => claimsOf((await tokenOf(page)) as string)
const button = (page: Page, name: string | RegExp) =>
  page.getByRole('button', { name, exact: typeof name === 'string' })

t.test('second factors in a browser', { skip: withoutBrowser }, async (t) => {
  const mail = await startMail(t)
  const app = await startWebApp(t, { ...mail.settings, APP_ORIGIN: 'http://localhost' }, true, 'localhost')
  const { sql } = app.system

  async function beginLogin(visitor: Visitor, email: string, password = demoPassword) {
    await visitor.visit('/login')
    await visitor.page.getByLabel('E-mail').fill(email)
    await visitor.page.getByLabel('Password', { exact: true }).fill(password)
    await button(visitor.page, 'Sign in').click()
  }

  async function signOut({ page }: Visitor) {
    await button(page, 'Sign out').click()
    await page.waitForURL('**/login')
  }

  /** Sets up an app on the page of sign-in methods. @returns its secret, and the recovery codes that are shown */
  async function setUpApp({ page, visit }: Visitor) {
    await visit('/account/factors')
    await button(page, 'Set up an app').click()
    const secret = (await page.locator('.key code').innerText()).replaceAll(' ', '')
    t.ok(await page.locator('img.qr').evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0))
    await steadyStep()
    await page.getByLabel('Type the code that the app shows').fill(codeOf(secret))
    await button(page, 'Turn on').click()
    await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
    const codes = await page.locator('.recovery-codes code').allInnerTexts()
    const download = page.waitForEvent('download')
    await button(page, 'Download').click()
    const file = await (await download).createReadStream()
    const saved = (await file.toArray()).join('')
    t.ok(codes.every((code) => saved.includes(code)) && codes.length === 10)
    await button(page, 'I have saved them').click()
    await page.getByText('It is set up.').waitFor()
    return { secret, codes }
  }

  const forgetSteps = () => sql('UPDATE auth.totp SET last_step = 0')

  await t.test(
    'a passkey is made after a sign-in with a password, signs in by autofill, and is forgotten once removed',
    async (t) => {
      const email = await app.newUser('patient')
      const visitor = await app.open()
      const { page } = visitor
      const authenticator = await plugIn(visitor)
      await visitor.signIn(email)
      await authenticator.touches(true)
      await button(page, 'Create a passkey').click()
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      await button(page, 'I have saved them').click()
      t.equal((await authenticator.credentials()).length, 1)
      await eventually('the token says so', async () => (await claims(page)).acr === 'aal2')
      t.equal(await button(page, 'Create a passkey').count(), 0)

      await authenticator.touches(false)
      await signOut(visitor)
      t.equal(await page.getByLabel('E-mail').getAttribute('autocomplete'), 'username webauthn')
      await authenticator.touches(true)
      await visitor.visit('/login')
      await page.getByRole('navigation').waitFor()
      t.match(await claims(page), { email, acr: 'aal2' }, 'by autofill, without a click')

      await authenticator.touches(false)
      await visitor.visit('/account/factors')
      await button(page, /^Rename/).click()
      await page.getByRole('textbox', { name: 'Name' }).fill('My laptop')
      await button(page, 'Save').click()
      await button(page, 'Remove My laptop').click()
      await button(page, 'Remove').click()
      await page.getByText('You get ten with your first passkey or app.').waitFor()
      await eventually('the authenticator forgets it', async () => (await authenticator.credentials()).length === 0)
      t.strictSame(visitor.complaints, [])
      await visitor.close()
    },
  )

  await t.test('a passkey that the server does not know is taken out of the authenticator', async (t) => {
    const visitor = await app.open()
    const authenticator = await plugIn(visitor)
    await authenticator.add(await stranger('localhost'))
    t.equal((await authenticator.credentials()).length, 1)
    await visitor.visit('/login')
    await authenticator.touches(true)
    await visitor.page
      .getByText(/passkey/i)
      .first()
      .waitFor()
    await eventually('it is gone', async () => (await authenticator.credentials()).length === 0, 20_000)
    await visitor.close()
  })

  await t.test('an app asks for its code; a lost phone ends with a recovery code, and what to do next', async (t) => {
    const email = await app.newUser('doctor')
    const visitor = await app.open()
    const { page } = visitor
    await visitor.signIn(email)
    const { secret, codes } = await setUpApp(visitor)
    await signOut(visitor)
    await forgetSteps()
    await beginLogin(visitor, email)
    await page.getByLabel('Code from your authenticator app').fill('000000')
    await button(page, 'Sign in').click()
    await page.getByRole('alert').waitFor()
    await steadyStep()
    await page.getByLabel('Code from your authenticator app').fill(codeOf(secret))
    await button(page, 'Sign in').click()
    await page.getByRole('navigation').waitFor()
    t.match(await claims(page), { email, acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] })

    await signOut(visitor)
    await beginLogin(visitor, email)
    await button(page, 'Lost your phone? Use a recovery code').click()
    await page.getByLabel('Recovery code').fill(codes[0] as string)
    await button(page, 'Sign in').click()
    await page.getByText('You signed in with a recovery code.').waitFor()
    t.match(page.url(), /\/account\/factors$/)
    await page.getByText('9 are left.').waitFor()
    await button(page, 'Remove the app').click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove the app' }).click()
    await button(page, 'Set up an app').waitFor()
    t.strictSame(visitor.complaints, [])
    await visitor.close()
  })

  await t.test('a step-up asks for the second factor, and nothing that was typed is lost', async (t) => {
    const email = await app.newUser('patient')
    const visitor = await app.open()
    const { page } = visitor
    await visitor.signIn(email)
    const { secret } = await setUpApp(visitor)
    const age = () => sql("UPDATE auth.sessions SET authenticated_at = now() - interval '1 hour'")
    const confirm = async () => {
      await forgetSteps()
      await steadyStep()
      const dialog = page.getByRole('dialog', { name: 'Confirm that it is you' })
      await dialog.getByLabel('Code from your authenticator app').fill(codeOf(secret))
      await dialog.getByRole('button', { name: 'Confirm' }).click()
    }
    await visitor.visit('/account')
    await age()
    await page.getByLabel('New e-mail').fill('elsewhere@example.com')
    await button(page, 'Change e-mail').click()
    await page.getByRole('dialog').waitFor()
    t.equal(await page.getByRole('dialog').getByText('Use your password').count(), 0, 'a password alone is not offered')
    await confirm()
    await page.getByText('A mail is on its way to elsewhere@example.com').waitFor()

    await age()
    await visitor.visit('/sessions')
    await button(page, 'Sign out everywhere').click()
    await page.getByRole('dialog').getByRole('button', { name: 'Sign out everywhere' }).click()
    await confirm()
    await page.waitForURL('**/login')
    t.strictSame(visitor.complaints, [])
    await visitor.close()
  })

  await t.test('a new password by mail takes the second factor, in place', async () => {
    const email = await app.newUser('doctor')
    const visitor = await app.open()
    const { page } = visitor
    await visitor.signIn(email)
    const { codes } = await setUpApp(visitor)
    await signOut(visitor)
    await page.getByRole('link', { name: 'Forgot password?' }).click()
    await page.getByLabel('E-mail').fill(email)
    await page.getByRole('button', { name: /mail/i }).click()
    const { ticket } = await mail.next(email, ({ ticket }) => ticket !== undefined)
    await visitor.visit(`/reset-password#ticket=${ticket}`)
    await page.getByLabel('New password', { exact: true }).fill('nine loud geese at noon')
    await button(page, 'Change password').click()
    await button(page, 'Lost your phone? Use a recovery code').click()
    await page.getByLabel('Recovery code').fill(codes[1] as string)
    await button(page, 'Change password').click()
    await page.getByText('Your password was changed').waitFor()
    await beginLogin(visitor, email, 'nine loud geese at noon')
    await page.getByLabel('Code from your authenticator app').waitFor()
    await visitor.close()
  })

  await t.test('an admin takes the methods of somebody away', async (t) => {
    const email = await app.newUser('doctor')
    const visitor = await app.open()
    await visitor.signIn(email)
    await setUpApp(visitor)
    const { rows } = await sql('SELECT id FROM auth.users WHERE email = $1', [email])
    const admin = await app.open()
    await admin.signIn('admin@example.com')
    await admin.visit(`/users/${rows[0].id}`)
    await button(admin.page, /^Reset/).click()
    await admin.page.getByRole('dialog').getByRole('button', { name: /Reset/ }).click()
    await visitor.page.getByText(/An administrator reset/).waitFor()
    await visitor.signIn(email)
    t.match(await claims(visitor.page), { acr: 'aal1' })
    for (const { close } of [visitor, admin]) await close()
  })
})
