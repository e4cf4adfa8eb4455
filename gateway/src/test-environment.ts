import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'

const { privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})

/** For tests: the environment of a gateway with these routes, to which no auth service can be reached. */
export const environmentWith = (t: Test, routes: object[], settings: Record<string, string> = {}) => ({
  GATEWAY_ROUTES: join(t.testdir({ 'routes.json': JSON.stringify({ routes }) }), 'routes.json'),
  JWKS_URL: 'http://127.0.0.1:1/jwks.json',
  JWT_ISSUER: 'https://issuer.test',
  JWT_AUDIENCE: 'https://api.test',
  IDENTITY_PRIVATE_KEY: privateKey,
  ...settings,
})
