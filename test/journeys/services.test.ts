import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type ProvisionedClient, provisionClient } from '@sallyport/auth/clients/provision'
import { createAssertions, createServiceClient, headersOf, identityHeaders, publicJwk } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { makeKeyPair } from '../support/machines.ts'
import { claimsOf, freePort, openSystemOn, signIn, startDatabase } from '../support/system.ts'

const nightlyJob = fileURLToPath(new URL('../../../services/notifications/dist/nightly.js', import.meta.url))

/** The samples, with the service accounts of a deployment. */
async function openSamples(t: Test) {
  const database = await startDatabase(t)
  const make = async (name: string, more: Partial<ProvisionedClient>) => {
    const { publicKey, privateKey } = makeKeyPair()
    const account = {
      id: randomUUID(),
      name,
      roles: [],
      scopes: ['appointments:read'],
      audiences: ['https://api.test'],
    }
    const jwks = { keys: [publicJwk(publicKey)] }
    await provisionClient(database.database, { ...account, jwks, exchanges: [], ...more })
    return { id: account.id, privateKey }
  }
  const roles = ['patient', 'doctor']
  const notifications = await make('notifications', {
    exchanges: [{ from: 'notifications', audience: 'appointments', roles, scopes: ['appointments:read'] }],
  })
  const nightly = await make('nightly', {})
  const strong = await make('strong', {
    roles: ['admin', 'doctor', 'patient'],
    scopes: ['appointments:read', 'appointments:write'],
  })
  const port = await freePort()
  const tokenEndpoint = `http://127.0.0.1:${port}/oauth/token`
  const settingsOf = ({ id, privateKey }: typeof nightly) => ({
    TOKEN_ENDPOINT: tokenEndpoint,
    SERVICE_CLIENT_ID: id,
    SERVICE_PRIVATE_KEY: privateKey,
  })
  const settings = { GATEWAY_PORT: String(port), ...settingsOf(notifications) }
  const system = await openSystemOn(database, t, settings, ['appointments', 'notifications'])

  const [admin, doctor, patient] = await Promise.all(
    ['admin', 'doctor', 'patient'].map((name) => signIn(system.gateway, `${name}@example.com`)),
  )
  if (!admin || !doctor || !patient) throw new Error('there are three')
  const idOf = ({ accessToken = '' }: typeof admin) => claimsOf(accessToken).sub as string
  const ids = { doctor: idOf(doctor), patient: idOf(patient) }
  await database.sql('DELETE FROM appointments.appointments')
  /** An appointment of somebody with a doctor, so many hours from now. */
  const appoint = async (patientId: string, startsAt: Date, reason: string) => {
    const body = { patientId, startsAt: startsAt.toISOString(), reason }
    const { status, body: made } = await admin.call('POST', '/api/doctor/appointments', { body })
    if (status !== 201) throw new Error(`an appointment is ${status} ${JSON.stringify(made)}`)
    return made.id as string
  }
  const runNightly = async (environment: Record<string, string> = {}) => {
    const env = { ...process.env, ...settingsOf(nightly), ...environment }
    const { stdout, stderr, code } = await promisify(execFile)(process.execPath, [nightlyJob], { env }).then(
      (output) => ({ ...output, code: 0 }),
      (error) => error as { stdout: string; stderr: string; code: number },
    )
    const lines = stdout.split('\n').filter((line) => line !== '')
    return { lines: lines.map((line) => JSON.parse(line)), complaint: stderr, code }
  }
  const connect = ({ id, privateKey }: typeof nightly, more = {}) =>
    createServiceClient({ tokenEndpoint, clientId: id, privateKey, ...more })
  return { ...system, admin, doctor, patient, ids, notifications, strong, appoint, runNightly, connect }
}

/** The token endpoint of a gateway whose services are all away, and that says so like this. */
async function answering(t: Test, text: string): Promise<string> {
  const server = createServer(({ url }, response) => {
    if (url?.startsWith('/api/')) return response.writeHead(503).end(text)
    const found = { issuer: 'https://issuer.test', access_token: 'x', token_type: 'Bearer', expires_in: 60 }
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/oauth/token`
}

const hours = (count: number) => new Date(Date.now() + count * 3_600_000)
const tomorrow = (hour: number) => new Date(new Date().setUTCHours(24 + hour, 0, 0, 0))

t.test('services that call one another', async (t) => {
  const system = await openSamples(t)
  const { gateway, secrets, admin, doctor, patient, ids, notifications, appoint, runNightly, connect } = system
  const asNotifications = connect(notifications)
  const made = {
    past: await appoint(ids.patient, hours(-2), 'gone by'),
    patient: await appoint(ids.patient, tomorrow(9), 'a check'),
    doctor: await appoint(ids.doctor, tomorrow(10), 'her own check'),
    later: await appoint(ids.patient, tomorrow(30), 'another check'),
    cancelled: await appoint(ids.patient, tomorrow(11), 'not any more'),
  }
  await admin.call('PATCH', `/api/doctor/appointments/${made.cancelled}`, { body: { status: 'cancelled' } })

  await t.test('a patient and a doctor are reminded of their next appointments, each of their own', async (t) => {
    const ofPatient = await patient.call('GET', '/api/notifications/upcoming')
    t.equal(ofPatient.status, 200)
    t.strictSame(ofPatient.body, {
      reminders: [
        { appointment: made.patient, startsAt: tomorrow(9).toISOString(), reason: 'a check' },
        { appointment: made.later, startsAt: tomorrow(30).toISOString(), reason: 'another check' },
      ],
    })
    const ofDoctor = await doctor.call('GET', '/api/notifications/upcoming')
    t.match(ofDoctor.body, { reminders: [{ appointment: made.doctor }] })
    t.equal(ofDoctor.body.reminders.length, 1)
  })

  const sessionId = claimsOf(patient.accessToken as string).sid as string
  /** As notifications has it of a request that it got. */
  const assertionFor = (userId: string, roles: [string, ...string[]]) =>
    createAssertions(secrets.IDENTITY_PRIVATE_KEY as string).sign(
      { caller: 'user', userId, email: 'someone@example.com', role: roles[0], roles, sessionId },
      'notifications',
    ).token

  await t.test('whom another issuer vouches for is nobody to the samples, whatever id they have there', async (t) => {
    const { APPOINTMENTS_URL, NOTIFICATIONS_URL } = system.environment
    for (const [audience, url, path] of [
      ['appointments', APPOINTMENTS_URL, '/api/appointments'],
      ['appointments', APPOINTMENTS_URL, '/api/doctor/appointments'],
      ['appointments', APPOINTMENTS_URL, '/api/whoami'],
      ['notifications', NOTIFICATIONS_URL, '/api/notifications/stream'],
      ['notifications', NOTIFICATIONS_URL, '/api/notifications/ws'],
      ['notifications', NOTIFICATIONS_URL, '/api/notifications/upcoming'],
    ] as const) {
      const own = { caller: 'user', userId: ids.doctor, email: 'a@example.com', sessionId } as const
      const identity = { ...own, role: 'doctor', roles: ['doctor'], scopes: ['appointments:read'] }
      const ask = async (issuer: object) => {
        const { token } = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string).sign(
          { ...identity, ...issuer },
          audience,
        )
        const headers = { ...headersOf({ ...identity, ...issuer }), [identityHeaders.assertion]: token }
        const response = await fetch(`${url}${path}`, { headers })
        if (response.ok) await response.body?.cancel()
        return { status: response.status, body: response.ok ? {} : await response.json() }
      }
      const refused = { status: 403, body: { code: 'ISSUER_REFUSED' } }
      t.match(await ask({ issuer: 'https://login.example.com' }), refused, path)
      t.not((await ask({})).status, 403, path)
    }
  })

  await t.test('the service that is called sees for whom, and who acts', async (t) => {
    const calls = asNotifications.onBehalfOf(assertionFor(ids.patient, ['patient']), { audience: 'appointments' })
    const response = await calls.fetch('/api/whoami')
    t.match(await response.json(), {
      'x-caller': 'user',
      'x-user-id': ids.patient,
      'x-user-roles': 'patient',
      'x-scopes': 'appointments:read',
      'x-actor-id': `client:${notifications.id}`,
    })
    const elsewhere = await calls.fetch('/api/notifications/upcoming')
    t.equal(elsewhere.status, 401, 'its token is good at one audience')
  })

  await t.test('somebody without a role that is carried over is refused, and is not called for', async (t) => {
    const { status, body } = await admin.call('GET', '/api/notifications/upcoming')
    t.match({ status, body }, { status: 403, body: { code: 'EXCHANGE_REFUSED' } })
  })

  await t.test('a service account reads everybody’s appointments, of the time it asks for', async (t) => {
    const between = async (query: string) => {
      const response = await asNotifications.fetch(`/api/appointments?${query}`)
      const { appointments } = (await response.json()) as { appointments: { id: string }[] }
      return appointments.map(({ id }) => id)
    }
    t.strictSame(await between(''), [made.past, made.patient, made.doctor, made.cancelled, made.later])
    const day = `from=${tomorrow(0).toISOString()}&to=${tomorrow(10).toISOString()}`
    t.strictSame(await between(day), [made.patient])
    t.equal((await asNotifications.fetch('/api/appointments?from=yesterday')).status, 400)
    const own = await patient.call('GET', `/api/appointments?${day}`)
    t.strictSame(
      own.body.appointments.map(({ id }: { id: string }) => id),
      [made.patient],
      'people can ask for a time too',
    )
  })

  await t.test('a service account writes nothing, whether as itself or for a doctor', async (t) => {
    const body = JSON.stringify({ patientId: ids.patient, startsAt: hours(1).toISOString(), reason: 'x' })
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
    const asItself = await asNotifications.fetch('/api/doctor/appointments', init)
    t.match([asItself.status, await asItself.json()], [403, { code: 'CALLER_REFUSED' }])
    const forDoctor = asNotifications.onBehalfOf(assertionFor(ids.doctor, ['doctor']), { audience: 'appointments' })
    const refused = await forDoctor.fetch('/api/doctor/appointments', init)
    t.match([refused.status, await refused.json()], [403, { code: 'SCOPE_REQUIRED' }])
    t.equal((await forDoctor.fetch('/api/doctor/appointments')).status, 200, 'reading is within its scope')
  })

  await t.test('no role and no scope brings a service account to what is for people', async (t) => {
    const calls: [method: string, path: string][] = [
      ['GET', '/api/whoami'],
      ['GET', '/api/doctor/appointments'],
      ['POST', '/api/doctor/appointments'],
      ['PATCH', `/api/doctor/appointments/${made.patient}`],
      ['GET', '/api/notifications/upcoming'],
      ['GET', '/api/notifications/stream'],
      ['GET', '/api/notifications/ws'],
    ]
    const strong = connect(system.strong)
    for (const [method, path] of calls) {
      const response = await strong.fetch(path, { method })
      t.match([response.status, await response.json()], [403, { code: 'CALLER_REFUSED' }], `${method} ${path}`)
    }
    const response = await connect(system.strong, { scope: 'appointments:write' }).fetch('/api/appointments')
    t.match([response.status, await response.json()], [403, { code: 'SCOPE_REQUIRED' }])
    t.equal(response.headers.get('www-authenticate'), 'Bearer error="insufficient_scope", scope="appointments:read"')
  })

  await t.test('the nightly job has a line for each appointment of tomorrow', async (t) => {
    const { code, lines, complaint } = await runNightly()
    t.equal(complaint, '')
    t.equal(code, 0)
    t.match(lines, [
      { event: 'reminder_due', appointment: made.patient, patient: ids.patient, startsAt: tomorrow(9).toISOString() },
      { event: 'reminder_due', appointment: made.doctor, patient: ids.doctor },
      { event: 'reminders_listed', due: 2 },
    ])
    t.equal(lines.length, 3)
    t.notMatch(JSON.stringify(lines), /check|@/, 'ids and times alone')
  })

  await t.test('or one that says why it has none', async (t) => {
    const faults: [Record<string, string>, RegExp][] = [
      [{ SERVICE_CLIENT_ID: randomUUID() }, /refused with invalid_client/],
      [{ TOKEN_ENDPOINT: 'http://127.0.0.1:1/oauth/token' }, /cannot be reached/],
      [{ SERVICE_PRIVATE_KEY: '' }, /SERVICE_PRIVATE_KEY is not set; .* go together/],
      [{ TOKEN_ENDPOINT: '', SERVICE_CLIENT_ID: '', SERVICE_PRIVATE_KEY: '' }, /TOKEN_ENDPOINT is not set/],
      [{ TOKEN_ENDPOINT: await answering(t, '{"code":"UPSTREAM_BUSY"}') }, /appointments responded 503/],
    ]
    for (const [environment, said] of faults) {
      const { code, lines, complaint } = await runNightly(environment)
      t.equal(code, 1)
      t.strictSame(lines, [])
      t.match(complaint, said)
      t.match(complaint, /^sallyport nightly: .*\n$/)
    }
  })

  await t.test('while nobody can be acted for, reminders wait, and the rest goes on', async (t) => {
    await system.sql('DELETE FROM auth.client_exchanges WHERE client_id = $1', [notifications.id])
    const refused = await (await signIn(gateway, 'patient@example.com')).call('GET', '/api/notifications/upcoming')
    t.match([refused.status, refused.body], [403, { code: 'EXCHANGE_REFUSED' }])
    await system.sql('DELETE FROM auth.clients WHERE id = $1', [notifications.id])
    const gone = await (await signIn(gateway, 'patient@example.com')).call('GET', '/api/notifications/upcoming')
    t.match([gone.status, gone.body], [500, { code: 'INTERNAL' }], 'what the operator has to see to')
  })
})

t.test('without a service account there are no reminders', async (t) => {
  const system = await openSystemOn(await startDatabase(t), t, {}, ['notifications'])
  const patient = await signIn(system.gateway, 'patient@example.com')
  t.match(await patient.call('GET', '/api/notifications/upcoming'), {
    status: 503,
    body: { code: 'SERVICE_ACCOUNT_MISSING' },
  })
})
