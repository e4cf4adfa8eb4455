import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { apiKeyId, isApiKeyLike, makeApiKey } from './api-key.ts'

const key = () => fc.uuid().map((id) => ({ id, key: makeApiKey(id) }))

t.test('an API key says which credential it is, and has the one form', async (t) => {
  fc.assert(
    fc.property(key(), ({ id, key }) => {
      t.match(key, /^sp_[0-9a-f]{32}_[0-9A-Za-z]{49}$/)
      return apiKeyId(key) === id && isApiKeyLike(key)
    }),
  )
  t.not(makeApiKey(randomUUID()).slice(36), makeApiKey(randomUUID()).slice(36))
})

t.test('the checksum is CRC-32 in base62, so that others can check it too', async (t) => {
  const content = `sp_${'0'.repeat(32)}_${'A'.repeat(43)}`
  // By the crc32 of Python's zlib.
  t.equal(apiKeyId(`${content}0vuqgq`), '00000000-0000-0000-0000-000000000000')
})

t.test('whatever is changed in an API key, it is none', async () => {
  const character = fc.constantFrom(...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-')
  fc.assert(
    fc.property(key(), fc.nat(84), character, ({ key }, at, other) => {
      fc.pre(key[at] !== other)
      return apiKeyId(key.slice(0, at) + other + key.slice(at + 1)) === undefined
    }),
    { numRuns: 1_000 },
  )
  fc.assert(
    fc.property(key(), fc.integer({ min: 0, max: 84 }), ({ key }, at) => apiKeyId(key.slice(0, at)) === undefined),
  )
})

t.test('nothing else is an API key', async (t) => {
  const good = makeApiKey(randomUUID())
  for (const bad of ['', 'sp_', `${good}\n`, ` ${good}`, good.toUpperCase(), good.replace('sp_', 'sk_'), `${good}0`])
    t.equal(apiKeyId(bad), undefined, JSON.stringify(bad))
  fc.assert(fc.property(fc.string(), (text) => apiKeyId(text) === undefined))
  t.notOk(isApiKeyLike('eyJhbGciOiJFUzI1NiJ9.e30.x'))
})
