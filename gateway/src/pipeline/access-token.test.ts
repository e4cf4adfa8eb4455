import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto'
import { algorithmOf, publicJwk } from '@sallyport/identity'
import { forAudience, isStillValid, type KeySet, ownIssuer, type VerifyingKey } from '@sallyport/verify'
import t from 'tap'
import { type Caller, createVerifier } from './access-token.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const generate = () =>
  createPrivateKey(generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }).privateKey)
const ours = generate()
const others = [
  createPrivateKey(
    generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }).privateKey,
  ),
  createPrivateKey(generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }).privateKey),
]

const publicPem = (key: KeyObject) =>
  createPublicKey(key as never)
    .export({ type: 'spki', format: 'pem' })
    .toString()
const publicKeyOf = (key: KeyObject): VerifyingKey<KeyObject> => ({
  key: createPublicKey(publicPem(key)),
  algorithm: algorithmOf(key),
  said: publicPem(key),
})
const keys = new Map<string, VerifyingKey<KeyObject>>(
  [ours, ...others].map((key) => [publicJwk(key).kid, publicKeyOf(key)]),
)
const keySet: KeySet<KeyObject> = {
  find: (kid) => keys.get(kid),
  holds: (kid, { said }) => keys.get(kid)?.said === said,
  ready: async () => {},
  close: () => {},
}
/** A verifier that takes the tokens of one issuer. */
function verifierOf(keys = keySet) {
  const issuer = ownIssuer('https://issuer.test', 'https://api.test', keys)
  return createVerifier((name) => (name === issuer.name ? issuer : undefined))
}
const verifier = verifierOf()

const now = () => Math.floor(Date.now() / 1000)
const encode = (value: object | string) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const goodHeader = (key = ours) => ({ alg: algorithmOf(key), typ: 'at+jwt', kid: publicJwk(key).kid })
const goodClaims = () => ({
  iss: 'https://issuer.test',
  aud: 'https://api.test',
  sub: 'user-1',
  client_id: 'web',
  iat: now(),
  exp: now() + 600,
  jti: randomUUID(),
  sid: 'session-1',
  email: 'someone@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
})

/** Signs whatever it is given, as RFC 7515 says and with no care for what it means. */
function signed(header: object | string, claims: object | string, key = ours): string {
  const input = `${encode(header)}.${encode(claims)}`
  const signature = sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(input), {
    key,
    dsaEncoding: 'ieee-p1363',
  })
  return `${input}.${signature.toString('base64url')}`
}
/** A token that is good but for this. */
const withClaims = (claims: object, key?: KeyObject) => signed(goodHeader(key), { ...goodClaims(), ...claims }, key)
const withHeader = (header: object, key?: KeyObject) => signed({ ...goodHeader(key), ...header }, goodClaims(), key)

/** The caller, or the code of the refusal. */
async function outcome(token: string, by = verifier, audience = 'appointments'): Promise<Caller | string> {
  try {
    return forAudience(await by.verify(token), audience)
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('a valid token says who is calling, whichever kind of key signs', async (t) => {
  for (const key of [ours, ...others]) {
    const claims = goodClaims()
    t.match(await outcome(signed(goodHeader(key), claims, key)), {
      identity: {
        userId: 'user-1',
        email: 'someone@example.com',
        role: 'doctor',
        roles: ['doctor', 'patient'],
        sessionId: 'session-1',
      },
      expiresAt: claims.exp,
    })
  }
})

t.test('a refusal says that the token is bad, and not why', async (t) => {
  const refuse = () => verifier.verify('nonsense')
  t.throws(refuse, {
    statusCode: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    cause: 'not a JWT',
  })
  t.throws(() => verifier.verify(withClaims({ exp: now() - 1 })), {
    name: 'Problem',
    statusCode: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
  })
})

t.test('an expired token is distinguished from an invalid one, so that a client refreshes', async (t) => {
  t.equal(await outcome(withClaims({ exp: now() - 1 })), 'TOKEN_EXPIRED')
  t.equal(await outcome(withClaims({ exp: now() - 1 }, generate())), 'TOKEN_INVALID', 'but only if we signed it')
})

t.test('a token is checked once, and ends all the same', async (t) => {
  const token = withClaims({})
  const caller = await outcome(token)
  t.type(caller, 'object')
  t.equal(await outcome(token), caller)
  const later = Date.now() + 601_000
  t.intercept(Date, 'now', { value: () => later })
  t.equal(await outcome(token), 'TOKEN_EXPIRED')
  t.equal(await outcome(token), 'TOKEN_EXPIRED', 'also when it is no longer remembered')
})

t.test('the signature of a token that is known vouches for no other claims', async (t) => {
  const [header, claims, signature] = withClaims({}).split('.') as [string, string, string]
  t.type(await outcome([header, claims, signature].join('.')), 'object')
  const others = Buffer.from(
    JSON.stringify({ ...JSON.parse(String(Buffer.from(claims, 'base64url'))), sub: 'mallory' }),
  )
  t.equal(await outcome([header, others.toString('base64url'), signature].join('.')), 'TOKEN_INVALID')
  t.type(await outcome([header, claims, signature].join('.')), 'object', 'and it is known still')
})

t.test('a token that has expired is not kept for long', async (t) => {
  const fresh = verifierOf()
  for (let count = 0; count < 3; count++) await outcome(withClaims({}), fresh)
  const [then, alsoThen] = [Date.now(), performance.now()]
  t.intercept(Date, 'now', { value: () => then + 601_000 })
  t.intercept(performance, 'now', { value: () => alsoThen + 601_000 })
  const token = withClaims({})
  await outcome(token, fresh)
  t.equal(fresh.cache.size, 1, 'with the next token that comes')
  t.type(await outcome(token, fresh), 'object')
})

t.test('a key that is still to be fetched is waited for', async (t) => {
  const slow = verifierOf({ ...keySet, find: async (kid) => keys.get(kid) })
  t.match(await outcome(withClaims({}), slow), { identity: { userId: 'user-1' } })
  t.equal(await outcome(withHeader({ kid: 'unknown' }), slow), 'TOKEN_INVALID')
})

t.test('no token chooses how it is checked', async (t) => {
  const payload = encode(goodClaims())
  const unsigned = ['none', 'None', 'NONE', 'nOnE', ''].flatMap((alg) => {
    const header = encode({ ...goodHeader(), alg })
    return [`${header}.${payload}.`, `${header}.${payload}`, `${header}.${payload}.AA`]
  })
  for (const token of unsigned) t.equal(await outcome(token), 'TOKEN_INVALID', token.slice(0, 60))

  for (const alg of ['HS256', 'HS384', 'HS512'])
    for (const key of [ours, ...others]) {
      const input = `${encode({ ...goodHeader(key), alg })}.${payload}`
      const hash = alg.replace('HS', 'sha')
      for (const secret of [publicPem(key), publicPem(key).trim(), ''])
        t.equal(
          await outcome(`${input}.${createHmac(hash, secret).update(input).digest('base64url')}`),
          'TOKEN_INVALID',
          `${alg} over the public key`,
        )
    }

  for (const alg of ['RS256', 'EdDSA', 'ES384', 'PS256', 'es256', 7, null, ['ES256'], undefined])
    t.equal(await outcome(withHeader({ alg })), 'TOKEN_INVALID', `alg ${alg} for a key of ES256`)
  for (const key of others) t.equal(await outcome(withHeader({ alg: 'ES256' }, key)), 'TOKEN_INVALID')
})

t.test('a header that says more than ours do is refused', async (t) => {
  const stranger = generate()
  const additions: object[] = [
    { jwk: publicJwk(stranger) },
    { jku: 'https://evil.test/jwks.json' },
    { x5u: 'https://evil.test/cert.pem' },
    { x5c: ['MIIB'] },
    { crit: [] },
    { crit: ['b64'], b64: false },
    { b64: true },
    { zip: 'DEF' },
    { cty: 'JWT' },
    { epk: {} },
  ]
  for (const addition of additions) {
    t.equal(await outcome(withHeader(addition)), 'TOKEN_INVALID', JSON.stringify(addition))
    const forged = signed({ ...goodHeader(), ...addition }, goodClaims(), stranger)
    t.equal(await outcome(forged), 'TOKEN_INVALID')
  }
})

t.test('only access tokens by a known key are accepted', async (t) => {
  for (const typ of ['JWT', 'rt+jwt', 'identity+jwt', 'AT+JWT', 'application/at+jwt', '', undefined, null, ['at+jwt']])
    t.equal(await outcome(withHeader({ typ })), 'TOKEN_INVALID', `typ ${typ}`)
  for (const kid of ['unknown', '', '../../etc/passwd', "' or 1=1", '__proto__', 7, null, undefined])
    t.equal(await outcome(withHeader({ kid })), 'TOKEN_INVALID', `kid ${kid}`)
  const stranger = generate()
  t.equal(await outcome(withClaims({}, stranger)), 'TOKEN_INVALID', 'a key of no set')
  t.equal(await outcome(signed(goodHeader(), goodClaims(), stranger)), 'TOKEN_INVALID', 'another key under our id')
})

t.test('only tokens by our issuer for us are accepted', async (t) => {
  const wrong: object[] = [
    { iss: 'https://evil.test' },
    { iss: 'https://issuer.test/' },
    { iss: ['https://issuer.test'] },
    { iss: '' },
    { iss: null },
    { aud: 'https://other.test' },
    { aud: 'https://api.test.evil.test' },
    { aud: ['https://other.test', 'https://another.test'] },
    { aud: [] },
    { aud: [['https://api.test']] },
    { aud: { 'https://api.test': true } },
    { aud: '' },
  ]
  for (const claims of wrong) t.equal(await outcome(withClaims(claims)), 'TOKEN_INVALID', JSON.stringify(claims))
  t.type(await outcome(withClaims({ aud: ['https://other.test', 'https://api.test'] })), 'object', 'one of several')
})

t.test('a token for one audience is good at its routes alone, also once it is known', async (t) => {
  const cases: [aud: unknown, allowed: string[]][] = [
    ['https://api.test', ['appointments', 'notifications', 'auth']],
    [
      ['notifications', 'https://api.test'],
      ['appointments', 'notifications', 'auth'],
    ],
    ['appointments', ['appointments']],
    [
      ['appointments', 'notifications'],
      ['appointments', 'notifications'],
    ],
    ['Appointments', []],
    ['appointments.evil.test', []],
  ]
  for (const [aud, allowed] of cases) {
    const token = withClaims({ aud })
    for (const round of ['first', 'known'])
      for (const audience of ['appointments', 'notifications', 'auth']) {
        const isAllowed = typeof (await outcome(token, verifier, audience)) === 'object'
        t.equal(isAllowed, allowed.includes(audience), `${round}: ${JSON.stringify(aud)} at ${audience}`)
      }
  }
})

const machine = {
  sub: 'client:reports',
  client_id: 'reports',
  sid: 'credential-1',
  jti: 'token-1',
  scope: 'appointments:read',
  email: undefined,
  role: undefined,
  roles: [],
}
const exchanged = {
  jti: 'token-2',
  client_id: 'reports',
  scope: '',
  act: { sub: 'client:reports', sid: 'credential-1', grant: 'exchange-1', act: { sub: 'client:bot', sid: 'bot-key' } },
}

t.test('a token of a service account says so, and what it is limited to', async (t) => {
  const { identity, belongsTo, audiences, jti } = (await outcome(withClaims(machine))) as Caller
  t.strictSame(identity, {
    caller: 'client',
    userId: 'client:reports',
    clientId: 'reports',
    roles: [],
    sessionId: 'credential-1',
    scopes: ['appointments:read'],
  })
  t.strictSame(
    { belongsTo, audiences, jti },
    {
      belongsTo: ['credential-1', 'token-1'],
      audiences: ['https://api.test'],
      jti: 'token-1',
    },
  )
  t.match(await outcome(withClaims({ ...machine, role: 'nurse', roles: ['nurse'], scope: '' })), {
    identity: { role: 'nurse', scopes: [] },
  })
})

t.test('a token for acting says whose it is, who acts, and ends with whatever any of them has', async (t) => {
  const { identity, belongsTo } = (await outcome(withClaims(exchanged))) as Caller
  t.match(identity, { caller: 'user', userId: 'user-1', scopes: [], act: exchanged.act })
  t.notOk('clientId' in identity)
  t.strictSame(belongsTo, ['session-1', 'token-2', 'credential-1', 'exchange-1', 'bot-key'])
  const impersonating = (await outcome(withClaims({ act: { sub: 'admin-1', sid: 'session-9' } }))) as Caller
  t.match(impersonating.identity, { userId: 'user-1', act: { sub: 'admin-1' } })
  t.notOk('scopes' in impersonating.identity)
  const forMachine = (await outcome(withClaims({ ...machine, ...exchanged, client_id: 'bot' }))) as Caller
  t.match(forMachine.identity, { caller: 'client', clientId: 'reports', act: { sub: 'client:reports' } })
})

t.test('a token of a service account that says what does not fit together is refused', async (t) => {
  const wrong: object[] = [
    { client_id: 'others' },
    { sub: 'client:' },
    { sub: 'client:others' },
    { scope: undefined },
    { scope: null },
    { scope: 7 },
    { scope: ['a', 7] },
    { scope: 'a  b' },
    { scope: 'a a' },
    { email: 'someone@example.com' },
    { role: 'admin' },
    { roles: undefined },
    { roles: ['Admin'], role: 'Admin' },
    { act: null },
    { act: {} },
    { act: 'client:reports' },
    { sid: undefined },
  ]
  for (const claims of wrong)
    t.equal(await outcome(withClaims({ ...machine, ...claims })), 'TOKEN_INVALID', JSON.stringify(claims))
  const chain = (actors: number): object => ({ sub: 'client:a', ...(actors > 1 && { act: chain(actors - 1) }) })
  t.type(await outcome(withClaims({ scope: '', act: chain(4) })), 'object')
  t.equal(await outcome(withClaims({ scope: '', act: chain(5) })), 'TOKEN_INVALID', 'one actor too many')
  t.equal(await outcome(withClaims({ ...exchanged, scope: undefined })), 'TOKEN_INVALID', 'no limit for an actor')
})

t.test('a token that somebody else keeps is checked the same, and not kept', async (t) => {
  const fresh = verifierOf()
  const caller = (await fresh.read(withClaims(machine))) as Caller
  t.equal(fresh.cache.size, 0)
  t.ok(isStillValid(caller))
  t.notOk(isStillValid({ ...caller, expiresAt: now() - 1 }))
  t.notOk(isStillValid({ ...caller, keyId: 'retired' }))
})

t.test('every claim is needed, in its own type', async (t) => {
  for (const name of Object.keys(goodClaims()))
    t.equal(await outcome(withClaims({ [name]: undefined })), 'TOKEN_INVALID', `no ${name}`)
  const mistyped: object[] = [
    ...['sub', 'sid', 'email', 'role'].flatMap((name) =>
      [null, 7, true, {}, ['x'], ''].map((value) => ({ [name]: value })),
    ),
    ...[null, String(now() + 600), 'soon', true, {}, [now() + 600]].flatMap((value) => [
      { exp: value },
      { iat: value },
    ]),
    ...[null, 'doctor', {}, [], [7], ['Doctor'], [['doctor']]].map((roles) => ({ roles })),
    { role: 'admin' },
    { sub: 'user-1\nx-user-role: admin' },
    { email: 'a b@example.com' },
    { exp: -1e300 },
  ]
  for (const claims of mistyped) t.equal(typeof (await outcome(withClaims(claims))), 'string', JSON.stringify(claims))
})

t.test('a token may say how its user proved who they are', async (t) => {
  const claims = { auth_time: now() - 60, acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] }
  const { identity } = (await outcome(withClaims(claims))) as Caller
  t.match(identity, { authTime: claims.auth_time, acr: 'aal2', amr: claims.amr })
  const older = (await outcome(withClaims({}))) as Caller
  for (const part of ['authTime', 'acr', 'amr']) t.notOk(part in older.identity, part)
  const malformed: object[] = [
    ...[null, '', 2, true, {}, ['aal2'], 'aal 2', 'aal2\r\nx-user-role: admin', 'a'.repeat(65)].map((acr) => ({ acr })),
    ...[null, '', String(now()), 'soon', true, {}, [now()], -1, now() - 0.5, Date.now(), 1e300].map((time) => ({
      auth_time: time,
    })),
    ...[null, 'pwd', 7, {}, [7], [''], ['p w d'], [['pwd']], ['a'.repeat(33)], Array(17).fill('pwd')].map((amr) => ({
      amr,
    })),
  ]
  for (const fault of malformed)
    t.equal(await outcome(withClaims({ ...claims, ...fault })), 'TOKEN_INVALID', JSON.stringify(fault))
})

t.test('a token from the future is refused, but a clock may have stepped by minutes', async (t) => {
  t.equal(await outcome(withClaims({ iat: now() + 400 })), 'TOKEN_INVALID')
  t.equal(await outcome(withClaims({ nbf: now() + 60 })), 'TOKEN_INVALID')
  t.equal(await outcome(withClaims({ auth_time: now() + 400 })), 'TOKEN_INVALID')
  t.throws(() => verifier.verify(withClaims({ auth_time: now() + 400 })), { cause: 'wrong times' })
  t.type(await outcome(withClaims({ iat: now() + 300, auth_time: now() + 300 })), 'object')
})

t.test('one token has one spelling', async (t) => {
  const token = withClaims({})
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const next = alphabet.charAt(alphabet.indexOf(signature.slice(-1)) + 1)
  const spare = signature.slice(0, -1) + next
  t.same(Buffer.from(spare, 'base64url'), Buffer.from(signature, 'base64url'), 'the same bytes, spelt otherwise')
  const spellings: Record<string, string> = {
    'spare bits set': `${header}.${payload}.${spare}`,
    padding: `${token}==`,
    'padding within': `${header}=.${payload}.${signature}`,
    'a space before': ` ${token}`,
    'a space after': `${token} `,
    'a line break': `${token}\n`,
    'a space within': `${header}. ${payload}.${signature}`,
    'the other base64': `${header}.${payload}.${'+/'.repeat(43)}`,
    'four parts': `${token}.x`,
    'five parts': `${token}.x.x`,
    'two parts': `${header}.${payload}`,
    'an empty part': `${header}..${signature}`,
    'a dot before': `.${token}`,
    empty: '',
    'a scheme before': `Bearer ${token}`,
  }
  for (const [name, spelling] of Object.entries(spellings)) t.equal(await outcome(spelling), 'TOKEN_INVALID', name)
  t.type(await outcome(token), 'object')
})

t.test('what is no JSON object is refused', async (t) => {
  for (const part of ['null', '[]', '"x"', '7', '{', 'x', '{}', '\u0000'])
    t.equal(await outcome(signed(part, goodClaims())), 'TOKEN_INVALID', `header ${part}`)
  for (const part of ['null', '[]', '"x"', '7', '{', 'x', '{}'])
    t.equal(await outcome(signed(goodHeader(), part)), 'TOKEN_INVALID', `claims ${part}`)
})

t.test('a changed token does not verify', async (t) => {
  const [header, payload, signature] = withClaims({}).split('.') as [string, string, string]
  const elevated = encode({ ...goodClaims(), role: 'admin', roles: ['admin'] })
  t.equal(await outcome(`${header}.${elevated}.${signature}`), 'TOKEN_INVALID')
  t.equal(await outcome(`${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`), 'TOKEN_INVALID', 'zeros')
  t.equal(await outcome(`${header}.${payload}.${signature.slice(0, 43)}`), 'TOKEN_INVALID', 'half a signature')
})

t.test('a token longer than any of ours is not even read', async (t) => {
  t.equal(await outcome(withClaims({ note: 'x'.repeat(8192) })), 'TOKEN_INVALID')
})

t.test('a header is read the same however many others came before', async (t) => {
  t.equal(await outcome(signed('{ }', goodClaims())), 'TOKEN_INVALID', 'an empty one is none')
  for (let number = 0; number < 150; number++)
    t.equal(await outcome(withHeader({ kid: `unknown-${number}` })), 'TOKEN_INVALID')
  t.match(await outcome(withClaims({})), { keyId: publicJwk(ours).kid })
})

t.test('a token that was accepted is refused once its key is retired', async (t) => {
  const key = generate()
  const { kid } = publicJwk(key)
  keys.set(kid, publicKeyOf(key))
  const token = withClaims({}, key)
  t.match(await outcome(token), { keyId: kid })
  t.match(await outcome(token), { keyId: kid })
  keys.delete(kid)
  t.equal(await outcome(token), 'TOKEN_INVALID')
})
