import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { refreshSigning } from '@sallyport/auth/tokens/refresh'
import { createSigner } from 'fast-jwt'
import t from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { SoftwarePasskey } from '../support/authenticator.ts'
import { codeOf, openFactors, steadyStep } from '../support/factors.ts'
import { Client, type ClientResponse, claimsOf } from '../support/system.ts'

const levelOf = ({ body }: Pick<ClientResponse, 'body'>) => {
  const { acr, amr } = claimsOf(body.accessToken)
  return `${acr} ${(amr as string[]).join(' ')}`
}
const stepUpRequired = { status: 401, body: { code: 'STEP_UP_REQUIRED' } }
const factorRequired = { status: 401, body: { code: 'SECOND_FACTOR_REQUIRED' } }
const admin = 'admin@example.com'

t.test('what each way in says of who signed in', async (t) => {
  const system = await openFactors(t)
  const { gateway, sql, offered, call, post, ask, register, beginLogin, enrolTotp, forgetStep } = system
  const { enrolPasskey, loginWithPasskey, registerWithTotp, secrets } = system
  const login = (email: string, typed = password, client = new Client(gateway)) =>
    post('login', { email, password: typed }, client)
  const second = async (email: string, proof: object, typed = password) => {
    const { challenge } = await beginLogin(email, new Client(gateway), typed)
    return post('login/second-factor', { challenge, ...proof })
  }

  await t.test('a password, a registration and an invitation, of somebody without a factor: aal1', async (t) => {
    const client = await register('plain@example.com')
    t.equal(levelOf({ body: client }), 'aal1 pwd', 'registration')
    t.equal(levelOf(await login('plain@example.com')), 'aal1 pwd', 'password')
    const inviter = new Client(gateway)
    await inviter.login(admin)
    const invited = { email: 'invited@example.com', roles: ['patient'] }
    await inviter.call('POST', '/api/admin/invitations', { body: invited })
    const { ticket } = await offered('invited@example.com')
    const joined = await post('register/complete', { ticket, name: 'Ivy', password })
    t.equal(levelOf(joined), 'aal1 pwd', 'invitation')
    await call('DELETE', 'me', undefined, client)
    t.equal(levelOf(await login('plain@example.com')), 'aal1 pwd', 'an account that was to be deleted')
  })

  await t.test('a password with a code, a recovery code or a passkey: aal2, and alone nothing', async (t) => {
    const { client, secret, recoveryCodes = [] } = await registerWithTotp('full@example.com')
    const { passkey } = await enrolPasskey(client)
    t.match(await login('full@example.com'), {
      ...factorRequired,
      body: { methods: ['totp', 'passkey', 'recovery_code'] },
    })
    await steadyStep()
    t.equal(levelOf(await second('full@example.com', { code: codeOf(secret) })), 'aal2 pwd otp mfa')
    t.equal(levelOf(await second('full@example.com', { code: recoveryCodes[0] })), 'aal2 pwd otp mfa')
    const { challenge, options } = await beginLogin('full@example.com')
    t.strictSame(
      options.allowCredentials.map(({ id }: { id: string }) => id),
      [passkey.credentialId],
    )
    const done = await post('login/second-factor', { challenge, credential: passkey.get(options) })
    t.equal(levelOf(done), 'aal2 pwd hwk user mfa')
    await call('DELETE', 'me', undefined, client)
    t.match(await login('full@example.com'), factorRequired, 'an account that is to be deleted')
    t.match(await sql('SELECT delete_after IS NULL AS kept FROM auth.users WHERE id = $1', [client.id]), {
      rows: [{ kept: false }],
    })
    t.equal((await second('full@example.com', { code: recoveryCodes[1] })).status, 200)
    t.match(await sql('SELECT delete_after IS NULL AS kept FROM auth.users WHERE id = $1', [client.id]), {
      rows: [{ kept: true }],
    })
  })

  await t.test('a passkey alone: aal2', async (t) => {
    const client = await register('keys@example.com')
    const { passkey } = await enrolPasskey(client)
    t.equal(levelOf(await loginWithPasskey(passkey)), 'aal2 hwk user mfa')
    const { passkey: synced } = await enrolPasskey(client, { synced: true })
    t.equal(levelOf(await loginWithPasskey(synced)), 'aal2 swk user mfa')
    t.match(await login('keys@example.com'), { ...factorRequired, body: { methods: ['passkey', 'recovery_code'] } })
  })

  await t.test('a reset by mail opens no session, and goes round no factor', async (t) => {
    await register('forgetful@example.com')
    const plain = await ask('password/forgot', 'forgetful@example.com')
    const reset = await post('password/reset', { ticket: plain.ticket, password: otherPassword })
    t.match(reset, { status: 200, body: { accessToken: undefined } })
    t.equal(levelOf(await login('forgetful@example.com', otherPassword)), 'aal1 pwd', 'without a factor')

    const { client, secret, recoveryCodes = [] } = await registerWithTotp('careful@example.com')
    const { passkey } = await enrolPasskey(client)
    const again = (proof: object, more: object) =>
      post('password/reset', { ...proof, password: otherPassword, ...more })
    const reached = { status: 200, body: { accessToken: undefined } }
    await steadyStep()
    const { ticket } = await ask('password/forgot', 'careful@example.com')
    const asked = await again({ ticket }, {})
    t.match(asked, { ...factorRequired, body: { methods: ['totp', 'passkey', 'recovery_code'] } })
    const { challenge } = asked.body
    const forLogin = (await beginLogin('careful@example.com')).challenge
    t.match(await again({ ticket }, { challenge: forLogin, code: codeOf(secret) }), { status: 400 }, 'one of a login')
    t.match(await again({ ticket }, { challenge, code: '000' }), { status: 403, body: { code: 'CODE_WRONG' } })
    t.match(
      await post('login/second-factor', { challenge, code: codeOf(secret) }),
      { status: 400 },
      'it opens no session',
    )
    t.match(await again({ ticket }, { challenge, code: codeOf(secret) }), reached)
    t.match(await again({ ticket }, { challenge, code: codeOf(secret) }), { status: 400 }, 'the ticket is used')
    t.equal(levelOf(await second('careful@example.com', { code: recoveryCodes[0] }, otherPassword)), 'aal2 pwd otp mfa')

    const mail = await ask('password/forgot', 'careful@example.com')
    const byCode = { ticketId: mail.ticketId, code: mail.code }
    const next = (await again(byCode, {})).body
    const credential = passkey.get(next.options)
    t.match(
      await again(byCode, { challenge: next.challenge, credential }),
      reached,
      'with the code of the mail and a passkey',
    )
    const last = await ask('password/forgot', 'careful@example.com')
    const both = { ticketId: last.ticketId, code: last.code }
    const { challenge: third } = (await again(both, {})).body
    t.match(await again(both, { challenge: third, factorCode: recoveryCodes[1] }), reached, 'with both codes')
  })

  await t.test('a reset that an admin starts does neither', async (t) => {
    const { client, secret } = await registerWithTotp('helped@example.com')
    const helper = new Client(gateway)
    await helper.login(admin)
    await helper.call('POST', `/api/admin/users/${client.id}/password-reset`)
    const { ticket } = await offered('helped@example.com')
    const { body, status } = await post('password/reset', { ticket, password: otherPassword })
    t.match({ status, body }, factorRequired)
    await steadyStep()
    const proof = { challenge: body.challenge, code: codeOf(secret) }
    t.equal((await post('password/reset', { ticket, password: otherPassword, ...proof })).status, 200)
    t.match(await login('helped@example.com', otherPassword), factorRequired)
    await helper.call('POST', `/api/admin/users/${client.id}/factors/reset`)
    t.equal(
      levelOf(await login('helped@example.com', otherPassword)),
      'aal1 pwd',
      'once an admin took the factors away',
    )
  })

  await t.test('another address changes nothing of it', async (t) => {
    const { client, secret } = await registerWithTotp('moved@example.com')
    await post('email', { email: 'there@example.com' }, client)
    const { ticket } = await offered('there@example.com')
    t.match(await post('email/confirm', { ticket }), { status: 200, body: { accessToken: undefined } })
    t.match(await login('there@example.com'), factorRequired)
    t.equal(levelOf(await client.refresh()), 'aal2 mfa otp pwd', 'the session that asked for it')
    const { ticket: back } = await offered('moved@example.com')
    t.match(await post('email/revert', { ticket: back }), { status: 200, body: { accessToken: undefined } })
    t.match(await login('moved@example.com'), factorRequired, 'back again')
    await steadyStep()
    t.equal(levelOf(await second('moved@example.com', { code: codeOf(secret) })), 'aal2 pwd otp mfa')
  })

  await t.test(
    'a session from before there was a factor: aal1, until a step-up; a refresh moves nothing',
    async (t) => {
      const client = await register('early@example.com')
      const early = new Client(gateway)
      await login('early@example.com', password, early)
      const { secret } = await enrolTotp(client)
      const { passkey } = await enrolPasskey(client)
      await sql("UPDATE auth.sessions SET authenticated_at = now() - interval '1 hour' WHERE user_id = $1", [client.id])
      const before = await early.refresh()
      t.equal(levelOf(before), 'aal1 pwd')
      const { auth_time: at } = claimsOf(before.body.accessToken) as { auth_time: number }
      t.ok(Math.abs(Date.now() / 1000 - 3_600 - at) < 60)
      t.equal(claimsOf((await early.refresh()).body.accessToken).auth_time, at, 'a refresh')

      const { body: offer } = await post('step-up/options', {}, early)
      t.strictSame(offer.methods, ['password', 'totp', 'passkey', 'recovery_code'])
      const byPassword = await post('step-up', { password }, early)
      t.equal(levelOf(byPassword), 'aal1 pwd', 'a password')
      const { auth_time: newer } = claimsOf(byPassword.body.accessToken) as { auth_time: number }
      t.ok(newer > at + 3_000)
      await steadyStep()
      t.equal(levelOf(await post('step-up', { code: codeOf(secret) }, early)), 'aal2 mfa otp pwd', 'a code')
      t.equal(levelOf(await early.refresh()), 'aal2 mfa otp pwd')
      t.match(
        await post('step-up', { password }, early),
        { ...factorRequired, body: { methods: ['totp', 'passkey', 'recovery_code'] } },
        'a password alone is less',
      )
      const again = (await post('step-up/options', {}, early)).body
      t.strictSame(again.methods, ['totp', 'passkey', 'recovery_code'])
      const proof = { challengeId: again.challengeId, credential: passkey.get(again.options) }
      t.equal(levelOf(await post('step-up', proof, early)), 'aal2 hwk mfa otp pwd user', 'a passkey')
    },
  )

  await t.test('a refresh token from before sessions said so: aal1, as of when it was opened', async (t) => {
    const client = await register('ancient@example.com')
    const id = '5d6c1a0e-0b5c-4f6e-9a53-5b8f7a2f9d10'
    await sql(
      `INSERT INTO auth.sessions (id, user_id, created_at, expires_at, absolute_expires_at, authenticated_at)
       VALUES ($1, $2, now() - interval '2 days', now() + interval '5 days', now() + interval '9 days', NULL)`,
      [id, client.id],
    )
    await enrolTotp(client)
    const sign = createSigner({ ...refreshSigning, key: secrets.JWT_REFRESH_SECRET as string })
    const now = Math.floor(Date.now() / 1000)
    const claims = { sub: client.id, sid: id, gen: 0, iat: now - 172_800, exp: now + 432_000, type: 'refresh' }
    const old = Object.assign(new Client(gateway), { cookie: sign(claims) })
    const refreshed = await old.refresh()
    t.equal(levelOf(refreshed), 'aal1 pwd')
    t.ok(Math.abs((claimsOf(refreshed.body.accessToken).auth_time as number) - (now - 172_800)) < 60)
    t.match(await call('DELETE', 'factors/totp', undefined, old), stepUpRequired)
    await forgetStep(client)
  })
})

t.test('what changes an account', async (t) => {
  const system = await openFactors(t, { IMPERSONATION_ROLES: 'admin' })
  const { gateway, sql, post, enrolTotp, enrolPasskey, forgetStep, age, origin } = system
  const { rows } = await sql("SELECT password_hash, id FROM auth.users WHERE email = 'patient@example.com'")
  const someone = rows[0].id
  const known = 'seven quiet horses graze'
  const hash = (await sql('SELECT password_hash FROM auth.users WHERE email = $1', [admin])).rows[0].password_hash
  let people = 0

  /** An admin with every kind of factor, in two sessions: one at aal2, and one from before there were any. */
  async function newPerson() {
    people += 1
    const email = `person-${people}@example.com`
    const { rows } = await sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       VALUES (gen_random_uuid(), $1, 'Pat', $2, '{admin}') RETURNING id`,
      [email, hash],
    )
    const full = Object.assign(new Client(gateway), { id: rows[0].id as string })
    const weak = Object.assign(new Client(gateway), { id: rows[0].id as string })
    for (const client of [full, weak]) await client.login(email)
    const { secret } = await enrolTotp(full)
    const { passkey } = await enrolPasskey(full)
    await full.refresh()
    const { sid: other } = claimsOf(weak.accessToken as string) as { sid: string }
    return { email, full, weak, secret, passkey, other }
  }
  type Person = Awaited<ReturnType<typeof newPerson>>

  interface Call {
    body?: (person: Person) => object
    path?: (person: Person) => string | Promise<string>
    /** Whether the level does not matter, and only the time does. */
    anyLevel?: true
    /** Of the response once it goes through, if not 200. */
    status?: number
  }
  const invitation = async () => {
    const body = { email: `invited-${people}@example.com`, roles: ['patient'] }
    const helper = new Client(gateway)
    await helper.login(admin)
    return `/api/admin/invitations/${(await helper.call('POST', '/api/admin/invitations', { body })).body.id}`
  }
  const user =
    (rest = '') =>
    () =>
      `/api/admin/users/${someone}${rest}`
  const exchange = { from: 'a', audience: 'b', roles: [], scopes: [] }
  /** A service account; or what is made of it there. */
  const machine =
    (rest = '', body?: object) =>
    async () => {
      const helper = new Client(gateway)
      await helper.login(admin)
      const { id } = (await helper.call('POST', '/api/admin/clients', { body: { name: 'M' } })).body
      const path = `/api/admin/clients/${id}${rest}`
      return body ? `${path}/${(await helper.call('POST', path, { body })).body.id}` : path
    }
  const webhook = { name: 'W', url: 'https://127.0.0.1:1024/', events: ['client.deleted'] }
  const hook =
    (rest = '') =>
    async () => {
      const helper = new Client(gateway)
      await helper.login(admin)
      await sql('DELETE FROM auth.webhooks')
      return `/api/admin/webhooks/${(await helper.call('POST', '/api/admin/webhooks', { body: webhook })).body.id}${rest}`
    }
  const calls: Record<string, Call> = {
    'POST /api/auth/password': { body: () => ({ currentPassword: 'doctor', newPassword: known }), status: 403 },
    'POST /api/auth/email': { body: ({ email }) => ({ email: `new-${email}` }), status: 202 },
    'GET /api/auth/me/export': {},
    'DELETE /api/auth/me': { status: 202 },
    'POST /api/auth/logout-all': { anyLevel: true },
    'DELETE /api/auth/sessions/{id}': { path: ({ other }) => `/api/auth/sessions/${other}`, anyLevel: true },
    'POST /api/auth/factors/totp': {},
    'POST /api/auth/factors/totp/confirm': { body: () => ({ code: '000000' }), status: 400 },
    'DELETE /api/auth/factors/totp': {},
    'POST /api/auth/factors/passkeys/options': {},
    'POST /api/auth/factors/passkeys': {
      body: () => {
        const credential = new SoftwarePasskey(origin).create({ challenge: 'x', rp: { id: 'app.test' } })
        return { challengeId: '5d6c1a0e-0b5c-4f6e-9a53-5b8f7a2f9d10', credential }
      },
      status: 400,
    },
    'PATCH /api/auth/factors/passkeys/{id}': {
      path: ({ passkey }) => `/api/auth/factors/passkeys/${passkey.credentialId}`,
      body: () => ({ name: 'Key' }),
    },
    'DELETE /api/auth/factors/passkeys/{id}': {
      path: ({ passkey }) => `/api/auth/factors/passkeys/${passkey.credentialId}`,
    },
    'POST /api/auth/factors/recovery-codes': {},
    'POST /api/admin/users': {
      body: () => ({ email: `made-${people}@example.com`, name: 'M', roles: ['patient'] }),
      status: 201,
    },
    'PATCH /api/admin/users/{id}': { path: user(), body: () => ({ name: 'Other' }) },
    'DELETE /api/admin/users/{id}/sessions': { path: user('/sessions') },
    'DELETE /api/admin/users/{id}/sessions/{sessionId}': { path: user(`/sessions/${randomUUID()}`), status: 404 },
    'POST /api/admin/users/{id}/password-reset': { path: user('/password-reset'), status: 202 },
    'POST /api/admin/users/{id}/unlock': { path: user('/unlock') },
    'POST /api/admin/users/{id}/factors/reset': { path: user('/factors/reset'), status: 409 },
    'DELETE /api/admin/users/{id}': { path: user(), status: 202 },
    'POST /api/admin/invitations': {
      body: () => ({ email: `asked-${people}@example.com`, roles: ['patient'] }),
      status: 201,
    },
    'POST /api/admin/invitations/{id}/resend': {
      path: async () => `${await invitation()}/resend`,
    },
    'DELETE /api/admin/invitations/{id}': { path: invitation },
    'POST /api/admin/users/{id}/impersonate': {
      path: user('/impersonate'),
      body: () => ({ reason: 'x' }),
      status: 409,
    },
    'POST /api/admin/clients': { body: () => ({ name: 'M' }), status: 201 },
    'PATCH /api/admin/clients/{id}': { path: machine(), body: () => ({ name: 'M' }) },
    'POST /api/admin/clients/{id}/credentials': {
      path: machine('/credentials'),
      body: () => ({ kind: 'secret', name: 'S' }),
      status: 201,
    },
    'DELETE /api/admin/clients/{id}/credentials/{credentialId}': {
      path: machine('/credentials', { kind: 'secret', name: 'S' }),
    },
    'POST /api/admin/clients/{id}/exchanges': {
      path: machine('/exchanges'),
      body: () => exchange,
      status: 201,
    },
    'DELETE /api/admin/clients/{id}/exchanges/{exchangeId}': { path: machine('/exchanges', exchange) },
    'DELETE /api/admin/clients/{id}': { path: machine() },
    'POST /api/admin/webhooks': { body: () => webhook, status: 201 },
    'PATCH /api/admin/webhooks/{id}': { path: hook(), body: () => ({ name: 'W' }) },
    'POST /api/admin/webhooks/{id}/secrets': { path: hook('/secrets'), status: 201 },
    'POST /api/admin/webhooks/{id}/test': { path: hook('/test') },
    'POST /api/admin/webhooks/{id}/deliveries/{deliveryId}/replay': {
      path: hook('/deliveries/1/replay'),
      status: 404,
    },
    'POST /api/admin/webhooks/{id}/replay': {
      path: hook('/replay'),
      body: () => ({ from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }),
    },
    'DELETE /api/admin/webhooks/{id}': { path: hook() },
  }

  await t.test('is known to the description of the API', async (t) => {
    const { paths } = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8')) as {
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>
    }
    const guarded = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, { responses }]) => JSON.stringify(responses['401'] ?? '').includes('STEP_UP_REQUIRED'))
        .map(([method]) => `${method.toUpperCase()} ${path}`),
    )
    t.strictSame(Object.keys(calls).toSorted(), guarded.toSorted())
  })

  /** What there is, of everybody: a call that does not go through changes none of it. */
  const everything = async () =>
    JSON.stringify(
      await Promise.all(
        [
          'SELECT id, email, name, roles, password_hash, disabled_at, delete_after FROM auth.users ORDER BY id',
          'SELECT id, revoked_at, amr FROM auth.sessions ORDER BY id',
          'SELECT user_id, secret FROM auth.totp ORDER BY user_id',
          'SELECT id, name, user_id FROM auth.passkeys ORDER BY id',
          'SELECT hash FROM auth.recovery_codes ORDER BY hash',
          'SELECT id, name FROM auth.clients ORDER BY id',
          'SELECT id FROM auth.client_credentials ORDER BY id',
          'SELECT id FROM auth.client_exchanges ORDER BY id',
          'SELECT session_id FROM auth.impersonations ORDER BY session_id',
          'SELECT id, email, purpose, used_at FROM auth.tickets ORDER BY id',
        ].map(async (text) => (await sql(text)).rows),
      ),
    )

  for (const [name, { body, path, anyLevel, status = 200 }] of Object.entries(calls))
    await t.test(
      `${name} goes through neither too late nor below the highest level, and after a step-up it does`,
      async (t) => {
        const person = await newPerson()
        const { full, weak, secret } = person
        const [method = '', route = ''] = name.split(' ')
        const address = (await path?.(person)) ?? route
        const content = body?.(person)
        const attempt = (client: Client) =>
          client.call(method, address, method === 'POST' || method === 'PATCH' ? { body: content ?? {} } : {})

        await age(full)
        const before = await everything()
        const late = await attempt(full)
        t.match(late, stepUpRequired, 'too late')
        t.equal(late.body.maxAge, 300)
        t.match(late.headers.get('www-authenticate'), /^Bearer error="insufficient_user_authentication"/)
        if (!anyLevel) {
          await sql("UPDATE auth.sessions SET authenticated_at = now() WHERE user_id = $1 AND amr = '{pwd}'", [full.id])
          const low = await attempt(weak)
          t.match(low, { ...stepUpRequired, body: { acr: 'aal2', maxAge: 300 } }, 'too low')
          t.match(
            low.headers.get('www-authenticate'),
            'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="300"',
          )
          t.equal((await post('step-up', { password: 'wrong' }, weak)).status, 403)
          t.match(await attempt(weak), stepUpRequired, 'after a step-up that failed')
        }
        t.equal(await everything(), before, 'nothing has changed')

        await forgetStep(full)
        await steadyStep()
        const client = anyLevel ? full : weak
        t.equal((await post('step-up', { code: codeOf(secret) }, client)).status, 200)
        const through = await attempt(client)
        t.equal(through.status, status, JSON.stringify(through.body))
      },
    )

  await t.test('but one’s own session ends whenever one wants', async (t) => {
    const { full } = await newPerson()
    await age(full)
    const { sid } = claimsOf(full.accessToken as string)
    t.equal((await full.call('DELETE', `/api/auth/sessions/${sid}`)).status, 200)
  })
})
