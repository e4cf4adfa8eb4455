import { generateKeyPairSync } from 'node:crypto'
import Fastify, { type preHandlerAsyncHookHandler } from 'fastify'
import t, { type Test } from 'tap'
import { createAssertions } from './assertion.ts'
import { type Guard, requireIdentity, requireRole, requireUuids, type Trust } from './guards.ts'
import { headersOf } from './headers.ts'
import type { Identity } from './identity.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const ours = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
const doctor: Identity = {
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}

/** A service with one route for anyone signed in and one for some roles. */
function serve(t: Test, trust?: Trust) {
  const app = Fastify()
  t.teardown(() => app.close())
  const preHandler = (guard: Guard) => guard as preHandlerAsyncHookHandler
  app.get('/me', { preHandler: preHandler(requireIdentity(trust)) }, async (request) => request.identity)
  app.get('/ward', { preHandler: preHandler(requireRole(['doctor', 'admin'], trust)) }, async () => 'in')
  return (url: string, headers: Record<string, string | string[]> = {}) => app.inject({ url, headers })
}

t.test('plain headers, where only the gateway can reach the service', async (t) => {
  const call = serve(t)

  t.test('say who is calling', async (t) => {
    t.strictSame((await call('/me', headersOf(doctor))).json(), doctor)
  })

  t.test('are all needed', async (t) => {
    t.match((await call('/me')).json(), { statusCode: 401, code: 'TOKEN_MISSING' })
    for (const name of Object.keys(headersOf(doctor))) {
      const { [name]: _, ...others } = headersOf(doctor)
      t.match((await call('/me', others)).json(), { statusCode: 401, code: 'TOKEN_MISSING' }, `without ${name}`)
    }
  })

  t.test('count for nothing when doubled or malformed', async (t) => {
    for (const [name, value] of Object.entries(headersOf(doctor))) {
      const doubled = { ...headersOf(doctor), [name]: [value, value] }
      t.equal((await call('/me', doubled)).statusCode, 401, `${name} twice`)
    }
    t.equal((await call('/me', { ...headersOf(doctor), 'x-user-roles': 'doctor,Admin' })).statusCode, 401)
  })

  t.test('open what their roles open', async (t) => {
    t.equal((await call('/ward', headersOf(doctor))).statusCode, 200)
    const second = { ...doctor, role: 'patient', roles: ['patient', 'admin'] }
    t.equal((await call('/ward', headersOf(second))).statusCode, 200, 'any of the roles will do')
    const patient = { ...doctor, role: 'patient', roles: ['patient'] }
    t.match((await call('/ward', headersOf(patient))).json(), {
      statusCode: 403,
      code: 'ROLE_REQUIRED',
      message: 'This needs the role doctor or admin',
    })
    t.match((await call('/ward')).json(), { statusCode: 401, code: 'TOKEN_MISSING' }, 'who is unknown is not forbidden')
  })
})

t.test('the signed assertion, where the network is not trusted', async (t) => {
  const call = serve(t, { verify: true, publicKeys: [ours.publicKey], audience: 'appointments' })
  const sign = (identity = doctor, audience = 'appointments', key = ours.privateKey) =>
    createAssertions(key).sign(identity, audience).token
  const bearing = (token: string | string[]) => ({ 'x-identity-token': token })

  t.test('says who is calling, and plain headers add nothing', async (t) => {
    const admin = { ...headersOf(doctor), 'x-user-id': 'admin', 'x-user-role': 'admin', 'x-user-roles': 'admin' }
    t.strictSame((await call('/me', { ...admin, ...bearing(sign()) })).json(), doctor)
    t.match((await call('/me', admin)).json(), { statusCode: 401, code: 'TOKEN_MISSING' })
  })

  t.test('is refused when it is invalid', async (t) => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
    const forgeries = {
      'another key': sign(doctor, 'appointments', other.privateKey),
      'another service': sign(doctor, 'notifications'),
      doubled: [sign(), sign()],
      nonsense: 'nonsense',
      empty: '',
    }
    for (const [name, token] of Object.entries(forgeries))
      t.match((await call('/me', bearing(token))).json(), { statusCode: 401, code: 'TOKEN_INVALID' }, name)
  })

  t.test('is refused once it has expired', async (t) => {
    const token = sign()
    const later = Date.now() + 66_000
    t.intercept(Date, 'now', { value: () => later })
    t.match((await call('/me', bearing(token))).json(), { statusCode: 401, code: 'TOKEN_INVALID' })
  })

  t.test('is refused as a list too, where a server keeps doubled headers apart', async (t) => {
    const guard = requireIdentity({ verify: true, publicKeys: [ours.publicKey], audience: 'appointments' })
    await t.rejects(guard({ headers: bearing([sign(), sign()]) }), { code: 'TOKEN_INVALID' })
  })

  t.test('opens what its roles open', async (t) => {
    t.equal((await call('/ward', bearing(sign()))).statusCode, 200)
    const patient = { ...doctor, role: 'patient', roles: ['patient'] }
    t.match((await call('/ward', bearing(sign(patient)))).json(), { statusCode: 403, code: 'ROLE_REQUIRED' })
  })

  t.test('holds by any of several public keys, of any kind', async (t) => {
    const pairs = [
      ours,
      generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
      generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
    ]
    const publicKeys = pairs.map(({ publicKey }) => publicKey)
    const call = serve(t, { verify: true, publicKeys, audience: 'appointments' })
    for (const { privateKey } of pairs)
      t.equal((await call('/me', bearing(sign(doctor, 'appointments', privateKey)))).statusCode, 200)
  })

  t.test('is not checked with a key that is weak', async (t) => {
    for (const { publicKey } of [
      generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding, privateKeyEncoding }),
      generateKeyPairSync('rsa', { modulusLength: 1024, publicKeyEncoding, privateKeyEncoding }),
    ])
      t.throws(() => requireIdentity({ verify: true, publicKeys: [publicKey], audience: 'appointments' }))
  })
})

t.test('a service with columns for UUIDs knows no other ids, whoever vouches for them', async (t) => {
  const guard = requireUuids(requireIdentity())
  const id = '0a1b2c3d-0000-4000-8000-000000000000'
  const ask = (identity: Identity) => guard({ headers: headersOf(identity) })
  await t.resolves(ask({ ...doctor, userId: id, sessionId: id }))
  for (const ids of [{ userId: id }, { sessionId: id }, { userId: `urn:uuid:${id}`, sessionId: id }])
    await t.rejects(ask({ ...doctor, ...ids }), { statusCode: 401, code: 'TOKEN_INVALID' })
  await t.rejects(guard({ headers: {} }), { code: 'TOKEN_MISSING' })
})
