/// <reference lib="dom" />
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { axe, faultsOf } from '../support/axe.ts'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'
import { Client, claimsOf, eventually, signIn } from '../support/system.ts'

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

t.test('the pages for who is on call, in a real browser', { skip: withoutBrowser }, async (t) => {
  const { system, newUser, open } = await startWebApp(t, {}, true)
  const { gateway, sql } = system
  const { page, complaints, visit, signIn: enter } = await open({ scripts: [axe] })
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await enter('admin@example.com')
  const dialog = page.getByRole('dialog')
  const row = (text: string | RegExp) => page.getByRole('listitem').filter({ hasText: text })
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent)

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

  const email = await newUser()
  const id = (await sql('SELECT id FROM auth.users WHERE email = $1', [email])).rows[0].id as string

  await t.test('one session of a person ends, and the others go on', async (t) => {
    const clients = [await signIn(gateway, email), await signIn(gateway, email)]
    await visit(`/users/${id}`)
    const sessions = page
      .locator('section')
      .filter({ has: page.getByRole('heading', { name: 'Sessions', exact: true }) })
    const ends = sessions.getByRole('button', { name: 'End the session of' })
    await ends.nth(1).waitFor()
    await ends.first().focus()
    await page.keyboard.press('Enter')
    await sessions.getByText('Ended by an administrator').waitFor()
    t.equal(await ends.count(), 1)
    t.equal(await focused(), 'main', 'the focus is not lost')
    const statuses = await Promise.all(clients.map(async (client) => (await client.refresh()).status))
    t.strictSame(statuses.sort(), [200, 401])
    await row('Session ended').getByText('by Ada Admin').waitFor()
  })

  await t.test('the factors of a person are seen with their dates, and taken away', async (t) => {
    await page.getByText('The password alone signs in').waitFor()
    await sql("INSERT INTO auth.totp (user_id, secret, key_id, last_step) VALUES ($1, 'sealed', 'x', 0)", [id])
    await sql(
      `INSERT INTO auth.passkeys (id, user_id, public_key, counter, name, transports, backup_eligible, backed_up, last_used_at)
       VALUES ('some-credential', $1, 'hush', 0, $2, '{}', true, true, now() - interval '3 hours'),
         ('other-credential', $1, 'hush', 0, 'New key', '{}', false, false, NULL)`,
      [id, 'Schlüsselbund'.repeat(6)],
    )
    await page.reload()
    await row('Authenticator app').getByText('Set up just now').waitFor()
    await row('Schlüsselbund').getByText('last used 3 hours ago').waitFor()
    await row('New key').getByText('never used').waitFor()
    t.match(await row('Schlüsselbund').locator('time').last().getAttribute('title'), /\d{4}/, 'with when it was')
    await isForEverybody()
    t.notMatch(await page.content(), /sealed|some-credential/, 'and nothing that could be used as one')
    await page.getByRole('button', { name: 'Reset sign-in methods' }).click()
    await dialog.getByRole('button', { name: 'Reset sign-in methods' }).click()
    await page.getByText('The password alone signs in').waitFor()
  })

  await t.test('wrong passwords are counted, and forgotten', async () => {
    for (let time = 0; time < 3; time++) await new Client(gateway).login(email, 'wrong')
    await page.reload()
    await page.getByText('3 since a right one').waitFor()
    await page.getByRole('button', { name: 'Unlock' }).click()
    await dialog.getByRole('button', { name: 'Unlock' }).click()
    await page.getByText('3 since a right one').waitFor({ state: 'detached' })
  })

  await t.test('one button ends everything of a person, until they are enabled again', async (t) => {
    const client = await signIn(gateway, email)
    await page.getByRole('button', { name: 'End everything' }).click()
    t.match(await dialog.textContent(), /every session ends at once/)
    await dialog.getByRole('button', { name: 'End everything' }).click()
    await page.getByText('Disabled', { exact: true }).waitFor()
    t.match(await client.refresh(), { status: 401, body: { reason: 'disabled' } })
    t.equal((await client.login(email)).status, 401)
    await page.getByRole('button', { name: 'Enable' }).click()
    await dialog.getByRole('button', { name: 'Enable' }).click()
    await page.getByText('May sign in', { exact: true }).waitFor()
    t.equal((await client.login(email)).status, 200)
  })

  const events = page.getByRole('list', { name: 'Events, the newest first' }).getByRole('listitem')

  await t.test("a person's events lead to where they are filtered", async (t) => {
    await page.getByRole('link', { name: 'Live, and to filter' }).click()
    await page.getByRole('heading', { name: 'Events' }).waitFor()
    await events.first().waitFor()
    t.match(page.url(), `user=${id}`)
    await page.getByText('Some One').first().waitFor()
    await page.getByRole('button', { name: 'Of everybody' }).click()
    t.notMatch(page.url(), 'user=')
    await events.filter({ hasText: 'Ada Admin' }).first().waitFor()
  })

  await t.test('new events come by themselves, unless that is paused', async (t) => {
    await page.getByRole('status').filter({ hasText: 'Live' }).waitFor()
    const failures = events.filter({ hasText: 'Login failed' }).filter({ hasText: '203.0.113.9' })
    const fail = () =>
      new Client(gateway).call('POST', '/api/auth/login', {
        body: { email, password: 'wrong' },
        headers: { 'x-forwarded-for': '203.0.113.9' },
      })
    await fail()
    await failures.first().waitFor({ timeout: 10_000 })
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('status').filter({ hasText: 'Paused' }).waitFor()
    const looks: string[] = []
    page.on('request', (request) => looks.push(request.url()))
    await fail()
    await page.waitForTimeout(2_500)
    t.strictSame(looks, [], 'it does not even look')
    t.equal(await failures.count(), 1)
    await page.getByRole('button', { name: 'Go on' }).click()
    await failures.nth(1).waitFor({ timeout: 10_000 })
    page.removeAllListeners('request')
    await isForEverybody()
  })

  await t.test('a flood of events leaves no hole', async () => {
    await sql(
      `INSERT INTO auth.security_events (event, user_id, ip) SELECT 'login_failed', $1, '198.51.100.' || n % 250 FROM generate_series(1, 300) n`,
      [id],
    )
    const { rows } = await sql('SELECT id, ip FROM auth.security_events ORDER BY at DESC, id DESC LIMIT 20')
    await eventually('the newest are there', async () => {
      const texts = await events.allTextContents()
      return rows.every(({ ip }, at) => texts[at]?.includes(ip))
    })
    while ((await events.count()) < 60) await page.getByRole('button', { name: 'Show more' }).click()
    const inOrder = async () => (await events.filter({ hasText: '198.51.100.' }).count()) === (await events.count())
    await eventually('one page comes after the other', inOrder)
  })

  await t.test('they are found by person, event, service account and time, also from the address', async (t) => {
    await page.getByLabel('Person', { exact: true }).fill('nobody-like-that')
    await page.getByText('No address has').waitFor()
    await page.getByLabel('Person', { exact: true }).fill(email)
    await page.getByRole('button', { name: email }).click()
    await page.getByLabel('Event', { exact: true }).selectOption('user_disabled')
    await eventually('only that is left', async () => (await events.count()) === 1)
    t.match(await events.first().textContent(), /User disabled.*Some One.*by Ada Admin/)
    await page.reload()
    await events.first().waitFor()
    t.equal(await events.count(), 1, 'the address has the filter')

    const admin = await signIn(gateway, 'admin@example.com')
    const { body: machine } = await admin.call('POST', '/api/admin/clients', { body: { name: 'Night jobs' } })
    await visit(`/admin/machines/${machine.id}`)
    await page.locator('.page-head').getByRole('link', { name: 'Events' }).click()
    await events.filter({ hasText: 'Client created' }).waitFor()
    t.equal(await events.count(), 1)
    t.equal(await page.getByLabel('Service account').inputValue(), machine.id)
    await page.getByRole('button', { name: 'Clear' }).click()

    await page.getByLabel('Until').fill('2020-01-01T00:00')
    await page.getByText('Nothing like that').waitFor()
    await page.getByText('That time is over').waitFor()
    await page.getByLabel('From').fill('2019-01-01T00:00')
    t.match(new URL(page.url()).searchParams.get('from'), /^201[89]-.*Z$/)
    await page.getByRole('button', { name: 'Clear' }).click()
    await events.first().waitFor()
  })

  await t.test('a filter in the address that is none says so, and injects nothing', async () => {
    for (const query of ['user=<img src=x onerror=alert(1)>', 'event=%00', 'from=yesterday', 'to=<b>']) {
      await visit(`/admin/events?${query}`)
      await page.getByRole('alert').waitFor()
    }
    await visit('/admin/events?event=nothing_like_it')
    await page.getByText('Nothing like that').waitFor()
  })

  await t.test('what matches is downloaded, a line of JSON each', async (t) => {
    await visit(`/admin/events?user=${id}&event=login_failed`)
    await events.first().waitFor()
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download' }).click(),
    ])
    t.equal(download.suggestedFilename(), 'events.ndjson')
    const lines = readFileSync(await download.path(), 'utf8')
      .trimEnd()
      .split('\n')
    const { rows } = await sql(
      "SELECT count(*)::int FROM auth.security_events WHERE user_id = $1 AND event = 'login_failed'",
      [id],
    )
    t.equal(lines.length, rows[0].count)
    for (const line of lines) t.match(JSON.parse(line), { event: 'login_failed', user: id })
  })

  await t.test('a system that is well says so, in every part', async (t) => {
    await page.getByRole('link', { name: 'Health' }).click()
    await page.getByRole('heading', { name: 'All is well' }).waitFor({ timeout: 30_000 })
    for (const name of ['Processes', 'Ended sessions', 'Database', 'Queue', 'Mail', 'Keys of access tokens'])
      await page.getByRole('region', { name }).getByText('OK').first().waitFor()
    await page.getByText('Not set up').waitFor()
    t.equal(await row(/Auth [0-9a-f]{8}/).count(), 1)
    t.equal(await row(/Gateway [0-9a-f]{8}/).count(), 1)
    await isForEverybody()
  })

  await t.test('what is not well comes by itself, the worst first, each with what to do', async (t) => {
    const add = (ago: number, state: object) =>
      sql(
        `INSERT INTO auth.replicas (id, kind, version, started_at, seen_at, state)
         SELECT $1, kind, version, started_at - interval '1 hour', now() - $2 * interval '1 second', state || $3::jsonb
         FROM auth.replicas WHERE kind = 'gateway' LIMIT 1`,
        [randomUUID(), ago, JSON.stringify(state)],
      )
    await add(90, {})
    await add(-600, { streamAge: 40, keys: ['another'] })
    await sql(`INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('mail') ON CONFLICT DO NOTHING`)
    await sql(`INSERT INTO graphile_worker._private_jobs (task_id, payload, max_attempts, attempts, last_error, run_at)
      SELECT (SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'mail'), '{}', 13, 13, 'EENVELOPE',
        now() + exp(10) * interval '1 second'`)
    await page.getByRole('heading', { name: 'Something is broken' }).waitFor({ timeout: 30_000 })
    const problems = page.getByRole('region', { name: 'What needs you' }).getByRole('listitem')
    const texts = await problems.allTextContents()
    t.equal(texts.length, 4)
    t.match(texts.join('\n'), /^Failure.*Ended.*\nFailure.*Keys.*\nWarning.*Queue.*\nWarning.*Gateway.*goodbye/)
    await row('EENVELOPE').getByText('after 13 tries').waitFor()
    await page.getByText(/^not at Gateway/).waitFor()
    await isForEverybody()
    await sql('DELETE FROM graphile_worker._private_jobs')
    await sql(
      "DELETE FROM auth.replicas WHERE kind = 'gateway' AND NOT (seen_at < now() AND seen_at > now() - interval '30 s')",
    )
    await page.getByRole('button', { name: 'Look now' }).click()
    await page.getByRole('heading', { name: 'All is well' }).waitFor({ timeout: 30_000 })
  })

  await t.test('on a phone the places for admins are behind a button, by keyboard too', async (t) => {
    await page.setViewportSize({ width: 360, height: 700 })
    const link = page.getByRole('link', { name: 'Events' })
    t.equal(await link.isVisible(), false)
    const button = page.getByRole('button', { name: 'Admin' })
    await button.focus()
    await page.keyboard.press('Enter')
    await link.waitFor()
    t.strictSame(await faultsOf(page), [])
    await page.keyboard.press('Escape')
    await link.waitFor({ state: 'hidden' })
    t.match(await focused(), 'Admin', 'the focus is back')
    await page.keyboard.press('Enter')
    await link.click()
    await page.getByRole('heading', { name: 'Events' }).waitFor()
    t.equal(await link.isVisible(), false, 'it has closed')
    await page.setViewportSize({ width: 1280, height: 720 })
  })

  await t.test('they are for admins alone, and end with the session', async (t) => {
    const doctor = await open()
    await doctor.signIn(email)
    for (const path of ['/admin/events', '/admin/health']) {
      await doctor.visit(path)
      await doctor.page.getByRole('heading', { level: 1 }).waitFor()
      t.equal(await doctor.page.getByRole('heading', { name: /^(Events|Health)$/ }).count(), 0, path)
      t.equal(await doctor.page.getByRole('button', { name: 'Admin' }).count(), 0)
    }
    await doctor.close()
    const { sid } = claimsOf((await page.evaluate(() => localStorage.getItem('accessToken'))) as string)
    t.notMatch(await page.content(), /eyJ[\w-]{20}/, 'no part of a token is in the page')
    await visit('/admin/events')
    await events.first().waitFor()
    await sql("UPDATE auth.sessions SET revoked_at = now(), revoked_reason = 'revoked_by_admin' WHERE id = $1", [sid])
    // The next look is refused, and nobody did anything.
    await page.getByLabel('Password', { exact: true }).waitFor({ timeout: 20_000 })
  })
  t.strictSame(complaints, [], 'the browser had nothing to refuse')
})
