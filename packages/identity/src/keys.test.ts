import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { algorithmOf, publicJwk } from './keys.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const

const good: Record<string, { privateKey: string; publicKey: string }> = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
  EdDSA: generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
}

t.test('a key has one algorithm, whichever half is asked and in whichever form', async (t) => {
  for (const [algorithm, { privateKey, publicKey }] of Object.entries(good))
    for (const key of [privateKey, publicKey, createPrivateKey(privateKey), createPublicKey(publicKey)])
      t.equal(algorithmOf(key), algorithm)
})

t.test('weak and unusual keys are refused', async (t) => {
  const bad: Record<string, string | KeyObject> = {
    'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding, privateKeyEncoding }).privateKey,
    secp256k1: generateKeyPairSync('ec', { namedCurve: 'secp256k1', publicKeyEncoding, privateKeyEncoding }).publicKey,
    'RSA 1024': generateKeyPairSync('rsa', { modulusLength: 1024, publicKeyEncoding, privateKeyEncoding }).privateKey,
    'RSA-PSS': generateKeyPairSync('rsa-pss', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }).publicKey,
    Ed448: generateKeyPairSync('ed448', { publicKeyEncoding, privateKeyEncoding }).publicKey,
    X25519: generateKeyPairSync('x25519', { publicKeyEncoding, privateKeyEncoding }).publicKey,
    'a shared secret': createSecretKey(Buffer.alloc(32)),
  }
  for (const [name, key] of Object.entries(bad)) t.throws(() => algorithmOf(key), /must be EC P-256/, name)
  t.throws(() => algorithmOf('not a PEM'))
})

t.test('a published key says what it is for and holds nothing private', async (t) => {
  for (const [alg, { privateKey, publicKey }] of Object.entries(good)) {
    const jwk = publicJwk(privateKey)
    t.match(jwk, { use: 'sig', alg, kid: /^[\w-]{43}$/ })
    t.strictSame(jwk, publicJwk(createPublicKey(publicKey)), 'both halves have one id')
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) t.notOk(member in jwk, member)
    t.ok(createPublicKey({ key: jwk, format: 'jwk' }).equals(createPublicKey(publicKey)), 'it is the same key')
  }
})

t.test('the id is the thumbprint of RFC 7638, by its own example', async (t) => {
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn' +
    'jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q' +
    'MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap' +
    'JzKnqDKgw'
  const key = createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' })
  t.equal(publicJwk(key).kid, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})
