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
    keySetUrl: 'http://auth:5001/.well-known/jwks.json',
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
      Object.keys(least)
        .map((name) => `^${name} is not set; it takes .+$`)
        .join('\n'),
      'm',
    ),
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
