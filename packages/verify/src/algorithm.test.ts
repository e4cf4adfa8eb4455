import t from 'tap'
import { type Algorithm, algorithmOfKey, algorithms, publicPart, usualAlgorithms } from './algorithm.ts'

/** A modulus of so many bits; `before` are bytes that say nothing. */
function modulus(bits: number, before = 0): string {
  const bytes = Buffer.alloc(before + Math.ceil(bits / 8))
  bytes[before] = 1 << ((bits - 1) % 8)
  return bytes.toString('base64url')
}

t.test('a key is used with the algorithm that it names, or the first that is allowed and fits', async (t) => {
  const n = modulus(2048)
  const keys: [object, Algorithm | undefined][] = [
    [{ kty: 'EC', crv: 'P-256' }, 'ES256'],
    [{ kty: 'EC', crv: 'P-384' }, 'ES384'],
    [{ kty: 'EC', crv: 'P-521' }, 'ES512'],
    [{ kty: 'OKP', crv: 'Ed25519' }, 'EdDSA'],
    [{ kty: 'RSA', n }, 'RS256'],
    [{ kty: 'RSA', n, alg: 'PS512' }, 'PS512'],
    [{ kty: 'RSA', n, alg: 'ES256' }, undefined],
    [{ kty: 'RSA', n, crv: 'P-256' }, 'RS256'],
    [{ kty: 'EC', crv: 'P-256', alg: 'ES384' }, undefined],
    [{ kty: 'EC', crv: 'P-256', alg: 'RS256' }, undefined],
    [{ kty: 'EC', crv: 'P-256', alg: null }, undefined],
    [{ kty: 'EC', crv: 'secp256k1' }, undefined],
    [{ kty: 'EC' }, undefined],
    [{ kty: 'OKP', crv: 'Ed448' }, undefined],
    [{ kty: 'OKP', crv: 'X25519' }, undefined],
    [{ kty: 'oct', k: 'AAAA', alg: 'HS256' }, undefined],
    [{ kty: '__proto__' }, undefined],
    [{}, undefined],
    [{ kty: 'EC', crv: 'P-256', use: 'sig', key_ops: ['verify'] }, 'ES256'],
    [{ kty: 'EC', crv: 'P-256', use: 'enc' }, undefined],
    [{ kty: 'EC', crv: 'P-256', use: null }, undefined],
    [{ kty: 'EC', crv: 'P-256', key_ops: ['sign'] }, undefined],
    [{ kty: 'EC', crv: 'P-256', key_ops: [] }, undefined],
    [{ kty: 'EC', crv: 'P-256', key_ops: 'verify' }, undefined],
  ]
  for (const [key, expected] of keys)
    t.equal(algorithmOfKey(key as Record<string, unknown>, algorithms), expected, JSON.stringify(key))
  t.equal(algorithmOfKey({ kty: 'RSA', n }, ['ES256', 'PS256', 'RS256']), 'PS256', 'the first of those allowed')
  t.equal(algorithmOfKey({ kty: 'EC', crv: 'P-384' }, usualAlgorithms), undefined, 'none that is not allowed')
  t.equal(algorithmOfKey({ kty: 'RSA', n, alg: 'PS256' }, usualAlgorithms), undefined)
})

t.test('an RSA key has at least 2048 bits', async (t) => {
  const wrong = [undefined, null, 7, '', '!', {}, modulus(1024), modulus(2040), modulus(2047), modulus(2047, 3)]
  for (const n of [...wrong, Buffer.alloc(300).toString('base64url')])
    t.equal(algorithmOfKey({ kty: 'RSA', n }, algorithms), undefined, String(n).slice(0, 20))
  for (const n of [modulus(2048), modulus(2049), modulus(2048, 1), modulus(4096)])
    t.equal(algorithmOfKey({ kty: 'RSA', n }, algorithms), 'RS256')
})

t.test('of a key nothing is used but what makes it one', async (t) => {
  const key = { kty: 'EC', crv: 'P-256', x: 'a', y: 'b', d: 'secret', k: 'c', alg: 'none', ext: true, oth: [] }
  t.strictSame(publicPart(key), { kty: 'EC', crv: 'P-256', x: 'a', y: 'b' })
  t.strictSame(publicPart({ kty: 'RSA', n: 'a', e: 7 }), { kty: 'RSA', n: 'a' }, 'and only texts')
})
