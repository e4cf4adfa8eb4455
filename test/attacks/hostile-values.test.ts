import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createUser } from '@sallyport/auth/accounts/create-user'
import { createAssertions, headersOf, type Identity } from '@sallyport/identity'
import { hash } from 'argon2'
import t from 'tap'
import { mailSettings } from '../support/mail.ts'
import { Client, claimsOf, demoPassword, eventually, openSystem, signIn } from '../support/system.ts'

const uuid = '0a1b2c3d-0000-4000-8000-000000000000'
const password = 'a long enough one'

interface Operation {
  parameters?: { in: string; name: string }[]
  requestBody?: object
}
const { paths } = JSON.parse(readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, Operation>>
}
/** Every operation of the auth service, such as `GET /api/auth/me`, with what a test needs of its description. */
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
)
/** A request as `operations` names it. */
const nameOf = (method: string, path: string) =>
  `${method} ${(path.split('?', 1)[0] as string)
    .replace(/(users|sessions|invitations|passkeys|clients|webhooks)\/(?!options)[^/]+/, '$1/{id}')
    .replace(/(?<=\{id\}\/)(credential|exchange|session)s\/[^/]+/, '$1s/{$1Id}')
    .replace(/deliveries\/[^/]+/, 'deliveries/{deliveryId}')}`

/** As browsers send one, of no passkey. */
const credential = {
  id: 'x',
  rawId: 'x',
  type: 'public-key',
  response: { clientDataJSON: 'x', attestationObject: 'x', authenticatorData: 'x', signature: 'x' },
}

/** What is no id, and yet is one to some parsers. */
const ids = [
  `urn:uuid:${uuid}`,
  `{${uuid}}`,
  uuid.toUpperCase(),
  ` ${uuid}`,
  `${uuid}\n`,
  uuid.replaceAll('-', ''),
  `${uuid}\u0000`,
  '\u0000',
  'null',
  '0',
  '-1',
  "'",
  '%',
  'ü',
  'x'.repeat(190),
]

/** What is no time, or none that a database or a Date can hold. */
const times = [
  '',
  'now',
  'infinity',
  '2016-12-31T23:59:60Z',
  '1990-12-31T15:59:60-08:00',
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00+14:00',
  '9999-12-31T23:59:59-14:00',
  '10000-01-01T00:00:00Z',
  '+010000-01-01T00:00:00Z',
  '-000044-03-15T00:00:00Z',
  '0044-03-15T00:00:00Z BC',
  '2026-11-25T09:00:00+24:00',
  '2026-11-25T24:00:00Z',
  '2026-02-30T09:00:00Z',
  '2026-11-25',
  '2026-11-25T09:00:00Z\u0000',
]

/** As a ticket looks. */
const secret = 'x'.repeat(43)

const texts = ['', '\u0000', 'a\u0000b', '\ud800', 'a\udc00b', '%', '\\', 'x'.repeat(5_000)]

const webhook = { name: 'X', url: 'https://127.0.0.1:1024/', events: ['client.deleted'] }

const span = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }

const exchange = { from: 'a', audience: 'b', roles: ['doctor'], scopes: ['c'] }

/** What is none of the values that some member takes. */
const others: unknown[] = [null, 0, -1, 2 ** 31, 1.5, true, [], {}, [null], ['x'], { in: [] }, '']

t.test('values that are none', async (t) => {
  const settings = {
    ...mailSettings('smtp://localhost:1'),
    ...{ REGISTRATION: 'open', REGISTRATION_ROLES: 'patient', LOGIN_RATE_LIMIT_MAX: '100000', LOG_LEVEL: 'debug' },
  }
  const system = await openSystem(t, settings, ['appointments', 'notifications'])
  const { gateway, sql, log, database, environment, secrets } = system
  const addresses = {
    auth: environment.AUTH_URL,
    appointments: environment.APPOINTMENTS_URL,
    notifications: environment.NOTIFICATIONS_URL,
  }
  const events = async (event: string) =>
    (await sql('SELECT * FROM auth.security_events WHERE event = $1 ORDER BY id', [event])).rows
  const login = (email: string, word = demoPassword) => new Client(gateway).login(email, word)
  const assertions = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string)
  const admin: Identity = {
    caller: 'user',
    userId: uuid,
    sessionId: uuid,
    email: 'admin@example.com',
    role: 'admin',
    roles: ['admin'],
  }

  /** Past the gateway, as the gateway would send it. */
  async function send(
    service: 'auth' | 'appointments' | 'notifications',
    [method, path, body]: [string, string, unknown?],
    identity: Identity = admin,
  ) {
    const response = await fetch(`${addresses[service]}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headersOf(identity),
        'x-identity-token': assertions.sign(identity, service).token,
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    })
    return { status: response.status, text: await response.text() }
  }

  t.test('in any place of any request are 400 or not found, and never 500', async (t) => {
    const inPaths = ids.map(encodeURIComponent)
    const requests: Parameters<typeof send>[] = [
      ...inPaths.flatMap((id): Parameters<typeof send>[] => [
        ['auth', ['DELETE', `/api/auth/sessions/${id}`]],
        ['auth', ['PATCH', `/api/admin/users/${id}`, { disabled: false }]],
        ['auth', ['DELETE', `/api/admin/users/${id}/sessions`]],
        ['auth', ['DELETE', `/api/admin/users/${id}/sessions/${uuid}`]],
        ['auth', ['DELETE', `/api/admin/users/${uuid}/sessions/${id}`]],
        ['auth', ['GET', `/api/admin/users/${id}/factors`]],
        ['auth', ['GET', `/api/admin/users/${id}`]],
        ['auth', ['DELETE', `/api/admin/users/${id}`]],
        ['auth', ['GET', `/api/admin/users/${id}/sessions`]],
        ['auth', ['GET', `/api/admin/users/${id}/events`]],
        ['auth', ['POST', `/api/admin/users/${id}/password-reset`]],
        ['auth', ['POST', `/api/admin/users/${id}/unlock`]],
        ['auth', ['POST', `/api/admin/users/${id}/factors/reset`]],
        ['auth', ['POST', `/api/admin/users/${id}/impersonate`, { reason: 'x' }]],
        ['auth', ['GET', `/api/admin/clients/${id}`]],
        ['auth', ['GET', `/api/admin/clients?cursor=${id}`]],
        ['auth', ['PATCH', `/api/admin/clients/${id}`, { name: 'X' }]],
        ['auth', ['DELETE', `/api/admin/clients/${id}`]],
        ['auth', ['POST', `/api/admin/clients/${id}/credentials`, { kind: 'secret', name: 'X' }]],
        ['auth', ['DELETE', `/api/admin/clients/${id}/credentials/${uuid}`]],
        ['auth', ['DELETE', `/api/admin/clients/${uuid}/credentials/${id}`]],
        ['auth', ['POST', `/api/admin/clients/${id}/exchanges`, exchange]],
        ['auth', ['DELETE', `/api/admin/clients/${id}/exchanges/${uuid}`]],
        ['auth', ['DELETE', `/api/admin/clients/${uuid}/exchanges/${id}`]],
        ['auth', ['GET', `/api/admin/webhooks/${id}`]],
        ['auth', ['PATCH', `/api/admin/webhooks/${id}`, { name: 'X' }]],
        ['auth', ['DELETE', `/api/admin/webhooks/${id}`]],
        ['auth', ['POST', `/api/admin/webhooks/${id}/secrets`]],
        ['auth', ['POST', `/api/admin/webhooks/${id}/test`]],
        ['auth', ['GET', `/api/admin/webhooks/${id}/deliveries`]],
        ['auth', ['GET', `/api/admin/webhooks/${uuid}/deliveries?cursor=${id}`]],
        ['auth', ['POST', `/api/admin/webhooks/${id}/replay`, span]],
        ['auth', ['POST', `/api/admin/webhooks/${id}/deliveries/1/replay`]],
        ['auth', ['POST', `/api/admin/webhooks/${uuid}/deliveries/${id}/replay`]],
        ['auth', ['DELETE', `/api/auth/factors/passkeys/${id}`]],
        ['auth', ['PATCH', `/api/auth/factors/passkeys/${id}`, { name: 'X' }]],
        ['auth', ['DELETE', `/api/admin/invitations/${id}`]],
        ['auth', ['POST', `/api/admin/invitations/${id}/resend`]],
        ['auth', ['GET', `/api/admin/invitations?cursor=${id}`]],
        ['auth', ['GET', `/api/admin/events?user=${id}`]],
        ['auth', ['GET', `/api/admin/events?client=${id}`]],
        ['auth', ['GET', `/api/admin/events?cursor=${id}`]],
        ['auth', ['GET', `/api/admin/users?cursor=${id}`]],
        ['auth', ['GET', `/api/auth/people?ids=${id}`]],
        ['auth', ['GET', `/api/auth/people?ids=${uuid},${id}`]],
        ['appointments', ['PATCH', `/api/doctor/appointments/${id}`, { reason: 'x' }]],
      ]),
      ...['0', '-1', '101', '2147483648', '1e3', '', ' 1', '1 ', '٣', '1.0', '0x10'].map(
        (limit): Parameters<typeof send> => ['auth', ['GET', `/api/admin/users?limit=${encodeURIComponent(limit)}`]],
      ),
      ...times.flatMap((time): Parameters<typeof send>[] => [
        ['auth', ['GET', `/api/admin/events?from=${encodeURIComponent(time)}`]],
        ['auth', ['GET', `/api/admin/events?to=${encodeURIComponent(time)}`]],
        ['auth', ['POST', `/api/admin/webhooks/${uuid}/replay`, { ...span, to: time }]],
      ]),
      ['auth', ['GET', '/api/admin/events?event=%00']],
      ...['token', 'introspect', 'revoke'].map(
        (name): Parameters<typeof send> => ['auth', ['POST', `/oauth/${name}`, { token: 'x', grant_type: 'x' }]],
      ),
      ['auth', ['GET', '/api/admin/users?email=a%00']],
      ['auth', ['GET', '/api/auth/directory?role=%00']],
      ['auth', ['GET', '/api/auth/directory?role=a&role=b']],
    ]
    const bodies: [service: 'auth' | 'appointments', method: string, path: string, good: Record<string, unknown>][] = [
      ['auth', 'POST', '/api/auth/login', { email: 'doctor@example.com', password: 'wrong' }],
      ['auth', 'POST', '/api/auth/password', { currentPassword: 'wrong', newPassword: 'Tr0ub4dor&3 and more' }],
      ['auth', 'PATCH', `/api/admin/users/${uuid}`, { roles: ['doctor'], disabled: false, name: 'X', locale: 'de' }],
      ['auth', 'POST', '/api/admin/users', { email: 'x@example.com', name: 'X', roles: ['doctor'], locale: 'de' }],
      ['auth', 'POST', '/api/admin/invitations', { email: 'x@example.com', roles: ['doctor'], locale: 'de' }],
      ['auth', 'POST', `/api/admin/users/${uuid}/impersonate`, { reason: 'x' }],
      ['auth', 'POST', '/api/admin/clients', { name: 'X', roles: ['doctor'], scopes: ['a'], audiences: ['b'] }],
      [
        'auth',
        'PATCH',
        `/api/admin/clients/${uuid}`,
        { name: 'X', roles: ['doctor'], scopes: ['a'], audiences: ['b'] },
      ],
      ['auth', 'POST', `/api/admin/clients/${uuid}/credentials`, { kind: 'secret', name: 'X' }],
      ['auth', 'POST', `/api/admin/clients/${uuid}/credentials`, { kind: 'keys', name: 'X', jwks: { keys: [] } }],
      ['auth', 'POST', `/api/admin/clients/${uuid}/credentials`, { kind: 'keys', name: 'X', jwksUri: 'https://x' }],
      ['auth', 'POST', `/api/admin/clients/${uuid}/exchanges`, exchange],
      ['auth', 'POST', '/api/admin/webhooks', webhook],
      ['auth', 'PATCH', `/api/admin/webhooks/${uuid}`, { ...webhook, enabled: true }],
      ['auth', 'POST', `/api/admin/webhooks/${uuid}/replay`, { ...span, state: 'dead' }],
      ['auth', 'POST', '/api/auth/step-up', { password: 'wrong' }],
      ['auth', 'POST', '/api/auth/step-up', { code: '1' }],
      ['auth', 'POST', '/api/auth/step-up', { challengeId: uuid, credential }],
      ['auth', 'POST', '/api/auth/login/second-factor', { challenge: secret, code: '1' }],
      ['auth', 'POST', '/api/auth/login/second-factor', { challenge: secret, credential }],
      ['auth', 'POST', '/api/auth/login/passkey', { challengeId: uuid, credential }],
      ['auth', 'POST', '/api/auth/factors/totp/confirm', { code: '1' }],
      ['auth', 'POST', '/api/auth/factors/passkeys', { challengeId: uuid, credential, name: 'X' }],
      ['auth', 'PATCH', '/api/auth/factors/passkeys/x', { name: 'X' }],
      ['auth', 'POST', '/api/auth/register', { email: 'x@example.com', locale: 'de' }],
      ['auth', 'POST', '/api/auth/register/complete', { ticket: secret, name: 'X', password: 'Tr0ub4dor&3 and more' }],
      [
        'auth',
        'POST',
        '/api/auth/register/complete',
        { ticketId: uuid, code: '1', name: 'X', password: 'x'.repeat(15) },
      ],
      ['auth', 'POST', '/api/auth/password/forgot', { email: 'x@example.com', locale: 'de' }],
      ['auth', 'POST', '/api/auth/password/reset', { ticket: secret, password: 'Tr0ub4dor&3 and more' }],
      ['auth', 'POST', '/api/auth/password/reset', { ticketId: uuid, code: '1', password: 'Tr0ub4dor&3 and more' }],
      ['auth', 'POST', '/api/auth/tickets/check', { ticket: secret }],
      ['auth', 'POST', '/api/auth/email', { email: 'x@example.com' }],
      ['auth', 'POST', '/api/auth/email/confirm', { ticket: secret }],
      ['auth', 'POST', '/api/auth/email/revert', { ticket: secret }],
      ['auth', 'PATCH', '/api/auth/me', { name: 'X', locale: 'de' }],
      [
        'appointments',
        'POST',
        '/api/doctor/appointments',
        { patientId: uuid, doctorId: uuid, startsAt: '', reason: 'x' },
      ],
      ['appointments', 'PATCH', `/api/doctor/appointments/${uuid}`, { startsAt: '', reason: 'x', status: 'scheduled' }],
    ]
    for (const [service, method, path, body] of bodies) {
      const good = 'startsAt' in body ? { ...body, startsAt: '2026-11-25T09:00:00Z' } : body
      const names = Object.keys(good)
      for (const name of names) {
        const isTime = name === 'startsAt'
        for (const value of [...(isTime ? times : /Id$/.test(name) ? ids : texts), ...others])
          requests.push([service, [method, path, { ...good, [name]: value }]])
      }
    }
    const takers = operations.filter(
      ({ operation }) => operation.requestBody || operation.parameters?.some((parameter) => parameter.in !== 'header'),
    )
    const requested = new Set(requests.map(([, [method, path]]) => nameOf(method, path)))
    t.strictSame(
      takers.filter(({ name }) => !requested.has(name)),
      [],
      'no operation that takes a value is left out',
    )

    const failed: unknown[] = []
    for (const request of requests) {
      const { status, text } = await send(...request)
      // Whatever a password is, a wrong one is 401 or 403, as is what needs a recent sign-in; some of the texts are good.
      const [, [method, path, body]] = request
      const mayBe = [400, 404, 414, ...(path.includes('/api/a') && method !== 'GET' ? [401, 403] : [])]
      const isText = JSON.stringify(body)?.match(/"reason":"(%|\\\\)"/)
      if (
        !(
          mayBe.includes(status) ||
          (isText && [201, 404].includes(status)) ||
          (status === 200 && /cursor|\?limit|\?event|\?user/.test(path))
        )
      )
        failed.push([status, request, text])
    }
    t.strictSame(failed, [])
    t.notOk(log.some((line) => line.includes('"code":"INTERNAL"')))
  })

  t.test('in an identity of another issuer are of nobody that is known here', async (t) => {
    const stranger = { ...admin, userId: 'auth0|1', sessionId: 'x' }
    for (const request of [
      ['auth', ['GET', '/api/auth/me']],
      ['auth', ['GET', '/api/auth/sessions']],
      ['auth', ['POST', '/api/auth/logout-all']],
      ['auth', ['GET', '/api/auth/directory?role=admin']],
      ['auth', ['GET', '/api/admin/users']],
      ['appointments', ['GET', '/api/appointments']],
      ['appointments', ['GET', '/api/doctor/appointments']],
    ] as Parameters<typeof send>[])
      t.match(await send(request[0], request[1], stranger), { status: 401, text: /TOKEN_INVALID/ }, request[1][1])
  })

  t.test('years with three digits come back as they were sent', async (t) => {
    for (const startsAt of ['0099-01-01T00:00:00.000Z', '0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z']) {
      const body = { patientId: uuid, startsAt, reason: 'x' }
      const { status, text } = await send('appointments', ['POST', '/api/doctor/appointments', body])
      t.match({ ...JSON.parse(text), status }, { status: 201, startsAt })
    }
    t.equal((await send('appointments', ['GET', '/api/doctor/appointments'])).status, 200)
    await sql('DELETE FROM appointments.appointments WHERE patient_id = $1', [uuid])
  })

  t.test('of a method are 405 with those there are, whatever comes with it', async (t) => {
    for (const service of ['auth', 'appointments', 'notifications'] as const) {
      const address = addresses[service]
      const path = { auth: '/api/auth/me', appointments: '/api/whoami', notifications: '/api/notifications/stream' }[
        service
      ]
      for (const method of ['QUERY', 'PROPFIND', 'PUT'])
        for (const headers of [{}, { 'content-type': 'text/plain' }] as Record<string, string>[]) {
          const response = await fetch(`${address}${path}`, { method, headers })
          t.equal(response.status, 405, `${method} ${service}`)
          t.equal((await fetch(`${address}/`, { method, headers })).status, 404)
        }
    }
  })

  t.test('of members leave nothing to change', async (t) => {
    const client = await signIn(gateway, 'admin@example.com')
    const { sub } = claimsOf(client.accessToken as string)
    // What takes forms responds to no JSON as these do.
    const takers = operations
      .filter(({ name, operation }) => operation.requestBody && name.includes(' /api/'))
      .map(({ name }) => name)
    for (const body of [{}, { pass: 'x' }, { Roles: ['admin'] }, { mail: 'x@y.z', nick: 'X' }, { __proto: 1 }])
      for (const taker of [...takers, 'PATCH /api/doctor/appointments/{id}', 'POST /api/doctor/appointments']) {
        const [method = '', path = ''] = taker.replace('{id}', taker.includes('users') ? String(sub) : uuid).split(' ')
        t.match(
          await client.call(method, path, { body }),
          { status: 400, body: { code: 'REQUEST_INVALID' } },
          `${taker} ${JSON.stringify(body)}`,
        )
      }
    t.match(await client.call('PATCH', `/api/admin/users/${sub}`, { body: { disabled: false, password: 'x' } }), {
      status: 200,
    })
  })

  t.test('an address outside ASCII works from registration to the service', async (t) => {
    const accounts = [
      ['josé@example.com', 'josé@example.com', "UTF-8''jos%C3%A9%40example.com"],
      ['医者@例え.example', '医者@xn--r8jz45g.example', "UTF-8''%E5%8C%BB%E8%80%85%40xn--r8jz45g.example"],
      ['50%25@example.com', '50%25@example.com', '50%25@example.com'],
    ] as const
    for (const [typed, email, header] of accounts) {
      const roles = Array.from({ length: 32 }, (_, index) => `role-of-the-most-characters-${1000 + index}`)
      await createUser(database, { email: typed, name: 'José', roles: ['doctor', ...roles.slice(1)], password })
      const client = new Client(gateway)
      t.match(await client.login(typed, password), { status: 200, body: { user: { email, name: 'José' } } })
      t.equal((await client.refresh()).status, 200)
      t.equal(claimsOf(client.accessToken as string).email, email)
      t.match((await client.call('GET', '/api/whoami')).body, { 'x-user-email': header })
      t.match((await client.call('GET', '/api/auth/me')).body, { email })
      t.equal((await client.call('GET', '/api/doctor/appointments')).status, 200)
    }
    const more = { email: 'x@example.com', name: 'X', password }
    const roles = Array.from({ length: 33 }, (_, index) => `role${index}`)
    await t.rejects(createUser(database, { ...more, roles }), /33 roles are too many; a user has at most 32/)
    await t.rejects(createUser(database, { ...more, email: 'x@xn--a', roles: ['doctor'] }), /is not an e-mail address/)
  })

  t.test('one mailbox is one account, however its address is typed', async (t) => {
    await createUser(database, { email: 'Anna@Bücher.example', name: 'Anna', roles: ['doctor'], password })
    for (const email of ['anna@bücher.example', 'anna@xn--bcher-kva.example', 'ANNA@BU\u0308CHER.example.']) {
      t.equal((await login(email, password)).status, 200, email)
      const again = createUser(database, { email, name: 'Anna', roles: ['doctor'], password })
      await t.rejects(again, /there is a user/, email)
    }
    // As an earlier version kept it.
    await sql(`UPDATE auth.users SET email = 'anna@bücher.example' WHERE email = 'anna@xn--bcher-kva.example'`)
    for (const email of ['anna@bücher.example', 'Anna@xn--bcher-kva.example'])
      t.equal((await login(email, password)).status, 200, email)
    const again = createUser(database, { email: 'anna@xn--bcher-kva.example', name: 'A', roles: ['doctor'], password })
    await t.rejects(again, /there is a user/)
    await sql(`UPDATE auth.users SET email = 'anna@xn--bcher-kva.example' WHERE email = 'anna@bücher.example'`)
  })

  t.test('a search takes its text literally, and finds a domain in either spelling', async (t) => {
    await createUser(database, { email: 'a_b%c\\d@example.com', name: 'X', roles: ['doctor'], password })
    const client = await signIn(gateway, 'admin@example.com')
    const find = async (email: string) => {
      const { body } = await client.call('GET', `/api/admin/users?limit=100&${new URLSearchParams({ email })}`)
      return body.users.map((user: { email: string }) => user.email)
    }
    const odd = 'a_b%c\\d@example.com'
    t.strictSame(await find('_'), [odd])
    t.strictSame(await find('\\'), [odd])
    t.strictSame(await find('b%C'), [odd])
    t.strictSame(
      await find('%'),
      [odd, '50%25@example.com'].sort((a) => (a === odd ? 1 : -1)),
    )
    t.strictSame(await find('a%d'), [])
    t.strictSame(await find('Bücher.example'), ['anna@xn--bcher-kva.example'])
    t.strictSame(await find('anna@bücher.example'), ['anna@xn--bcher-kva.example'])
    t.strictSame(await find('jose\u0301@'), ['josé@example.com'])
  })

  t.test('a stored hash that is none is a wrong password, and the security events say so', async (t) => {
    const unknown = await login('nobody@example.com')
    const good = (await sql("SELECT password_hash FROM auth.users WHERE email = 'patient@example.com'")).rows[0]
      .password_hash as string
    const client = await signIn(gateway, 'patient@example.com')
    const [salt, tag] = good.split('$').slice(-2) as [string, string]
    const hashes = [
      '',
      '!',
      '*',
      '$2b$31$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW',
      'pbkdf2_sha256$600000$salt$hash',
      good.slice(0, -30),
      good.slice(0, 20),
      `${good}\n`,
      `$argon2id$v=19$m=4194304,t=2,p=1$${salt}$${tag}`,
      `$argon2id$v=19$m=19456,t=4000000,p=1$${salt}$${tag}`,
      `$argon2id$v=19$m=19456,t=2,p=64$${salt}$${tag}`,
      `$argon2id$v=19$m=8,t=2,p=2$${salt}$${tag}`,
      `$argon2id$v=19$m=19456,t=0,p=1$${salt}$${tag}`,
      `$argon2id$v=19$m=19456,m=19456,p=1$${salt}$${tag}`,
      `$argon2id$v=19$m=19456,t=2,p=1$$${tag}`,
      `$argon2id$v=19$m=19456,t=2,p=1$${salt}$AAAA`,
    ]
    for (const stored of hashes) {
      await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'patient@example.com'", [stored])
      // However many came before.
      await sql('DELETE FROM auth.password_failures')
      const response = await login('patient@example.com')
      t.equal(response.status, unknown.status, stored)
      t.strictSame(response.body, unknown.body)
      const body = { currentPassword: demoPassword, newPassword: 'Tr0ub4dor&3 and more' }
      t.match(await client.call('POST', '/api/auth/password', { body }), {
        status: 403,
        body: { code: 'PASSWORD_WRONG' },
      })
    }
    const reasons = (await events('login_failed')).filter(({ reason }) => /none of ours/.test(reason))
    t.equal(reasons.length, hashes.length)
    t.match((await events('password_refused')).at(-1), { reason: /none of ours/ })
    await sql('DELETE FROM auth.password_failures')
    await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'patient@example.com'", [good])
    t.equal((await login('patient@example.com')).status, 200)
  })

  t.test('whoever may not sign in gets the same response, whatever the reason', async (t) => {
    const { body } = await login('nobody@example.com')
    await sql("UPDATE auth.users SET disabled_at = now() WHERE email = 'patient@example.com'")
    for (const [email, word] of [
      ['patient@example.com', demoPassword],
      ['doctor@example.com', 'wrong'],
      ['doctor@example.com', 'wro\u0301ng'],
      ['nobody@xn--a', demoPassword],
      ['nobody@[127.0.0.1]', demoPassword],
      ['no one', demoPassword],
      ['@@@', demoPassword],
    ] as const)
      t.match(await login(email, word), { status: 401, body }, email)
    await sql("UPDATE auth.users SET disabled_at = NULL WHERE email = 'patient@example.com'")
  })

  t.test('an account that no token can hold is rejected with the reason, and works again when fixed', async (t) => {
    const client = await signIn(gateway, 'patient@example.com')
    const faults = [
      `roles = (SELECT array_agg('r' || n) FROM generate_series(1, 33) n)`,
      `email = ' odd', password_hash = password_hash`,
    ]
    const { rows } = await sql("SELECT id FROM auth.users WHERE email = 'patient@example.com'")
    for (const fault of faults) {
      await sql(`UPDATE auth.users SET ${fault} WHERE id = $1`, [rows[0].id])
      t.match(await client.refresh(), { status: 403, body: { code: 'ACCOUNT_INVALID' } }, fault)
      if (fault.startsWith('roles')) {
        t.match(await login('patient@example.com'), { status: 403, body: { code: 'ACCOUNT_INVALID' } })
        t.equal((await login('patient@example.com', 'wrong')).status, 401)
      }
      await sql("UPDATE auth.users SET email = 'patient@example.com', roles = '{patient}' WHERE id = $1", [rows[0].id])
      t.equal((await client.refresh()).status, 200)
    }
    await eventually('the log says what is wrong', () =>
      ['of 33 roles', 'the e-mail address is none'].every((why) => log.some((line) => line.includes(why))),
    )
  })

  t.test('the characters of a password count as people count them, and its two spellings are one', async (t) => {
    const make = (word: string, email = `${randomUUID()}@example.com`) =>
      createUser(database, { email, name: 'Emma', roles: ['doctor'], password: word }).then(() => email)
    const emoji = ['🦊', '🪐', '🧵', '🥁', '🛶', '🌵', '🧊', '🎲', '🐙', '🍋', '🪁', '🚲', '🪗', '🫖', '🧭']
    for (const short of [
      emoji.slice(0, 8).join(''),
      emoji.slice(0, 14).join(''),
      'e\u0301'.repeat(14),
      'x'.repeat(1025),
    ])
      await t.rejects(make(short), /from 15 to 1024 characters/)
    t.equal((await login(await make(emoji.join('')), emoji.join(''))).status, 200)
    const composed = 'mañana será otro día'
    const decomposed = composed.normalize('NFD')
    const email = await make(decomposed)
    for (const spelling of [composed, decomposed]) t.equal((await login(email, spelling)).status, 200)

    // As an earlier version hashed it: as it was typed.
    await sql('UPDATE auth.users SET password_hash = $1 WHERE email = $2', [await hash(decomposed), email])
    t.equal((await login(email, composed)).status, 401)
    t.equal((await login(email, decomposed)).status, 200)
    t.equal((await login(email, composed)).status, 200, 'from then on either will do')

    const client = new Client(gateway)
    await client.login(email, composed)
    const change = (newPassword: string) =>
      client.call('POST', '/api/auth/password', { body: { currentPassword: composed, newPassword } })
    for (const short of [emoji.slice(0, 7).join(''), 'e\u0301'.repeat(7), 'x'.repeat(1025), '\ud800'.repeat(15)])
      t.match(await change(short), { status: 400, body: { code: 'REQUEST_INVALID' } })
    for (const short of [emoji.slice(0, 8).join(''), 'e\u0301'.repeat(14)])
      t.match(await change(short), { status: 400, body: { code: 'PASSWORD_WEAK' } })
    t.match(await change(decomposed), { status: 400, body: { code: 'PASSWORD_WEAK' } }, 'the same one')
    t.match(await login(email, 'x'.repeat(1025)), { status: 400 })
    t.equal((await login(email, 'e\u0301'.repeat(1024))).status, 401)
    t.equal((await change(emoji.join(''))).status, 200)
    t.equal((await login(email, emoji.join(''))).status, 200)
  })

  t.test('what is recorded of a request has the client’s address and user agent, on every route', async (t) => {
    const headers = { 'x-forwarded-for': '203.0.113.7', 'user-agent': 'Lynx/2.9' }
    await sql('DELETE FROM auth.password_failures')
    const requested = new Set<string>()
    const from = () => {
      const client = new Client(gateway)
      const call = client.call.bind(client)
      client.call = (method, path, options = {}) => {
        requested.add(nameOf(method, path))
        return call(method, path, { ...options, headers: { ...headers, ...options.headers } })
      }
      return client
    }
    const admin = from()
    await admin.login('admin@example.com')
    const client = from()
    await client.login()
    const { sub, sid } = claimsOf(client.accessToken as string)
    const began = log.length
    const { rows } = await sql('SELECT coalesce(max(id), 0) AS id FROM auth.security_events')

    await client.login('doctor@example.com', 'wrong')
    await client.login()
    t.match((await client.call('GET', '/api/auth/sessions')).body.sessions, [
      { ip: '203.0.113.7', userAgent: 'Lynx/2.9' },
    ])
    const stolen = client.cookie
    await client.refresh({ 'x-refresh-attempt': randomUUID() })
    await client.refresh()
    await client.call('POST', '/api/auth/password', {
      body: { currentPassword: 'x', newPassword: 'Tr0ub4dor&3 and more' },
    })
    await client.call('DELETE', `/api/auth/sessions/${sid}`)
    await client.call('DELETE', `/api/auth/sessions/${uuid}`)
    await admin.call('PATCH', `/api/admin/users/${sub}`, { body: { roles: ['doctor', 'surgeon'] } })
    await admin.call('PATCH', `/api/admin/users/${sub}`, { body: { roles: ['doctor'] } })
    const replay = Object.assign(from(), { cookie: stolen })
    await sql("UPDATE auth.sessions SET rotated_at = now() - interval '1 minute' WHERE user_id = $1", [sub])
    t.match((await replay.refresh({ 'x-refresh-attempt': randomUUID() })).body, { code: 'REFRESH_REUSED' })
    await client.login()
    await client.call('POST', '/api/auth/logout')
    await client.login()
    await client.call('POST', '/api/auth/logout-all')
    await Object.assign(from(), { cookie: 'forged' }).refresh()
    await admin.call('DELETE', `/api/admin/users/${sub}/sessions`)
    await client.login()
    const proof = { ticket: secret, name: 'X', password: 'Tr0ub4dor&3 and more' }
    for (const [path, body] of [
      ['step-up', { password: 'wrong' }],
      ['step-up', { code: '123456' }],
      ['step-up/options', {}],
      ['login/second-factor', { challenge: secret, code: '123456' }],
      ['login/passkey/options', {}],
      ['login/passkey', { challengeId: uuid, credential }],
      ['factors/totp', {}],
      ['factors/totp/confirm', { code: '123456' }],
      ['factors/passkeys/options', {}],
      ['factors/passkeys', { challengeId: uuid, credential }],
      ['factors/recovery-codes', {}],
      ['email', { email: 'x@example.com' }],
      ['register', { email: 'x@example.com' }],
      ['register/complete', proof],
      ['password/forgot', { email: 'doctor@example.com' }],
      ['password/reset', proof],
      ['tickets/check', proof],
      ['email/confirm', proof],
      ['email/revert', proof],
    ] as const)
      await client.call('POST', `/api/auth/${path}`, { body })
    await client.call('PATCH', '/api/auth/me', { body: { locale: 'de' } })
    await client.call('GET', '/api/auth/factors')
    await client.call('DELETE', '/api/auth/factors/totp')
    await client.call('PATCH', '/api/auth/factors/passkeys/x', { body: { name: 'X' } })
    await client.call('DELETE', '/api/auth/factors/passkeys/x')
    await client.call('GET', '/api/auth/me/export')
    await client.call('DELETE', '/api/auth/me')
    await client.login()
    await admin.call('GET', `/api/admin/users/${sub}`)
    await admin.call('GET', `/api/admin/users/${sub}/sessions`)
    await admin.call('DELETE', `/api/admin/users/${sub}/sessions/${uuid}`)
    await admin.call('GET', `/api/admin/users/${sub}/factors`)
    await admin.call('GET', '/api/admin/health')
    await admin.call('GET', `/api/admin/users/${sub}/events`)
    await admin.call('POST', `/api/admin/users/${sub}/unlock`)
    await admin.call('POST', `/api/admin/users/${sub}/factors/reset`)
    await admin.call('POST', `/api/admin/users/${sub}/password-reset`)
    const invited = { email: 'invited@example.com', roles: ['doctor'] }
    const { id } = (await admin.call('POST', '/api/admin/invitations', { body: invited })).body
    await admin.call('POST', `/api/admin/invitations/${id}/resend`)
    await admin.call('DELETE', `/api/admin/invitations/${id}`)
    const account = await admin.call('POST', '/api/admin/clients', { body: { name: 'X' } })
    const machine = `/api/admin/clients/${account.body.id}`
    for (const [rest, body] of [
      ['credentials', { kind: 'secret', name: 'X' }],
      ['exchanges', exchange],
    ] as const) {
      const { body: added } = await admin.call('POST', `${machine}/${rest}`, { body })
      await admin.call('DELETE', `${machine}/${rest}/${added.id}`)
    }
    await admin.call('PATCH', machine, { body: { name: 'Y' } })
    await admin.call('GET', machine)
    await admin.call('GET', '/api/admin/clients')
    await admin.call('DELETE', machine)
    const hook = await admin.call('POST', '/api/admin/webhooks', { body: webhook })
    const path = `/api/admin/webhooks/${hook.body.id}`
    await admin.call('GET', '/api/admin/webhooks')
    await admin.call('GET', path)
    await admin.call('PATCH', path, { body: { name: 'Y' } })
    await admin.call('GET', `${path}/deliveries`)
    await admin.call('POST', `${path}/deliveries/1/replay`)
    await admin.call('POST', `${path}/replay`, { body: span })
    await admin.call('POST', `${path}/secrets`)
    await admin.call('POST', `${path}/test`)
    await admin.call('DELETE', path)
    await admin.call('POST', `/api/admin/users/${sub}/impersonate`, { body: { reason: 'x' } })
    await client.call('DELETE', '/api/auth/impersonation')
    const made = await admin.call('POST', '/api/admin/users', { body: { ...invited, name: 'X' } })
    await admin.call('DELETE', `/api/admin/users/${made.body.id}`)
    await admin.call('GET', '/api/admin/invitations')
    await admin.call('GET', '/api/admin/events')
    for (const path of ['admin/users?limit=0', 'auth/me', 'auth/people?ids=x', 'auth/directory?role=%00'])
      await admin.call('GET', `/api/${path}`)
    t.strictSame(
      operations.filter(({ name }) => name.includes(' /api/') && !requested.has(name)),
      [],
      'no operation is left out',
    )

    const recorded = await sql('SELECT event, ip FROM auth.security_events WHERE id > $1', [rows[0].id])
    const kinds = [
      'login_failed',
      'login_succeeded',
      'refresh_reused',
      'session_ended',
      'sessions_ended',
      'roles_changed',
      'step_up_failed',
      'email_change_requested',
      'account_exported',
      'deletion_requested',
      'deletion_undone',
      'user_created',
      'user_invited',
      'user_unlocked',
      'client_created',
      'client_changed',
      'client_deleted',
      'credential_added',
      'credential_revoked',
      'exchange_added',
      'exchange_removed',
      'webhook_created',
      'webhook_changed',
      'webhook_secret_made',
      'webhook_deleted',
    ]
    for (const kind of kinds)
      t.ok(
        recorded.rows.some(({ event }) => event === kind),
        kind,
      )
    t.strictSame(
      recorded.rows.filter(({ ip }) => ip !== '203.0.113.7'),
      [],
    )

    const said = () =>
      log
        .slice(began)
        .filter((line) => line.includes('"service":"auth"') && line.includes('"ip"'))
        .map((line) => JSON.parse(line))
    await eventually('the last line is there', () => said().some(({ event }) => event === 'refresh_refused'))
    t.strictSame(
      said().filter(({ ip }) => ip !== '203.0.113.7'),
      [],
    )
    for (const event of ['refresh_rotated', 'refresh_reused'])
      t.match(
        said().find((line) => line.event === event),
        { userAgent: 'Lynx/2.9' },
        event,
      )
  })
})
