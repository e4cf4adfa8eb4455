import { eventTypes } from '@sallyport/auth/webhooks/event-types'
import t from 'tap'
import { axe, faultsOf } from '../support/axe.ts'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'
import { demoPassword } from '../support/system.ts'
import { startReceiver, verify } from '../support/webhooks.ts'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

/** Where whoever wants to look at the pages gets pictures of them. */
const pictures = process.env.SCREENSHOTS

t.test('the pages about webhooks, in a real browser', { skip: withoutBrowser }, async (t) => {
  const receiver = await startReceiver(t)
  const { system, open } = await startWebApp(t, { WEBHOOK_ORIGINS: receiver.origin }, true)
  const { page, complaints, visit, signIn } = await open({ scripts: [axe] })
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await signIn('admin@example.com')
  const dialog = page.getByRole('dialog')
  const button = (name: string) => dialog.getByRole('button', { name, exact: true })
  const row = (name: string | RegExp) => page.getByRole('listitem').filter({ hasText: name })
  const renameDoctor = (name: string) =>
    system.sql("UPDATE auth.users SET name = $1 WHERE email = 'doctor@example.com'", [name])

  /** Whether what is open is for everybody: in both colours, and on a phone. */
  const isForEverybody = async (name: string) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      t.strictSame(await faultsOf(page), [], colorScheme)
      if (pictures) await page.screenshot({ path: `${pictures}/${name}-${colorScheme}.png`, fullPage: true })
    }
    await page.setViewportSize({ width: 360, height: 700 })
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 360, 'no wider than a phone')
    t.strictSame(await faultsOf(page), [], 'on a phone')
    if (pictures) await page.screenshot({ path: `${pictures}/${name}-phone.png`, fullPage: true })
    t.equal(await page.locator('h1').count(), 1)
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 1280, height: 720 })
  }
  let secret = ''

  await t.test('an admin makes one, whose secret is shown once', async (t) => {
    await page.getByRole('link', { name: 'Webhooks' }).click()
    await page.getByText('There is none yet').waitFor()
    await isForEverybody('none')
    await page.getByRole('button', { name: 'Make one' }).click()
    await dialog.getByLabel('Name').fill('Customer relations')
    t.strictSame(await dialog.locator('.event-types code').allTextContents(), eventTypes, 'all that there is')
    await dialog.getByLabel('Address').fill('http://169.254.169.254/latest')
    t.ok(await button('Make').isDisabled(), 'before it is said what it is notified of')
    await dialog.getByLabel('user.changed').check()
    await dialog.getByLabel('login.failed').check()
    await isForEverybody('dialog')
    await button('Make').click()
    await dialog.getByRole('alert').filter({ hasText: 'Nothing is sent to this address' }).waitFor()
    await dialog.getByLabel('Address').fill(`${receiver.origin}/${'long'.repeat(40)}`)
    await button('Make').click()
    await dialog.getByText('It is shown only now').waitFor()
    secret = await dialog.locator('code').innerText()
    t.match(secret, /^whsec_/)
    await isForEverybody('secret')
    await button('I have saved it').click()
    await page.getByRole('heading', { name: 'Customer relations', level: 1 }).waitFor()
    t.notMatch(await page.content(), secret)
    await page.getByRole('link', { name: 'Webhooks' }).first().click()
    await row('Customer relations').getByText('2 kinds of events').waitFor()
    await isForEverybody('list')
    await page.getByRole('link', { name: 'Customer relations' }).click()
  })

  await t.test('it is tried out, and says what the receiver said', async (t) => {
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByText('The receiver responded with 204').waitFor()
    t.equal(receiver.received[0]?.type, 'webhook.test')
    receiver.respond = (_, response) => response.writeHead(418).end()
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByText('The receiver responded with 418').waitFor()
  })

  await t.test('what cannot be delivered is shown, and why; what can is replayed', async (t) => {
    receiver.respond = (_, response) => response.writeHead(500).end()
    await renameDoctor('Dora Newname')
    await row('user.changed')
      .getByText(/^Failed .*: it responded with 500/)
      .waitFor()
    await page.getByText('Deliveries have failed since').waitFor()
    await isForEverybody('failing')
    receiver.respond = (_, response) => response.writeHead(204).end()
    await system.sql("UPDATE auth.webhook_deliveries SET next_at = now() WHERE state = 'pending'")
    await row('user.changed').getByText('Delivered').waitFor()
    const before = receiver.received.length
    await page.getByRole('button', { name: /^Replay user.changed/ }).click()
    await page.getByText('It is sent once more.').waitFor()
    await page.getByLabel('Which').selectOption('dead')
    await page.getByText('They are shown for 30 days').waitFor()
    await page.getByLabel('Which').selectOption('')
    await row('user.changed').getByText('Delivered').waitFor()
    await page.getByRole('button', { name: 'Replay a span' }).click()
    await dialog.getByLabel('Only what was given up').uncheck()
    await isForEverybody('replay')
    await button('Replay').click()
    await page.getByText('One delivery is sent once more.').waitFor()
    await row('user.changed').getByText('Delivered').waitFor()
    const repeated = receiver.received.slice(before - 1).map(({ id }) => id)
    t.equal(new Set(repeated).size, 1, 'with the same id')
  })

  await t.test('a new secret is made, and the one before signs too', async (t) => {
    await page.getByRole('button', { name: 'Make a new secret' }).click()
    await button('Make').click()
    await dialog.getByText('It is shown only now').waitFor()
    const second = await dialog.locator('code').innerText()
    t.not(second, secret)
    await button('I have saved it').click()
    await page.getByText('The one before it signs too').waitFor()
    const before = receiver.received.length
    await renameDoctor('Dora')
    while (receiver.received.length === before) await page.waitForTimeout(50)
    for (const one of [secret, second]) t.ok(verify(one, receiver.received.at(-1) as never))
  })

  await t.test(
    'it is disabled and enabled, and after a while the admin confirms who they are; then it is gone',
    async (t) => {
      await page.getByRole('button', { name: 'Disable', exact: true }).click()
      await button('Disable').click()
      await page.getByText('It is disabled: nothing is queued').waitFor()
      await page.getByRole('button', { name: 'Enable', exact: true }).click()
      await page.getByText('It is enabled.').waitFor()
      await system.sql("UPDATE auth.webhooks SET enabled = false, disabled_reason = 'failing'")
      await page.reload()
      await page.getByText('every delivery had failed for three days').waitFor()
      await system.sql("UPDATE auth.webhooks SET disabled_reason = 'gone'")
      await page.reload()
      await page.getByText('it wants no more (410)').waitFor()
      await page.getByRole('button', { name: 'Change', exact: true }).click()
      await dialog.getByLabel('Name').fill('CRM')
      await button('Save').click()
      await page.getByRole('heading', { name: 'CRM', level: 1 }).waitFor()
      await system.sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
      await page.getByRole('button', { name: 'Delete', exact: true }).click()
      await button('Delete').click()
      await page.getByLabel('Password', { exact: true }).fill(demoPassword)
      await button('Confirm').click()
      await page.getByText('There is none yet').waitFor()
      await page.goBack()
      await page.getByRole('heading', { name: 'There is no such webhook' }).waitFor()
      await visit('/admin/webhooks/nobody')
      await page.getByRole('heading', { name: 'There is no such webhook' }).waitFor()
      t.strictSame(await faultsOf(page), [])
    },
  )

  await t.test('they are for admins alone', async (t) => {
    const { page, signIn, visit, close } = await open()
    await signIn('doctor@example.com')
    t.equal(await page.getByRole('link', { name: 'Webhooks' }).count(), 0)
    await visit('/admin/webhooks')
    await page.getByText('This page is for others').waitFor()
    await close()
  })
  t.strictSame(complaints, [], 'the browser had nothing to refuse')
})
