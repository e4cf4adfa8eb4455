import { hash } from 'argon2'
import pg from 'pg'
import t from 'tap'
import { request } from 'undici'
import { Client, claimsOf, demoPassword, eventually, openSystem, signIn } from '../support/system.ts'

/** Statements of this database that wait for a lock. */
const lockWaits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

t.test('how the auth service responds to bad input and to strangers', async (t) => {
  const { gateway, auth, sql, log, secrets, url } = await openSystem(t, { LOGIN_RATE_LIMIT_MAX: '60' })
  const login = (body: unknown, headers: Record<string, string> = {}) =>
    new Client(gateway).call('POST', '/api/auth/login', { body, headers })

  t.test('a body that is no login is a 4xx with a code, and never a 5xx', async (t) => {
    const bodies: [string, unknown, number, string][] = [
      ['not JSON', '{"email":', 400, 'BODY_MALFORMED'],
      ['nothing', '', 400, 'REQUEST_INVALID'],
      ['null', 'null', 400, 'REQUEST_INVALID'],
      ['a list', [], 400, 'REQUEST_INVALID'],
      ['a number', '7', 400, 'REQUEST_INVALID'],
      ['no password', { email: 'doctor@example.com' }, 400, 'REQUEST_INVALID'],
      ['an e-mail that is a number', { email: 7, password: demoPassword }, 400, 'REQUEST_INVALID'],
      ['a password that is a list', { email: 'doctor@example.com', password: [demoPassword] }, 400, 'REQUEST_INVALID'],
      ['an e-mail that is an object', { email: { contains: '@' }, password: demoPassword }, 400, 'REQUEST_INVALID'],
      ['a prototype key', '{"__proto__":{"admin":true},"email":"a@b.c","password":"x"}', 400, 'BODY_MALFORMED'],
      [
        'a constructor key',
        '{"constructor":{"prototype":{"x":1}},"email":"a@b.c","password":"x"}',
        400,
        'BODY_MALFORMED',
      ],
      ['17 KiB', { email: 'doctor@example.com', password: 'x'.repeat(17 * 1024) }, 413, 'BODY_TOO_LARGE'],
      ['a very long password', { email: 'doctor@example.com', password: 'x'.repeat(1025) }, 400, 'REQUEST_INVALID'],
      ['a NUL in the e-mail', { email: 'doctor\u0000@example.com', password: 'x' }, 400, 'REQUEST_INVALID'],
    ]
    for (const [what, body, status, code] of bodies)
      t.match(await login(body), { status, body: { code, status } }, what)
    t.match(await login('email=a', { 'content-type': 'application/x-www-form-urlencoded' }), {
      status: 415,
      body: { code: 'MEDIA_TYPE_UNSUPPORTED' },
    })
    t.match(await login('{}', { 'content-type': 'text/plain' }), {
      status: 415,
      body: { code: 'MEDIA_TYPE_UNSUPPORTED' },
    })
    const direct = await new Client(auth).call('POST', '/api/auth/login', {
      body: { email: 'a@b.c', password: 'x'.repeat(17 * 1024) },
    })
    t.match(direct, { status: 413, body: { code: 'BODY_TOO_LARGE' } }, 'also without the gateway')
  })

  t.test('an extra field is ignored and stored nowhere', async (t) => {
    const response = await login({ email: 'doctor@example.com', password: demoPassword, roles: ['admin'], id: 'x' })
    t.match(response, { status: 200, body: { roles: ['doctor'] } })
  })

  t.test('the wrong password and the unknown e-mail look the same', async (t) => {
    const [wrong, unknown] = [
      await login({ email: 'doctor@example.com', password: 'wrong' }),
      await login({ email: 'nobody@example.com', password: demoPassword }),
    ]
    t.match(wrong, { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
    t.strictSame(unknown.body, wrong.body)
    t.equal(wrong.headers.get('www-authenticate'), 'Bearer')
    await eventually('the log knows better', () =>
      log.some((line) => line.includes('"login_failed"') && line.includes('unknown e-mail')),
    )
  })

  t.test('an e-mail is one account in any case', async (t) => {
    t.equal((await login({ email: ' Doctor@Example.COM', password: demoPassword })).status, 200)
  })

  t.test('a hash made with weaker parameters is made anew at login, and only then', async (t) => {
    const stored = async () =>
      (await sql("SELECT password_hash FROM auth.users WHERE email = 'patient@example.com'")).rows[0].password_hash
    const strong = await stored()
    await login({ email: 'patient@example.com', password: demoPassword })
    t.equal(await stored(), strong)
    await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'patient@example.com'", [
      await hash(demoPassword, { memoryCost: 4096, timeCost: 1, parallelism: 1 }),
    ])
    t.equal((await login({ email: 'patient@example.com', password: demoPassword })).status, 200)
    t.match(await stored(), /^\$argon2id\$v=19\$m=19456,[tp]=/)
    t.equal((await login({ email: 'patient@example.com', password: demoPassword })).status, 200)
  })

  t.test('other origins cannot use the cookie', async (t) => {
    const client = await signIn(gateway)
    const from = (headers: Record<string, string>) => client.refresh(headers)
    for (const headers of [
      { origin: 'https://evil.test' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { origin: 'https://app.test', 'sec-fetch-site': 'cross-site' },
    ])
      t.match(await from(headers as never), { status: 403, body: { code: 'ORIGIN_REFUSED' } }, JSON.stringify(headers))
    t.equal((await from({ origin: 'https://app.test', 'sec-fetch-site': 'same-site' })).status, 200)
    t.equal((await from({ origin: gateway, 'sec-fetch-site': 'same-origin' })).status, 200)
    // As a browser sends it to a gateway under a name of the local network, without https: it says nothing of the site.
    const box = { origin: 'http://box.local:8080', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'box.local:8080' }
    for (const headers of [{ origin: gateway }, box]) t.equal((await from(headers as never)).status, 200)
    for (const origin of ['https://box.local:8080', 'http://box.local'])
      t.equal((await from({ ...box, origin })).status, 403, origin)
    for (const path of ['/api/auth/logout', '/api/auth/logout-all', '/api/auth/login'])
      t.match(await client.call('POST', path, { headers: { origin: 'https://evil.test' } }), { status: 403 }, path)
    t.equal((await client.refresh()).status, 200, 'and nothing happened')
  })

  t.test('a refresh that announces JSON and has no body is a refresh', async (t) => {
    const client = await signIn(gateway)
    t.equal((await client.refresh({ 'content-type': 'application/json' })).status, 200)
    t.equal(
      (await client.call('POST', '/api/auth/logout', { headers: { 'content-type': 'application/json' } })).status,
      200,
    )
  })

  t.test('signing out with a forged cookie, or none, succeeds', async (t) => {
    for (const cookie of [undefined, 'forged'])
      t.match(await Object.assign(new Client(gateway), { cookie }).call('POST', '/api/auth/logout'), {
        status: 200,
        body: { message: 'Logged out successfully' },
      })
  })

  t.test('paths and methods that are not there', async (t) => {
    const client = await signIn(gateway)
    t.match(await client.call('GET', '/api/auth/nothing'), { status: 404, body: { code: 'NOT_FOUND' } })
    const response = await client.call('PUT', '/api/auth/me')
    t.match(response, { status: 405, body: { code: 'METHOD_NOT_ALLOWED' } })
    t.equal(response.headers.get('allow'), 'GET, HEAD, PATCH, DELETE')
    t.match(await client.call('DELETE', '/api/auth/sessions/not-an-id'), {
      status: 400,
      body: { code: 'REQUEST_INVALID' },
    })
    const admin = await signIn(gateway, 'admin@example.com')
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=x', `email=${'x'.repeat(300)}`])
      t.match(
        await admin.call('GET', `/api/admin/users?${query}`),
        { status: 400, body: { code: 'REQUEST_INVALID' } },
        query,
      )
  })

  t.test('behind the gateway nobody is believed without its signature', async (t) => {
    const forged = {
      'x-user-id': '1',
      'x-user-email': 'a@b.c',
      'x-user-role': 'admin',
      'x-user-roles': 'admin',
      'x-session-id': '1',
    }
    t.match(await new Client(auth).call('GET', '/api/admin/users', { headers: forged }), {
      status: 401,
      body: { code: 'TOKEN_MISSING' },
    })
    const token = (await signIn(gateway, 'admin@example.com')).accessToken as string
    t.match(
      await new Client(auth).call('GET', '/api/admin/users', { headers: { ...forged, 'x-identity-token': token } }),
      { status: 401, body: { code: 'TOKEN_INVALID' } },
    )
  })

  t.test('the keys are public and cacheable, and hold nothing private', async (t) => {
    const { body, headers } = await new Client(gateway).call('GET', '/.well-known/jwks.json')
    t.equal(headers.get('cache-control'), 'public, max-age=300')
    t.match(body, { keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: String }] })
    t.notOk('d' in body.keys[0])
  })

  t.test('the revocation stream is for gateways alone', async (t) => {
    const stream = (authorization?: string) =>
      fetch(`${auth}/internal/revocations`, { headers: authorization ? { authorization } : {} })
    for (const authorization of [undefined, 'Bearer wrong', `Basic ${secrets.REVOCATIONS_SECRET}`])
      t.match(
        await stream(authorization).then(async (response) => ({
          status: response.status,
          body: await response.json(),
        })),
        { status: 401, body: { code: 'GATEWAY_ONLY' } },
      )
    const response = await stream(`Bearer ${secrets.REVOCATIONS_SECRET}`)
    t.equal(response.headers.get('content-type'), 'text/event-stream')
    await response.body?.cancel()
  })

  t.test(
    'a gateway that connects receives what still matters, then that it is current, then what happens',
    async (t) => {
      const client = await signIn(gateway)
      const { sid, sub } = claimsOf(client.accessToken as string)
      await client.call('POST', '/api/auth/logout')
      await sql("UPDATE auth.users SET roles = '{doctor,nurse}' WHERE id = $1", [sub])
      await sql("UPDATE auth.users SET roles = '{doctor}' WHERE id = $1", [sub])
      const connect = async () => {
        const response = await fetch(`${auth}/internal/revocations`, {
          headers: { authorization: `Bearer ${secrets.REVOCATIONS_SECRET}` },
        })
        const text = { all: '' }
        const reading = (async () => {
          for await (const chunk of response.body as never as AsyncIterable<Uint8Array>) text.all += Buffer.from(chunk)
        })()
        reading.catch(() => {})
        return { response, text }
      }
      const { response, text } = await connect()
      await eventually('it is current', () => text.all.includes('event: current'))
      t.match(
        text.all,
        new RegExp(`"session":"${sid}","reason":"logout"[\\s\\S]*"roles":\\["doctor"\\][\\s\\S]*event: current`),
      )
      t.equal(response.status, 200)

      // The past cannot be read while the table is locked; what happens meanwhile comes after it.
      const locked = new pg.Client({ connectionString: url })
      await locked.connect()
      await locked.query('BEGIN')
      await locked.query('LOCK TABLE auth.sessions')
      const waiting = connect()
      await eventually('the stream waits', async () => {
        const { rows } = await sql(lockWaits)
        return rows.length > 0
      })
      const event = JSON.stringify({ session: 'early', reason: 'logout', at: 0 })
      await sql("SELECT pg_notify('sallyport_revocations', $1)", [event])
      // A gateway that is connected is notified at once: from here on the process knows of it.
      await eventually('the process is notified', () => text.all.includes('"early"'))
      await locked.query('COMMIT')
      const late = await waiting
      await eventually('it is notified', () => /"early"[\s\S]*event: current/.test(late.text.all))

      await locked.query('BEGIN')
      await locked.query('LOCK TABLE auth.sessions')
      const refused = await fetch(`${auth}/internal/revocations`, {
        headers: { authorization: `Bearer ${secrets.REVOCATIONS_SECRET}` },
      })
      t.equal(refused.status, 503, 'a past that cannot be read in time is no view')
      await locked.query('COMMIT')
      await locked.end()
    },
  )

  t.test('a password that changes while a login checks the old one opens nothing', async (t) => {
    const weak = await hash(demoPassword, { memoryCost: 4096, timeCost: 1, parallelism: 1 })
    const strong = (await sql("SELECT password_hash FROM auth.users WHERE email = 'doctor@example.com'")).rows[0]
    for (const before of [strong.password_hash, weak]) {
      const change =
        "UPDATE auth.users SET password_hash = $1, password_version = password_version + 1 WHERE email = 'doctor@example.com'"
      await sql(change, [before])
      const other = new pg.Client({ connectionString: url })
      await other.connect()
      await other.query('BEGIN')
      await other.query(change, ['changed'])
      const pending = login({ email: 'doctor@example.com', password: demoPassword })
      await eventually('the login waits for the change', async () => {
        const { rows } = await sql(lockWaits)
        return rows.length > 0
      })
      await other.query('COMMIT')
      await other.end()
      t.match(await pending, { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
    }
    await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'doctor@example.com'", [strong.password_hash])
  })

  t.test('a client without a user agent signs in as well', async (t) => {
    const { statusCode } = await request(`${gateway}/api/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: 'doctor@example.com', password: demoPassword }),
    })
    t.equal(statusCode, 200)
    t.equal((await sql('SELECT FROM auth.sessions WHERE user_agent IS NULL')).rowCount, 1)
  })

  t.test('a session whose user is gone gets an error that says so', async (t) => {
    const client = await signIn(gateway, 'patient@example.com')
    const { rows } = await sql("SELECT * FROM auth.users WHERE email = 'patient@example.com'")
    // In the moment before gateways are notified, which here does not end.
    await sql(`
      ALTER TABLE auth.sessions DISABLE TRIGGER sessions_announce_deletion;
      DELETE FROM auth.users WHERE email = 'patient@example.com';
      ALTER TABLE auth.sessions ENABLE TRIGGER sessions_announce_deletion`)
    t.match(await client.call('GET', '/api/auth/me'), { status: 404, body: { code: 'USER_NOT_FOUND' } })
    t.match(await client.refresh(), { status: 401, body: { code: 'SESSION_ENDED' } })
    t.equal(rows.length, 1)
  })

  t.test('tokens of a user whose roles changed are stale, and a refresh fixes that', async (t) => {
    const client = await signIn(gateway)
    const { sub } = claimsOf(client.accessToken as string)
    await sql("UPDATE auth.users SET roles = '{doctor,admin}' WHERE id = $1", [sub])
    await eventually(
      'the token is stale',
      async () => (await client.call('GET', '/api/admin/users')).body.code === 'TOKEN_STALE',
    )
    t.match((await client.refresh()).body, { roles: ['doctor', 'admin'] })
    t.equal((await client.call('GET', '/api/admin/users')).status, 200)
    t.match(await new Client(gateway).login(), { status: 200 })
  })

  t.test('too many logins from one client: 429 with Retry-After, for logins alone', async (t) => {
    let limited: Awaited<ReturnType<typeof login>> | undefined
    for (let n = 0; n < 61 && !limited; n++) {
      const response = await login({ email: 'x@example.com' })
      if (response.status === 429) limited = response
    }
    t.match(limited?.body, { code: 'RATE_LIMITED', status: 429 })
    t.ok(limited?.headers.get('retry-after'))
    t.match(await new Client(gateway).refresh(), { status: 401, body: { code: 'REFRESH_MISSING' } })
  })
})

t.test('in production', async (t) => {
  const { gateway } = await openSystem(t, {
    NODE_ENV: 'production',
    JWT_REFRESH_SECRET: 'f9Jq2xW7vT1zKp8LmN4bYc6RgHd3SaEu5QwX',
  })

  t.test('the cookie is Secure and named for this host alone, and responses ask for HTTPS', async (t) => {
    const client = new Client(gateway)
    const { headers } = await client.login()
    t.match(
      headers.getSetCookie()[0],
      /^__Host-refreshToken=[\w.-]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    )
    t.match(headers.get('strict-transport-security'), /max-age=\d{8}/)
    t.match(
      await client.refresh(),
      { status: 401, body: { code: 'REFRESH_MISSING' } },
      'the plain name is not looked at',
    )
    t.equal((await client.refresh({ cookie: `__Host-refreshToken=${client.cookie}` })).status, 200)
  })
})
