/// <reference lib="dom" />
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { axe, faultsOf } from '../support/axe.ts'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'
import { demoPassword } from '../support/system.ts'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

/** A name as long as one may be, without a place to break it. */
const longName = 'Nächtlicher数据同步🤖'.repeat(10).slice(0, 90)

t.test('the pages about service accounts, in a real browser', { skip: withoutBrowser }, async (t) => {
  const { system, open } = await startWebApp(t, {}, true)
  const { page, complaints, visit, signIn } = await open({ scripts: [axe] })
  await page.emulateMedia({ reducedMotion: 'reduce' })
  const sent: string[] = []
  page.on('request', (request) => sent.push(request.postData() ?? ''))
  await signIn('admin@example.com')
  const dialog = page.getByRole('dialog')
  const button = (name: string) => dialog.getByRole('button', { name, exact: true })
  const row = (name: string) => page.getByRole('listitem').filter({ hasText: name })

  /** Whether what is open is for everybody: in both colours, and on a phone. */
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

  /** Adds a credential and takes down what is shown of it, once. */
  async function addCredential(kind: string, name: string) {
    await page.getByRole('button', { name: 'Add a credential' }).click()
    await dialog.getByLabel('Kind').selectOption(kind)
    await dialog.getByLabel('Name').fill(name)
    await button('Add').click()
    await dialog.getByText('It is shown only now').waitFor()
    await page.keyboard.press('Escape')
    await page.keyboard.press('Escape')
    const shown = await dialog.locator('code').allInnerTexts()
    t.strictSame(await faultsOf(page), [])
    await button('I have saved it').click()
    await row(name).waitFor()
    return shown
  }

  const tokenFor = (id: string, secret: string) =>
    fetch(`${system.gateway}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })

  await t.test('an admin makes one, and changes it', async (t) => {
    await page.getByRole('link', { name: 'Machines' }).click()
    await page.getByText('There is none yet').waitFor()
    await isForEverybody()
    await page.getByRole('button', { name: 'Make one' }).click()
    const name = dialog.getByLabel('Name')
    t.ok(await name.evaluate((input) => input === document.activeElement), 'begins at the name')
    await name.fill('Nightly report')
    await dialog.getByLabel('Roles').fill('Reporter')
    await button('Make').click()
    t.notOk(await dialog.getByLabel('Roles').evaluate((input: HTMLInputElement) => input.validity.valid))
    await dialog.getByLabel('Roles').fill(' reporter  auditor reporter ')
    await dialog.getByLabel('Scopes').fill('appointments:read')
    t.strictSame(await faultsOf(page), [])
    await button('Make').click()
    await page.getByRole('heading', { name: 'Nightly report', level: 1 }).waitFor()
    const chips = await page.locator('.details .chip').allInnerTexts()
    t.strictSame(chips.slice(0, 3), ['reporter', 'auditor', 'appointments:read'])
    t.equal(chips.length, 4, 'and an audience, the API as a whole')

    await page.getByRole('button', { name: 'Change' }).click()
    await dialog.getByLabel('Name').fill(longName)
    await dialog.getByLabel('Scopes').fill(`appointments:read ${'x'.repeat(64)} ${'y'.repeat(64)}`)
    await button('Save').click()
    await page.getByRole('heading', { name: longName, level: 1 }).waitFor()
    await isForEverybody()
    await page.getByRole('link', { name: 'Machines' }).first().click()
    await row(longName).getByText('never used').waitFor()
    await isForEverybody()
    await page.getByRole('link', { name: longName }).click()
  })

  await t.test('a secret is shown once, works, and works no more once it is revoked', async (t) => {
    const [id = '', secret = ''] = await addCredential('secret', 'Of the cluster')
    t.notMatch(await page.content(), secret)
    t.equal((await tokenFor(id, secret)).status, 200)
    await page.reload()
    await row('Of the cluster').getByText('last used just now').waitFor()
    t.notMatch(await page.content(), secret)
    await page.getByRole('button', { name: 'Revoke Of the cluster' }).click()
    await button('Revoke').click()
    await row('Of the cluster').waitFor({ state: 'detached' })
    t.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the focus is not lost')
    t.equal((await tokenFor(id, secret)).status, 401)
  })

  await t.test('an API key is shown once, until a last day', async (t) => {
    const [key] = await addCredential('api_key', longName)
    t.match(key, /^sp_[0-9a-f]{32}_[0-9A-Za-z]{49}$/)
    await isForEverybody()
  })

  await t.test('public keys are pasted, and private ones are not sent', async (t) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const asSet = (key: typeof publicKey) =>
      JSON.stringify({ keys: [{ ...key.export({ format: 'jwk' }), kid: 'first', alg: 'ES256' }] })
    await page.getByRole('button', { name: 'Add a credential' }).click()
    await dialog.getByLabel('Kind').selectOption('keys')
    await dialog.getByLabel('Name').fill('Rotating')
    const keys = dialog.getByLabel('JWK Set')
    const refusals = {
      '{"keys"': 'This is neither',
      [asSet(privateKey)]: 'There is a private key',
      '{"keys":[]}': 'The JWK Set is of no use',
      'http://127.0.0.1:1/jwks.json': 'The JWK Set is of no use',
      'https://localhost:1/jwks.json': 'its address is one inside',
    }
    for (const [pasted, words] of Object.entries(refusals)) {
      await keys.fill(pasted)
      await button('Add').click()
      await dialog.getByRole('alert').filter({ hasText: words }).waitFor()
    }
    const { d } = privateKey.export({ format: 'jwk' })
    t.notOk(sent.some((body) => body.includes(d as string)))
    await keys.fill(asSet(publicKey))
    await button('Add').click()
    await row('Rotating').getByText('first (ES256)').waitFor()
    t.equal(await dialog.count(), 0, 'there is nothing to save')
  })

  await t.test('it may act for its callers at an audience, until that is removed', async () => {
    await page.getByRole('button', { name: 'Add an audience' }).click()
    await dialog.getByLabel('Where it is called').fill('notifications')
    await dialog.getByLabel('What it calls').fill('appointments')
    await dialog.getByLabel('Roles').fill('doctor')
    await button('Allow').click()
    await row('At appointments').getByText('Roles carried over: doctor').waitFor()
    await isForEverybody()
    await page.getByRole('button', { name: 'Remove appointments for notifications' }).click()
    await button('Remove').click()
    await page.getByText('Nowhere').waitFor()
  })

  await t.test('after a while the admin confirms who they are, and it goes on; then it is gone', async (t) => {
    await system.sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
    await page.getByRole('button', { name: 'Delete' }).click()
    t.match(await dialog.textContent(), 'its 2 credentials work no more')
    await button('Delete').click()
    await page.getByLabel('Password', { exact: true }).fill(demoPassword)
    await button('Confirm').click()
    await page.getByText('There is none yet').waitFor()
    await page.goBack()
    await page.getByRole('heading', { name: 'There is no such service account' }).waitFor()
    await visit('/admin/machines/nobody')
    await page.getByRole('heading', { name: 'There is no such service account' }).waitFor()
  })

  await t.test('they are for admins alone', async (t) => {
    const { page, signIn, visit, close } = await open()
    await signIn('doctor@example.com')
    t.equal(await page.getByRole('link', { name: 'Machines' }).count(), 0)
    await visit('/admin/machines')
    await page.getByText('This page is for others').waitFor()
    await close()
  })
  t.strictSame(complaints, [], 'the browser had nothing to refuse')
})
