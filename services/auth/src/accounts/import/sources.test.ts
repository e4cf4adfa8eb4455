import t from 'tap'
import type { Fields } from './person.ts'
import { readerOf, type Source } from './sources.ts'

const parameters = { memCost: 14, rounds: 8, saltSeparator: 'Bw==', signerKey: 'a'.repeat(86) }
const read = (source: Source, fields: Fields) => readerOf(source, parameters)(fields)

t.test('Supabase: banned people are disabled, and who was deleted or anonymous is gone', async (t) => {
  const user = (fields: Fields) => read('supabase', { id: 'x', email: 'a@example.com', ...fields })
  t.match(user({}), { verified: false, disabled: false, gone: false, roles: [], hash: undefined, totp: undefined })
  t.match(user({ email_confirmed_at: '2024-01-01', encrypted_password: '' }), { verified: true, hash: undefined })
  t.match(user({ banned_until: '9999-01-01T00:00:00Z' }), { disabled: true })
  t.match(user({ banned_until: '2020-01-01T00:00:00Z' }), { disabled: false })
  t.match(user({ banned_until: 'infinity' }), { disabled: true })
  t.match(user({ deleted_at: '2020-01-01' }), { gone: true })
  t.match(user({ is_anonymous: 't' }), { gone: true })
  const csv = {
    raw_user_meta_data: '{"name":"Nina","locale":"de"}',
    raw_app_meta_data: '{"role":"a","roles":["b","c"]}',
  }
  t.match(user(csv), { name: 'Nina', locale: 'de', roles: ['b', 'c', 'a'] }, 'in CSV, objects are text')
  t.match(user({ raw_user_meta_data: '{', raw_app_meta_data: '[1]' }), { name: undefined, roles: [] })
  t.match(user({ totp_secret: '{"encrypted":"x"}', encrypted_password: 'x' }), { totp: null, hash: null })
})

t.test('Keycloak: roles of realm and clients, names, and what is no person', async (t) => {
  const user = (fields: Fields) => read('keycloak', { id: 'x', email: 'a@example.com', enabled: true, ...fields })
  t.match(user({ realmRoles: ['a', 1], clientRoles: { app: ['b'] } }), { roles: ['a', 'app/b'], disabled: false })
  t.match(user({ firstName: 'Nina' }), { name: 'Nina' })
  t.match(user({ username: 'nina' }), { name: 'nina', hash: undefined, totp: undefined })
  t.match(user({ enabled: false, emailVerified: true }), { disabled: true, verified: true })
  t.match(user({ serviceAccountClientId: 'app' }), { gone: true })
  t.match(user({ attributes: { locale: ['de'] }, createdTimestamp: 1 }), { locale: 'de', createdAt: 1 })
  const odd = {
    type: 'password',
    credentialData: '{"algorithm":"pbkdf2-sha256","hashIterations":{}}',
    secretData: '{}',
  }
  t.match(user({ credentials: [odd] }), { hash: null })
  t.match(user({ credentials: [{ type: 'otp', credentialData: '{"subType":"totp"}' }] }), { totp: null })
})

t.test('Auth0: both kinds of export', async (t) => {
  const user = (fields: Fields) => read('auth0', { email: 'a@example.com', ...fields })
  t.match(user({ user_id: 'google|1', blocked: true }), { id: 'google|1', disabled: true, hash: undefined })
  t.match(user({ _id: { $oid: '6042' }, nickname: 'nina' }), { id: 'auth0|6042', name: 'nina', disabled: false })
  t.match(user({ app_metadata: { roles: ['a'] }, roles: ['b'] }), { roles: ['b', 'a'] })
  t.match(user({ mfa_factors: [{ phone: {} }, { totp: { secret: 'GEZDGNBVGY3TQOJQ' } }] }), {
    totp: 'GEZDGNBVGY3TQOJQ',
  })
  t.match(user({ mfa_factors: [{ phone: {} }] }), { totp: undefined })
  t.match(user({ custom_password_hash: {} }), { hash: null })
})

t.test('Firebase: a second factor is named, and not there', async (t) => {
  t.match(read('firebase', { mfaInfo: [{}], disabled: true }), { totp: null, disabled: true, hash: undefined })
  t.match(read('firebase', { customAttributes: '{"role":"a","roles":["b"]}' }), { roles: ['b', 'a'], totp: undefined })
  t.match(read('firebase', { passwordHash: 'x' }), { hash: null }, 'a hash without its salt')
})

t.test('Better Auth: who is banned, anonymous, or has a second factor that cannot be read', async (t) => {
  t.match(read('better-auth', { banned: true, role: 'admin,user' }), { disabled: true, roles: ['admin', 'user'] })
  t.match(read('better-auth', { isAnonymous: true }), { gone: true, totp: undefined })
  t.match(read('better-auth', { twoFactorEnabled: true }), { totp: null })
})

t.test('CSV: lists and truth as people write them', async (t) => {
  for (const yes of ['true', 'T', '1', 'yes']) t.match(read('csv', { verified: yes }), { verified: true })
  for (const no of ['', 'false', 'f', '0', 'no', '2']) t.match(read('csv', { verified: no }), { verified: false })
  t.match(read('csv', { roles: 'a b;c, d|e' }), { roles: ['a', 'b', 'c', 'd', 'e'] })
  t.match(read('csv', { roles: '["a b"]' }), { roles: ['a b'] })
})
