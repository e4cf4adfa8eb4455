import { createHash, randomUUID } from 'node:crypto'
import { forgetOfClients } from '@sallyport/auth/clients/forget'
import { provisionClient } from '@sallyport/auth/clients/provision'
import { makeApiKey, publicJwk } from '@sallyport/identity'
import t from 'tap'
import { basic, issuer, makeKeyPair, openMachines, signAssertion } from '../support/machines.ts'

t.test('administrators make, see, change and delete service accounts', async (t) => {
  const machines = await openMachines(t)
  const { auth, administer, makeMachine, addExchange, tokenOf, post, byKey, bearing, secrets, database, sql } = machines
  const nobody = randomUUID()
  const problem = (status: number, code: string) => ({ status, body: { code } })
  const jwk = () => publicJwk(makeKeyPair().publicKey)

  await t.test('a page of them at a time', async (t) => {
    for (let at = 0; at < 3; at++) await administer('POST', 'clients', { name: `page ${at}` })
    const first = await administer('GET', 'clients?limit=2')
    t.equal(first.body.clients.length, 2)
    const rest = await administer('GET', `clients?cursor=${first.body.nextCursor}`)
    t.match(rest.body, { clients: [{ name: 'page 2', lastUsedAt: null, roles: [], scopes: [] }], nextCursor: null })
  })

  await t.test('whose tokens are for the API as a whole, unless it is said for what', async (t) => {
    t.match(await administer('POST', 'clients', { name: 'a' }), {
      status: 201,
      body: { audiences: ['https://api.test'] },
    })
    const scopes = Array.from({ length: 32 }, (_, at) => `${'x'.repeat(30)}${at}`)
    t.match(await administer('POST', 'clients', { name: 'a', scopes }), problem(400, 'REQUEST_INVALID'))
  })

  await t.test('what is changed holds at once, for tokens there are too', async (t) => {
    const machine = await makeMachine({ roles: ['doctor'], scopes: ['a', 'b'] })
    const token = await tokenOf(machine)
    const change = (body: object) => administer('PATCH', `clients/${machine.id}`, body)
    t.match(await change({ name: 'renamed', scopes: ['a'] }), { status: 200, body: { name: 'renamed', scopes: ['a'] } })
    t.match(await post('token', { grant_type: 'client_credentials', ...byKey(machine) }), { body: { scope: 'a' } })
    t.match(await post('introspect', { token, ...byKey(machine) }), { status: 200 })
    t.match(await change({}), problem(400, 'REQUEST_INVALID'))
    t.match(await change({ audiences: [] }), problem(400, 'REQUEST_INVALID'))
    t.match(await administer('PATCH', `clients/${nobody}`, { name: 'x' }), problem(404, 'CLIENT_NOT_FOUND'))
  })

  await t.test('with credentials of three kinds, and not of any other form', async (t) => {
    const { id } = await makeMachine()
    const add = (body: object) => administer('POST', `clients/${id}/credentials`, { name: 'x', ...body })
    const later = new Date(Date.now() + 60_000)
    for (const body of [
      ...[{ kind: 'keys' }, { kind: 'keys', jwks: { keys: [jwk()] }, jwksUri: 'https://x.test' }, { kind: 'other' }],
      ...[
        { kind: 'keys', jwks: { keys: [jwk()] }, expiresAt: later },
        { kind: 'secret', jwks: { keys: [jwk()] } },
      ],
      ...[
        { kind: 'api_key', jwksUri: 'https://x.test' },
        { kind: 'secret', expiresAt: new Date(0) },
      ],
    ])
      t.match(await add(body), problem(400, 'REQUEST_INVALID'), JSON.stringify(body))
    for (const body of [
      ...[
        { jwks: { keys: [] } },
        { jwks: { keys: [{ ...jwk(), d: 'AAAA' }] } },
        { jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } },
      ],
      ...['http://x.test', 'https://127.0.0.1/', 'https://localhost/', 'x'].map((jwksUri) => ({ jwksUri })),
    ])
      t.match(await add({ kind: 'keys', ...body }), problem(400, 'JWKS_INVALID'), JSON.stringify(body))
    t.match(await add({ kind: 'api_key', expiresAt: later }), { status: 201, body: { apiKey: /^sp_/ } })
    const rest = await Promise.all(Array.from({ length: 20 }, () => add({ kind: 'secret' })))
    t.equal(rest.filter(({ status }) => status === 201).length, 16, '20 in all')
    t.ok(rest.every(({ status, body }) => status === 201 || body.code === 'CREDENTIAL_LIMIT'))
    t.match(
      await administer('POST', `clients/${nobody}/credentials`, { name: 'x', kind: 'secret' }),
      problem(404, 'CLIENT_NOT_FOUND'),
    )
    t.match(await administer('DELETE', `clients/${id}/credentials/${nobody}`), problem(404, 'CREDENTIAL_NOT_FOUND'))
    const { body } = await administer('GET', `clients/${id}`)
    t.equal(body.credentials.length, 20)
    t.notMatch(JSON.stringify(body), /clientSecret|apiKey|hash/, 'what is secret was shown once')
  })

  await t.test('a set of keys that cannot be had does not keep another one from being tried', async (t) => {
    const machine = await makeMachine()
    await sql(
      `INSERT INTO auth.client_credentials (id, client_id, kind, name, jwks_uri) VALUES ($1, $2, 'keys', 'gone', 'https://127.0.0.1/')`,
      [randomUUID(), machine.id],
    )
    const grant = { grant_type: 'client_credentials' }
    for (let at = 0; at < 3; at++) t.match(await post('token', { ...grant, ...byKey(machine) }), { status: 200 })
    t.match(await post('token', { ...grant, ...byKey({ ...machine, key: makeKeyPair() }) }), {
      ...{ status: 401, body: { error: 'invalid_client' } },
    })
    await administer('DELETE', `clients/${machine.id}/credentials/${machine.keysId}`)
    t.match(await post('token', { ...grant, ...byKey(machine) }), { status: 401 })
  })

  await t.test('with exchanges, each pair once', async (t) => {
    const { id } = await makeMachine()
    const exchange = { from: 'a', audience: 'b', roles: ['doctor'], scopes: ['c'] }
    const added = await addExchange(id, exchange)
    t.match((await administer('GET', `clients/${id}`)).body.exchanges, [exchange])
    const add = (to: string, body = exchange) => administer('POST', `clients/${to}/exchanges`, body)
    t.match(await add(id), problem(409, 'EXCHANGE_EXISTS'))
    t.match(await add(nobody), problem(404, 'CLIENT_NOT_FOUND'))
    for (let at = 0; at < 49; at++) await addExchange(id, { ...exchange, from: `from-${at}` })
    t.match(await add(id, { ...exchange, from: 'one-more' }), problem(409, 'EXCHANGE_LIMIT'))
    t.match(await administer('DELETE', `clients/${id}/exchanges/${added.id}`), { status: 200 })
    t.match(await administer('DELETE', `clients/${id}/exchanges/${added.id}`), problem(404, 'EXCHANGE_NOT_FOUND'))
  })

  await t.test('until they are deleted', async (t) => {
    const machine = await makeMachine()
    t.match(await administer('DELETE', `clients/${machine.id}`), { status: 200 })
    t.match(await administer('DELETE', `clients/${machine.id}`), problem(404, 'CLIENT_NOT_FOUND'))
    t.match(await administer('GET', `clients/${machine.id}`), problem(404, 'CLIENT_NOT_FOUND'))
    const grant = { grant_type: 'client_credentials' }
    t.match(await post('token', grant, basic(machine.id, machine.secret)), { status: 401 })
    t.match(await bearing(machine.apiKey).call('GET', '/api/auth/me'), { status: 401 })
  })

  await t.test('an API key is exchanged for gateways alone, while it is good', async (t) => {
    const machine = await makeMachine()
    const send = async (key: unknown, secret = secrets.REVOCATIONS_SECRET as string) => {
      const response = await fetch(`${auth}/internal/api-keys`, {
        method: 'POST',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
        body: JSON.stringify({ key }),
      })
      return { status: response.status, body: (await response.json()) as { code?: string; accessToken?: string } }
    }
    for (let at = 0; at < 2; at++) t.match(await send(machine.apiKey), { status: 200, body: { accessToken: /^ey/ } })
    t.match(await send(machine.apiKey, 'wrong'), problem(401, 'GATEWAY_ONLY'))
    for (const key of [
      'x',
      '',
      `${machine.apiKey}0`,
      machine.secret,
      makeApiKey(randomUUID()),
      makeApiKey(machine.apiKeyId),
      makeApiKey(machine.secretId),
    ])
      t.match(await send(key), problem(401, 'API_KEY_INVALID'), key)
    await sql(`UPDATE auth.client_credentials SET expires_at = now() + interval '40 seconds' WHERE id = $1`, [
      machine.apiKeyId,
    ])
    t.match(await send(machine.apiKey), { status: 200 })
    await sql(`UPDATE auth.client_credentials SET expires_at = now() WHERE id = $1`, [machine.apiKeyId])
    t.match(await send(machine.apiKey), problem(401, 'API_KEY_INVALID'))
  })

  await t.test('a deployment that has one written down brings it to that, as often as it likes', async (t) => {
    const [first, second] = [makeKeyPair(), makeKeyPair()]
    const id = randomUUID()
    const exchange = { from: 'a', audience: 'b', roles: ['doctor'], scopes: [] }
    const provision = ({ publicKey }: typeof first, exchanges = [exchange]) =>
      provisionClient(database, {
        ...{ id, name: 'written down', roles: [], scopes: [], audiences: [issuer], exchanges },
        jwks: { keys: [publicJwk(publicKey)] },
      })
    const see = async () => (await administer('GET', `clients/${id}`)).body
    await provision(first)
    const before = await see()
    await provision(first)
    t.strictSame(await see(), before, 'twice changes nothing')
    await provision(second, [{ ...exchange, roles: [] }])
    const after = await see()
    t.match(after, { credentials: [{ keys: [{ kid: publicJwk(second.publicKey).kid }] }], exchanges: [{ roles: [] }] })
    t.not(after.exchanges[0].id, before.exchanges[0].id, 'with less it is another')
    t.equal(after.credentials.length, 1)
    await provision(second, [])
    t.strictSame((await see()).exchanges, [])
    await t.rejects(provisionClient(database, { ...after, jwks: { keys: [] }, exchanges: [] }), /no JWK Set/)
  })

  await t.test('what is of no use any more is forgotten, and not what is', async (t) => {
    const machine = await makeMachine()
    const send = (assertion: string) =>
      post('token', {
        ...{ grant_type: 'client_credentials', client_assertion: assertion },
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      })
    const assertion = signAssertion(machine)
    t.match(await send(assertion), { status: 200 })
    const hash = (text: string) => createHash('sha256').update(text).digest()
    const insert = `INSERT INTO auth.client_assertions (client_id, jti_hash, expires_at) VALUES ($1, $2, now() - $3::interval)`
    await sql(insert, [machine.id, hash('old'), '16 minutes'])
    await sql(insert, [machine.id, hash('young'), '14 minutes'])
    await sql(`INSERT INTO auth.revocations (id, reason, at) VALUES ($1, 'x', now() - interval '25 hours')`, [nobody])
    await forgetOfClients(database, 100)
    const { rows } = await sql('SELECT jti_hash FROM auth.client_assertions WHERE client_id = $1', [machine.id])
    t.equal(rows.length, 2)
    t.notOk(rows.some(({ jti_hash }: { jti_hash: Buffer }) => jti_hash.equals(hash('old'))))
    t.equal((await sql('SELECT FROM auth.revocations WHERE id = $1', [nobody])).rowCount, 0)
    t.match(await send(assertion), { status: 401 }, 'it is still known')
  })
})
