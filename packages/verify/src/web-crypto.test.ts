import t from 'tap'
import { algorithms } from './algorithm.ts'
import { readJws, type SignedMessage } from './jws.ts'
import { makeKeyPair, publicJwk, signJwt } from './test-keys.ts'
import { importKey, isSigned } from './web-crypto.ts'

t.test('a signature by every algorithm is checked, and is none of another message, key or algorithm', async (t) => {
  for (const algorithm of algorithms) {
    const [ours, theirs] = [makeKeyPair(algorithm), makeKeyPair(algorithm)]
    const message = readJws(signJwt(algorithm, ours.privateKey, { alg: algorithm }, {})) as SignedMessage
    const other = readJws(signJwt(algorithm, ours.privateKey, { alg: algorithm }, { a: 1 })) as SignedMessage
    const key = await importKey(publicJwk(ours.publicKey), algorithm)
    t.equal(await isSigned(key, algorithm, message), true, algorithm)
    t.equal(await isSigned(key, algorithm, { ...message, signed: other.signed }), false, 'another message')
    t.equal(await isSigned(key, algorithm, { ...message, signature: 'AAAA' }), false, 'no signature')
    t.equal(await isSigned(await importKey(publicJwk(theirs.publicKey), algorithm), algorithm, message), false)
    for (const another of algorithms.filter((one) => one !== algorithm))
      t.equal(await isSigned(key, another, message), false, `${algorithm} as ${another}`)
  }
})

t.test('what is no public key is none', async (t) => {
  const { kid: _kid, ...jwk } = publicJwk(makeKeyPair().publicKey)
  for (const wrong of [
    { ...jwk, x: 'AA' },
    { ...jwk, y: undefined },
    { ...jwk, x: jwk.y, y: jwk.x },
    { kty: 'oct' },
    {},
  ])
    await t.rejects(importKey(wrong, 'ES256'))
  await t.rejects(importKey(jwk, 'RS256'), 'a key of another kind')
})
