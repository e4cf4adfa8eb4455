/// <reference lib="dom" />
import t from 'tap'
import { axe, faultsOf } from '../support/axe.ts'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'
import { startMail } from '../support/mail.ts'
import { Client, signIn } from '../support/system.ts'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

t.test('the pages for admins, in a real browser', { skip: withoutBrowser }, async (t) => {
  const mail = await startMail(t)
  const { system, newUser, open } = await startWebApp(t, mail.settings, true)
  const { gateway } = system
  const { page, complaints, visit, signIn: enter } = await open({ scripts: [axe] })
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await enter('admin@example.com')
  const dialog = page.getByRole('dialog')
  const email = await newUser()
  const client = await signIn(gateway, email)

  /** Whether a page is for everybody: in both colours, and on a phone. */
  const isForEverybody = async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      t.strictSame(await faultsOf(page), [], colorScheme)
    }
    await page.setViewportSize({ width: 360, height: 700 })
    t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, 'no wider than a phone')
    t.strictSame(await faultsOf(page), [], 'on a phone')
    t.equal(await page.locator('h1').count(), 1)
    await page.setViewportSize({ width: 1280, height: 720 })
  }

  await t.test('an admin invites somebody, sends it again, and sees that it was accepted', async (t) => {
    await page.getByRole('link', { name: 'Users' }).click()
    await page.getByRole('button', { name: 'Invite' }).click()
    t.ok(
      await dialog.getByLabel('E-mail').evaluate((input) => input === document.activeElement),
      'begins at the address',
    )
    await page.keyboard.type('ines@example.com')
    await dialog.getByLabel('patient').check()
    await dialog.getByRole('button', { name: 'Invite' }).click()
    await dialog.waitFor({ state: 'detached' })
    t.equal(await page.evaluate(() => document.activeElement?.textContent), 'Invite', 'the focus is where it was')
    await mail.next('ines@example.com')
    await page.getByRole('link', { name: 'Invitations' }).click()
    const row = page.getByRole('listitem').filter({ hasText: 'ines@example.com' })
    await row.getByText('Open').waitFor()
    await row.getByRole('button', { name: 'Send again' }).click()
    await page.getByText('Another mail').waitFor()
    const { ticket } = await mail.next('ines@example.com')
    const body = { ticket, name: 'Ines Invited', password: 'seven quiet horses graze' }
    t.equal((await new Client(gateway).call('POST', '/api/auth/register/complete', { body })).status, 200)
    await page.reload()
    await row.getByText('Accepted', { exact: true }).waitFor()
    t.equal(await row.getByRole('button').count(), 0)
  })

  await t.test('who has an account cannot be invited, and an invitation is withdrawn', async (t) => {
    await page.getByRole('button', { name: 'Invite' }).click()
    await dialog.getByLabel('E-mail').fill('ines@example.com')
    await dialog.getByLabel('doctor').check()
    await dialog.getByRole('button', { name: 'Invite' }).click()
    t.match(await dialog.getByRole('alert').textContent(), 'There is an account')
    await dialog.getByLabel('E-mail').fill('ivo@example.com')
    await dialog.getByRole('button', { name: 'Invite' }).click()
    const row = page.getByRole('listitem').filter({ hasText: 'ivo@example.com' })
    await row.getByRole('button', { name: 'Withdraw' }).click()
    await dialog.getByRole('button', { name: 'Withdraw' }).click()
    await row.getByText('Withdrawn', { exact: true }).waitFor()
    t.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the focus is not lost')
    await isForEverybody()
  })

  await t.test('an admin makes an account', async () => {
    await page.getByRole('button', { name: 'Invite' }).click()
    await dialog.getByLabel('E-mail').fill('nora@example.com')
    await dialog.getByLabel('Make the account now').check()
    await dialog.getByLabel('Name').fill('Nora New')
    await dialog.getByLabel('doctor').check()
    await dialog.getByRole('button', { name: 'Make account' }).click()
    await mail.next('nora@example.com')
    await page.getByRole('link', { name: 'Accounts' }).click()
    await page.getByRole('link', { name: 'Nora New' }).click()
    await page.getByText('Not chosen yet').waitFor()
  })

  await t.test('an admin sees a user, and changes, disables and deletes them', async (t) => {
    await page.getByRole('link', { name: 'Users' }).first().click()
    await page.getByLabel('Search by e-mail').fill(email)
    await page.getByRole('link', { name: 'Some One' }).click()
    await page.getByText('Login succeeded').waitFor()
    await page.getByText('from 127.0.0.1').first().waitFor()
    await isForEverybody()

    await page.getByRole('button', { name: 'Change the name' }).click()
    await dialog.getByLabel('Name').fill('Some Two')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { name: 'Some Two' }).waitFor()
    await page.getByText('by Ada Admin').waitFor()

    await page.getByRole('button', { name: 'Change the roles' }).click()
    await dialog.getByLabel('patient').check()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await page.getByText('has new roles').waitFor()

    await page.getByRole('button', { name: 'Send mail' }).click()
    await dialog.getByRole('button', { name: 'Send mail' }).click()
    t.match(await mail.next(email), { ticket: String })

    await page.getByRole('button', { name: 'End sessions' }).click()
    await dialog.getByRole('button', { name: 'End sessions' }).click()
    await page.getByText('Ended by an administrator').waitFor()
    t.match((await client.refresh()).body, { reason: 'revoked_by_admin' })

    await page.getByRole('button', { name: 'Delete' }).click()
    await dialog.getByRole('button', { name: 'Delete' }).click()
    await page.getByText('This account will be erased').waitFor()
    t.equal((await client.login(email)).status, 401)
    await page.getByRole('button', { name: 'Enable' }).click()
    await dialog.getByRole('button', { name: 'Enable' }).click()
    await page.getByText('This account will be erased').waitFor({ state: 'detached' })
    t.equal((await client.login(email)).status, 200)
  })

  await t.test('a user who is not there', async () => {
    await visit('/users/00000000-0000-4000-8000-000000000000')
    await page.getByRole('heading', { name: 'There is no such user' }).waitFor()
  })
  t.strictSame(complaints, [], 'the browser had nothing to refuse')
})
