import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { readConfig } from './config.ts'

const pair = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const least = {
  GATEWAY_ROUTES: 'gateway/routes.yaml',
  JWKS_URL: 'http://auth:5001/.well-known/jwks.json',
  JWT_ISSUER: 'https://issuer.test',
  JWT_AUDIENCE: 'https://api.test',
  IDENTITY_PRIVATE_KEY: pair.privateKey,
}

t.test('a gateway needs few settings, and the rest have defaults', async (t) => {
  t.match(readConfig(least), {
    production: false,
    port: 5000,
    managementPort: 6000,
    managementPortVariable: 'GATEWAY_MANAGEMENT_PORT',
    portVariable: 'GATEWAY_PORT',
    routesFile: 'gateway/routes.yaml',
    own: {
      issuer: 'https://issuer.test',
      audience: 'https://api.test',
      jwks: 'http://auth:5001/.well-known/jwks.json',
    },
    keySetMaxAge: 300,
    revocations: { url: undefined, secret: undefined, failClosed: false, maxAge: 30 },
    requestsPerMinute: 1000,
    origins: [],
    exposedHeaders: ['etag', 'location', 'link', 'content-disposition', 'x-total-count'],
    trustedProxies: [],
  })
})

t.test('every setting that is missing has a line that says what it takes', async (t) => {
  t.throws(() => readConfig({}), {
    name: 'ConfigurationError',
    message: new RegExp(
      ['GATEWAY_ROUTES', 'IDENTITY_PRIVATE_KEY']
        .map((name) => `^${name} is not set, nor is ${name}_FILE; it takes .+$`)
        .join('\n'),
      'm',
    ),
  })
})

t.test('the auth service is named by all of its settings, or by none', async (t) => {
  const { JWT_ISSUER, JWT_AUDIENCE, JWKS_URL, ...others } = least
  t.equal(readConfig(others).own, undefined)
  for (const some of [{ JWT_ISSUER }, { JWT_ISSUER, JWT_AUDIENCE }, { JWKS_URL }])
    t.throws(() => readConfig({ ...others, ...some }), {
      message: /is not set; .*, the auth service's own, go together/,
    })
  for (const name of ['REVOCATIONS_URL', 'API_KEYS_URL', 'REPLICAS_URL'])
    t.throws(() => readConfig({ ...others, [name]: 'http://auth:5001/x', REVOCATIONS_SECRET: 'x'.repeat(43) }), {
      message: `${name} is of Sallyport's auth service; set JWT_ISSUER, JWT_AUDIENCE and JWKS_URL too`,
    })
})

t.test('the keys may not grow older than a new key waits before it signs', async (t) => {
  t.equal(readConfig({ ...least, JWKS_MAX_AGE: '30s' }).keySetMaxAge, 30)
  t.throws(() => readConfig({ ...least, JWKS_MAX_AGE: '10m' }), {
    message: 'JWKS_MAX_AGE is not between 1 and 300 seconds; it takes how old the keys may grow, from 1s to 5m',
  })
})

t.test('the head of a request always has a limit', async (t) => {
  t.equal(readConfig(least).headersTimeout, 5)
  t.equal(readConfig({ ...least, HEADERS_TIMEOUT: '60s' }).headersTimeout, 60)
  for (const none of ['0', '61s'])
    t.throws(() => readConfig({ ...least, HEADERS_TIMEOUT: none }), {
      message: /^HEADERS_TIMEOUT is not between 1 and 60 seconds; it takes how long the head of a request may take/,
    })
})

t.test('how strict the view of ended sessions is can be set', async (t) => {
  const settings = {
    ...least,
    REVOCATIONS_URL: 'http://auth:5001/internal/revocations',
    REVOCATIONS_SECRET: 'one,two',
    REVOCATION_FAIL: 'closed',
    REVOCATION_MAX_AGE: '5s',
  }
  t.match(readConfig(settings).revocations, {
    url: settings.REVOCATIONS_URL,
    secret: 'one',
    failClosed: true,
    maxAge: 5,
  })
})

t.test('API keys are taken where the auth service takes them, and with the secret alone', async (t) => {
  const API_KEYS_URL = 'http://auth:5001/internal/api-keys'
  t.strictSame(readConfig({ ...least, API_KEYS_URL, REVOCATIONS_SECRET: 'one,two' }).apiKeys, {
    url: API_KEYS_URL,
    secret: 'one',
  })
  t.match(readConfig(least).apiKeys, { url: undefined })
  t.throws(() => readConfig({ ...least, API_KEYS_URL }), {
    name: 'ConfigurationError',
    message: /^REVOCATIONS_SECRET is not set; API_KEYS_URL needs it/,
  })
})

t.test('the auth service is told of this gateway where it says so, and with the secret alone', async (t) => {
  const REPLICAS_URL = 'http://auth:5001/internal/replicas'
  t.strictSame(readConfig({ ...least, REPLICAS_URL, REVOCATIONS_SECRET: 'one,two' }).reports, {
    url: REPLICAS_URL,
    secret: 'one',
  })
  t.match(readConfig(least).reports, { url: undefined })
  t.throws(() => readConfig({ ...least, REPLICAS_URL }), {
    name: 'ConfigurationError',
    message: /^REVOCATIONS_SECRET is not set; REPLICAS_URL needs it/,
  })
})

t.test('other proxies are answered where they are named', async (t) => {
  t.equal(readConfig(least).forwardAuthPort, undefined)
  const settings = { ...least, FORWARD_AUTH_PORT: '5100' }
  t.equal(readConfig({ ...settings, TRUSTED_PROXIES: '10.0.0.0/8' }).forwardAuthPort, 5100)
  t.throws(() => readConfig(settings), {
    name: 'ConfigurationError',
    message: 'TRUSTED_PROXIES is not set; FORWARD_AUTH_PORT needs it: the addresses of the proxies that may ask there',
  })
})

t.test('a key that cannot sign is refused, and the line says which can', async (t) => {
  const weak = generateKeyPairSync('rsa', {
    modulusLength: 1024,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const broken = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----'
  for (const IDENTITY_PRIVATE_KEY of [pair.publicKey, weak.privateKey, broken])
    t.throws(() => readConfig({ ...least, IDENTITY_PRIVATE_KEY }), {
      name: 'ConfigurationError',
      message: /^IDENTITY_PRIVATE_KEY holds a key that is none of EC P-256.* it takes PEM/,
    })
})
