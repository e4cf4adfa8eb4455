import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { publicJwk } from '@sallyport/identity'
import fc from 'fast-check'
import t from 'tap'
import { keysFor, readJwks, readPublishedJwks } from './jwks.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const ecKey = (namedCurve = 'P-256') =>
  generateKeyPairSync('ec', { namedCurve, publicKeyEncoding, privateKeyEncoding }).publicKey
const ec = publicJwk(ecKey())
const ed = publicJwk(generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }).publicKey)
const rsaKey = (modulusLength: number) =>
  generateKeyPairSync('rsa', { modulusLength, publicKeyEncoding, privateKeyEncoding }).publicKey
const rsa = publicJwk(rsaKey(2048))
const { kty, crv, x, y } = ec as Record<string, string>
const bare = { kty, crv, x, y }

t.test('of each key the public members are kept, and nothing else of what came', async (t) => {
  const more = { ...ec, x5c: ['AAAA'], x5u: 'https://evil.test', foo: { bar: 1 }, key_ops: ['verify'] }
  t.strictSame(readJwks({ keys: [more, ed, rsa], other: 1 }), { keys: [ec, ed, rsa] })
  t.strictSame(readJwks({ keys: [bare] }), { keys: [ec] }, 'with its thumbprint where it has no kid (RFC 7638)')
  t.equal(readJwks({ keys: [{ ...bare, kid: 'mine' }] }).keys[0]?.kid, 'mine')
  t.strictSame(readJwks(JSON.parse(JSON.stringify({ keys: [ec] }))), { keys: [ec] })
})

t.test('what is no set of public keys is refused, with a line that says why', async (t) => {
  const set = (...keys: unknown[]) => ({ keys })
  const many = (count: number) => set(...Array.from({ length: count }, (_, at) => ({ ...ec, kid: `${at}` })))
  t.equal(readJwks(many(10)).keys.length, 10)
  for (const [value, why] of [
    ...[undefined, null, 1, 'x', [], {}, [ec], ec, { keys: ec }, { keys: {} }, set()].map(
      (it) => [it, /no JWK Set/] as const,
    ),
    [many(11), /more than 10/],
    ...[null, 1, 'x', [], undefined, [ec]].map((it) => [set(it), /no JWK/] as const),
    ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((it) => [set({ ...ec, [it]: 'AAAA' }), /private/] as const),
    [set(ec, { ...rsa, d: '' }), /private/],
    [set({ kty: 'oct', k: 'AAAA' }), /private/],
    ...[
      { kty: 'oct' },
      { kty: 'none' },
      {},
      { ...ec, x: 'AAAA' },
      { ...ec, x: 1 },
      { ...ec, y: undefined },
      { ...ec, crv: 'P-384' },
      { ...ec, alg: 'RS256' },
      { ...ec, alg: 'none' },
      { ...ec, alg: 1 },
      { ...ec, use: 'enc' },
      { ...ec, key_ops: ['sign'] },
      { ...ec, key_ops: 'verify' },
      { ...rsa, e: undefined },
      { ...ed, crv: 'X25519' },
    ].map((it) => [set(it), /for no signature/] as const),
    ...['', ' ', 'ü', 'a b', 'x'.repeat(129), 1, null, {}, []].map((kid) => [set({ ...ec, kid }), /the kid/] as const),
    [set(ec, ec), /same kid/],
    [set({ ...ec, kid: 'a' }, { ...ed, kid: 'a' }), /same kid/],
    [set(bare, ec), /same kid/],
  ] as const)
    t.throws(() => readJwks(value), { message: why }, JSON.stringify(value)?.slice(0, 60) ?? 'undefined')
  for (const key of [ecKey('P-384'), ecKey('secp256k1'), rsaKey(1024)])
    t.throws(() => readJwks(set(jwkOf(key))), { message: /for no signature/ })
})

t.test('names that objects have are names like others', async (t) => {
  const read = readJwks(
    JSON.parse(`{"keys":[${JSON.stringify(ec).slice(0, -1)},"__proto__":{"d":"AAAA"},"constructor":1}]}`),
  )
  t.strictSame(read, { keys: [ec] })
  t.equal(({} as { d?: string }).d, undefined)
  t.equal(readJwks({ keys: [{ ...ec, kid: '__proto__' }] }).keys[0]?.kid, '__proto__')
  t.throws(() => readJwks(JSON.parse('{"__proto__":{"keys":[]}}')), { message: /no JWK Set/ })
})

t.test('any value is read, or refused by an error', async () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      try {
        readJwks({ keys: [value] })
      } catch (error) {
        return error instanceof Error && !(error instanceof TypeError)
      }
      return true
    }),
  )
})

t.test('a message is checked by the key that it names, or by all', async (t) => {
  const jwks = readJwks({ keys: [ec, ed] })
  t.strictSame(
    keysFor(jwks, undefined).map(({ algorithm }) => algorithm),
    ['ES256', 'EdDSA'],
  )
  t.strictSame(
    keysFor(jwks, ed.kid).map(({ algorithm }) => algorithm),
    ['EdDSA'],
  )
  t.strictSame(keysFor(jwks, 'other'), [])
  t.strictSame(keysFor(jwks, '__proto__'), [])
  t.strictSame(keysFor({ keys: [{ ...ec, alg: 'ES256', x: '' }] }, undefined), [], 'one that became of no use since')
})

/** As JWK, of a kind that publicJwk refuses. */
function jwkOf(pem: string): object {
  return createPublicKey(pem).export({ format: 'jwk' })
}

t.test('a key with which a signature takes many times as long to verify is refused', async (t) => {
  const odd = (bytes: number) => Buffer.alloc(bytes, 0xff).toString('base64url')
  t.equal(readJwks({ keys: [{ ...rsa, n: odd(512) }] }).keys.length, 1, 'of 4096 bits')
  t.equal(readJwks({ keys: [{ ...rsa, e: odd(4) }] }).keys.length, 1, 'an exponent of 32 bits')
  const tooSlow = /more than 4096 bits, or with too large an exponent/
  t.throws(() => readJwks({ keys: [{ ...rsa, n: odd(513) }] }), tooSlow, 'more bits')
  t.throws(() => readJwks({ keys: [{ ...rsa, e: odd(5) }] }), tooSlow, 'a larger exponent')
  t.throws(() => readJwks({ keys: [{ ...rsa, e: odd(256) }] }), tooSlow, 'as large as the modulus')
})

t.test(
  'of a set that is published for others too, what is of no use here is passed over (RFC 7517 section 5)',
  async (t) => {
    const others = [
      null,
      'x',
      [],
      {},
      { ...rsa, use: 'enc' },
      publicJwkOfOtherCurve(),
      { kty: 'OKP', crv: 'X25519', x: 'AAAA' },
    ]
    t.strictSame(readPublishedJwks({ keys: [...others, ec] }), { keys: [ec] })
    for (const keys of [others, []]) t.throws(() => readPublishedJwks({ keys }), /no JWK Set with a key/)
    for (const value of [undefined, {}, { keys: ec }]) t.throws(() => readPublishedJwks(value), /no JWK Set/)
    t.throws(() => readPublishedJwks({ keys: [ec, { ...rsa, d: 'AAAA' }] }), /private/)
  },
)

function publicJwkOfOtherCurve() {
  return createPublicKey(ecKey('P-384')).export({ format: 'jwk' })
}
