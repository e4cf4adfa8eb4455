import { randomUUID } from 'node:crypto'
import { eventTypes } from '@sallyport/auth/webhooks/event-types'
import pg from 'pg'
import t from 'tap'
import { password } from '../support/accounts.ts'
import { Client, demoPassword, eventually, signIn } from '../support/system.ts'
import { openWebhooks, verify } from '../support/webhooks.ts'

t.setTimeout(120_000)

t.test('a webhook is notified of what happens', async (t) => {
  const system = await openWebhooks(t)
  const { make, sql, gateway, register, enrolTotp, enrolPasskey, administer, makeMachine, addExchange, call } = system
  const all = await make(eventTypes)
  let seen = 0
  /** What came since, in its order. */
  const since = async (count: number) => {
    const received = (await all.wait(seen + count)).slice(seen)
    seen += received.length
    for (const delivered of received) verify(all.secret, delivered)
    return received.map(({ type, data }) => ({ type, data }))
  }

  const nina = await register('nina@example.com')
  const user = { user: nina.id }
  await t.test('a user was created', async (t) => {
    t.match(await since(1), [
      {
        type: 'user.created',
        data: {
          ...user,
          email: 'nina@example.com',
          name: 'Nina',
          roles: ['patient'],
          disabled: false,
          deleteAfter: null,
        },
      },
    ])
  })

  await t.test('a user was changed, in what', async (t) => {
    await administer('PATCH', `users/${nina.id}`, { name: 'Nina B.', roles: ['patient', 'doctor'] })
    t.match(await since(1), [
      {
        type: 'user.changed',
        data: { ...user, name: 'Nina B.', roles: ['patient', 'doctor'], changed: ['name', 'roles'] },
      },
    ])
    await administer('PATCH', `users/${nina.id}`, { locale: 'de' })
    await sql(
      "UPDATE auth.users SET email = 'other@example.com', password_version = password_version + 1 WHERE id = $1",
      [nina.id],
    )
    t.match(
      await since(1),
      [{ data: { email: 'other@example.com', changed: ['email', 'password'] } }],
      'not its locale',
    )
    await sql("UPDATE auth.users SET email = 'nina@example.com' WHERE id = $1", [nina.id])
    await since(1)
  })

  await t.test('a session ended, why, however that was', async (t) => {
    const sessionOf = (client: Client) =>
      JSON.parse(Buffer.from((client.accessToken as string).split('.')[1] as string, 'base64url').toString()).sid
    const again = async () => {
      const client = new Client(gateway)
      await client.login('nina@example.com', password)
      return { client, session: sessionOf(client) }
    }
    const first = await again()
    await first.client.call('POST', '/api/auth/logout')
    t.match(await since(1), [{ type: 'session.ended', data: { ...user, session: first.session, reason: 'logout' } }])
    const second = await again()
    await sql('DELETE FROM auth.sessions WHERE id = $1', [second.session])
    t.match(await since(1), [{ data: { session: second.session, reason: 'revoked_by_admin' } }])
    const third = await again()
    await sql("UPDATE auth.sessions SET expires_at = now() - interval '2 days' WHERE id = $1", [third.session])
    await sql('DELETE FROM auth.sessions WHERE id = $1', [third.session])
    t.match(await since(1), [{ data: { session: third.session, reason: 'expired' } }])
  })

  await t.test('a login failed, of somebody or nobody', async (t) => {
    await new Client(gateway).login('nina@example.com', 'wrong')
    t.match(await since(1), [{ type: 'login.failed', data: { ...user, reason: 'wrong password' } }])
    await new Client(gateway).login('nobody@example.com', 'wrong')
    t.match(await since(1), [{ type: 'login.failed', data: { user: null, reason: 'unknown e-mail' } }])
  })

  await t.test('factors were added and removed, and codes used', async (t) => {
    await nina.login('nina@example.com', password)
    t.match(await since(1), [{ type: 'session.ended' }], 'of the one before')
    const { recoveryCodes = [] } = await enrolTotp(nina)
    t.match(await since(2), [
      { type: 'factor.added', data: { ...user, factor: 'totp' } },
      { type: 'factor.added', data: { ...user, factor: 'recovery_codes', left: recoveryCodes.length } },
    ])
    await enrolPasskey(nina)
    t.match(await since(1), [{ type: 'factor.added', data: { ...user, factor: 'passkey' } }])
    await sql('DELETE FROM auth.recovery_codes WHERE hash = (SELECT min(hash) FROM auth.recovery_codes)')
    t.match(await since(1), [
      { type: 'factor.removed', data: { factor: 'recovery_codes', left: recoveryCodes.length - 1 } },
    ])
    await administer('POST', `users/${nina.id}/factors/reset`)
    const types = (await since(4)).map(({ type, data }) => `${type} ${data.factor ?? data.reason}`)
    t.match(new Set(types), new Set(['factor.removed totp', 'factor.removed passkey', 'factor.removed recovery_codes']))
    await all.settled()
    seen = all.received().length
  })

  await t.test('of service accounts, and what they may do', async (t) => {
    const machine = await makeMachine({ name: 'nightly', roles: ['reporter'] })
    const client = { client: machine.id }
    t.match(await since(4), [
      { type: 'client.created', data: { ...client, name: 'nightly', roles: ['reporter'], scopes: [] } },
      { type: 'client.credential_added', data: { ...client, credential: machine.keysId, kind: 'keys' } },
      { type: 'client.credential_added', data: { ...client, credential: machine.secretId, kind: 'secret' } },
      { type: 'client.credential_added', data: { ...client, credential: machine.apiKeyId, kind: 'api_key' } },
    ])
    await administer('PATCH', `clients/${machine.id}`, { name: 'n', roles: [], scopes: ['a'], audiences: ['b'] })
    t.match(await since(1), [
      { type: 'client.changed', data: { ...client, changed: ['name', 'roles', 'scopes', 'audiences'] } },
    ])
    await addExchange(machine.id, { from: 'a', audience: 'b' })
    t.match(await since(1), [{ type: 'client.exchange_added', data: { ...client, from: 'a', audience: 'b' } }])
    await administer('DELETE', `clients/${machine.id}/credentials/${machine.secretId}`)
    t.match(await since(1), [{ type: 'client.credential_revoked', data: { ...client, credential: machine.secretId } }])
    await administer('DELETE', `clients/${machine.id}`)
    const types = (await since(4)).map(({ type }) => type)
    t.equal(types.at(-1), 'client.deleted', 'after what went with it')
    t.strictSame(types.slice(0, 3).sort(), [
      'client.credential_revoked',
      'client.credential_revoked',
      'client.exchange_removed',
    ])
  })

  await t.test('no secret, hash or address of the network is in any of it', async (t) => {
    const bodies = all.received().map(({ body }) => body)
    for (const what of [/hash/i, /"secret":/i, /argon2/, /\d+\.\d+\.\d+\.\d+/, /whsec_/, /"ip"/])
      t.notOk(
        bodies.some((body) => what.test(body)),
        String(what),
      )
  })

  await t.test('a user is deleted, and nothing but the id is left of them, also of what was to be sent', async (t) => {
    const other = await make(['user.created', 'user.deleted'])
    system.receiver.respond = ({ path }, response) =>
      response.writeHead(path === other.path && !isBack ? 500 : 204).end()
    let isBack = false
    const gone = await register('gone@example.com', 'Gregor Gone')
    await other.wait(1)
    await other.settled(1)
    t.match(await since(1), [{ type: 'user.created', data: { name: 'Gregor Gone' } }])
    await administer('DELETE', `users/${gone.id}`)
    t.match((await since(2)).at(-1), { type: 'user.changed', data: { changed: ['disabled', 'deleteAfter'] } })
    const [found] = (await sql('SELECT count(*)::int FROM auth.webhook_events WHERE data::text ~ $1', ['Gregor'])).rows
    t.ok(found.count > 0)
    await sql('UPDATE auth.users SET delete_after = now() WHERE id = $1', [gone.id])
    await sql('SELECT auth.erase_user($1)', [gone.id])
    t.match((await since(2)).at(-1), { type: 'user.deleted', data: { user: gone.id } })
    const { rows } = await sql('SELECT data FROM auth.webhook_events WHERE data::text ~ $1', ['[Gg]one'])
    t.strictSame(rows, [])
    isBack = true
    await other.due()
    const [, created, deleted] = await other.wait(3)
    t.strictSame(created?.data, { user: gone.id, erased: true })
    t.strictSame([created?.type, deleted?.type], ['user.created', 'user.deleted'])
    system.receiver.respond = (_, response) => response.writeHead(204).end()
  })

  await t.test('one that is emptied of all sessions at once says so of each that lasted', async (t) => {
    await signIn(gateway, 'doctor@example.com')
    await all.settled()
    const [{ live }] = (
      await sql('SELECT count(*)::int AS live FROM auth.sessions WHERE revoked_at IS NULL AND expires_at > now()')
    ).rows
    seen = all.received().length
    await sql('TRUNCATE auth.sessions')
    const ended = await since(live)
    t.ok(ended.every(({ type, data }) => type === 'session.ended' && data.reason === 'revoked_by_admin'))
  })
  t.equal((await call('GET', 'me')).status, 401)
})

t.test('administrators make, see, change and delete webhooks', async (t) => {
  const { make, administer, receiver, sql, gateway, url } = await openWebhooks(t)
  const nobody = randomUUID()
  const problem = (status: number, code: string) => ({ status, body: { code } })
  const good = { name: 'CRM', url: `${receiver.origin}/crm`, events: ['login.failed'] }

  await t.test('the secret is shown once, and is sealed in the database', async (t) => {
    const { status, body } = await administer('POST', 'webhooks', good)
    t.equal(status, 201)
    t.match(body, { ...good, enabled: true, disabledReason: null, failingSince: null, secret: /^whsec_[\w+/]{43}=$/ })
    const shown = [await administer('GET', 'webhooks'), await administer('GET', `webhooks/${body.id}`)]
    t.notMatch(JSON.stringify(shown), 'whsec_')
    t.match(shown[1]?.body, { secrets: [{ expiresAt: null }], waiting: 0, dead: 0 })
    const { rows } = await sql('SELECT * FROM auth.webhook_secrets')
    t.notMatch(JSON.stringify(rows), body.secret.slice(6))
    await administer('DELETE', `webhooks/${body.id}`)
  })

  await t.test('nothing is taken that is none', async (t) => {
    for (const wrong of [
      ...[
        { events: [] },
        { events: ['user.*'] },
        { events: ['webhook.test'] },
        { events: ['login.failed', 'login.failed'] },
      ],
      ...[{ name: '' }, { url: undefined }, { url: 'x'.repeat(2_049) }],
    ])
      t.match(await administer('POST', 'webhooks', { ...good, ...wrong }), problem(400, 'REQUEST_INVALID'))
    for (const url of [
      ...['', 'x', 'http://example.com/', 'http://127.0.0.1:1/', 'https://user:pass@example.com/', 'ftp://example.com'],
      ...['https://example.com:22/', 'https://example.com:1023/', 'https://example.com:0/', 'file:///etc/passwd'],
      ...[receiver.origin.replace('//', '//a@'), `${receiver.origin}0/`],
    ])
      t.match(await administer('POST', 'webhooks', { ...good, url }), problem(400, 'WEBHOOK_URL_INVALID'), url)
    const { id } = await make(['login.failed'])
    t.match(await administer('PATCH', `webhooks/${id}`, { url: 'http://x/' }), problem(400, 'WEBHOOK_URL_INVALID'))
    t.match(await administer('PATCH', `webhooks/${id}`, {}), problem(400, 'REQUEST_INVALID'))
    for (const url of ['https://example.com/', 'https://example.com:8443/a?b=c'])
      t.match(await administer('PATCH', `webhooks/${id}`, { url }), { status: 200, body: { url } })
    await administer('DELETE', `webhooks/${id}`)
  })

  await t.test('nor is one that is not there', async (t) => {
    for (const [method, path, body] of [
      ['GET', ''],
      ['PATCH', '', { enabled: false }],
      ['DELETE', ''],
      ['POST', '/secrets'],
      ['POST', '/test'],
      ['GET', '/deliveries'],
      ['POST', '/replay', { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }],
    ] as const)
      t.match(await administer(method, `webhooks/${nobody}${path}`, body), problem(404, 'WEBHOOK_NOT_FOUND'))
    t.match(await administer('POST', `webhooks/${nobody}/deliveries/1/replay`), problem(404, 'DELIVERY_NOT_FOUND'))
  })

  await t.test('while one is disabled nothing is queued for it, and what was queued waits', async (t) => {
    const webhook = await make(['login.failed'])
    receiver.respond = (_, response) => response.writeHead(500).end()
    await new Client(gateway).login('nobody@example.com', 'wrong')
    await webhook.wait(1)
    await webhook.settled(1)
    await administer('PATCH', `webhooks/${webhook.id}`, { enabled: false })
    receiver.respond = (_, response) => response.writeHead(204).end()
    await new Client(gateway).login('nobody@example.com', 'wrong')
    await webhook.due()
    t.match(await webhook.details(), { enabled: false, waiting: 1 })
    t.match(await administer('POST', `webhooks/${webhook.id}/test`), { body: { delivered: true, status: 204 } })
    t.equal(webhook.received().length, 2, 'but for a test')
    await administer('PATCH', `webhooks/${webhook.id}`, { enabled: true })
    await webhook.wait(3)
    await webhook.settled()
    t.match(await webhook.details(), { enabled: true, waiting: 0, failingSince: null })
    await administer('DELETE', `webhooks/${webhook.id}`)
    t.strictSame((await sql('SELECT FROM auth.webhook_deliveries')).rows, [])
  })

  await t.test('a test says what the receiver said', async (t) => {
    const webhook = await make(['login.failed'], `${receiver.origin}/test`)
    const test = async () => (await administer('POST', `webhooks/${webhook.id}/test`)).body
    t.match(await test(), { delivered: true, status: 204, error: null, durationMs: Number })
    const [delivered] = webhook.received()
    t.match(delivered, { type: 'webhook.test', data: { webhook: webhook.id } })
    verify(webhook.secret, delivered as never)
    receiver.respond = (_, response) => response.writeHead(418).end('teapot')
    t.strictSame(
      { ...(await test()), durationMs: 0 },
      { delivered: false, status: 418, error: 'STATUS', durationMs: 0 },
    )
    receiver.respond = (_, response) => void response.destroy()
    t.match(await test(), { delivered: false, status: null, error: 'ECONNRESET' })
    await administer('PATCH', `webhooks/${webhook.id}`, { url: 'https://127.0.0.1:1024/' })
    t.match(await test(), { delivered: false, status: null, error: /one inside, which WEBHOOK_ORIGINS/ })
    receiver.respond = (_, response) => response.writeHead(204).end()
    t.strictSame(await webhook.deliveries(), [], 'it is no delivery')
    await administer('DELETE', `webhooks/${webhook.id}`)
  })

  await t.test('nobody’s change fails for one that is deleted meanwhile', async (t) => {
    const { id } = await make(['user.changed'])
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    t.teardown(() => other.end())
    await other.query('BEGIN')
    await other.query('DELETE FROM auth.webhooks WHERE id = $1', [id])
    const renaming = sql("UPDATE auth.users SET name = 'Dora D.' WHERE email = 'doctor@example.com'")
    await eventually('it waits for that', async () => {
      // Within a transaction it would be seen as it was at first.
      const { rows } = await sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'Dora D'")
      return rows.length > 0
    })
    await other.query('COMMIT')
    t.equal((await renaming).rowCount, 1)
    t.strictSame((await sql('SELECT FROM auth.webhook_deliveries WHERE webhook_id = $1', [id])).rows, [])
  })

  await t.test('there are at most 20', async (t) => {
    for (let at = 0; at < 20; at++) await administer('POST', 'webhooks', good)
    t.match(await administer('POST', 'webhooks', good), problem(409, 'WEBHOOK_LIMIT'))
    t.equal((await administer('GET', 'webhooks')).body.webhooks.length, 20)
    await sql('DELETE FROM auth.webhooks')
  })

  await t.test('what is done is a security event, by whom', async (t) => {
    const { id } = await make(['login.failed'])
    await administer('PATCH', `webhooks/${id}`, { name: 'X', enabled: true })
    await administer('POST', `webhooks/${id}/secrets`)
    await administer('DELETE', `webhooks/${id}`)
    const { rows } = await sql('SELECT event, reason FROM auth.security_events WHERE reason ~ $1 ORDER BY id', [id])
    const [{ by }] = (await sql("SELECT id AS by FROM auth.users WHERE email = 'admin@example.com'")).rows
    t.strictSame(rows, [
      { event: 'webhook_created', reason: `${id} by ${by}` },
      { event: 'webhook_changed', reason: `name,enabled ${id} by ${by}` },
      { event: 'webhook_secret_made', reason: `${id} by ${by}` },
      { event: 'webhook_deleted', reason: `${id} by ${by}` },
    ])
  })

  await t.test('they are for admins alone', async (t) => {
    const doctor = await signIn(gateway, 'doctor@example.com')
    t.match(await doctor.call('GET', '/api/admin/webhooks'), { status: 403 })
    t.match(await new Client(gateway).call('GET', '/api/admin/webhooks'), { status: 401 })
    t.ok(demoPassword)
  })
  await eventually('nothing is left', async () => (await sql('SELECT FROM auth.webhooks')).rows.length === 0)
})
