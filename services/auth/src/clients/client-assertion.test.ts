import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { algorithmOf, createSigner, type PublicKey } from '@sallyport/identity'
import fc from 'fast-check'
import t from 'tap'
import { type ClientAssertion, readClientAssertion } from './client-assertion.ts'

const issuer = 'https://issuer.test'
const { publicKey, privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const key: PublicKey = { key: createPublicKey(publicKey), algorithm: algorithmOf(publicKey) }
const id = randomUUID()
const now = 1_800_000_000
t.intercept(Date, 'now', { value: () => now * 1000 })

const claims = { iss: id, sub: id, aud: issuer, jti: 'one', iat: now, nbf: now, exp: now + 60 }
const header = { alg: 'ES256', typ: 'JWT', kid: 'a' }
const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
function signed(more: object = {}, head: object = header): string {
  const content = `${encode(head)}.${encode({ ...claims, ...more })}`
  const signature = sign('sha256', Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${content}.${signature.toString('base64url')}`
}
const read = (token: string) => readClientAssertion(token, issuer)
const isTaken = (token: string) => {
  const assertion = read(token)
  return typeof assertion !== 'string' && assertion.isSignedBy(key)
}

t.test('a good one says whose it is, by which key, and until when', async (t) => {
  const assertion = read(signed()) as ClientAssertion
  t.match(assertion, { clientId: id, keyId: 'a', expiresAt: now + 60 })
  t.equal(assertion.jtiHash.length, 32)
  t.equal(assertion.isSignedBy(key), true)
  t.equal((read(createSigner(privateKey, 'JWT')(claims)) as ClientAssertion).isSignedBy(key), true)
  t.equal((read(signed({}, { alg: 'ES256' })) as ClientAssertion).keyId, undefined)
  t.not((read(signed({ jti: 'two' })) as ClientAssertion).jtiHash, assertion.jtiHash)
})

t.test('times are good to the second, with half a minute for clocks', async (t) => {
  for (const [name, good, bad] of [
    ['exp', [now - 29, now - 29.5, now + 330, now + 0.5], [now - 30, now + 331, now + 330.5]],
    ['iat', [now + 30, now - 359, undefined], [now + 31, now - 360]],
    ['nbf', [now + 30, 0, undefined], [now + 31, -1]],
  ] as const) {
    for (const value of good) t.equal(isTaken(signed({ [name]: value })), true, `${name} ${value}`)
    for (const value of bad) t.equal(isTaken(signed({ [name]: value })), false, `${name} ${value}`)
  }
})

t.test('what is wrong is said in a word, for the log', async (t) => {
  for (const [token, why] of [
    ['x'.repeat(4_097), 'too long'],
    ['x', 'not a JWT'],
    [signed().replace('.', '=.'), 'not a JWT'],
    ['AB.AA.AA', 'not canonical base64url'],
    ['AA.AA.AA', 'not JSON'],
    [signed({}, { ...header, crit: [] }), 'more in its header than alg, kid and typ'],
    [signed({}, { ...header, typ: 'at+jwt' }), 'another type'],
    [signed({}, { ...header, kid: 1 }), 'no kid'],
    [signed({ iss: 'x' }), 'iss and sub are not both the client'],
    [signed({ iss: '', sub: '' }), 'iss and sub are not both the client'],
    [signed({ aud: [issuer, 'x'] }), 'not for this issuer alone'],
    [signed({ jti: '' }), 'no jti'],
    [signed({ jti: 'x'.repeat(257) }), 'no jti'],
    [signed({ exp: undefined }), 'no exp'],
    [signed({ exp: now - 60 }), 'it has expired'],
    [signed({ exp: now + 3_600 }), 'it lasts longer than five minutes'],
    [signed({ iat: 'x' }), 'its iat is wrong'],
    [signed({ nbf: now + 60 }), 'its nbf is wrong'],
  ] as const)
    t.equal(read(token), why)
})

t.test('any change of a byte is refused', async () => {
  const token = signed()
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bytes = Buffer.from(token)
      bytes[at] = (bytes[at] as number) ^ change
      return !isTaken(bytes.toString('latin1'))
    }),
    { numRuns: 2_000 },
  )
})

t.test('any value of a claim is refused that is no good one', async () => {
  const isGood: Record<string, (value: unknown) => boolean> = {
    iss: (value) => value === id,
    sub: (value) => value === id,
    aud: (value) =>
      JSON.stringify([value].flat()) === JSON.stringify([issuer]) && !JSON.stringify(value).startsWith('[['),
    jti: (value) => typeof value === 'string' && value.length > 0 && value.length <= 256,
    exp: (value) => typeof value === 'number' && value > now - 30 && value <= now + 330,
    iat: (value) => value === undefined || (typeof value === 'number' && value > now - 360 && value <= now + 30),
    nbf: (value) => value === undefined || (typeof value === 'number' && value >= 0 && value <= now + 30),
  }
  const near = fc.integer({ min: now - 500, max: now + 500 })
  const any = fc.oneof(fc.jsonValue(), near, fc.constantFrom(id, issuer, [issuer], [issuer, issuer], undefined, ''))
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(isGood)), any, (name, value) => {
      // As it arrives: JSON has no -0.
      const sent = value === undefined ? undefined : JSON.parse(JSON.stringify(value))
      return isTaken(signed({ [name]: value })) === (isGood[name] as (value: unknown) => boolean)(sent)
    }),
    { numRuns: 2_000 },
  )
})
