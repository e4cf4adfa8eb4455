import { publicJwk } from '@sallyport/identity'
import t from 'tap'
import { basic, openMachines } from '../support/machines.ts'
import { claimsOf } from '../support/system.ts'

t.test('a service account gets tokens by each of its credentials', async (t) => {
  const { makeMachine, post, byKey, tokenOf, administer, bearing } = await openMachines(t)
  const machine = await makeMachine({ roles: ['doctor'], scopes: ['appointments:read', 'reports:write'] })

  await t.test('by its secret, as RFC 6749 and RFC 9068 have it', async (t) => {
    const { status, headers, body } = await post(
      'token',
      { grant_type: 'client_credentials' },
      basic(machine.id, machine.secret),
    )
    t.equal(status, 200)
    t.match(body, { token_type: 'Bearer', scope: 'appointments:read reports:write' })
    t.ok(body.expires_in > 850 && body.expires_in <= 900)
    t.equal(headers.get('cache-control'), 'no-store')
    t.equal(headers.get('pragma'), 'no-cache')
    t.match(claimsOf(body.access_token), {
      iss: 'https://issuer.test',
      aud: 'https://api.test',
      sub: `client:${machine.id}`,
      client_id: machine.id,
      sid: machine.secretId,
      scope: 'appointments:read reports:write',
      role: 'doctor',
      roles: ['doctor'],
    })
    t.notOk('email' in claimsOf(body.access_token))
  })

  await t.test('by its key, once for each assertion', async (t) => {
    const form = { grant_type: 'client_credentials', scope: 'appointments:read', ...byKey(machine) }
    const { status, body } = await post('token', form)
    t.equal(status, 200)
    t.match(claimsOf(body.access_token), { sid: machine.keysId, scope: 'appointments:read' })
    t.match(await post('token', form), { status: 401, body: { error: 'invalid_client' } })
  })

  await t.test('by one assertion once, however many send it at once', async (t) => {
    const form = { grant_type: 'client_credentials', ...byKey(machine) }
    const found = await Promise.all(Array.from({ length: 20 }, () => post('token', form)))
    t.equal(found.filter(({ status }) => status === 200).length, 1)
    t.ok(found.every(({ status, body }) => status === 200 || body.error === 'invalid_client'))
  })

  await t.test('by a key as long as one of its credentials has it', async (t) => {
    const { id, key } = await makeMachine()
    const { credentials } = (await administer('GET', `clients/${id}`)).body
    const before = credentials.find(({ kind }: { kind: string }) => kind === 'keys').id
    const jwks = { keys: [publicJwk(key.publicKey)] }
    const ask = () => post('token', { grant_type: 'client_credentials', ...byKey({ id, key }) })
    t.equal(claimsOf((await ask()).body.access_token).sid, before)
    const after = (await administer('POST', `clients/${id}/credentials`, { kind: 'keys', name: 'again', jwks })).body.id
    await administer('DELETE', `clients/${id}/credentials/${before}`)
    t.equal(claimsOf((await ask()).body.access_token).sid, after)
    await administer('DELETE', `clients/${id}/credentials/${after}`)
    t.match(await ask(), { status: 401, body: { error: 'invalid_client' } })
  })

  await t.test('by an API key, sent as it is', async (t) => {
    const client = bearing(machine.apiKey)
    t.match(await client.call('GET', '/api/auth/me'), { status: 403, body: { code: 'CALLER_REFUSED' } })
  })

  await t.test('and reaches nothing that is for people', async (t) => {
    const client = bearing(await tokenOf(machine))
    t.match(await client.call('GET', '/api/auth/me'), { status: 403, body: { code: 'CALLER_REFUSED' } })
  })

  await t.test('which the administrators see used', async (t) => {
    const { body } = await administer('GET', `clients/${machine.id}`)
    t.equal(body.credentials.length, 3)
    for (const { lastUsedAt, kind } of body.credentials) t.ok(lastUsedAt, kind)
    t.ok(body.lastUsedAt)
  })
})
