import { join } from 'node:path'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { choosePorts, launch } from '../support/started.ts'
import { temporaryFolder } from '../support/system.ts'

// A browser and seven processes on a slow machine need longer than a file of tests usually may.
t.setTimeout(300_000)

t.test('npm start to an invited colleague who has signed in, by pages alone', { skip: withoutBrowser }, async (t) => {
  const { child, ended, settled, state, ports } = launch({
    ...(await choosePorts()),
    DATA_DIR: join(temporaryFolder(t), 'data'),
  })
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  await settled
  t.match(state.output, 'admin@example.com')
  const open = await startBrowser(t)
  const { page, signIn } = await open(`http://localhost:${ports.WEB_PORT}`)
  await signIn('admin@example.com')
  await page.getByRole('link', { name: 'Users' }).click()
  await page.getByRole('button', { name: 'Invite' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('E-mail').fill('ines@example.com')
  await dialog.getByLabel('doctor').check()
  await dialog.getByRole('button', { name: 'Invite' }).click()
  await dialog.waitFor({ state: 'detached' })

  // The colleague's own browser, at the mailbox.
  const colleague = await open(`http://localhost:${ports.MAILBOX_PORT}`)
  const mailbox = colleague.page
  await colleague.visit('/')
  await mailbox.getByRole('link', { name: /ines@example\.com/ }).click()
  const opened = colleague.context.waitForEvent('page')
  await mailbox.frameLocator('iframe').getByRole('link', { name: 'Accept the invitation' }).click()
  const own = await opened
  await own.getByLabel('Name').fill('Ines Invited')
  await own.getByLabel('Password', { exact: true }).fill('seven quiet horses graze')
  await own.locator('form button[type="submit"]').click()
  await own.getByRole('navigation').waitFor()
  t.match(await own.getByRole('banner').innerText(), 'Ines Invited')
  t.strictSame(colleague.complaints, [])
})
