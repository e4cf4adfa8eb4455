import { randomUUID } from 'node:crypto'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { createOutbound } from '@sallyport/auth/outbound'
import { openSecrets, resealWebhookSecrets } from '@sallyport/auth/webhooks/secrets'
import { createSender } from '@sallyport/auth/webhooks/send'
import { forgetOfWebhooks } from '@sallyport/auth/webhooks/upkeep'
import { startWebhooks } from '@sallyport/auth/webhooks/worker'
import { createLogger } from '@sallyport/chassis'
import t from 'tap'
import { eventually, signIn, startDatabase } from '../support/system.ts'
import { type Delivered, openWebhooks, startReceiver, verify } from '../support/webhooks.ts'

t.setTimeout(120_000)

t.test('deliveries to webhooks', async (t) => {
  const system = await openWebhooks(t)
  const { make, sql, administer, receiver, database, secrets, log } = system
  const { rows: people } = await sql('SELECT id, name FROM auth.users ORDER BY id LIMIT 2')
  const [anna, ben] = people.map(({ id }) => id) as [string, string]
  let names = 0
  /** Something that happens to a person. @returns which name they have then */
  async function rename(id: string): Promise<string> {
    names += 1
    await sql('UPDATE auth.users SET name = $2 WHERE id = $1', [id, `name ${names}`])
    return `name ${names}`
  }
  const namesOf = (received: Delivered[], id: string) =>
    received.filter(({ data }) => data.user === id).map(({ data }) => data.name)
  const takeAll = () => {
    receiver.respond = (_, response) => response.writeHead(204).end()
  }
  const refuse = (status: number, headers: Record<string, string> = {}, when = (_: Delivered) => true) => {
    receiver.respond = (delivered, response) =>
      (when(delivered) ? response.writeHead(status, headers) : response.writeHead(204)).end()
  }
  const problem = (status: number, code: string) => ({ status, body: { code } })
  t.afterEach(takeAll)

  await t.test('what failed is tried again with the same id, and signed anew', async (t) => {
    const webhook = await make(['user.changed'])
    refuse(500)
    await rename(anna)
    await webhook.settled(1)
    t.match(await webhook.deliveries(), [
      {
        type: 'user.changed',
        subject: anna,
        state: 'pending',
        attempts: 1,
        status: 500,
        error: 'STATUS',
        nextAt: String,
      },
    ])
    t.match(await webhook.details(), { waiting: 1, dead: 0, failingSince: String })
    takeAll()
    await webhook.due()
    const [first, second] = await webhook.wait(2)
    await webhook.settled()
    t.equal(first?.id, second?.id)
    t.equal(first?.body, second?.body)
    verify(webhook.secret, second as Delivered)
    const [delivered] = await webhook.deliveries()
    t.match(delivered, { state: 'delivered', event: first?.id, attempts: 1, status: 204, error: null, nextAt: null })
    t.match(await webhook.details(), { waiting: 0, failingSince: null })
    t.ok(log.some((line) => line.includes('"webhook_failed"')))
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('each person’s come in their order, and nobody waits for another one', async (t) => {
    const webhook = await make(['user.changed'])
    refuse(500, {}, ({ data }) => data.user === anna)
    const annas = [await rename(anna)]
    await webhook.settled(1)
    const bens: string[] = []
    for (let at = 0; at < 3; at++) {
      annas.push(await rename(anna))
      bens.push(await rename(ben))
    }
    await webhook.wait(4)
    await eventually('what waits is put off', async () => {
      const { rows } = await sql(
        "SELECT FROM auth.webhook_deliveries WHERE webhook_id = $1 AND state = 'pending' AND next_at <= now()",
        [webhook.id],
      )
      return rows.length === 0
    })
    t.strictSame(namesOf(webhook.received(), ben), bens)
    t.strictSame(namesOf(webhook.received(), anna), annas.slice(0, 1), 'behind the one that is to come first')
    takeAll()
    await webhook.due()
    await webhook.settled()
    t.strictSame(namesOf(webhook.received(), anna), [annas[0], ...annas])
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('after three days it is given up, and the next of its person has its turn', async (t) => {
    const webhook = await make(['user.changed'])
    refuse(500)
    const [first, second] = [await rename(anna), await rename(anna)]
    await webhook.wait(1)
    await eventually('it has failed', async () => (await webhook.deliveries())[1].attempts === 1)
    await webhook.due('3 days')
    await eventually('both are given up', async () => (await webhook.details()).dead === 2)
    t.strictSame(namesOf(webhook.received(), anna), [first, first, second], 'each was tried')
    t.match(await webhook.deliveries('?state=dead'), [
      { state: 'dead', attempts: 1 },
      { state: 'dead', attempts: 2 },
    ])
    t.strictSame(await webhook.deliveries('?state=delivered'), [])

    await t.test('and is replayed, one or a span of them, with the same ids and in their order', async (t) => {
      takeAll()
      const [, { id }] = await webhook.deliveries()
      const replay = (delivery: string) => administer('POST', `webhooks/${webhook.id}/deliveries/${delivery}/replay`)
      t.match(await replay(id), { status: 200, body: { replayed: 1 } })
      await webhook.wait(4)
      await eventually('it is delivered', async () => (await webhook.details()).waiting === 0)
      t.equal(webhook.received()[3]?.id, webhook.received()[0]?.id)
      t.match(await webhook.deliveries(), [{ state: 'dead' }, { state: 'delivered', attempts: 0 }])
      const span = {
        from: new Date(Date.now() - 60_000).toISOString(),
        to: new Date(Date.now() + 60_000).toISOString(),
      }
      const replaySpan = (body: object) => administer('POST', `webhooks/${webhook.id}/replay`, { ...span, ...body })
      t.match(await replaySpan({ state: 'dead' }), { body: { replayed: 1 } })
      await webhook.wait(5)
      await eventually('it is delivered', async () => (await webhook.details()).waiting === 0)
      t.match(await replaySpan({}), { body: { replayed: 2 } })
      await webhook.wait(7)
      await webhook.settled()
      t.strictSame(namesOf(webhook.received(), anna).slice(3), [first, second, first, second])
      t.equal(new Set(webhook.received().map(({ id }) => id)).size, 2)
      t.match(await replaySpan({ to: span.from }), { body: { replayed: 0 } })
      t.match(await replaySpan({ state: 'pending' }), problem(400, 'REQUEST_INVALID'))
      t.match(await replay('99999'), problem(404, 'DELIVERY_NOT_FOUND'))
      refuse(500)
      await replay(id)
      t.match(await replay(id), problem(409, 'DELIVERY_PENDING'))
    })
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('a receiver that says 410 is notified of nothing more', async (t) => {
    const webhook = await make(['user.changed'])
    refuse(410)
    await rename(anna)
    await eventually('it is disabled', async () => !(await webhook.details()).enabled)
    t.match(await webhook.details(), { disabledReason: 'gone', dead: 1 })
    const { rows } = await sql("SELECT reason FROM auth.security_events WHERE event = 'webhook_disabled'")
    t.strictSame(rows, [{ reason: `gone ${webhook.id}` }])
    t.ok(log.some((line) => line.includes('"webhook_disabled"')))
    await rename(anna)
    t.equal((await webhook.deliveries()).length, 1, 'nothing is queued for it')
    await administer('PATCH', `webhooks/${webhook.id}`, { enabled: true })
    t.match(await webhook.details(), { enabled: true, disabledReason: null })
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('one that has failed for three days is disabled, until somebody enables it', async (t) => {
    const webhook = await make(['user.changed'])
    refuse(500)
    await rename(anna)
    await webhook.settled(1)
    await sql("UPDATE auth.webhooks SET failing_since = now() - interval '3 days' WHERE id = $1", [webhook.id])
    await webhook.due()
    await eventually('it is disabled', async () => !(await webhook.details()).enabled)
    t.match(await webhook.details(), { disabledReason: 'failing', waiting: 1 }, 'what is queued waits')
    takeAll()
    await administer('PATCH', `webhooks/${webhook.id}`, { enabled: true })
    await webhook.due()
    await webhook.settled()
    t.equal(webhook.received().length, 3)
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('a receiver that wants a pause has it, for everybody', async (t) => {
    for (const status of [429, 503]) {
      const webhook = await make(['user.changed'])
      refuse(status, { 'retry-after': '120' })
      await rename(anna)
      await webhook.settled(1)
      takeAll()
      await rename(ben)
      const [{ seconds }] = (
        await sql('SELECT extract(epoch FROM resumes_at - now())::float8 AS seconds FROM auth.webhooks WHERE id = $1', [
          webhook.id,
        ])
      ).rows
      t.ok(seconds > 60 && seconds <= 120)
      t.match(await webhook.details(), { waiting: 2 })
      await sql('UPDATE auth.webhooks SET resumes_at = now() WHERE id = $1', [webhook.id])
      await webhook.wait(2)
      t.strictSame(namesOf(webhook.received(), ben).length, 1)
      await administer('DELETE', `webhooks/${webhook.id}`)
    }
  })

  await t.test('nobody waits for a receiver that is slow or dead', async (t) => {
    const [slow, dead, fine] = [
      await make(['user.changed']),
      await make(['user.changed'], `https://localhost:1024/${randomUUID()}`),
      await make(['user.changed']),
    ]
    receiver.respond = ({ path }, response) => void (path === slow.path || response.writeHead(204).end())
    for (let at = 0; at < 5; at++) for (const id of [anna, ben]) await rename(id)
    await fine.wait(10)
    await dead.settled(1).catch(() => {})
    t.equal(slow.received().length, 2, 'one for each person')
    for (const { id } of (await sql('SELECT id FROM auth.users WHERE id <> ALL ($1)', [[anna, ben]])).rows)
      await rename(id)
    await sql(`INSERT INTO auth.users (id, email, name, password_hash, roles)
      SELECT gen_random_uuid(), 'more-' || n || '@example.com', 'n', '!', '{patient}' FROM generate_series(1, 9) n`)
    await sql(`UPDATE auth.users SET name = 'm' WHERE email LIKE 'more-%'`)
    await eventually('no more than four at once', () => slow.received().length === 4)
    t.match((await dead.deliveries()).at(-1), { error: /its address is one inside/ })
    for (const { id } of [slow, dead, fine]) await administer('DELETE', `webhooks/${id}`)
  })

  await t.test('two secrets sign for a day, and never three', async (t) => {
    const webhook = await make(['user.changed'])
    const rotate = async () => (await administer('POST', `webhooks/${webhook.id}/secrets`)).body.secret as string
    const next = async () => {
      const before = webhook.received().length
      await rename(anna)
      return (await webhook.wait(before + 1)).at(-1) as Delivered
    }
    const second = await rotate()
    const both = await next()
    verify(webhook.secret, both)
    verify(second, both)
    const shown = (await webhook.details()).secrets
    t.equal(shown.length, 2)
    t.equal(shown[0].expiresAt, null)
    t.ok(Math.abs(Date.parse(shown[1].expiresAt) - Date.now() - 86_400_000) < 60_000)
    const third = await rotate()
    const later = await next()
    verify(second, later)
    verify(third, later)
    t.throws(() => verify(webhook.secret, later))
    await sql('UPDATE auth.webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL')
    const last = await next()
    verify(third, last)
    t.throws(() => verify(second, last))
    t.equal((await webhook.details()).secrets.length, 1)
    await forgetOfWebhooks(database, 10)
    t.equal((await sql('SELECT FROM auth.webhook_secrets WHERE webhook_id = $1', [webhook.id])).rows.length, 1)
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('a secret stays the same when what seals it is another one', async (t) => {
    const webhook = await make(['user.changed'])
    const factorKeys = [secrets.FACTOR_KEY as string]
    const keyOf = (...keys: string[]) => createFactorKey({ current: { factorKeys: keys as [string] } })
    const sealed = async () =>
      (await sql('SELECT secret FROM auth.webhook_secrets WHERE webhook_id = $1', [webhook.id])).rows.map(
        ({ secret }) => secret,
      )
    const other = keyOf('x'.repeat(64), ...factorKeys)
    t.equal(await resealWebhookSecrets(database, other, 10), 1)
    t.equal(await resealWebhookSecrets(database, other, 10), 0)
    t.strictSame(openSecrets(keyOf('x'.repeat(64)), webhook.id, await sealed()), [webhook.secret])
    t.strictSame(openSecrets(keyOf('x'.repeat(64)), randomUUID(), await sealed()), [], 'it is for one webhook')
    await rename(anna)
    await webhook.settled(1)
    t.match(await webhook.deliveries(), [{ error: 'SECRET_UNREADABLE' }], 'without the key nothing is sent')
    t.equal(await resealWebhookSecrets(database, keyOf(...factorKeys, 'x'.repeat(64)), 10), 1)
    await sql("UPDATE auth.webhook_secrets SET secret = 'bm90aGluZw==', key_id = $1", [keyOf('y').ids[0]])
    t.equal(await resealWebhookSecrets(database, keyOf('z', 'y'), 10), 0, 'what no key opens stays')
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('they are shown a page at a time', async (t) => {
    const webhook = await make(['user.changed'])
    for (let at = 0; at < 3; at++) await rename(anna)
    await webhook.settled()
    const page = async (query: string) =>
      (await administer('GET', `webhooks/${webhook.id}/deliveries?limit=2${query}`)).body
    const first = await page('')
    t.equal(first.deliveries.length, 2)
    const rest = await page(`&cursor=${first.nextCursor}`)
    t.match(rest, { deliveries: [{ state: 'delivered' }], nextCursor: null })
    t.ok(BigInt(first.deliveries[1].id) > BigInt(rest.deliveries[0].id), 'the newest first')

    await t.test('and 10,000 are replayed at once at most', async (t) => {
      await sql(
        `INSERT INTO auth.webhook_deliveries (webhook_id, event_id, state, settled_at)
         SELECT $1, (SELECT id FROM auth.webhook_events LIMIT 1), 'delivered', now() FROM generate_series(1, 10000)`,
        [webhook.id],
      )
      const span = { from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z' }
      t.match(await administer('POST', `webhooks/${webhook.id}/replay`, span), problem(409, 'REPLAY_LIMIT'))
    })

    await t.test('for 30 days', async (t) => {
      const count = async () => (await sql('SELECT count(*)::int FROM auth.webhook_events')).rows[0].count
      refuse(500)
      await rename(ben)
      await webhook.settled(1)
      const before = await count()
      await forgetOfWebhooks(database, 100_000)
      t.equal(await count(), before)
      await sql("UPDATE auth.webhook_events SET at = at - interval '30 days'")
      await sql(`UPDATE auth.webhook_deliveries SET settled_at = settled_at - interval '30 days' WHERE id <> $1`, [
        first.deliveries[0].id,
      ])
      await forgetOfWebhooks(database, 100_000)
      t.equal(await count(), 2, 'but what was settled later, or is still to be sent')
      await administer('PATCH', `webhooks/${webhook.id}`, { enabled: false })
      await forgetOfWebhooks(database, 100_000)
      t.equal(await count(), 1, 'which it is not to a webhook that is disabled')
    })
    await administer('DELETE', `webhooks/${webhook.id}`)
  })
  t.ok(await signIn(system.gateway))
})

t.test('a process that ends gives back what it was sending', async (t) => {
  const [{ database, sql }, receiver] = [await startDatabase(t), await startReceiver(t)]
  const factorKey = createFactorKey({ current: { factorKeys: ['x'.repeat(64)] } })
  await sql("INSERT INTO auth.webhooks (id, name, url, events) VALUES (gen_random_uuid(), 'x', $1, '{user.changed}')", [
    receiver.origin,
  ])
  const [{ id }] = (await sql('SELECT id FROM auth.webhooks')).rows
  const { addSecret } = await import('@sallyport/auth/webhooks/secrets')
  await database.$transaction((transaction) => addSecret(transaction, factorKey, id))
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
  const start = () =>
    startWebhooks({ database, factorKey, logger, sender: createSender(createOutbound([receiver.origin], 'X')) })

  receiver.respond = () => {}
  const stop = start()
  await sql("UPDATE auth.users SET name = 'other' WHERE email = 'doctor@example.com'")
  await eventually('it is being sent', () => receiver.received.length === 1)
  await stop()
  const { rows } = await sql('SELECT state, attempts, next_at <= now() AS due FROM auth.webhook_deliveries')
  t.strictSame(rows, [{ state: 'pending', attempts: 0, due: true }])
  receiver.respond = (_, response) => response.writeHead(204).end()
  const stopAgain = start()
  await eventually('it is sent again', () => receiver.received.length === 2)
  await stopAgain()
  t.equal(receiver.received[0]?.id, receiver.received[1]?.id)

  await t.test('and goes on when the database is back, with one line about it', async (t) => {
    await sql('ALTER TABLE auth.webhooks RENAME TO away')
    const stop = start()
    await eventually('it is noticed', () => lines.some((line) => line.includes('"webhook_queue_lost"')))
    await sql('ALTER TABLE auth.away RENAME TO webhooks')
    await sql("UPDATE auth.users SET name = 'another' WHERE email = 'doctor@example.com'")
    await eventually('it is sent', () => receiver.received.length === 3)
    await stop()
    t.equal(lines.filter((line) => line.includes('"webhook_queue_lost"')).length, 1)
  })
})
