import { createUser } from '@sallyport/auth/accounts/create-user'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { changePassword } from '@sallyport/auth/passwords/change'
import { startHousekeeping, sweep } from '@sallyport/auth/sessions/housekeeping'
import { createLogger } from '@sallyport/chassis'
import { hash } from 'argon2'
import pg from 'pg'
import t from 'tap'
import { sallyport } from '../support/command-line.ts'
import { Client, claimsOf, demoPassword, eventually, openSystem, signIn, startDatabase } from '../support/system.ts'

const idOf = (client: Client) => claimsOf(client.accessToken as string).sub as string

t.test('accounts, and who may change them', async (t) => {
  const { gateway, sql, log, database, urls } = await openSystem(t, {}, ['appointments'])
  const events = async (event: string) =>
    (await sql('SELECT * FROM auth.security_events WHERE event = $1 ORDER BY id', [event])).rows

  t.test('a password is changed by whoever knows it, and every other session ends', async (t) => {
    const [client, other] = [await signIn(gateway), await signIn(gateway)]
    const change = (currentPassword: string, newPassword: string) =>
      client.call('POST', '/api/auth/password', { body: { currentPassword, newPassword } })
    const next = 'Tr0ub4dor&3 and more'
    t.match(await change('wrong', next), { status: 403, body: { code: 'PASSWORD_WRONG' } })
    t.match(await change(demoPassword, demoPassword), { status: 400, body: { code: 'PASSWORD_WEAK' } })
    for (const usual of [
      'password1234567',
      'letmeinletmeinletmein',
      'qwertyuiop[]asdfghjkl',
      'Sallyport012026',
      'Doctor@Example.com!',
      'Dora Doctor 1234',
      'Nobody but doctor@example.com would take this sentence',
      'x'.repeat(1024),
    ])
      t.match(await change(demoPassword, usual), { status: 400, body: { code: 'PASSWORD_WEAK' } }, usual.slice(0, 20))
    t.match(await change(demoPassword, 'short'), { status: 400, body: { code: 'REQUEST_INVALID' } })
    t.match(await change(demoPassword, 'fourteen chars'), { status: 400, body: { code: 'PASSWORD_WEAK' } })
    t.equal((await change(demoPassword, next)).status, 200)

    t.equal((await client.call('GET', '/api/auth/me')).status, 200, 'this session goes on')
    t.equal((await client.refresh()).status, 200)
    t.match((await other.refresh()).body, { code: 'SESSION_ENDED', reason: 'password_changed' })
    await eventually(
      'the other access token is refused',
      async () => (await other.call('GET', '/api/whoami')).status === 401,
    )
    t.equal((await other.login()).status, 401, 'the old password is no more')
    t.equal((await other.login('doctor@example.com', next)).status, 200)
    t.equal((await change(next, demoPassword)).status, 200)
    t.match(await events('password_changed'), [{ user_id: idOf(client), ip: '127.0.0.1' }, {}])
    t.match(await events('password_refused'), [{ user_id: idOf(client) }])
  })

  t.test('a password from before that is shorter still signs in, and the next one may not be', async (t) => {
    const email = 'short@example.com'
    const id = await createUser(database, {
      email,
      name: 'Sal Short',
      roles: ['doctor'],
      password: 'a long enough one',
    })
    await sql('UPDATE auth.users SET password_hash = $1 WHERE id = $2', [await hash('tiny'), id])
    const client = new Client(gateway)
    t.equal((await client.login(email, 'tiny')).status, 200)
    const change = (newPassword: string) =>
      client.call('POST', '/api/auth/password', { body: { currentPassword: 'tiny', newPassword } })
    t.match(await change('fourteen chars'), { status: 400, body: { code: 'PASSWORD_WEAK' } })
    t.equal((await change('fifteen of them')).status, 200)
    t.equal((await client.login(email, 'fifteen of them')).status, 200)
    await sql('DELETE FROM auth.users WHERE id = $1', [id])
  })

  t.test('names go to whoever holds the ids; who else there is, only to those who may look users up', async (t) => {
    const [admin, doctor] = [await signIn(gateway, 'admin@example.com'), await signIn(gateway)]
    const patient = await signIn(gateway, 'patient@example.com')
    const ids = `${idOf(doctor)},${idOf(admin)}`
    const { body } = await patient.call('GET', `/api/auth/people?ids=${ids}`)
    t.same(
      new Set(body.people),
      new Set([
        { id: idOf(doctor), name: 'Dora Doctor' },
        { id: idOf(admin), name: 'Ada Admin' },
      ]),
    )
    for (const query of ['', '?ids=', '?ids=everybody', `?ids=${ids},`])
      t.match(await patient.call('GET', `/api/auth/people${query}`), { status: 400, body: { code: 'REQUEST_INVALID' } })

    t.match(await admin.call('GET', '/api/auth/directory?role=patient'), {
      status: 200,
      body: { people: [{ id: idOf(patient), name: 'Pat Patient' }] },
    })
    t.strictSame((await admin.call('GET', '/api/auth/directory?role=nobody')).body, { people: [] })
    t.equal((await admin.call('GET', '/api/auth/directory')).status, 400)
    for (const other of [doctor, patient])
      t.match(await other.call('GET', '/api/auth/directory?role=patient'), {
        status: 403,
        body: { code: 'ROLE_REQUIRED' },
      })
  })

  t.test('a session whose user is gone cannot change the password', async (t) => {
    const client = await signIn(gateway, 'patient@example.com')
    const { rows } = await sql("SELECT * FROM auth.users WHERE email = 'patient@example.com'")
    // In the moment in which that happens, which here does not end: no trigger runs, and the session stays.
    await sql(`
      SET session_replication_role = replica;
      DELETE FROM auth.users WHERE email = 'patient@example.com';
      SET session_replication_role = DEFAULT`)
    const body = { currentPassword: demoPassword, newPassword: 'another good one' }
    t.match(await client.call('POST', '/api/auth/password', { body }), {
      status: 403,
      body: { code: 'PASSWORD_WRONG' },
    })
    const { id, email, name, password_hash, roles } = rows[0]
    await sql('INSERT INTO auth.users (id, email, name, password_hash, roles) VALUES ($1, $2, $3, $4, $5)', [
      id,
      email,
      name,
      password_hash,
      roles,
    ])
  })

  t.test(
    'new roles count at once: the old token is stale, a refresh brings the new ones, nobody is signed out',
    async (t) => {
      const [admin, doctor] = [await signIn(gateway, 'admin@example.com'), await signIn(gateway)]
      const path = `/api/admin/users/${idOf(doctor)}`
      t.match(await doctor.call('PATCH', path, { body: { roles: ['admin'] } }), {
        status: 403,
        body: { code: 'ROLE_REQUIRED' },
      })
      t.match(await admin.call('PATCH', path, { body: { roles: ['Admin'] } }), { status: 400 })
      t.match(await admin.call('PATCH', path, { body: { roles: [] } }), { status: 400 })
      t.match(await admin.call('PATCH', path, { body: { roles: ['doctor', 'surgeon'], email: 'x@y.z' } }), {
        status: 200,
        body: { roles: ['doctor', 'surgeon'], role: 'doctor', email: 'doctor@example.com', disabled: false },
      })
      await eventually(
        'the token is stale',
        async () => (await doctor.call('GET', '/api/whoami')).body.code === 'TOKEN_STALE',
      )
      t.match((await doctor.refresh()).body, { roles: ['doctor', 'surgeon'] })
      t.match((await doctor.call('GET', '/api/whoami')).body, { 'x-user-roles': 'doctor,surgeon' })
      t.equal((await admin.call('PATCH', path, { body: { roles: ['doctor'] } })).status, 200)
      t.equal((await admin.call('PATCH', path, { body: { roles: ['doctor'] } })).status, 200, 'no change is no change')
      t.match(await events('roles_changed'), [{ user_id: idOf(doctor), reason: `by ${idOf(admin)}` }, {}])
      t.equal((await events('roles_changed')).length, 2)
    },
  )

  t.test('a disabled user is signed out everywhere and cannot sign in, until enabled', async (t) => {
    const [admin, doctor] = [await signIn(gateway, 'admin@example.com'), await signIn(gateway)]
    const path = `/api/admin/users/${idOf(doctor)}`
    t.match((await admin.call('PATCH', path, { body: { disabled: true } })).body, { disabled: true })
    await eventually('the access token is refused', async () => {
      const { body } = await doctor.call('GET', '/api/whoami')
      return body.code === 'SESSION_ENDED' && body.reason === 'disabled'
    })
    t.match((await doctor.refresh()).body, { code: 'SESSION_ENDED', reason: 'disabled' })
    t.equal((await doctor.login()).status, 401)
    t.equal(
      (await admin.call('PATCH', path, { body: { disabled: true, roles: ['doctor'] } })).status,
      200,
      'twice is once',
    )
    t.match((await admin.call('PATCH', path, { body: { disabled: false } })).body, { disabled: false })
    t.equal((await doctor.login()).status, 200)
    t.equal((await events('user_disabled')).length, 1)
    t.equal((await events('user_enabled')).length, 1)
  })

  t.test('an admin ends every session of a user', async (t) => {
    const admin = await signIn(gateway, 'admin@example.com')
    const [one, two] = [await signIn(gateway, 'patient@example.com'), await signIn(gateway, 'patient@example.com')]
    const path = `/api/admin/users/${idOf(one)}/sessions`
    t.match(await admin.call('DELETE', path), { status: 200, body: { message: /sessions have ended/ } })
    for (const client of [one, two])
      t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'revoked_by_admin' })
    t.equal((await admin.refresh()).status, 200)
    t.match((await events('sessions_ended')).at(-1), { user_id: idOf(one) })
  })

  t.test('users that do not exist are 404', async (t) => {
    const admin = await signIn(gateway, 'admin@example.com')
    const nobody = '/api/admin/users/00000000-0000-4000-8000-000000000000'
    t.match(await admin.call('PATCH', nobody, { body: { disabled: true } }), {
      status: 404,
      body: { code: 'USER_NOT_FOUND' },
    })
    t.match(await admin.call('DELETE', `${nobody}/sessions`), { status: 404, body: { code: 'USER_NOT_FOUND' } })
  })

  t.test('the last admin can be neither disabled nor demoted, not even by two at once', async (t) => {
    const admin = await signIn(gateway, 'admin@example.com')
    const path = (client: Client) => `/api/admin/users/${idOf(client)}`
    for (const body of [{ disabled: true }, { roles: ['patient'] }])
      t.match(await admin.call('PATCH', path(admin), { body }), { status: 409, body: { code: 'LAST_ADMIN' } })

    const second = await signIn(gateway)
    await admin.call('PATCH', path(second), { body: { roles: ['admin'] } })
    await second.refresh()
    const both = await Promise.all([
      admin.call('PATCH', path(second), { body: { roles: ['doctor'] } }),
      second.call('PATCH', path(admin), { body: { disabled: true } }),
    ])
    const { rows } = await sql("SELECT FROM auth.users WHERE 'admin' = ANY(roles) AND disabled_at IS NULL")
    t.equal(rows.length, 1)
    t.ok(both.some(({ status }) => status === 200))
    await sql("UPDATE auth.users SET disabled_at = NULL, roles = '{admin}' WHERE email = 'admin@example.com'")
    await sql("UPDATE auth.users SET roles = '{doctor}' WHERE email = 'doctor@example.com'")
  })

  t.test('my sessions say which device, which go on, and why the others ended', async (t) => {
    const headers = (agent: string) => ({ 'user-agent': agent })
    const body = { email: 'patient@example.com', password: demoPassword }
    const laptop = await signIn(gateway, 'patient@example.com')
    await laptop.call('POST', '/api/auth/logout')
    const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    await laptop.call('POST', '/api/auth/login', { body, headers: headers(firefox) })
    const listed = await laptop.call('GET', '/api/auth/sessions')
    t.match(listed.body.sessions, [{ device: 'Firefox on Linux', current: true, ip: '127.0.0.1' }])
    t.match(listed.body.ended[0], { reason: 'logout', device: 'Unknown', endedAt: String })
    await sql(
      "UPDATE auth.sessions SET expires_at = now() - interval '1 minute' WHERE revoked_at IS NULL AND id <> $1",
      [claimsOf(laptop.accessToken as string).sid],
    )
    laptop.cookie = undefined
    const { id } = (await laptop.call('POST', '/api/auth/login', { body })).body.user
    await sql("UPDATE auth.sessions SET expires_at = now() - interval '1 minute' WHERE user_agent = $1", [firefox])
    const after = await laptop.call('GET', '/api/auth/sessions')
    t.match(
      after.body.ended.find(({ device }: { device: string }) => device === 'Firefox on Linux'),
      { reason: 'expired' },
    )
    await sql('UPDATE auth.sessions SET user_agent = NULL WHERE user_id = $1', [id])
    t.match((await laptop.call('GET', '/api/auth/sessions')).body.sessions, [{ device: 'Unknown', userAgent: null }])
  })

  t.test('a user is made on the command line, with the password from standard input', async (t) => {
    const run = (words: string[], input: string) =>
      sallyport(['users', 'create', ...words], { DATABASE_URL: urls.auth }, input)
    const [made, refused] = await Promise.all([
      run(['Nell@Example.com', 'Nell New', 'doctor', 'admin'], 'a long enough one\n'),
      run(['nobody@example.com', 'No Body'], 'a long enough one'),
    ])
    t.match(made, { code: 0, output: /^made user [0-9a-f-]{36}\n$/, errors: '' })
    t.match(refused, {
      code: 1,
      errors: /^sallyport: missing required argument 'role'; usage: sallyport users create /,
    })
    t.match((await new Client(gateway).login('nell@example.com', 'a long enough one')).body, {
      roles: ['doctor', 'admin'],
      user: { name: 'Nell New', email: 'nell@example.com' },
    })
    t.match(await events('user_created'), [{ reason: 'on the command line', ip: null }])

    const good = { email: 'x@example.com', name: 'X', roles: ['doctor'], password: 'a long enough one' }
    for (const [change, why] of [
      [{ email: 'x.example.com' }, /is not an e-mail address/],
      [{ name: ' ' }, /the name is empty/],
      [{ roles: ['Doctor'] }, /"Doctor" cannot be a role/],
      [{ roles: [] }, /cannot be a role/],
      [{ password: 'fourteen chars' }, /from 15 to 1024/],
      [{ password: 'I am X@example.com' }, /without the e-mail address/],
      [{ password: 'nell@example.com', email: 'nell@example.com' }, /too easy to guess/],
      [{ email: 'NELL@example.com' }, /there is a user NELL@example.com already/],
    ] as const)
      await t.rejects(createUser(database, { ...good, ...change, roles: [...(change.roles ?? good.roles)] }), why)
    await sql('ALTER TABLE auth.users RENAME TO away')
    await t.rejects(createUser(database, good), { code: 'P2021' })
    await sql('ALTER TABLE auth.away RENAME TO users')
    await sql("DELETE FROM auth.users WHERE email = 'nell@example.com'")
  })

  t.test('security events are in the log and in a table that nobody rewrites', async (t) => {
    t.match(await events('login_succeeded'), [{ user_id: String, session_id: String, ip: '127.0.0.1' }])
    for (const statement of [
      'UPDATE auth.security_events SET ip = NULL',
      'DELETE FROM auth.security_events',
      'TRUNCATE auth.security_events',
    ])
      await t.rejects(sql(statement), /append-only/, statement)
    await eventually('the log has them', () => log.some((line) => line.includes('"event":"user_disabled"')))
  })
})

t.test('housekeeping', async (t) => {
  const { database, sql, url } = await startDatabase(t)
  const make = (count: number, columns: string) =>
    sql(
      `INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at, revoked_at)
       SELECT gen_random_uuid(), (SELECT id FROM auth.users LIMIT 1), ${columns} FROM generate_series(1, ${count})`,
    )
  await make(30, "now() + interval '1 day', now() + interval '9 days', NULL")
  await make(20, "now() - interval '25 hours', now() + interval '9 days', NULL")
  await make(10, "now() - interval '23 hours', now() + interval '9 days', NULL")
  await make(20, "now() + interval '1 day', now() + interval '9 days', now() - interval '25 hours'")
  await make(10, "now() + interval '1 day', now() + interval '9 days', now() - interval '23 hours'")
  const count = async () => Number((await sql('SELECT count(*) FROM auth.sessions')).rows[0].count)

  await t.test(
    'what ended a day ago goes, slice by slice, however many clean up at once; the rest stays',
    async (t) => {
      const clean = async () => {
        let [after, deleted] = [null as string | null, 0]
        do {
          const step = await sweep(database, after, 7)
          after = step.last
          deleted += step.deleted
        } while (after !== null)
        return deleted
      }
      const deleted = await Promise.all([clean(), clean(), clean()])
      t.equal(
        deleted.reduce((sum, each) => sum + each),
        40,
      )
      t.equal(await count(), 50)
      t.equal(await clean(), 0)
    },
  )

  await t.test('it goes on by itself, and a database outage does not end it', async (t) => {
    const lines: string[] = []
    const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
    const factorKey = createFactorKey({ current: { factorKeys: ['a key'] } })
    const stop = startHousekeeping(database, logger, factorKey, { eventsRetention: 34_560_000, pause: 20 })
    t.teardown(stop)
    await make(3, "now() - interval '25 hours', now() + interval '9 days', NULL")
    await eventually('the rows are gone', async () => (await count()) === 50)
    await eventually('the log says so', () => lines.some((line) => line.includes('"sessions_deleted","deleted":3')))
    await sql('ALTER TABLE auth.sessions RENAME TO away')
    await eventually('it fails', () => lines.some((line) => line.includes('"housekeeping_failed"')))
    await sql('ALTER TABLE auth.away RENAME TO sessions')
    await make(2, "now() - interval '25 hours', now() + interval '9 days', NULL")
    await eventually('it goes on', async () => (await count()) === 50)
  })

  await t.test('a password that was changed meanwhile is not changed again', async (t) => {
    const { id } = await database.user.findFirstOrThrow()
    const keep = '00000000-0000-4000-8000-000000000000'
    t.equal(await changePassword(database, { id, from: 'what it was', to: 'x', keep }), undefined)
    t.equal(await changePassword(database, { id: keep, from: 'x', to: 'x', keep }), undefined)
  })

  await t.test('a locked row is skipped, and goes the next time', async (t) => {
    await make(1, "now() - interval '25 hours', now() + interval '9 days', NULL")
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    await other.query('BEGIN')
    await other.query("SELECT FROM auth.sessions WHERE expires_at < now() - interval '24 hours' FOR UPDATE")
    t.equal((await sweep(database, null, 1000)).deleted, 0)
    await other.query('COMMIT')
    await other.end()
    t.strictSame(await sweep(database, null, 1000), { last: null, deleted: 1 })
  })
})
