import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { readTrust } from './trust.ts'

const key = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
}).publicKey.trim()

t.test('with the public keys of the gateway, its signed assertion is asked for', async (t) => {
  const environment = { IDENTITY_PUBLIC_KEY: `${key}\n${key}` }
  t.strictSame(readTrust(environment, 'appointments'), {
    verify: true,
    publicKeys: [key, key],
    audience: 'appointments',
  })
  const renamed = { ...environment, NODE_ENV: 'production', IDENTITY_AUDIENCE: 'calendar' }
  t.match(readTrust(renamed, 'appointments'), { verify: true, audience: 'calendar' })
})

t.test('without them the plain headers count, but not in production', async (t) => {
  t.strictSame(readTrust({}, 'appointments'), { verify: false })
  t.throws(() => readTrust({ NODE_ENV: 'production' }, 'appointments'), {
    name: 'ConfigurationError',
    message: /^IDENTITY_PUBLIC_KEY is not set, nor is IDENTITY_PUBLIC_KEY_FILE; it takes PEM/,
  })
})

t.test('a key that is none is refused, and the line says how to make one', async (t) => {
  t.throws(() => readTrust({ IDENTITY_PUBLIC_KEY: 'key.pem' }, 'appointments'), {
    message: /^IDENTITY_PUBLIC_KEY holds no PEM block; it takes .*openssl pkey -pubout/,
  })
})
