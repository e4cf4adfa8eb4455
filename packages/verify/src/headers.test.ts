import fc from 'fast-check'
import t from 'tap'
import {
  decodeEmail,
  encodeEmail,
  headersOf,
  identityFromHeaders,
  identityHeaders,
  isIdentityHeader,
} from './headers.ts'
import { type Identity, isEmail } from './identity.ts'

const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}

t.test('every spelling of an identity header that some server reads as one is known', async (t) => {
  for (const name of Object.values(identityHeaders))
    for (const spelling of [
      name,
      name.toUpperCase(),
      name.replace('-', '.'),
      ...[..."_.!#$%&'*+^`|~"].map((separator) => name.replaceAll('-', separator)),
    ])
      t.ok(isIdentityHeader(spelling), spelling)
  for (const name of [
    'x-user',
    'x-auth',
    'x-auth-times',
    'x-user-identity',
    'user-id',
    'x-user-id2',
    'x--user-id',
    '',
    'cookie',
  ])
    t.notOk(isIdentityHeader(name), name)
})

t.test('who is calling comes out of the headers as it went in', async (t) => {
  for (const email of [
    'doctor@example.com',
    'josé@example.com',
    '50%25@example.com',
    "utf-8''x@example.com",
    '医者@例え',
  ])
    t.strictSame(identityFromHeaders(headersOf({ ...doctor, email })), { ...doctor, email })
  t.equal(identityFromHeaders({ ...headersOf(doctor), 'x-user-roles': undefined }), undefined)
})

t.test('how the caller proved who they are comes out as it went in, and nothing of what is not known', async (t) => {
  const character = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
  const proof = fc.record(
    {
      acr: fc.string({ unit: character, minLength: 1, maxLength: 64 }),
      authTime: fc.integer({ min: 0, max: 1e11 - 1 }),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(proof, (proof) => {
      t.strictSame(identityFromHeaders(headersOf({ ...doctor, ...proof })), { ...doctor, ...proof })
    }),
  )
  t.strictSame(headersOf({ ...doctor, acr: 'aal2', authTime: 0, amr: ['pwd'] }), {
    ...headersOf(doctor),
    'x-auth-acr': 'aal2',
    'x-auth-time': '0',
  })
})

const machine: Identity = {
  ...{ caller: 'client', userId: 'client:reports', clientId: 'reports', roles: [], sessionId: 'key-1', scopes: [] },
}

t.test('a service account, and who acts for somebody, come out of the headers as they went in', async (t) => {
  const scope = fc.stringMatching(/^[!#-[\]-~]{1,16}$/)
  const scopes = fc.uniqueArray(scope, { maxLength: 8 })
  fc.assert(
    fc.property(scopes, fc.boolean(), (scopes, hasRoles) => {
      const identity = { ...machine, scopes, ...(hasRoles && { role: 'doctor', roles: ['doctor', 'admin'] }) }
      t.strictSame(identityFromHeaders(headersOf(identity)), identity)
      const acted = { ...doctor, scopes, act: { sub: 'client:reports' } }
      t.strictSame(identityFromHeaders(headersOf(acted)), acted)
    }),
  )
  const supported = { ...doctor, act: { sub: 'user-2' } }
  t.strictSame(identityFromHeaders(headersOf(supported)), supported, 'a user as another is not limited by scopes')
  const deep = { ...doctor, scopes: ['a'], act: { sub: 'client:a', sid: 'key', act: { sub: 'user-2' } } }
  t.strictSame(identityFromHeaders(headersOf(deep))?.act, { sub: 'client:a' }, 'of several the outermost')
  t.notOk('x-user-id' in headersOf(machine), 'who reads no more than that takes it for nobody')
})

t.test('whom another issuer vouches for comes out with that issuer, and with no more than it says', async (t) => {
  const issuer = 'https://login.test'
  const unknown: Identity = { caller: 'user', issuer, userId: 'user-1', roles: [], sessionId: '', scopes: [] }
  t.strictSame(headersOf(unknown), { 'x-caller': 'user', 'x-issuer': issuer, 'x-user-id': 'user-1', 'x-scopes': '' })
  for (const identity of [unknown, { ...doctor, issuer, scopes: ['read'] }])
    t.strictSame(identityFromHeaders(headersOf(identity)), identity)
  const { issuer: _issuer, ...ours } = unknown
  t.equal(identityFromHeaders(headersOf(ours)), undefined, 'without it, it would be one of ours')
  t.equal(identityFromHeaders({ ...headersOf(unknown), 'x-issuer': '' }), undefined)
})

t.test('headers that say two things, or not all of one, are no identity', async (t) => {
  const ofMachine = headersOf(machine)
  const ofUser = headersOf(doctor)
  const faults: Record<string, string | string[] | undefined>[] = [
    { ...ofMachine, 'x-client-id': undefined },
    { ...ofMachine, 'x-client-id': ['reports', 'reports'] },
    { ...ofMachine, 'x-client-id': 'a b' },
    { ...ofMachine, 'x-user-id': 'user-1' },
    { ...ofMachine, 'x-user-email': 'doctor@example.com' },
    { ...ofMachine, 'x-scopes': undefined },
    { ...ofMachine, 'x-scopes': 'a a' },
    { ...ofMachine, 'x-scopes': ['a', 'b'] },
    { ...ofMachine, 'x-user-role': 'doctor' },
    { ...ofMachine, 'x-user-roles': ['doctor'], 'x-user-role': 'doctor' },
    { ...ofMachine, 'x-user-roles': ['doctor', 'admin'] },
    { ...ofMachine, 'x-caller': 'machine' },
    { ...ofMachine, 'x-caller': ['client', 'client'] },
    { ...ofUser, 'x-client-id': 'reports' },
    { ...ofUser, 'x-user-id': 'client:reports' },
    { ...ofUser, 'x-user-email': 'josé@example.com' },
    { ...ofUser, 'x-user-roles': ['doctor'] },
    { ...ofUser, 'x-scopes': '' },
    { ...ofUser, 'x-actor-id': '' },
    { ...ofUser, 'x-actor-id': 'client:reports' },
    { ...ofUser, 'x-actor-id': ['user-2', 'user-3'] },
  ]
  for (const headers of faults) t.equal(identityFromHeaders(headers), undefined, JSON.stringify(headers))
})

t.test('a time or a level in another spelling is no identity', async (t) => {
  for (const time of ['', '-1', '+1', '01', '1.0', '1e3', '0x1', ' 1', '1 ', '1\n', '1, 2', '١', '100000000000', ['1']])
    t.equal(identityFromHeaders({ ...headersOf(doctor), 'x-auth-time': time }), undefined, JSON.stringify(time))
  for (const acr of ['', 'aal1, aal2', 'aal 2', 'é', 'a'.repeat(65), ['aal2']])
    t.equal(identityFromHeaders({ ...headersOf(doctor), 'x-auth-acr': acr }), undefined, JSON.stringify(acr))
  fc.assert(
    fc.property(fc.string(), (time) => {
      const identity = identityFromHeaders({ ...headersOf(doctor), 'x-auth-time': time })
      return identity === undefined || String(identity.authTime) === time
    }),
  )
})

t.test('an address in ASCII stands in its header as it is, any other as an extended value', async (t) => {
  for (const email of ['doctor@example.com', 'jos%C3%A9@example.com', "o'neil+(x)*@example.com"])
    t.equal(encodeEmail(email), email)
  t.equal(encodeEmail('josé@example.com'), "UTF-8''jos%C3%A9%40example.com")
  t.equal(encodeEmail("é'(*)@x"), "UTF-8''%C3%A9%27%28%2A%29%40x")
  t.equal(encodeEmail("utf-8''a@b"), "UTF-8''utf-8%27%27a%40b")
})

t.test('no two addresses look the same, and each comes back', async () => {
  const anything = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.string().map((text) => `UTF-8''${text}`),
  )
  const email = anything.filter(isEmail)
  fc.assert(fc.property(email, (email) => decodeEmail(encodeEmail(email)) === email))
  fc.assert(fc.property(email, (email) => /^[\x21-\x7e]+$/.test(encodeEmail(email))))
  fc.assert(
    fc.property(anything, (value) => {
      const email = decodeEmail(value)
      return email === undefined || encodeEmail(email) === value
    }),
  )
})

t.test('an address that we would have written otherwise is none', async (t) => {
  for (const value of [
    'josé@example.com',
    "UTF-8''doctor%40example.com",
    "UTF-8''jos%c3%a9%40example.com",
    "UTF-8''jos%C3%A9@example.com",
    "UTF-8''%C3",
    "UTF-8''%",
    "UTF-8''",
    "utf-8''jos%C3%A9%40example.com",
    "UTF-8''%C3%A9%0A",
    '\ud800',
    '',
    undefined,
    ['doctor@example.com'],
  ])
    t.equal(decodeEmail(value), undefined, String(value))
})
