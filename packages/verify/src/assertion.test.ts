import t from 'tap'
import { createAssertionVerifier } from './assertion.ts'
import { makeKeyPair, signJwt } from './test-keys.ts'
import { stopClock } from './test-server.ts'

const ours = makeKeyPair()
const now = () => Math.floor(Date.now() / 1000)
const header = { alg: 'ES256', typ: 'identity+jwt', kid: 'a' }
const claims = () => ({
  iss: 'sallyport-gateway',
  aud: 'orders',
  sub: 'user-1',
  sid: 'session-1',
  email: 'someone@example.com',
  role: 'doctor',
  roles: ['doctor'],
  iat: now(),
  exp: now() + 60,
})
const signed = (more: object = {}, head: object = {}, key = ours.privateKey) =>
  signJwt('ES256', key, { ...header, ...head }, { ...claims(), ...more })
const doctor = {
  caller: 'user',
  userId: 'user-1',
  email: 'someone@example.com',
  role: 'doctor',
  roles: ['doctor'],
  sessionId: 'session-1',
}

t.test('an assertion says who is calling, whichever kind of key signs and however its PEM is written', async (t) => {
  for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
    const { publicKey, privateKey } = makeKeyPair(algorithm)
    const token = signJwt(algorithm, privateKey, { ...header, alg: algorithm }, claims())
    const [first, ...body] = publicKey.trim().split('\n')
    const spellings = {
      'as it is': publicKey,
      CRLF: publicKey.replaceAll('\n', '\r\n'),
      'no end of line': publicKey.trim(),
      'space around': `\n  ${publicKey}\n\n`,
      'on one line': [first, body.slice(0, -1).join(''), body.at(-1)].join('\n'),
    }
    for (const [name, pem] of Object.entries(spellings))
      t.strictSame(await createAssertionVerifier([pem], 'orders')(token), doctor, `${algorithm}, ${name}`)
  }
  const { publicKey, privateKey } = makeKeyPair('RS256', 4096)
  const token = signJwt('RS256', privateKey, { ...header, alg: 'RS256' }, claims())
  t.strictSame(await createAssertionVerifier([publicKey], 'orders')(token), doctor, 'a longer key')
})

t.test('while a key is being replaced, both are good, also of one kind and of two', async (t) => {
  const next = makeKeyPair()
  const rsa = makeKeyPair('RS256')
  const verify = createAssertionVerifier([rsa.publicKey, next.publicKey, ours.publicKey], 'orders')
  t.strictSame(await verify(signed()), doctor)
  t.strictSame(await verify(signed({}, {}, next.privateKey)), doctor)
  t.strictSame(await verify(signJwt('RS256', rsa.privateKey, { ...header, alg: 'RS256' }, claims())), doctor)
  t.equal(await verify(signed({}, {}, makeKeyPair().privateKey)), undefined)
})

t.test('a key that may not be used, or none, is an error at once', async (t) => {
  const wrong: Record<string, string> = {
    'RSA of 1024 bits': makeKeyPair('RS256', 1024).publicKey,
    'RSA of 2040 bits': makeKeyPair('RS256', 2040).publicKey,
    'P-384': makeKeyPair('ES384').publicKey,
    'P-521': makeKeyPair('ES512').publicKey,
    'a private key': ours.privateKey,
    'a word': 'secret',
    nothing: '',
    'no PEM within': '-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----',
    'no base64': '-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----',
    'two in one': ours.publicKey + ours.publicKey,
  }
  for (const [name, pem] of Object.entries(wrong)) {
    t.throws(() => createAssertionVerifier([pem], 'orders'), { message: /^the public key must be EC P-256/ }, name)
    t.throws(
      () => createAssertionVerifier([ours.publicKey, pem], 'orders'),
      { message: /^the public key must be/ },
      name,
    )
  }
  for (const [keys, audience] of [
    [[], 'orders'],
    [undefined, 'orders'],
    [[ours.publicKey], ''],
    [[ours.publicKey], undefined],
  ])
    t.throws(() => createAssertionVerifier(keys as string[], audience as string), { message: /set both$/ })
  t.throws(() => createAssertionVerifier([ours.publicKey, undefined], 'orders'), {
    message: 'publicKeys[1] is undefined; set IDENTITY_PUBLIC_KEY',
  })
})

t.test('a key that only looks like one says so when it is needed, and vouches for nothing', async (t) => {
  const lines = ours.publicKey.split('\n')
  const broken = [lines[0], lines[1], `${'A'.repeat(59)}=`, lines[3]].join('\n')
  await t.rejects(createAssertionVerifier([broken], 'orders')(signed()))
})

t.test('what is no assertion for this service is none', async (t) => {
  const verify = createAssertionVerifier([ours.publicKey], 'orders')
  const text = JSON.stringify(claims())
  const wrong: Record<string, string> = {
    nothing: '',
    'no JWS': 'a.b',
    'no header': signJwt('ES256', ours.privateKey, '[]', claims()),
    'another type': signed({}, { typ: 'at+jwt' }),
    'a header that says more': signed({}, { jku: 'https://evil.test' }),
    'another algorithm': signed({}, { alg: 'RS256' }),
    none: signed({}, { alg: 'none' }),
    'another service': signed({ aud: 'invoices' }),
    'another issuer': signed({ iss: 'someone' }),
    'no subject': signed({ sub: undefined }),
    'no end': signed({ exp: undefined }),
    'an end that is none': signed({ exp: 1e300 }),
    'a beginning that is none': signed({ iat: -1 }),
    'a claim twice': signJwt('ES256', ours.privateKey, header, `{"sub":"admin",${text.slice(1)}`),
    'no identity': signed({ roles: [] }),
    over: signed({ exp: now() - 6 }),
    'not yet': signed({ nbf: now() + 30 }),
  }
  for (const [name, token] of Object.entries(wrong)) t.equal(await verify(token), undefined, name)
  t.strictSame(await verify(signed()), doctor)
})

t.test('an assertion that was seen before ends all the same', async (t) => {
  const pass = stopClock(t)
  const verify = createAssertionVerifier([ours.publicKey], 'orders')
  const token = signed()
  const identity = await verify(token)
  t.strictSame(identity, doctor)
  t.equal(await verify(token), identity, 'it is checked once')
  pass(64_000)
  t.equal(await verify(token), identity, 'clocks may differ by a few seconds')
  pass(2_000)
  t.equal(await verify(token), undefined)
})

t.test('however many come, each is read', async (t) => {
  const { publicKey, privateKey } = makeKeyPair('EdDSA')
  const verify = createAssertionVerifier([publicKey], 'orders')
  const found = new Set<string | undefined>()
  for (let index = 0; index < 1_005; index++) {
    const token = signJwt('EdDSA', privateKey, { ...header, alg: 'EdDSA' }, { ...claims(), sub: `user-${index}` })
    found.add((await verify(token))?.userId)
  }
  t.equal(found.size, 1_005)
})
