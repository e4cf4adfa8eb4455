import { readFileSync } from 'node:fs'
import { createAssertions, type Identity, identityFromClaims } from '@sallyport/identity'
import t from 'tap'
import { openAccounts } from '../support/accounts.ts'
import { actOn } from '../support/machines.ts'
import { Client, type ClientResponse, claimsOf } from '../support/system.ts'

interface Operation {
  security?: Record<string, unknown>[]
}
const { paths } = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, Operation>>
}

/** Every call of the auth service that is for who is signed in, for admins too. */
const forPeople = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods)
    .filter(([, { security }]) => security?.some((scheme) => 'accessToken' in scheme))
    .map(([method]) => ({ method: method.toUpperCase(), path })),
)

/** Those of the samples that are for people alone. */
const ofSamples = [
  { method: 'GET', path: '/api/whoami' },
  { method: 'GET', path: '/api/doctor/appointments' },
  { method: 'POST', path: '/api/doctor/appointments' },
  { method: 'PATCH', path: '/api/doctor/appointments/{id}' },
  { method: 'GET', path: '/api/notifications/stream' },
  { method: 'GET', path: '/api/notifications/upcoming' },
]

/** What whoever acts for a user may see of the user; nothing else of the auth service. */
const ofActors = [
  'GET /api/auth/me',
  'GET /api/auth/sessions',
  'GET /api/auth/people',
  'GET /api/auth/directory',
  'DELETE /api/auth/impersonation',
]

/** A body that is good for every call that takes one, so that who is calling decides. */
const body = {
  ...{ currentPassword: 'x', newPassword: 'nine loud geese at noon', password: 'x', code: '123456', challenge: 'x' },
  ...{ challengeId: '00000000-0000-4000-8000-000000000000', disabled: true, name: 'Owned', email: 'owned@example.com' },
  ...{ roles: ['admin'], reason: 'x', kind: 'secret', audience: 'b', scopes: ['c'], locale: 'de' },
  ...{
    url: 'https://example.com/',
    events: ['user.created'],
    from: '2026-01-01T00:00:00Z',
    to: '2026-01-02T00:00:00Z',
  },
  credential: {
    ...{ id: 'x', rawId: 'x', type: 'public-key' },
    response: { clientDataJSON: 'x', attestationObject: 'x', authenticatorData: 'x', signature: 'x' },
  },
}

t.test('no machine reaches what is for people, and who acts for somebody changes nothing of theirs', async (t) => {
  const system = await openAccounts(t, {
    IMPERSONATION_ROLES: 'admin',
    TOKEN_RATE_LIMIT_MAX: '10000',
    DIRECTORY_ROLES: 'admin,doctor',
  })
  const { auth, sql, register, secrets } = system
  const { admin, makeMachine, addExchange, tokenOf, post, byKey, exchange, bearing, administer } = await actOn(system)
  const adminToken = admin.accessToken as string
  const nina = await register('nina@example.com')
  const api = 'https://api.test'

  const machine = await makeMachine({
    roles: ['admin', 'doctor', 'patient'],
    scopes: ['appointments:read', 'introspect'],
  })
  const other = await makeMachine({ roles: ['admin'] })
  for (const [from, audience] of [
    [api, api],
    ['notifications', 'appointments'],
  ] as const)
    await addExchange(other.id, {
      from,
      audience,
      roles: ['admin', 'doctor', 'patient'],
      scopes: ['appointments:read'],
    })

  const bySecret = await tokenOf(machine)
  const byKeyToken = (await post('token', { grant_type: 'client_credentials', ...byKey(machine) })).body.access_token
  const ofMachine = (await exchange(other, bySecret, { audience: api })).body.access_token
  const machines = {
    'by its secret': bySecret,
    'by its key': byKeyToken,
    'by its API key': machine.apiKey,
    'by another that acts for it': ofMachine,
  }

  const impersonated = await administer('POST', `users/${nina.id}/impersonate`, { reason: 'x' })
  admin.accessToken = adminToken
  const impersonation = impersonated.body.accessToken as string
  const actors = {
    'an administrator, as a user': impersonation,
    'a service, for a user': (await exchange(other, nina.accessToken as string, { audience: api })).body.access_token,
    'a service, for an administrator': (await exchange(other, adminToken, { audience: api })).body.access_token,
    'a service, for an administrator as a user': (await exchange(other, impersonation, { audience: api })).body
      .access_token as string,
  }

  const call = (
    client: Client,
    method: string,
    path: string,
    headers?: Record<string, string>,
  ): Promise<ClientResponse> => {
    const at = path.replace('{deliveryId}', '1').replaceAll(/\{\w+\}/g, nina.id)
    const query = path.endsWith('people') ? `?ids=${nina.id}` : path.endsWith('directory') ? '?role=doctor' : ''
    return client.call(method, at + query, {
      ...(['POST', 'PATCH'].includes(method) && { body }),
      ...(headers && { headers }),
    })
  }
  /** What there is, of everybody. */
  const everything = async () =>
    JSON.stringify(
      await Promise.all(
        [
          'SELECT id, email, name, roles, password_hash, disabled_at, delete_after, locale FROM auth.users ORDER BY id',
          'SELECT id, revoked_at FROM auth.sessions ORDER BY id',
          'SELECT user_id FROM auth.totp',
          'SELECT id FROM auth.passkeys',
          'SELECT id, used_at FROM auth.tickets ORDER BY id',
          'SELECT id, name, roles, scopes FROM auth.clients ORDER BY id',
          'SELECT id FROM auth.client_credentials ORDER BY id',
          'SELECT id FROM auth.client_exchanges ORDER BY id',
          'SELECT id FROM auth.webhooks ORDER BY id',
          'SELECT session_id FROM auth.impersonations ORDER BY session_id',
        ].map(async (text) => (await sql(text)).rows),
      ),
    )
  const before = await everything()
  t.ok(forPeople.length > 40)

  await t.test('machines, at the gateway', async (t) => {
    for (const [how, token] of Object.entries(machines))
      for (const { method, path } of [...forPeople, ...ofSamples])
        t.match(
          await call(bearing(token), method, path),
          { status: 403, body: { code: 'CALLER_REFUSED' } },
          `${how}: ${method} ${path}`,
        )
  })

  const assertions = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string)
  /** Past the gateway, as a gateway would send it that let the caller through. */
  const pastGateway = (token: string, method: string, path: string) => {
    const identity = identityFromClaims(claimsOf(token)) as Identity
    return call(new Client(auth), method, path, { 'x-identity-token': assertions.sign(identity, 'auth').token })
  }

  await t.test('machines, past the gateway', async (t) => {
    for (const token of [bySecret, ofMachine])
      for (const { method, path } of forPeople)
        t.match(
          await pastGateway(token, method, path),
          { status: 403, body: { code: 'CALLER_REFUSED' } },
          `${method} ${path}`,
        )
  })

  await t.test('who acts for somebody, at the gateway and past it', async (t) => {
    for (const [who, token] of Object.entries(actors))
      for (const { method, path } of forPeople) {
        if (ofActors.includes(`${method} ${path}`)) continue
        const isForAdmins = path.startsWith('/api/admin/')
        const { status, body: refusal } = await call(bearing(token), method, path)
        t.equal(status, 403, `${who}: ${method} ${path}`)
        t.ok(
          refusal.code === 'ACTOR_REFUSED' || (isForAdmins && refusal.code === 'ROLE_REQUIRED'),
          `${who}: ${method} ${path}: ${refusal.code}`,
        )
        t.match(await pastGateway(token, method, path), { status: 403 }, `past the gateway: ${method} ${path}`)
      }
  })

  await t.test('whom another issuer vouches for, though somebody here has the same id', async (t) => {
    const ofAdmin = identityFromClaims(claimsOf(adminToken)) as Identity
    const foreign = { ...ofAdmin, issuer: 'https://login.example.com', scopes: [] }
    for (const identity of [foreign, { ...foreign, userId: 'f:1234:someone', sessionId: '' }])
      for (const { method, path } of forPeople) {
        const token = assertions.sign(identity, 'auth').token
        t.match(
          await call(new Client(auth), method, path, { 'x-identity-token': token }),
          { status: 403, body: { code: 'ISSUER_REFUSED' } },
          `${identity.userId}: ${method} ${path}`,
        )
      }
    const { body: refusal } = await exchange(other, assertions.sign(foreign, 'notifications').token, {
      audience: 'appointments',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    })
    t.match(refusal, { error: 'invalid_request' }, 'nobody acts for them')
    const own = assertions.sign(ofAdmin, 'notifications').token
    const { body: exchanged } = await exchange(other, own, {
      audience: 'appointments',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    })
    t.ok(exchanged.access_token, 'as for those of here')
  })

  t.equal(await everything(), before, 'nothing has changed')

  await t.test('what they may see of the user is the user’s own', async (t) => {
    for (const token of [impersonation, actors['a service, for a user']])
      t.match(await call(bearing(token), 'GET', '/api/auth/me'), { status: 200, body: { id: nina.id } })
  })
})
