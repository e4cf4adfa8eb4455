import { randomUUID } from 'node:crypto'
import { createAssertions, type Identity } from '@sallyport/identity'
import t from 'tap'
import { basic, issuer, openMachines } from '../support/machines.ts'
import { claimsOf, eventually, signIn } from '../support/system.ts'

const inactive = { active: false }

t.test('introspection does what RFC 7662 says', async (t) => {
  const machines = await openMachines(t, { JWT_EXPIRES_IN: '60' })
  const { gateway, makeMachine, tokenOf, post, byKey, exchange, addExchange, administer, secrets, sql } = machines
  const machine = await makeMachine({ scopes: ['a', 'b'] })
  const reader = await makeMachine({ scopes: ['introspect'], audiences: ['https://api.test', 'appointments'] })
  const elsewhere = await makeMachine({ scopes: ['introspect'], audiences: ['notifications'] })
  const stranger = await makeMachine({ scopes: ['a'] })
  const patient = await signIn(gateway, 'patient@example.com')

  const ask = (by: typeof machine, token: string, more: Record<string, string> = {}) =>
    post('introspect', { token, ...byKey(by), ...more })
  const isActive = async (token: string) => (await ask(reader, token)).body.active
  /** A token with which the machine acts for the patient. */
  const actFor = async (token = patient.accessToken as string) => {
    const { status, body } = await exchange(machine, token)
    if (status !== 200) throw new Error(JSON.stringify(body))
    return body.access_token as string
  }
  const grant = { from: 'notifications', audience: 'appointments', roles: ['patient'], scopes: ['a'] }
  await addExchange(machine.id, grant)

  await t.test('section 2.2: of its own token a client learns the claims', async (t) => {
    const token = await tokenOf(machine, { scope: 'b' })
    const { status, headers, body } = await ask(machine, token)
    t.equal(status, 200)
    t.match(headers.get('cache-control'), 'no-store')
    t.match(headers.get('content-type'), /^application\/json/)
    t.strictSame(body, { active: true, token_type: 'Bearer', ...claimsOf(token) })
    t.match(body, {
      scope: 'b',
      client_id: machine.id,
      sub: `client:${machine.id}`,
      aud: 'https://api.test',
      iss: issuer,
    })
  })

  await t.test("section 4: of another's token only with the scope and the audience", async (t) => {
    for (const [kind, token] of Object.entries({
      'a machine': await tokenOf(machine),
      'a person': patient.accessToken as string,
    })) {
      t.match((await ask(reader, token)).body, { active: true, sub: claimsOf(token).sub }, kind)
      t.strictSame((await ask(stranger, token)).body, inactive, kind)
      t.strictSame((await ask(elsewhere, token)).body, inactive, kind)
    }
    t.match((await ask(reader, await actFor())).body, { active: true, act: { sub: `client:${machine.id}` } })
    t.strictSame((await ask(stranger, await actFor())).body, inactive)
    t.match((await ask(machine, await actFor())).body, { active: true }, 'whoever acts may ask')
  })

  await t.test('section 2.1: token_type_hint changes nothing', async (t) => {
    const token = await tokenOf(machine)
    for (const hint of ['access_token', 'refresh_token', 'anything', ''])
      t.match((await ask(machine, token, { token_type_hint: hint })).body, { active: true }, hint)
  })

  await t.test('section 2.1: a client, a token, a form, and POST are needed', async (t) => {
    const token = await tokenOf(machine)
    t.match(await post('introspect', { token }), { status: 401, body: { error: 'invalid_client' } })
    t.match(await post('introspect', byKey(machine)), { status: 400, body: { error: 'invalid_request' } })
    t.match(await post('introspect', '', basic(machine.id, machine.secret)), {
      ...{ status: 400, body: { error: 'invalid_request' } },
    })
    const twice = `token=${token}&token=${token}`
    t.match(await post('introspect', twice, basic(machine.id, machine.secret)), { status: 400 })
    t.match(await post('introspect', '{}', { 'content-type': 'application/json' }), { status: 400 })
    t.equal((await fetch(`${gateway}/oauth/introspect`)).status, 405)
  })

  await t.test('section 2.2: nothing is told of what is no token', async (t) => {
    const token = await tokenOf(machine)
    const [header, claims, signature] = token.split('.')
    const other = await tokenOf(stranger)
    for (const garbage of [
      ...['x', 'a.b.c', '..', ' ', '\u0000', 'é'.repeat(10), 'A'.repeat(12_000)],
      ...[machine.apiKey, machine.secret, patient.cookie as string],
      ...[
        `${header}.${claims}.`,
        `${header}.${other.split('.')[1]}.${signature}`,
        `${token}.`,
        ` ${token}`,
        `${token}=`,
      ],
    ])
      t.strictSame((await ask(reader, garbage)).body, inactive, garbage.slice(0, 40))
  })

  await t.test('section 2.2: nor of an identity assertion', async (t) => {
    const whole: Identity = {
      ...{ caller: 'user', userId: randomUUID(), email: 'a@b.c', role: 'doctor', sessionId: randomUUID() },
      roles: ['doctor'],
    }
    const { token } = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string).sign(whole, 'appointments')
    t.strictSame((await ask(reader, token)).body, inactive)
  })

  await t.test('section 2.2: a token is over with its session', async (t) => {
    const session = await signIn(gateway, 'patient@example.com')
    const token = session.accessToken as string
    const acting = await actFor(token)
    t.equal(await isActive(token), true)
    t.equal(await isActive(acting), true)
    await session.call('POST', '/api/auth/logout')
    t.strictSame((await ask(reader, token)).body, inactive)
    t.strictSame((await ask(reader, acting)).body, inactive, 'and one that was exchanged for it')
  })

  await t.test('section 2.2: with its credential', async (t) => {
    const brief = await makeMachine()
    const token = await tokenOf(brief)
    t.equal(await isActive(token), true)
    await administer('DELETE', `clients/${brief.id}/credentials/${brief.secretId}`)
    t.equal(await isActive(token), false)
  })

  await t.test('section 2.2: with its service account', async (t) => {
    const brief = await makeMachine()
    const token = await tokenOf(brief)
    await administer('DELETE', `clients/${brief.id}`)
    t.equal(await isActive(token), false)
  })

  await t.test('section 2.2: with the credential of whoever acts, and the exchange', async (t) => {
    const actor = await makeMachine()
    const { id } = await addExchange(actor.id, grant)
    const act = async () => (await exchange(actor, patient.accessToken as string)).body.access_token
    const [first, second] = [await act(), await act()]
    t.equal(await isActive(first), true)
    await administer('DELETE', `clients/${actor.id}/exchanges/${id}`)
    t.equal(await isActive(first), false, 'the exchange is gone')
    await addExchange(actor.id, grant)
    t.equal(await isActive(second), false, 'and comes not back with another one')
    const third = await act()
    t.equal(await isActive(third), true)
    await administer('DELETE', `clients/${actor.id}/credentials/${actor.keysId}`)
    t.equal(await isActive(third), false, 'the credential is gone')
    t.equal(await isActive(patient.accessToken as string), true, "the person's own goes on")
  })

  await t.test('section 2.2: with its time', async (t) => {
    const { body } = await administer('POST', `clients/${machine.id}/credentials`, {
      ...{ kind: 'secret', name: 'brief', expiresAt: new Date(Date.now() + 3_000) },
    })
    const token = await tokenOf({ id: machine.id, secret: body.clientSecret })
    t.equal(await isActive(token), true)
    await eventually('it has expired', async () => !(await isActive(token)))
    t.ok(Date.now() / 1000 >= (claimsOf(token).exp as number))
  })

  await t.test('section 2.2: with what its service account may no longer have, as at the gateways', async (t) => {
    const has = { roles: ['doctor'], scopes: ['a', 'b'], audiences: ['appointments', 'notifications'] }
    for (const now of [{ roles: [] }, { scopes: ['b'] }, { audiences: ['appointments'] }]) {
      const narrowed = await makeMachine(has)
      const before = await tokenOf(narrowed)
      t.equal(await isActive(before), true)
      await administer('PATCH', `clients/${narrowed.id}`, now)
      t.equal(await isActive(before), false, Object.keys(now).join())
      t.equal(await isActive(await tokenOf(narrowed)), true, 'a new one says what it has now')
    }
    const wide = await makeMachine({ ...has, audiences: ['notifications'] })
    const acted = await actFor(await tokenOf(wide))
    t.equal(await isActive(acted), true, 'who acts for it may have another audience')
    await administer('PATCH', `clients/${wide.id}`, { scopes: [] })
    t.equal(await isActive(acted), false, 'and no scope that it has not')
  })

  await t.test('section 2.2: with its user', async (t) => {
    const session = await signIn(gateway, 'doctor@example.com')
    t.equal(await isActive(session.accessToken as string), true)
    await sql(`UPDATE auth.users SET disabled_at = now() WHERE email = 'doctor@example.com'`)
    t.equal(await isActive(session.accessToken as string), false)
  })
})

t.test('revocation does what RFC 7009 says', async (t) => {
  const machines = await openMachines(t, {}, ['appointments'])
  const { gateway, makeMachine, tokenOf, post, byKey, bearing, exchange, addExchange, sql } = machines
  const machine = await makeMachine({ scopes: ['introspect'] })
  const other = await makeMachine()
  const revoke = (by: typeof machine, token: string, more: Record<string, string> = {}) =>
    post('revoke', { token, ...byKey(by), ...more })
  // Routes for people refuse a machine with 403: those who are known. One that is not known gets 401.
  const statusOf = async (token: string) => (await bearing(token).call('GET', '/api/whoami')).status
  const known = 403

  await t.test('section 2.1: a token is refused from then on, and its siblings are not', async (t) => {
    const [token, sibling] = [await tokenOf(machine), await tokenOf(machine)]
    t.equal(await statusOf(token), known)
    const { status, headers, body } = await revoke(machine, token)
    t.equal(status, 200)
    t.match(headers.get('cache-control'), 'no-store')
    t.strictSame(body, {})
    await eventually('the gateway refuses it', async () => (await statusOf(token)) === 401, 1_000)
    t.equal(await statusOf(sibling), known)
    t.strictSame((await post('introspect', { token, ...byKey(machine) })).body, inactive)
    t.match((await post('introspect', { token: sibling, ...byKey(machine) })).body, { active: true })
    t.match(await revoke(machine, token), { status: 200 }, 'section 2.2: twice is as good as once')
    const { rows } = await sql(`SELECT client_id, reason FROM auth.security_events WHERE event = 'token_revoked'`)
    t.equal(rows.length, 1)
  })

  await t.test('section 2.1: a token of another is not', async (t) => {
    const token = await tokenOf(other)
    t.match(await revoke(machine, token), { status: 400, body: { error: 'unauthorized_client' } })
    const patient = await signIn(gateway, 'patient@example.com')
    t.match(await revoke(machine, patient.accessToken as string), { status: 400 })
    t.equal(await statusOf(token), known)
    t.equal(await statusOf(patient.accessToken as string), 200)
  })

  await t.test('section 2.1: one with which a client acts is its own to revoke', async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    await addExchange(machine.id, { from: 'notifications', audience: 'appointments', roles: ['patient'] })
    const token = (await exchange(machine, patient.accessToken as string)).body.access_token
    t.equal(await statusOf(token), 200)
    t.match(await revoke(other, token), { status: 400, body: { error: 'unauthorized_client' } })
    t.match(await revoke(machine, token), { status: 200 })
    await eventually('the gateway refuses it', async () => (await statusOf(token)) === 401, 1_000)
    t.equal(await statusOf(patient.accessToken as string), 200, 'the person goes on')
  })

  await t.test('section 2.2: what is no token is revoked already', async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    for (const garbage of ['x', 'a.b.c', machine.apiKey, patient.cookie as string, 'A'.repeat(12_000), '\u0000'])
      t.match(await revoke(machine, garbage), { status: 200, body: {} })
    t.match(await patient.refresh(), { status: 200 }, 'a refresh token is not for clients to revoke')
  })

  await t.test('section 2.1: a hint of any kind changes nothing', async (t) => {
    for (const hint of ['refresh_token', 'urn:none', 'access_token']) {
      const token = await tokenOf(machine)
      t.match(await revoke(machine, token, { token_type_hint: hint }), { status: 200 }, hint)
      t.strictSame((await post('introspect', { token, ...byKey(machine) })).body, inactive, hint)
    }
  })

  await t.test('section 2.1: a client, a token and POST are needed', async (t) => {
    const token = await tokenOf(machine)
    t.match(await post('revoke', { token }), { status: 401, body: { error: 'invalid_client' } })
    t.match(await post('revoke', byKey(machine)), { status: 400, body: { error: 'invalid_request' } })
    t.equal((await fetch(`${gateway}/oauth/revoke?token=${token}`)).status, 405)
    t.equal(await statusOf(token), known)
  })
})

t.test('the metadata is that of RFC 8414', async (t) => {
  const path = '/.well-known/oauth-authorization-server'
  const at = async (gateway: string, where = path) => {
    const response = await fetch(gateway + where)
    return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) }
  }

  await t.test('section 2: each endpoint that it names exists, and takes what it says', async (t) => {
    const { gateway, makeMachine, byKey } = await openMachines(t)
    const machine = await makeMachine()
    const { status, headers, body } = await at(gateway)
    t.equal(status, 200)
    t.match(headers.get('content-type'), /^application\/json/)
    t.equal(body.issuer, issuer, 'section 3.3: the issuer to the letter')
    t.strictSame(body.response_types_supported, [], 'there is no authorization endpoint')
    t.notOk('authorization_endpoint' in body)
    const here = (address: string) => gateway + new URL(address).pathname
    const keys = await (await fetch(here(body.jwks_uri))).json()
    t.ok((keys as { keys: unknown[] }).keys.length > 0)
    for (const [name, form] of Object.entries({
      token: { grant_type: 'client_credentials' },
      introspection: { token: 'x' },
      revocation: { token: 'x' },
    })) {
      const address = body[`${name}_endpoint`]
      t.ok(address.startsWith(`${issuer}/oauth/`), name)
      t.strictSame(body[`${name}_endpoint_auth_methods_supported`], ['client_secret_basic', 'private_key_jwt'])
      t.strictSame(body[`${name}_endpoint_auth_signing_alg_values_supported`], ['ES256', 'RS256', 'EdDSA'])
      const ways = {
        client_secret_basic: [basic(machine.id, machine.secret), form],
        private_key_jwt: [{}, { ...form, ...byKey(machine) }],
      } as const
      for (const [way, [headers, parameters]] of Object.entries(ways)) {
        const sent = { method: 'POST', headers, body: new URLSearchParams(parameters as Record<string, string>) }
        t.equal((await fetch(here(address), sent)).status, 200, `${name} by ${way}`)
      }
    }
    for (const grant of body.grant_types_supported) {
      const sent = {
        method: 'POST',
        headers: basic(machine.id, machine.secret),
        body: new URLSearchParams({ grant_type: grant }),
      }
      t.not(
        ((await (await fetch(here(body.token_endpoint), sent)).json()) as { error?: string }).error,
        'unsupported_grant_type',
      )
    }
  })
})
