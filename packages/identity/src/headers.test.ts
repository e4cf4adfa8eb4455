import t from 'tap'
import { headersOf, type Identity, identityFrom, identityHeaders, isIdentityHeader, isRole } from './headers.ts'

const doctor: Identity = {
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
  for (const name of ['x-user', 'x-user-identity', 'user-id', 'x-user-id2', 'x--user-id', '', 'cookie'])
    t.notOk(isIdentityHeader(name), name)
})

t.test('a role is a lower-case word that survives a header and a list', async (t) => {
  for (const role of ['a', 'doctor', 'on_call-2', `a${'b'.repeat(31)}`]) t.ok(isRole(role), role)
  for (const role of ['', 'Doctor', '2nd', 'a,b', 'a b', 'a\n', 'é', `a${'b'.repeat(32)}`, 1, null, ['doctor']])
    t.notOk(isRole(role), String(role))
})

t.test('who is calling comes out of the headers as it went in', async (t) => {
  const headers = headersOf(doctor)
  t.strictSame(
    identityFrom({
      userId: headers['x-user-id'],
      email: headers['x-user-email'],
      role: headers['x-user-role'],
      roles: headers['x-user-roles']?.split(','),
      sessionId: headers['x-session-id'],
    }),
    doctor,
  )
})

t.test('an identity with any part missing or malformed is none', async (t) => {
  t.strictSame(identityFrom({ ...doctor }), doctor)
  const faults: Record<string, unknown>[] = [
    ...['userId', 'email', 'sessionId'].flatMap((part) =>
      [undefined, '', 7, 'a b', 'a\nb', 'é', 'a'.repeat(321), ['a']].map((value) => ({ [part]: value })),
    ),
    { roles: undefined },
    { roles: 'doctor' },
    { roles: [] },
    { roles: ['doctor', 'Patient'] },
    { roles: ['doctor', 1] },
    { roles: Array(33).fill('doctor') },
    { role: undefined },
    { role: 'patient' },
    { role: 'admin' },
  ]
  for (const fault of faults) t.equal(identityFrom({ ...doctor, ...fault }), undefined, JSON.stringify(fault))
})
