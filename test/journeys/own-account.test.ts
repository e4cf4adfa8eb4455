import { readFileSync } from 'node:fs'
import { eraseDeleted } from '@sallyport/auth/accounts/deletion'
import { exportAccount } from '@sallyport/auth/accounts/export'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { startHousekeeping } from '@sallyport/auth/sessions/housekeeping'
import { createLogger } from '@sallyport/chassis'
import pg from 'pg'
import t from 'tap'
import { openAccounts, otherPassword, password } from '../support/accounts.ts'
import { Client, demoPassword, eventually, refusalOf, signIn } from '../support/system.ts'

interface Row {
  where: string
  row: string
}

t.test('own account', async (t) => {
  const system = await openAccounts(t)
  const {
    gateway,
    auth,
    sql,
    urls,
    mail,
    offered,
    call,
    post,
    ask,
    register,
    settled,
    eventsOf,
    database,
    secrets,
    log,
  } = system
  const stepUpRequired = { status: 401, body: { code: 'STEP_UP_REQUIRED' } }
  const age = (client: { id: string }, interval: string) =>
    sql(`UPDATE auth.sessions SET authenticated_at = now() - interval '${interval}' WHERE user_id = $1`, [client.id])

  /** Every row of every table of the database, as text. */
  async function everything(): Promise<Row[]> {
    const { rows: tables } = await sql(`
      SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
      WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`)
    const rows: Row[] = []
    for (const { name } of tables)
      for (const { row } of (await sql(`SELECT x::text AS row FROM ${name} x`)).rows) rows.push({ where: name, row })
    return rows
  }

  await t.test('what changes an account needs a sign-in of the last five minutes', async (t) => {
    const client = await register('steps@example.com')
    const calls = [
      () => call('GET', 'me/export', undefined, client),
      () => call('DELETE', 'me', undefined, client),
      () => post('email', { email: 'steps2@example.com' }, client),
    ]
    await age(client, '301 seconds')
    for (const request of calls) {
      const { status, headers, body } = await request()
      t.match({ status, body }, stepUpRequired)
      t.match(headers.get('www-authenticate'), /error="insufficient_user_authentication", max_age="300"/)
    }
    t.equal((await client.call('GET', '/api/auth/me')).status, 200, 'nothing else does')
    t.equal((await client.refresh()).status, 200)
    t.match(await calls[0]?.(), stepUpRequired, 'a refresh is no proof')

    const other = new Client(gateway)
    await other.login('steps@example.com', password)
    await age(client, '301 seconds')
    t.match(await post('step-up', { password: 'wrong' }, other), { status: 403, body: { code: 'PASSWORD_WRONG' } })
    const { accessToken } = other
    t.match(await post('step-up', { password }, other), { status: 200, body: { role: 'patient', roles: ['patient'] } })
    t.not(other.accessToken, accessToken)
    t.equal((await call('GET', 'me/export', undefined, other)).status, 200)
    t.match(await calls[0]?.(), stepUpRequired, 'another session’s is none of this one')
    await age(client, '299 seconds')
    t.equal((await calls[0]?.())?.status, 200)

    await sql('UPDATE auth.sessions SET authenticated_at = NULL WHERE user_id = $1', [client.id])
    t.equal((await calls[0]?.())?.status, 200, 'a session of an earlier version was signed in to when it was opened')
    await sql("UPDATE auth.sessions SET created_at = now() - interval '1 hour' WHERE user_id = $1", [client.id])
    t.match(await calls[0]?.(), stepUpRequired)
    const events = await eventsOf(client.id)
    t.match(events.join(), /step_up_failed.*step_up_succeeded/)
    // A session that has just expired, as the access token has not.
    await sql('UPDATE auth.sessions SET expires_at = now() WHERE user_id = $1', [client.id])
    t.match(await post('step-up', { password }, other), { status: 403, body: { code: 'PASSWORD_WRONG' } })
  })

  await t.test('a name and a language are changed, and nothing else', async (t) => {
    const client = await register('names@example.com')
    const patch = (body: object) => call('PATCH', 'me', body, client)
    t.match(await patch({ name: ' Nora ', locale: 'de-AT' }), { status: 200, body: { name: 'Nora', locale: 'de-AT' } })
    t.match(await patch({ locale: null }), { status: 200, body: { name: 'Nora', locale: null } })
    const more = { email: 'x@example.com', passwordHash: 'x', disabledAt: null, id: 'x', deleteAfter: null }
    t.match(await patch({ name: 'Nina', ...more }), {
      status: 200,
      body: { email: 'names@example.com', id: client.id },
    })
    for (const body of [
      {},
      more,
      { name: '' },
      { name: 'a\nb' },
      { name: null },
      { locale: '' },
      { locale: 'de\n' },
      [],
    ])
      t.match(await patch(body), { status: 400, body: { code: 'REQUEST_INVALID' } }, JSON.stringify(body))
    t.match(await client.call('GET', '/api/auth/me'), { body: { name: 'Nina', locale: null } })
  })

  await t.test('an export holds all that is kept of a user, and nothing to sign in with', async (t) => {
    const client = await register('exported@example.com', 'Exported Person')
    await new Client(gateway).call('POST', '/api/auth/login', {
      body: { email: 'exported@example.com', password },
      headers: { 'x-forwarded-for': '203.0.113.9', 'user-agent': 'Exported/1.0' },
    })
    await ask('password/forgot', 'exported@example.com')
    await sql("INSERT INTO auth.totp (user_id, secret, key_id, last_step) VALUES ($1, 'sealed-totp', 'k', 0)", [
      client.id,
    ])
    await sql(
      `INSERT INTO auth.passkeys (id, user_id, public_key, counter, name, transports, backup_eligible, backed_up)
       VALUES ('a-passkey', $1, 'cose-key', 0, 'Phone', '{hybrid}', true, true)`,
      [client.id],
    )
    await sql("INSERT INTO auth.recovery_codes (hash, user_id) VALUES ('a-hash', $1)", [client.id])
    await sql(
      "INSERT INTO auth.challenges (id, purpose, user_id, expires_at) VALUES (gen_random_uuid(), 'login', $1, now())",
      [client.id],
    )
    await sql("UPDATE auth.sessions SET amr = '{pwd,otp,mfa}' WHERE user_id = $1", [client.id])
    const { status, headers, body } = await call('GET', 'me/export', undefined, client)
    t.equal(status, 200)
    t.match(headers.get('content-disposition'), /^attachment; filename="account\.json"$/)
    t.match(headers.get('cache-control'), /no-store/)
    t.match(body.user, { id: client.id, email: 'exported@example.com', name: 'Exported Person', roles: ['patient'] })
    t.match(body.sessions, [{}, { ip: '203.0.113.9', userAgent: 'Exported/1.0' }])
    t.match(
      body.securityEvents.map(({ event }: { event: string }) => event),
      ['user_created', 'login_succeeded', 'login_succeeded'],
    )
    t.match(
      body.tickets.map(({ purpose }: { purpose: string }) => purpose),
      ['registration', 'password_reset'],
    )
    t.match(body.factors, {
      totp: {},
      passkeys: [{ id: 'a-passkey', name: 'Phone' }],
      recoveryCodesLeft: 1,
      begun: [{}],
    })
    const text = JSON.stringify(body)
    const { rows } = await sql(
      `SELECT password_hash FROM auth.users WHERE id = $1 UNION ALL SELECT encode(secret_hash, 'hex') FROM auth.tickets
       UNION ALL SELECT encode(code_hash, 'hex') FROM auth.tickets`,
      [client.id],
    )
    for (const { password_hash: secret } of rows) t.notOk(text.includes(secret))
    t.notMatch(text, /hash|secret|argon2|sealed|cose/i)
    t.ok((await eventsOf(client.id)).includes('account_exported'))

    // Whatever is added to these tables has to be added to the export, or to this list.
    const withheld =
      /password_hash|secret_hash|code_hash|code_expires_at|attempt_hash|generation|tries|roles_changed_at|absolute_expires_at|invited_by|subject|password_version|delete_asked_by|^(public_key|counter|secret|key_id|last_step|hash|webauthn|bound_to)$/
    const { rows: columns } = await sql(`
      SELECT table_name AS table, column_name AS name FROM information_schema.columns WHERE table_schema = 'auth'
      AND table_name IN ('users', 'sessions', 'tickets', 'security_events', 'totp', 'passkeys', 'recovery_codes', 'challenges') ORDER BY 1, 2`)
    const names: Record<string, string> = { revoked_at: 'endedAt', revoked_reason: 'reason', rotated_at: 'lastUsedAt' }
    const camel = (name: string) => names[name] ?? name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
    const exported = new Set(
      JSON.stringify(body)
        .match(/"\w+"(?=:)/g)
        ?.map((key) => key.slice(1, -1)),
    )
    const missing = columns.filter(
      ({ name }) => !withheld.test(name) && !exported.has(camel(name)) && name !== 'user_id',
    )
    t.strictSame(missing, [])
    t.equal(await exportAccount(database, '00000000-0000-4000-8000-000000000000'), null, 'of nobody')
  })

  await t.test('who deletes the account is signed out everywhere, and has it back by signing in', async (t) => {
    const client = await register('undone@example.com')
    const other = new Client(gateway)
    await other.login('undone@example.com', password)
    const forgotten = await ask('password/forgot', 'undone@example.com')
    const deleted = await call('DELETE', 'me', undefined, client)
    t.equal(deleted.status, 202)
    t.ok(Math.abs(Date.parse(deleted.body.deleteAfter) - Date.now() - 14 * 86_400_000) < 60_000)
    t.match(deleted.headers.get('clear-site-data'), /storage/)
    t.equal(client.cookie, undefined)
    for (const session of [client, other])
      t.match(await refusalOf(session), { code: 'SESSION_ENDED', reason: 'account_deleted' })
    const reset = { ticket: forgotten.ticket, password: otherPassword }
    t.match((await post('password/reset', reset)).body, { code: 'TICKET_INVALID' })
    await mail.next('undone@example.com')

    const again = await Promise.all([0, 1, 2].map(() => new Client(gateway).login('undone@example.com', password)))
    t.strictSame(
      again.map(({ status }) => status),
      [200, 200, 200],
    )
    const { rows } = await sql('SELECT delete_after FROM auth.users WHERE id = $1', [client.id])
    t.strictSame(rows, [{ delete_after: null }])
    const events = await eventsOf(client.id)
    t.equal(events.filter((event) => event === 'deletion_undone').length, 1)
    t.equal(
      (await database.$queryRaw<[{ erased: boolean }]>`SELECT auth.erase_user(${client.id}::uuid) AS erased`)[0].erased,
      false,
    )
    t.equal((await sql('SELECT FROM auth.users WHERE id = $1', [client.id])).rowCount, 1)
  })

  await t.test('the last admin stays', async (t) => {
    const admin = await signIn(gateway, 'admin@example.com')
    t.match(await call('DELETE', 'me', undefined, admin), { status: 409, body: { code: 'LAST_ADMIN' } })
    t.equal((await admin.call('GET', '/api/auth/me')).status, 200)
  })

  await t.test('of who was erased nothing is left but ids, and who follows the stream hears of it', async (t) => {
    const [email, name, ip, agent] = ['vanishing@example.com', 'Vera Vanishing', '198.51.100.77', 'Vanishing/9.9']
    const headers = { 'x-forwarded-for': ip, 'user-agent': agent }
    const client = await register(email, name)
    await new Client(gateway).call('POST', '/api/auth/login', { body: { email, password }, headers })
    await new Client(gateway).call('POST', '/api/auth/login', { body: { email, password: 'wrong' }, headers })
    // An admin, who has done something to somebody else.
    await sql("UPDATE auth.users SET roles = '{admin}' WHERE id = $1", [client.id])
    await client.refresh()
    const somebody = await register('somebody@example.com')
    const patched = await client.call('PATCH', `/api/admin/users/${somebody.id}`, {
      body: { roles: ['doctor'] },
      headers,
    })
    t.equal(patched.status, 200)
    // Addresses that are no longer the person's, and one that was asked for.
    await post('email', { email: 'vera@vanishing.example' }, client)
    await post('email/confirm', await offered('vera@vanishing.example'))
    await post('email', { email: 'third@vanishing.example' }, client)
    await post('password/forgot', { email: 'vera@vanishing.example' })
    await settled()
    for (const payload of [
      { template: 'password_changed', to: 'vera@vanishing.example', name, ip },
      { template: 'email_changed', to: email, user: client.id, name, newEmail: 'third@vanishing.example' },
      { template: 'email_changed', to: 'other@example.com', name, newEmail: 'vera@vanishing.example' },
    ])
      await sql("SELECT FROM graphile_worker.add_job('mail', $1::json, run_at => now() + interval '1 hour')", [
        JSON.stringify(payload),
      ])
    const open = { email: 'vera@vanishing.example', user: client.id }
    for (const task of ['password_reset', 'email_change'])
      await sql('SELECT FROM graphile_worker.add_job($1, $2::json, run_at => now() + interval $$1 hour$$)', [
        task,
        JSON.stringify(open),
      ])
    await sql("SELECT FROM graphile_worker.add_job('mail', $1::json, run_at => now() + interval '1 hour')", [
      JSON.stringify({ template: 'password_changed', to: 'somebody@example.com', name: 'Nina' }),
    ])
    const { rows: addresses } = await sql(
      'SELECT DISTINCT ip FROM auth.security_events WHERE user_id = $1 AND ip IS NOT NULL',
      [client.id],
    )
    const traces = [email, 'vanishing.example', name, agent, ...addresses.map((row) => row.ip as string)]
    const tracesIn = (rows: Row[]) => rows.filter(({ row }) => traces.some((trace) => row.includes(trace)))
    t.ok(addresses.length > 3)
    t.ok(tracesIn(await everything()).length > 10, 'the search finds them')

    const stream = async () => {
      const stop = new AbortController()
      const response = await fetch(`${auth}/internal/revocations`, {
        headers: { authorization: `Bearer ${secrets.REVOCATIONS_SECRET}` },
        signal: stop.signal,
      })
      const seen = { text: '', stop: () => stop.abort() }
      t.teardown(seen.stop)
      ;(async () => {
        for await (const piece of response.body as ReadableStream<Uint8Array>) seen.text += Buffer.from(piece)
      })().catch(() => {})
      await eventually('the stream is current', () => seen.text.includes('event: current'))
      return seen
    }
    const follower = await stream()
    t.equal((await call('DELETE', 'me', undefined, client)).status, 202)
    await settledButLater()
    t.equal(await eraseDeleted(database, 10), 0, 'not before its time')
    await sql("UPDATE auth.users SET delete_after = now() - interval '1 second' WHERE id = $1", [client.id])
    t.equal(await eraseDeleted(database, 10), 1)
    t.equal(await eraseDeleted(database, 10), 0)

    t.strictSame(tracesIn(await everything()), [])
    for (const table of ['users', 'sessions', 'tickets'])
      t.equal(
        (await sql(`SELECT FROM auth.${table} WHERE ${table === 'users' ? 'id' : 'user_id'} = $1`, [client.id]))
          .rowCount,
        0,
        table,
      )
    const events = await eventsOf(client.id)
    for (const event of ['user_created', 'login_succeeded', 'login_failed', 'deletion_requested', 'user_erased'])
      t.ok(events.includes(event), `${event} is kept`)
    const { rows: left } = await sql('SELECT payload FROM graphile_worker._private_jobs')
    t.match(left, [{ payload: { to: 'somebody@example.com' } }], 'other people get their mail')
    await sql('DELETE FROM graphile_worker._private_jobs')

    const announced = `event: erased\ndata: {"user":"${client.id}"}`
    await eventually('it is announced', () => follower.text.includes(announced))
    const later = await stream()
    t.ok(later.text.indexOf(announced) >= 0 && later.text.indexOf(announced) < later.text.indexOf('event: current'))

    t.equal((await new Client(gateway).login(email, password)).status, 401)
    await offered(email)
    t.not((await register(email, 'Another')).id, client.id, 'the address is free again')

    async function settledButLater() {
      await eventually('what is due is done', async () => {
        const { rows } = await sql('SELECT FROM graphile_worker._private_jobs WHERE run_at <= now()')
        return rows.length === 0
      })
    }
  })

  await t.test('housekeeping erases', async () => {
    const client = await register('swept@example.com')
    await call('DELETE', 'me', undefined, client)
    await sql("UPDATE auth.users SET delete_after = now() - interval '1 second' WHERE id = $1", [client.id])
    const lines: string[] = []
    const logger = createLogger('test', 'info', { write: (line: string) => lines.push(line) })
    const factorKey = createFactorKey({ current: { factorKeys: ['a key'] } })
    const stop = startHousekeeping(database, logger, factorKey, { eventsRetention: 400 * 86_400, pause: 20 })
    await eventually('it is erased', () => lines.some((line) => line.includes('"users_erased"')))
    await stop()
  })

  await t.test('the role of the service can erase whose time has come, and rewrite nothing', async (t) => {
    const role = new pg.Client({ connectionString: urls.auth })
    await role.connect()
    t.teardown(() => role.end())
    const somebody = await register('untouched@example.com')
    await role.query("SET sallyport.rewriting TO 'UPDATE'")
    const denied = { code: '42501' }
    await t.rejects(role.query('UPDATE auth.security_events SET ip = NULL'), denied)
    await role.query("SET sallyport.rewriting TO 'DELETE'")
    for (const statement of ['DELETE FROM auth.security_events', 'TRUNCATE auth.security_events'])
      await t.rejects(role.query(statement), denied, statement)
    for (const time of [null, "now() + interval '1 second'"]) {
      await sql(`UPDATE auth.users SET delete_after = ${time} WHERE id = $1`, [somebody.id])
      t.strictSame((await role.query('SELECT auth.erase_user($1) AS erased', [somebody.id])).rows, [{ erased: false }])
    }
    await sql('UPDATE auth.users SET delete_after = NULL WHERE id = $1', [somebody.id])
    const appointments = new pg.Client({ connectionString: urls.appointments })
    await appointments.connect()
    t.teardown(() => appointments.end())
    for (const statement of ['auth.erase_user(gen_random_uuid())', "auth.forget_security_events('1 day', 1)"])
      await t.rejects(appointments.query(`SELECT ${statement}`), denied, statement)
  })

  await t.test('no GET and no HEAD changes anything', async (t) => {
    const client = await signIn(gateway, 'admin@example.com')
    const { ticket } = await ask('password/forgot', 'doctor@example.com')
    const { paths } = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'))
    await settled()
    // That an account was exported is noted; that is all. Beside requests, what was noted before is chained, and each
    // process reports itself.
    const ofProcesses = ['auth.event_chain', 'auth.event_chain_state', 'auth.replicas']
    const state = async () =>
      (await everything()).filter(({ row, where }) => !row.includes('account_exported') && !ofProcesses.includes(where))
    const before = await state()
    for (const path of Object.keys(paths))
      for (const method of ['GET', 'HEAD'])
        for (const base of [gateway, auth]) {
          const url = `${path.replace(/\{\w+\}/g, nobody)}?ticket=${ticket}`
          const { status, headers } = await Object.assign(new Client(base), {
            cookie: client.cookie,
            accessToken: client.accessToken,
          }).call(method, url)
          t.ok(status < 500, `${method} ${path} ${status}`)
          t.equal(headers.get('set-cookie'), null, `${method} ${path}`)
        }
    t.strictSame(await state(), before)
    t.equal((await post('tickets/check', { ticket })).status, 200)
  })

  await t.test('no log line and no row holds a ticket, a code or a password', async (t) => {
    await settled()
    const secretsSent = mail.smtp.mails.flatMap(({ text = '' }) => [
      ...(text.match(/#ticket=[\w-]{43}/g) ?? []).map((found) => found.slice(8)),
      ...(text.match(/\b\d{8}\b/g) ?? []),
    ])
    t.ok(secretsSent.length > 20)
    const rows = (await everything()).map(({ row }) => row)
    const all = [...log, ...rows].join('\n')
    for (const secret of [...secretsSent, password, otherPassword, demoPassword]) t.notOk(all.includes(secret), secret)
    for (const address of ['steps@example.com', 'vanishing', 'somebody@example.com'])
      t.notOk(
        log.some((line) => line.includes(address)),
        `${address} is in no line`,
      )
  })
})

/** An id of nobody. */
const nobody = '018f4e6e-9d5c-7cc1-a1b5-0d6f0f5d7c11'
