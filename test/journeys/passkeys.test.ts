import t from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { flag, SoftwarePasskey } from '../support/authenticator.ts'
import { openFactors } from '../support/factors.ts'
import { Client, openSystemOn } from '../support/system.ts'

const unknown = { status: 403, body: { code: 'PASSKEY_UNKNOWN' } }
const refused = { status: 403, body: { code: 'PASSKEY_INVALID' } }

t.test('passkeys', async (t) => {
  const system = await openFactors(t)
  const { gateway, sql, mail, call, post, register, origin, enrolPasskey, loginWithPasskey, beginLogin, eventsOf } =
    system

  await t.test('are made with the user verified, for the user, and found by nobody’s name', async (t) => {
    const client = await register('made@example.com', 'Mia')
    const { body } = await post('factors/passkeys/options', {}, client)
    t.match(body.options, {
      rp: { id: 'app.test', name: 'Sallyport' },
      user: { name: 'made@example.com', displayName: 'Mia', id: Buffer.from(client.id).toString('base64url') },
      attestation: 'none',
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
      excludeCredentials: [],
    })
    const passkey = new SoftwarePasskey(origin)
    passkey.model = Buffer.from('ea9b8d664d011d213ce4b6b48cb575d4', 'hex')
    const added = await post(
      'factors/passkeys',
      { challengeId: body.challengeId, credential: passkey.create(body.options) },
      client,
    )
    t.equal(added.status, 201)
    t.equal(added.body.recoveryCodes.length, 10)
    t.match(added.body.passkey, { id: passkey.credentialId, backedUp: false, lastUsedAt: null })
    t.equal(added.body.passkey.name, 'Google Password Manager')
    t.match((await mail.next('made@example.com')).subject, /: A passkey was added$/)
    const again = (await post('factors/passkeys/options', {}, client)).body
    // Browsers before 2023 do not say how they reach it.
    const silent = new SoftwarePasskey(origin).create(again.options, {
      sent: ({ response: { transports: _, ...response }, ...rest }) => ({ ...rest, response }),
    })
    t.equal(
      (await post('factors/passkeys', { challengeId: again.challengeId, credential: silent }, client)).status,
      201,
    )
    const next = (await post('factors/passkeys/options', {}, client)).body.options
    t.match(next.excludeCredentials, [
      { id: passkey.credentialId, type: 'public-key', transports: ['internal', 'hybrid'] },
    ])

    const { body: asked } = await post('login/passkey/options', {})
    t.match(asked.options, { rpId: 'app.test', userVerification: 'required', allowCredentials: undefined })
  })

  await t.test('are named after what made them, and as their user likes', async (t) => {
    const client = await register('named@example.com')
    const names: string[] = []
    for (const model of ['bada5566a7aa401fbd9645619a55120d', '0'.repeat(32)]) {
      const { body } = await post('factors/passkeys/options', {}, client)
      const passkey = new SoftwarePasskey(origin)
      passkey.model = Buffer.from(model, 'hex')
      const credential = passkey.create(body.options)
      const headers = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' }
      const { challengeId } = body
      const added = await client.call('POST', '/api/auth/factors/passkeys', {
        body: { challengeId, credential },
        headers,
      })
      names.push(added.body.passkey.name)
    }
    t.strictSame(names, ['1Password', 'Firefox on Linux'])
    const { body } = await post('factors/passkeys/options', {}, client)
    const passkey = new SoftwarePasskey(origin, { synced: true })
    const made = { challengeId: body.challengeId, credential: passkey.create(body.options), name: ' My phone ' }
    t.match((await post('factors/passkeys', made, client)).body, {
      passkey: { name: 'My phone', backedUp: true },
      recoveryCodes: undefined,
    })
    const path = `factors/passkeys/${passkey.credentialId}`
    t.match(await call('PATCH', path, { name: 'Old phone' }, client), { status: 200, body: { name: 'Old phone' } })
    t.match(await call('PATCH', path, { name: '' }, client), { status: 400 })
    const stranger = await register('stranger@example.com')
    for (const [method, body] of [
      ['PATCH', { name: 'Mine' }],
      ['DELETE', undefined],
    ] as const)
      t.match(await call(method, path, body, stranger), { status: 404, body: { code: 'FACTOR_NOT_FOUND' } }, method)
    t.strictSame(
      (await call('GET', 'factors', undefined, client)).body.passkeys.map(({ name }: { name: string }) => name),
      ['1Password', 'Firefox on Linux', 'Old phone'],
    )
  })

  for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const)
    await t.test(`sign in with ${algorithm}, which is noted`, async (t) => {
      const email = `${algorithm.toLowerCase()}@example.com`
      const client = await register(email)
      const { passkey } = await enrolPasskey(client, { algorithm, synced: true })
      const done = await loginWithPasskey(passkey)
      t.match(done, { status: 200, body: { user: { email } } })
      passkey.flags = flag.up | flag.uv | flag.be
      t.equal((await loginWithPasskey(passkey)).status, 200)
      const [view] = (await call('GET', 'factors', undefined, client)).body.passkeys
      t.ok(Math.abs(Date.parse(view.lastUsedAt) - Date.now()) < 60_000)
      t.equal(view.backedUp, false, 'backed up no more')
    })

  await t.test('open an account on which others have guessed a hundred times', async (t) => {
    const client = await register('guessed@example.com')
    const { passkey } = await enrolPasskey(client)
    await sql(`INSERT INTO auth.password_failures (person, device, has_account, failures) VALUES ($1, '', true, 100)`, [
      client.id,
    ])
    t.equal((await new Client(gateway).login('guessed@example.com', password)).status, 401)
    t.equal((await loginWithPasskey(passkey)).status, 200)
    await beginLogin('guessed@example.com')
    t.pass('the password is tried again')
  })

  await t.test('a counter that went back is noted, and nobody is shut out', async (t) => {
    const client = await register('counter@example.com')
    const { passkey } = await enrolPasskey(client)
    passkey.counter = 40
    t.equal((await loginWithPasskey(passkey)).status, 200)
    passkey.counter = 7
    t.equal((await loginWithPasskey(passkey)).status, 200)
    t.ok((await eventsOf(client.id)).includes('passkey_counter_regressed'))
  })

  await t.test('one that was removed is unknown, to the browser too; the last one takes the codes along', async (t) => {
    const client = await register('removed@example.com')
    const { passkey } = await enrolPasskey(client)
    const { passkey: other } = await enrolPasskey(client)
    t.equal((await call('DELETE', `factors/passkeys/${passkey.credentialId}`, undefined, client)).status, 200)
    t.match(
      (await mail.next('removed@example.com', ({ subject }) => /removed/.test(subject))).subject,
      /: A passkey was removed$/,
    )
    t.match(await loginWithPasskey(passkey), unknown)
    t.match((await call('GET', 'factors', undefined, client)).body, { recoveryCodesLeft: 10 })
    t.equal((await loginWithPasskey(other)).status, 200)
    await call('DELETE', `factors/passkeys/${other.credentialId}`, undefined, client)
    t.match((await call('GET', 'factors', undefined, client)).body, { passkeys: [], recoveryCodesLeft: 0 })
    t.equal((await new Client(gateway).login('removed@example.com', password)).status, 200)
  })

  await t.test('one is somebody’s once, and nobody has more than twenty', async (t) => {
    const client = await register('many@example.com')
    const { passkey } = await enrolPasskey(client)
    const add = async (who: Client, made: SoftwarePasskey) => {
      const { body } = await post('factors/passkeys/options', {}, who)
      return post('factors/passkeys', { challengeId: body.challengeId, credential: made.create(body.options) }, who)
    }
    const exists = { status: 409, body: { code: 'PASSKEY_EXISTS' } }
    t.match(await add(client, passkey), exists)
    t.match(await add(await register('other@example.com'), passkey), exists)
    for (let count = 1; count < 20; count++) t.equal((await add(client, new SoftwarePasskey(origin))).status, 201)
    t.match(await add(client, new SoftwarePasskey(origin)), { status: 409, body: { code: 'FACTOR_LIMIT' } })
  })

  await t.test('are of no use to whoever may not sign in, or may no more', async (t) => {
    const client = await register('disabled@example.com')
    const { passkey } = await enrolPasskey(client)
    await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [client.id])
    t.match(await loginWithPasskey(passkey), { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
    await sql("UPDATE auth.users SET disabled_at = NULL, email = 'no address' WHERE id = $1", [client.id])
    t.match(await loginWithPasskey(passkey), { status: 403, body: { code: 'ACCOUNT_INVALID' } })
  })

  await t.test('let a password be shorter, which is not all that a sign-in takes then', async (t) => {
    const client = await register('short@example.com')
    const change = (currentPassword: string, newPassword: string) =>
      post('password', { currentPassword, newPassword }, client)
    const weak = { status: 400, body: { code: 'PASSWORD_WEAK', title: 'The new password is too short' } }
    t.match(await change(password, 'tQ4)vw2K'), weak)
    const { passkey } = await enrolPasskey(client)
    t.match(await change(password, 'owl tid'), { status: 400, body: { code: 'REQUEST_INVALID' } })
    t.match(
      await change(password, 'password1'),
      { status: 400, body: { code: 'PASSWORD_WEAK' } },
      'and is still no usual one',
    )
    t.equal((await change(password, 'tQ4)vw2K')).status, 200)
    const { ticket } = await system.ask('password/forgot', 'short@example.com')
    const reset = (more: object) => post('password/reset', { ticket, password: 'mX7-eb9Z', ...more })
    const { challenge, options } = (await reset({})).body
    t.equal((await reset({ challenge, credential: passkey.get(options) })).status, 200)
  })

  await t.test('go on after the password was reset, with a passkey as the second factor', async (t) => {
    const client = await register('reset@example.com')
    const { passkey } = await enrolPasskey(client)
    const { ticket } = await system.ask('password/forgot', 'reset@example.com')
    const reset = (more: object) => post('password/reset', { ticket, password: otherPassword, ...more })
    const { challenge, options } = (await reset({})).body
    t.match(await reset({ challenge, credential: passkey.get(options, { challenge: 'other' }) }), refused)
    t.match(
      await reset({ challenge, credential: passkey.get(options) }),
      { status: 400, body: { code: 'CHALLENGE_INVALID' } },
      'one try',
    )
    const again = (await reset({})).body
    const credential = passkey.get(again.options)
    t.equal((await reset({ challenge: again.challenge, credential })).status, 200)
    t.equal((await loginWithPasskey(passkey)).status, 200)
  })
})

t.test('where no domain is known that passkeys are for, there are none, and codes go on', async (t) => {
  const before = await openFactors(t)
  const client = await before.register('both@example.com')
  const { passkey } = await before.enrolPasskey(client)
  await before.enrolTotp(client)
  await before.sql("UPDATE auth.users SET email = 'doctor2@example.com' WHERE id = $1", [client.id])
  const system = await openSystemOn(before, t, {
    CORS_ORIGINS: 'http://127.0.0.1:5173',
    FACTOR_KEY: before.secrets.FACTOR_KEY as string,
  })
  const none = { status: 503, body: { code: 'PASSKEYS_UNAVAILABLE' } }
  const someone = new Client(system.gateway)
  const asked = await someone.login('doctor2@example.com', password)
  t.match(asked, { status: 401, body: { code: 'SECOND_FACTOR_REQUIRED', methods: ['totp', 'recovery_code'] } })
  const credential = passkey.get({ challenge: 'x', rpId: 'app.test' })
  const challengeId = '5d6c1a0e-0b5c-4f6e-9a53-5b8f7a2f9d10'
  const { challenge } = asked.body
  for (const [path, body] of [
    ['login/second-factor', { challenge, credential }],
    ['login/passkey/options', {}],
    ['login/passkey', { challengeId, credential }],
  ] as const)
    t.match(await someone.call('POST', `/api/auth/${path}`, { body }), none, path)
  await someone.login()
  t.match((await someone.call('GET', '/api/auth/factors')).body, { rpId: null })
  t.match((await someone.call('POST', '/api/auth/step-up/options', { body: {} })).body, { methods: ['password'] })
  const made = new SoftwarePasskey('https://app.test').create({ challenge: 'x', rp: { id: 'app.test' } })
  for (const [path, body] of [
    ['factors/passkeys/options', {}],
    ['factors/passkeys', { challengeId, credential: made }],
    ['step-up', { challengeId, credential }],
  ] as const)
    t.match(await someone.call('POST', `/api/auth/${path}`, { body }), none, path)
})
