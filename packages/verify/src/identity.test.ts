import t from 'tap'
import { actorsOf, type Identity, identityFrom, isRole, isUuid } from './identity.ts'

const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}

t.test('a role is a lower-case word that survives a header and a list', async (t) => {
  for (const role of ['a', 'doctor', 'on_call-2', `a${'b'.repeat(31)}`]) t.ok(isRole(role), role)
  for (const role of ['', 'Doctor', '2nd', 'a,b', 'a b', 'a\n', 'é', `a${'b'.repeat(32)}`, 1, null, ['doctor']])
    t.notOk(isRole(role), String(role))
})

t.test('an id of ours has one spelling', async (t) => {
  const id = '0a1b2c3d-0000-4000-8000-000000000000'
  t.ok(isUuid(id))
  for (const other of [
    id.toUpperCase(),
    `urn:uuid:${id}`,
    `{${id}}`,
    ` ${id}`,
    `${id}\n`,
    id.replaceAll('-', ''),
    `${id}0`,
    '',
    null,
    [id],
  ])
    t.notOk(isUuid(other), String(other))
})

t.test('an identity with any part missing or malformed is none', async (t) => {
  t.strictSame(identityFrom({ ...doctor }), doctor)
  t.strictSame(identityFrom({ ...doctor, email: 'josé@例え.example' })?.email, 'josé@例え.example')
  const most = Array.from({ length: 32 }, (_, index) => `${'doctor'}${index}`)
  t.ok(identityFrom({ ...doctor, role: 'doctor0', roles: most }))
  const faults: Record<string, unknown>[] = [
    ...['userId', 'email', 'sessionId'].flatMap((part) =>
      [undefined, '', 7, 'a b', 'a\nb', 'a\u0000b', 'a\u00a0b', '\ud800', 'a'.repeat(321), ['a']].map((value) => ({
        [part]: value,
      })),
    ),
    { userId: 'é' },
    { sessionId: 'é' },
    { roles: undefined },
    { roles: 'doctor' },
    { roles: [] },
    { roles: ['doctor', 'Patient'] },
    { roles: ['doctor', 1] },
    { roles: Array(33).fill('doctor') },
    { role: undefined },
    { role: 'patient' },
    { role: 'admin' },
    ...[null, '', 2, 'a b', 'a\n', 'é', 'a'.repeat(65), ['aal2']].map((acr) => ({ acr })),
    ...[null, '1', -1, 1.5, Number.NaN, 1e11, Date.now(), [1]].map((authTime) => ({ authTime })),
    ...[null, 'pwd', { 0: 'pwd' }, [''], ['pwd otp'], [1], ['a'.repeat(33)], Array(17).fill('pwd')].map((amr) => ({
      amr,
    })),
  ]
  for (const fault of faults) t.equal(identityFrom({ ...doctor, ...fault }), undefined, JSON.stringify(fault))
})

t.test('a service account, and who acts, have what belongs to them and nothing else', async (t) => {
  const machine: Identity = {
    ...{ caller: 'client', userId: 'client:reports', clientId: 'reports', roles: ['doctor'], role: 'doctor' },
    ...{ sessionId: 'key-1', scopes: ['a', 'b'] },
  }
  t.strictSame(identityFrom({ ...machine }), machine)
  const actor = { sub: 'client:reports', sid: 'key-1', grant: 'grant-1' }
  const chain = (depth: number): object => ({ ...actor, ...(depth > 1 && { act: chain(depth - 1) }) })
  const acted = { ...doctor, scopes: [], act: chain(4) }
  t.strictSame(identityFrom(acted), acted)
  t.equal(actorsOf(identityFrom(acted)?.act).length, 4)
  t.strictSame(identityFrom({ ...acted, act: { ...actor, exp: 1, admin: true } })?.act, actor, 'no other claims')
  const faults: Record<string, unknown>[] = [
    ...[undefined, '', 7, 'other', 'client:reports'].map((clientId) => ({ ...machine, clientId })),
    ...['reports', 'client:', 'user-1', undefined].map((userId) => ({ ...machine, userId })),
    ...['machine', '', null, 7].map((caller) => ({ ...machine, caller })),
    { ...machine, email: 'a@b.c' },
    { ...machine, roles: undefined },
    { ...machine, roles: [], role: 'doctor' },
    ...[undefined, 'a', ['a', 'a'], ['a b'], [''], ['"'], [7], Array.from({ length: 33 }, (_, at) => `${at}`)].map(
      (scopes) => ({ ...machine, scopes }),
    ),
    { ...machine, scopes: Array.from({ length: 30 }, (_, at) => `${at}`.padEnd(20, 'x')) },
    { ...doctor, clientId: 'reports' },
    { ...doctor, userId: 'client:reports' },
    { ...doctor, scopes: [] },
    { ...doctor, act: actor },
    { ...acted, act: chain(5) },
    ...[
      null,
      'client:reports',
      [],
      {},
      { sub: '' },
      { ...actor, sid: 7 },
      { ...actor, grant: '' },
      { ...actor, act: 1 },
    ].map((act) => ({ ...acted, act })),
  ]
  for (const fault of faults) t.equal(identityFrom(fault as never), undefined, JSON.stringify(fault))
})

t.test('whom another issuer vouches for may have no address, role or session, but has scopes', async (t) => {
  const least = { issuer: 'https://login.test', userId: 'user-1', roles: [], sessionId: undefined, scopes: [] }
  t.strictSame(identityFrom(least), { caller: 'user', ...least, sessionId: '' })
  for (const issuer of ['', 'a b', 'é', null, 7, 'x'.repeat(321), ['https://login.test']])
    t.equal(identityFrom({ ...least, issuer }), undefined, String(issuer))
  for (const fault of [
    { issuer: undefined },
    { scopes: undefined },
    { sessionId: 7 },
    { email: 'a b' },
    { roles: undefined },
  ])
    t.equal(identityFrom({ ...least, ...fault }), undefined, JSON.stringify(fault))
})

t.test('how the caller proved who they are may be unknown, each part by itself', async (t) => {
  const proof = { acr: 'aal2', authTime: 1_700_000_000, amr: ['pwd', 'otp', 'mfa'] }
  t.strictSame(identityFrom({ ...doctor, ...proof }), { ...doctor, ...proof })
  for (const [part, value] of Object.entries(proof))
    t.strictSame(identityFrom({ ...doctor, [part]: value }), { ...doctor, [part]: value }, part)
  t.strictSame(identityFrom({ ...doctor, acr: undefined, authTime: undefined, amr: undefined }), doctor)
  t.notOk('acr' in (identityFrom({ ...doctor, acr: undefined }) as Identity), 'what is unknown is no member')
  for (const bounds of [
    { acr: 'a'.repeat(64), authTime: 0, amr: [] },
    { acr: 'urn:mace:incommon:iap:silver', authTime: 99_999_999_999, amr: Array(16).fill('a'.repeat(32)) },
  ])
    t.strictSame(identityFrom({ ...doctor, ...bounds }), { ...doctor, ...bounds })
})
