import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto'
import type { Identity } from '@sallyport/verify'
import { createSigner } from 'fast-jwt'
import t from 'tap'
import { createAssertions, createAssertionVerifier } from './assertion.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const ours = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}
const now = () => Math.floor(Date.now() / 1000)
const verify = createAssertionVerifier([ours.publicKey], 'appointments')

/** An assertion by hand, with whatever is to be wrong with it. */
function forge(claims: object = {}, header: object = {}, key = ours.privateKey): string {
  const sign = createSigner({ key, algorithm: 'ES256', header: { alg: 'ES256', typ: 'identity+jwt', ...header } })
  return sign({
    iss: 'sallyport-gateway',
    aud: 'appointments',
    sub: 'user-1',
    sid: 'session-1',
    email: 'doctor@example.com',
    role: 'doctor',
    roles: ['doctor', 'patient'],
    iat: now(),
    exp: now() + 60,
    jti: randomUUID(),
    ...claims,
  })
}

/** The same bytes in base64url, with a bit in the last character that nobody reads. */
const respelled = (token: string) => token.slice(0, -1) + String.fromCharCode(token.charCodeAt(token.length - 1) + 1)

t.test('a service learns who is calling, whichever kind of key signs', async (t) => {
  const pairs = [
    ours,
    generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
    generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
  ]
  for (const { privateKey, publicKey } of pairs) {
    const { token, expiresAt } = createAssertions(privateKey).sign(doctor, 'appointments')
    t.strictSame(await createAssertionVerifier([publicKey], 'appointments')(token), doctor)
    t.ok(Math.abs(expiresAt - now() - 60) <= 5, 'for a minute')
  }
})

t.test('it names the access token that it was made from, and when that ends', async (t) => {
  const { sign } = createAssertions(ours.privateKey)
  const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString())
  const from = { jti: 'token-1', expiresAt: now() + 5 }
  const { token } = sign(doctor, 'appointments', from)
  t.match(claimsOf(token), { token_jti: from.jti, token_exp: from.expiresAt })
  t.strictSame(await verify(token), doctor, 'which is nothing to a service')
})

t.test('a service learns how the caller proved who they are, as far as that is known', async (t) => {
  const { sign } = createAssertions(ours.privateKey)
  const proof = { acr: 'aal2', authTime: now(), amr: ['pwd', 'otp', 'mfa'] }
  const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString())
  const { token } = sign({ ...doctor, ...proof }, 'appointments')
  t.match(claimsOf(token), { auth_time: proof.authTime, acr: 'aal2', amr: proof.amr })
  t.strictSame(await verify(token), { ...doctor, ...proof })
  for (const [part, value] of Object.entries(proof))
    t.strictSame(
      await verify(sign({ ...doctor, [part]: value }, 'appointments').token),
      { ...doctor, [part]: value },
      part,
    )
  const claims = claimsOf(sign(doctor, 'appointments').token)
  for (const name of ['auth_time', 'acr', 'amr']) t.notOk(name in claims, name)
})

t.test('while a key is being replaced, assertions by the old and the new one hold', async (t) => {
  const either = createAssertionVerifier([foreign.publicKey, ours.publicKey], 'appointments')
  for (const { privateKey } of [ours, foreign])
    t.strictSame(await either(createAssertions(privateKey).sign(doctor, 'appointments').token), doctor)
})

t.test('a key that is weak or of another kind signs and checks nothing', async (t) => {
  for (const { privateKey, publicKey } of [
    generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding, privateKeyEncoding }),
    generateKeyPairSync('rsa', { modulusLength: 1024, publicKeyEncoding, privateKeyEncoding }),
  ]) {
    t.throws(() => createAssertions(privateKey), /must be EC P-256/)
    t.throws(() => createAssertionVerifier([publicKey], 'appointments'), /must be EC P-256/)
  }
  t.throws(() => createAssertions(ours.publicKey), 'a public key cannot sign')
})

t.test('an assertion holds for one service alone', async (t) => {
  const { token } = createAssertions(ours.privateKey).sign(doctor, 'notifications')
  t.equal(await verify(token), undefined)
})

t.test('what was not signed by the gateway, as an assertion, is invalid', async (t) => {
  t.strictSame(await verify(forge()), doctor, 'a good one by hand, so that each fault below is the only one')
  const [header, payload, signature] = forge().split('.') as [string, string, string]
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const hmacInput = `${encode({ alg: 'HS256', typ: 'identity+jwt' })}.${payload}`
  const forgeries: Record<string, string> = {
    'another key': forge({}, {}, foreign.privateKey),
    'an access token': forge({}, { typ: 'at+jwt' }),
    'no type': forge({}, { typ: undefined }),
    'a type in another case': forge({}, { typ: 'Identity+JWT' }),
    'a type with its tree': forge({}, { typ: 'application/identity+jwt' }),
    'a key that it brings': forge({}, { jwk: {} }),
    'a header that must be understood': forge({}, { crit: [] }),
    'another spelling of the signature': respelled(forge()),
    'an end in milliseconds': forge({ exp: Date.now() + 60_000 }),
    'issued at no time': forge({ iat: 'now' }),
    'another issuer': forge({ iss: 'someone' }),
    'issuers in a list': forge({ iss: ['sallyport-gateway'] }),
    'an expired one': forge({ iat: now() - 70, exp: now() - 10 }),
    'no end': forge({ exp: undefined }),
    'no audience': forge({ aud: undefined }),
    'no user': forge({ sub: undefined }),
    'no session': forge({ sid: undefined }),
    'no roles': forge({ roles: [] }),
    'a role that is not the first': forge({ role: 'patient' }),
    'a level that is no word': forge({ acr: 2 }),
    'a time that is no number': forge({ auth_time: String(now()) }),
    'methods that are no list': forge({ amr: 'pwd' }),
    'not signed': `${header}.${payload}.`,
    'alg none': `${encode({ alg: 'none', typ: 'identity+jwt' })}.${payload}.`,
    'the public key as a secret': `${hmacInput}.${createHmac('sha256', ours.publicKey).update(hmacInput).digest('base64url')}`,
    'other claims under the same signature': `${header}.${encode({ ...doctor, sub: 'admin' })}.${signature}`,
    'two at once': `${forge()}, ${forge()}`,
    empty: '',
    nonsense: 'nonsense',
  }
  for (const [name, token] of Object.entries(forgeries)) t.equal(await verify(token), undefined, name)
})

t.test('clocks may differ by a few seconds', async (t) => {
  t.strictSame(await verify(forge({ exp: now() - 2 })), doctor)
})

t.test('an assertion that was seen before ends all the same', async (t) => {
  const token = forge()
  t.strictSame(await verify(token), doctor)
  const later = Date.now() + 66_000
  t.intercept(Date, 'now', { value: () => later })
  t.equal(await verify(token), undefined)
})

t.test('however many assertions came before, one is read the same', async (t) => {
  const { sign } = createAssertions(ours.privateKey)
  for (let count = 0; count < 1_001; count++)
    if (!(await verify(sign({ ...doctor, sessionId: `session-${count}` }, 'appointments').token))) t.fail('a good one')
  t.strictSame(await verify(sign(doctor, 'appointments').token), doctor)
})
