import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { readServiceAccount } from './service-account.ts'

const { privateKey } = generateKeyPairSync('ed25519', {
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const whole = {
  TOKEN_ENDPOINT: 'http://gateway.test/oauth/token',
  SERVICE_CLIENT_ID: 'account-1',
  SERVICE_PRIVATE_KEY: privateKey,
}

t.test('a service account is there, or not', async (t) => {
  t.strictSame(readServiceAccount(whole), {
    tokenEndpoint: 'http://gateway.test/oauth/token',
    clientId: 'account-1',
    privateKey: privateKey.trim(),
  })
  t.equal(readServiceAccount({}), undefined)
  t.equal(readServiceAccount({ TOKEN_ENDPOINT: '' }), undefined)
})

t.test('half of one is none, and neither is one that cannot be', async (t) => {
  for (const name of Object.keys(whole))
    t.throws(() => readServiceAccount({ ...whole, [name]: undefined }), {
      name: 'ConfigurationError',
      message: `${name} is not set; TOKEN_ENDPOINT, SERVICE_CLIENT_ID and SERVICE_PRIVATE_KEY go together`,
    })
  t.throws(() => readServiceAccount({ ...whole, TOKEN_ENDPOINT: 'gateway' }), /not an http or https address/)
  t.throws(() => readServiceAccount({ ...whole, SERVICE_PRIVATE_KEY: 'x' }), /holds no PEM block/)
})
