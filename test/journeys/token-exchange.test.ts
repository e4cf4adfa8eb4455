import { randomUUID } from 'node:crypto'
import { provisionClient } from '@sallyport/auth/clients/provision'
import { createAssertions, createSigner, identityFromClaims, publicJwk } from '@sallyport/identity'
import t from 'tap'
import {
  accessTokenType,
  basic,
  issuer,
  jwtType,
  makeKeyPair,
  openMachines,
  tokenExchange,
} from '../support/machines.ts'
import { type ClientResponse, claimsOf, eventually, signIn } from '../support/system.ts'

type Claims = Record<string, unknown> & { exp: number; iat: number; act: { act?: object } & Record<string, unknown> }

const refused = (error = 'invalid_request') => ({ status: 400, body: { error } })

t.test('token exchange does what RFC 8693 says', async (t) => {
  const machines = await openMachines(t, {}, ['appointments'])
  const { gateway, makeMachine, addExchange, exchange, tokenOf, administer, bearing, secrets, database, sql } = machines
  const onward = { from: 'notifications', audience: 'appointments', roles: ['doctor', 'patient'], scopes: ['a', 'b'] }
  const machine = await makeMachine()
  const registered = await addExchange(machine.id, onward)
  const doctor = await signIn(gateway, 'doctor@example.com')
  const token = doctor.accessToken as string
  const assertions = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string)
  /** What the gateway says of whoever has a token, to a service. */
  const assertionOf = (of: string, audience = 'notifications') =>
    assertions.sign(identityFromClaims(claimsOf(of)) as never, audience).token
  const got = ({ status, body }: ClientResponse): Claims => {
    if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
    return claimsOf(body.access_token) as Claims
  }
  const asAssertion = { subject_token_type: jwtType }

  await t.test('section 2.2.1: an access token, for one who acts', async (t) => {
    const response = await exchange(machine, token)
    t.strictSame(Object.keys(response.body).sort(), [
      ...['access_token', 'expires_in', 'issued_token_type', 'scope', 'token_type'],
    ])
    t.match(response, {
      status: 200,
      body: { issued_token_type: accessTokenType, token_type: 'Bearer', scope: 'a b' },
    })
    t.match(response.headers.get('cache-control'), 'no-store')
    const subject = claimsOf(token) as Claims
    const claims = got(response)
    for (const name of ['sub', 'sid', 'email', 'role', 'roles', 'auth_time', 'acr', 'amr'])
      t.strictSame(claims[name], subject[name], name)
    t.match(claims, { iss: issuer, aud: 'appointments', client_id: machine.id, scope: 'a b' })
    t.strictSame(claims.act, { sub: `client:${machine.id}`, sid: machine.keysId, grant: registered.id })
    t.ok(claims.exp <= subject.exp)
    t.equal((await bearing(response.body.access_token).call('GET', '/api/whoami')).status, 200)
  })

  await t.test('section 2.1: the assertion that a service has of its caller', async (t) => {
    const claims = got(await exchange(machine, assertionOf(token), asAssertion))
    t.match(claims, { sub: claimsOf(token).sub, aud: 'appointments', act: { sub: `client:${machine.id}` } })
    t.ok(claims.exp - claims.iat <= 60)
  })

  const none = { subject_token: '', subject_token_type: '' }
  const bad: Record<string, [form: Record<string, string>, error?: string]> = {
    'no subject_token': [{ subject_token: '' }],
    'no subject_token_type': [{ subject_token_type: '' }],
    neither: [none],
    'an unknown subject_token_type': [{ subject_token_type: 'urn:none' }],
    'an ID token': [{ subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    'a refresh token': [{ subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    SAML: [{ subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }],
    'an access token said to be a JWT': [asAssertion],
    'a token that is longer than any': [{ subject_token: `${token}.${'x'.repeat(9_000)}` }],
    'a token whose header is no JSON': [{ subject_token: `AAAA${token.slice(token.indexOf('.'))}` }],
    'an assertion said to be an access token': [{ subject_token: assertionOf(token) }],
    "an assertion for another service's audience": [{ ...asAssertion, subject_token: assertionOf(token, 'reports') }],
    'an assertion for where it wants to go': [{ ...asAssertion, subject_token: assertionOf(token, 'appointments') }],
    'an assertion for the API as a whole': [{ ...asAssertion, subject_token: assertionOf(token, 'https://api.test') }],
    garbage: [{ subject_token: 'x' }],
    'a signature cut short': [{ subject_token: token.slice(0, -4) }],
    'a cookie': [{ subject_token: doctor.cookie as string }],
    'an API key': [{ subject_token: machine.apiKey }],
    'an actor_token': [{ actor_token: token }],
    'an actor_token and its type': [{ actor_token: token, actor_token_type: accessTokenType }],
    'the type of an actor_token': [{ actor_token_type: accessTokenType }],
    'a refresh token requested': [{ requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    'a JWT requested': [{ requested_token_type: jwtType }],
    'an audience that is not registered': [{ audience: 'notifications' }, 'invalid_target'],
    'a resource that is not registered': [{ resource: 'https://evil.test' }, 'invalid_target'],
    'the API as a whole': [{ audience: 'https://api.test' }, 'invalid_target'],
    'a scope that is not registered': [{ scope: 'a c' }, 'invalid_scope'],
    'a scope in two spellings': [{ scope: 'A' }, 'invalid_scope'],
  }
  for (const [name, [form, error]] of Object.entries(bad))
    t.match(await exchange(machine, token, form), refused(error), `section 2.1: ${name}`)

  await t.test('section 2.1: what may be said', async (t) => {
    for (const form of [
      { requested_token_type: accessTokenType },
      { audience: 'appointments' },
      { resource: 'appointments' },
      { audience: 'appointments', resource: 'appointments' },
      { actor_token: '', actor_token_type: '' },
    ])
      t.match(got(await exchange(machine, token, form)), { aud: 'appointments' }, JSON.stringify(form))
    for (const scope of ['a', 'b', 'b a'])
      t.equal(got(await exchange(machine, token, { scope })).scope, scope, 'scopes are narrowed')
  })

  await t.test('an exchange is needed, and one audience if there are several', async (t) => {
    const other = await makeMachine()
    t.match(await exchange(other, token), refused())
    t.match(await exchange(other, token, { audience: 'appointments' }), refused('invalid_target'))
    await addExchange(other.id, { ...onward, roles: ['doctor'] })
    await addExchange(other.id, { ...onward, audience: 'reports', roles: ['doctor'] })
    t.match(await exchange(other, token), refused(), 'which of them it does not say')
    t.match(got(await exchange(other, token, { audience: 'reports' })), { aud: 'reports' })
    const two = [
      ['audience', 'reports'],
      ['audience', 'appointments'],
    ] as [string, string][]
    const form = { grant_type: tokenExchange, subject_token: token }
    const all = { ...form, subject_token_type: accessTokenType, ...machines.byKey(other) }
    t.match(await machines.post('token', [...Object.entries(all), ...two]), refused('invalid_target'))
  })

  await t.test('an assertion is good for no longer than the token that it was made from', async (t) => {
    const caller = await makeMachine({ scopes: ['a'] })
    const own = await tokenOf(caller)
    const { jti, exp } = claimsOf(own) as { jti: string; exp: number }
    const whole = identityFromClaims(claimsOf(own)) as never
    const from = (ends: number) => ({
      subject_token: assertions.sign(whole, 'notifications', { jti, expiresAt: ends }).token,
    })
    const ends = Math.floor(Date.now() / 1000) + 20
    t.equal(got(await exchange(machine, own, { ...asAssertion, ...from(ends) })).exp, ends)
    t.match(await exchange(machine, own, { ...asAssertion, ...from(ends - 40) }), refused('invalid_request'), 'ended')
    t.match(await machines.post('revoke', { token: own, ...machines.byKey(caller) }), { status: 200 })
    t.match(await exchange(machine, own, { ...asAssertion, ...from(exp) }), refused('invalid_request'), 'revoked')
  })

  await t.test('of several from which a token may be exchanged, the oldest is taken', async (t) => {
    const actor = await makeMachine()
    const first = await addExchange(actor.id, { ...onward, from: 'z', scopes: ['a'] })
    const second = await addExchange(actor.id, { ...onward, from: 'b', scopes: ['b'] })
    for (let at = 0; at < 3; at++) t.match(got(await exchange(actor, token)), { scope: 'a', act: { grant: first.id } })
    const said = { ...asAssertion, subject_token: assertionOf(token, 'b') }
    t.match(got(await exchange(actor, token, said)), { scope: 'b', act: { grant: second.id } })
  })

  await t.test('roles are those that the exchange carries over, and the subject still has', async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    const admin = machines.admin.accessToken as string
    t.match(got(await exchange(machine, patient.accessToken as string)), { roles: ['patient'], role: 'patient' })
    t.match(await exchange(machine, admin), refused('invalid_target'), 'none of an admin')
    await sql(`UPDATE auth.users SET roles = '{patient,doctor}' WHERE email = 'patient@example.com'`)
    t.match(got(await exchange(machine, patient.accessToken as string)), { roles: ['patient'] }, 'none that is new')
    await sql(`UPDATE auth.users SET roles = '{doctor}' WHERE email = 'patient@example.com'`)
    t.match(await exchange(machine, patient.accessToken as string), refused('invalid_request'), 'none that is gone')
    await sql(`UPDATE auth.users SET roles = '{patient}' WHERE email = 'patient@example.com'`)
  })

  await t.test('it ends no later than its subject, and than the credential of whoever acts', async (t) => {
    const { body } = await administer('POST', `clients/${machine.id}/credentials`, {
      ...{ kind: 'secret', name: 'brief', expiresAt: new Date(Date.now() + 30_000) },
    })
    const form = { grant_type: tokenExchange, subject_token: token }
    const response = await machines.post(
      'token',
      { ...form, subject_token_type: accessTokenType },
      basic(machine.id, body.clientSecret),
    )
    t.ok(got(response).exp * 1000 <= Date.parse(body.expiresAt))
    t.ok(response.body.expires_in <= 30)
  })

  await t.test('section 4.1: who acted before stays inside, up to four', async (t) => {
    const chain = []
    for (const scopes of [['a', 'b'], ['a', 'b'], ['a'], ['a', 'b'], ['a']]) {
      const actor = await makeMachine()
      const { id } = await addExchange(actor.id, {
        from: 'appointments',
        audience: 'appointments',
        roles: ['doctor'],
        scopes,
      })
      chain.push({ actor, id })
    }
    let subject = token
    let expected: object | undefined
    for (const [at, { actor, id }] of chain.slice(0, 4).entries()) {
      const before = claimsOf(subject) as Claims
      const response = await exchange(actor, subject)
      const claims = got(response)
      expected = { sub: `client:${actor.id}`, sid: actor.keysId, grant: id, ...(expected && { act: expected }) }
      t.strictSame(claims.act, expected, `${at + 1} of them`)
      t.equal(claims.scope, at < 2 ? 'a b' : 'a', 'scopes only ever narrow')
      t.ok(claims.exp <= before.exp)
      subject = response.body.access_token
    }
    const { actor } = chain[4] as (typeof chain)[0]
    t.match(await exchange(actor, subject), refused(), 'the fifth is refused')
    t.equal((await bearing(subject).call('GET', '/api/whoami')).status, 200)
    const second = chain[1] as (typeof chain)[0]
    await administer('DELETE', `clients/${second.actor.id}/exchanges/${second.id}`)
    t.match(await exchange((chain[0] as (typeof chain)[0]).actor, subject), refused(), 'one in the middle is gone')
    await eventually(
      'the gateway knows',
      async () => (await bearing(subject).call('GET', '/api/whoami')).status === 401,
    )
  })

  await t.test('a service account as the subject', async (t) => {
    const caller = await makeMachine({ roles: ['doctor', 'patient'], scopes: ['a', 'c'], audiences: ['notifications'] })
    const claims = got(await exchange(machine, await tokenOf(caller)))
    t.match(claims, { sub: `client:${caller.id}`, sid: caller.secretId, scope: 'a', roles: ['doctor', 'patient'] })
    t.match(claims, { client_id: machine.id, aud: 'appointments', act: { sub: `client:${machine.id}` } })
    t.notOk('email' in claims)
    const plain = await makeMachine({ audiences: ['notifications'] })
    t.match(got(await exchange(machine, await tokenOf(plain))), { roles: [], scope: '' }, 'also without any role')
    const elsewhere = await makeMachine({ audiences: ['reports'] })
    t.match(await exchange(machine, await tokenOf(elsewhere)), refused(), 'a token for another audience')
    const last = await tokenOf(caller)
    await administer('DELETE', `clients/${caller.id}`)
    t.match(await exchange(machine, last), refused(), 'one that is gone')
  })

  await t.test('a subject that has ended', async (t) => {
    const left = await signIn(gateway, 'doctor@example.com')
    const before = assertionOf(left.accessToken as string)
    await left.call('POST', '/api/auth/logout')
    t.match(await exchange(machine, left.accessToken as string), refused())
    t.match(await exchange(machine, before, asAssertion), refused(), 'what the gateway said of it too')
    const revoked = await makeMachine({ audiences: ['notifications'] })
    const own = await tokenOf(revoked)
    t.match(await machines.post('revoke', { token: own, ...machines.byKey(revoked) }), { status: 200 })
    t.match(await exchange(machine, own), refused())
    const disabled = await signIn(gateway, 'doctor@example.com')
    await sql(`UPDATE auth.users SET disabled_at = now() WHERE email = 'doctor@example.com'`)
    t.match(await exchange(machine, disabled.accessToken as string), refused())
    await sql(`UPDATE auth.users SET disabled_at = NULL WHERE email = 'doctor@example.com'`)
  })

  await t.test('a service account that no longer has what its token says', async (t) => {
    const caller = await makeMachine({ scopes: ['a', 'b'], audiences: ['notifications', 'x'] })
    const before = await tokenOf(caller)
    const said = assertionOf(before)
    await administer('PATCH', `clients/${caller.id}`, { audiences: ['notifications'] })
    t.match(await exchange(machine, before), refused(), 'an audience')
    t.match(got(await exchange(machine, said, asAssertion)), { scope: 'a b' }, 'of which an assertion says nothing')
    await administer('PATCH', `clients/${caller.id}`, { scopes: ['a'] })
    t.match(await exchange(machine, said, asAssertion), refused(), 'a scope')
    t.match(got(await exchange(machine, await tokenOf(caller))), { scope: 'a' })
  })

  await t.test('an exchange that is written down with less ends what came of it', async (t) => {
    const key = makeKeyPair()
    const account = { id: randomUUID(), name: 'written down', roles: [], scopes: [], audiences: ['x'] }
    const provision = (...exchanges: (typeof onward)[]) =>
      provisionClient(database, { ...account, jwks: { keys: [publicJwk(key.publicKey)] }, exchanges })
    const other = { ...onward, audience: 'notifications' }
    await provision(onward, other)
    const actor = { id: account.id, key }
    const subject = (await signIn(gateway, 'doctor@example.com')).accessToken as string
    const wide = (await exchange(actor, subject, { audience: 'appointments' })).body.access_token
    const kept = claimsOf((await exchange(actor, subject, { audience: 'notifications' })).body.access_token) as Claims
    t.equal((await bearing(wide).call('GET', '/api/whoami')).status, 200)
    await provision({ ...onward, scopes: ['a'] }, other)
    await eventually('the gateway knows', async () => (await bearing(wide).call('GET', '/api/whoami')).status === 401)
    t.match(got(await exchange(actor, subject, { audience: 'appointments' })), { scope: 'a' })
    const again = got(await exchange(actor, subject, { audience: 'notifications' }))
    t.equal(again.act.grant, kept.act.grant, 'what is the same goes on')
  })

  await t.test('a subject that has expired, was signed by others, or is of another type', async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    const claims = claimsOf(patient.accessToken as string) as Claims
    const now = Math.floor(Date.now() / 1000)
    const sign = createSigner(secrets.JWT_PRIVATE_KEY as string, 'at+jwt')
    t.match(await exchange(machine, sign(claims)), { status: 200 })
    const signAssertion = createSigner(secrets.IDENTITY_PRIVATE_KEY as string, 'identity+jwt')
    const said = { ...claims, iss: 'sallyport-gateway', aud: 'notifications' }
    t.match(await exchange(machine, signAssertion(said), asAssertion), { status: 200 })
    for (const [what, bent] of Object.entries({
      'expired a minute ago': { exp: now - 60 },
      'expired a second ago': { exp: now - 1 },
      'exp as text': { exp: String(claims.exp) },
      'no exp': { exp: undefined },
      'another issuer': { iss: 'https://evil.test' },
      'no jti': { jti: undefined },
      'a jti that is none of ours': { jti: "'; DROP TABLE auth.users; --" },
      'no session': { sid: undefined },
      'a session that is none of ours': { sid: 'x' },
      'a session that there is not': { sid: randomUUID() },
      'a user that there is not': { sub: randomUUID() },
      'a user that is none of ours': { sub: 'somebody' },
      'a service account that there is not': { sub: `client:${randomUUID()}`, email: undefined, scope: '' },
      'no roles': { roles: undefined },
      'five who act': { act: { sub: 'a', act: { sub: 'b', act: { sub: 'c', act: { sub: 'd', act: { sub: 'e' } } } } } },
    })) {
      t.match(await exchange(machine, sign({ ...claims, ...bent })), refused(), what)
      t.match(
        await exchange(machine, signAssertion({ ...said, ...bent }), asAssertion),
        refused(),
        `${what}, by the gateway`,
      )
    }
    const stranger = makeKeyPair().privateKey
    for (const typ of ['at+jwt', 'JWT', 'identity+jwt', 'application/at+jwt']) {
      t.match(await exchange(machine, createSigner(stranger, typ)(claims)), refused(), `another key, ${typ}`)
      if (typ === 'at+jwt') continue
      t.match(await exchange(machine, createSigner(secrets.JWT_PRIVATE_KEY as string, typ)(claims)), refused(), typ)
    }
  })

  await t.test(
    'RFC 9068 section 5: a service account whose id is that of a user is not taken for the user',
    async (t) => {
      const { rows } = await sql(`SELECT id FROM auth.users WHERE email = 'doctor@example.com'`)
      const id = rows[0].id as string
      const key = makeKeyPair()
      await provisionClient(database, {
        ...{ id, name: 'a twin', roles: [], scopes: ['introspect'], audiences: ['notifications'] },
        ...{ jwks: { keys: [publicJwk(key.publicKey)] }, exchanges: [{ ...onward, roles: ['doctor'] }] },
      })
      const twin = { id, key }
      const { body } = await machines.post('token', { grant_type: 'client_credentials', ...machines.byKey(twin) })
      const own = got({ status: 200, headers: new Headers(), body })
      t.match(own, { sub: `client:${id}`, roles: [] })
      t.notOk('email' in own)
      t.match(await bearing(body.access_token).call('GET', '/api/auth/me'), { status: 401 })
      const acting = await exchange(machine, body.access_token)
      t.match(got(acting), { sub: `client:${id}`, roles: [], scope: '' }, 'with no role of the user')
      const user = await signIn(gateway, 'doctor@example.com')
      t.equal((await user.call('GET', '/api/auth/me')).status, 200)
      t.match(
        await machines.post('revoke', { token: user.accessToken as string, ...machines.byKey(twin) }),
        refused('unauthorized_client'),
      )
      await machines.administer('DELETE', `clients/${id}`)
      t.match(await user.call('GET', '/api/auth/me'), { status: 200 }, 'the user goes on when it is gone')
    },
  )

  await t.test('the first of an hour is a security event, with everyone who acts', async (t) => {
    const session = claimsOf(token).sid
    const { rows } = await sql(
      `SELECT * FROM auth.security_events WHERE event = 'token_exchanged' AND session_id = $1`,
      [session],
    )
    t.equal(rows.filter(({ client_id }: { client_id: string }) => client_id === machine.id).length, 1)
    t.match(rows[0], { user_id: claimsOf(token).sub })
  })
})
