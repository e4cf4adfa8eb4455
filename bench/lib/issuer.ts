import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { publicJwk } from '@sallyport/identity'
import { createSigner } from 'fast-jwt'

export type TestIssuer = Awaited<ReturnType<typeof startIssuer>>

/** Issues access tokens of the form ours have, and serves the key set for them. */
export async function startIssuer() {
  const { privateKey, publicKey } = makeKey()
  const keyId = publicJwk(privateKey).kid
  const sign = createSigner({
    key: privateKey,
    algorithm: 'ES256',
    header: { alg: 'ES256', typ: 'at+jwt', kid: keyId },
  })
  const issuer = 'https://issuer.test'
  const audience = 'https://api.test'
  const server = createServer((_request, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [publicJwk(privateKey)] })),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    issuer,
    audience,
    publicKey,
    keyId,
    identityKey: makeKey().privateKey,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`,
    /** A token that holds for an hour. */
    token(claims: object = {}) {
      const now = Math.floor(Date.now() / 1000)
      return sign({
        iss: issuer,
        aud: audience,
        sub: randomUUID(),
        client_id: 'web',
        iat: now,
        exp: now + 3600,
        jti: randomUUID(),
        sid: randomUUID(),
        email: 'someone@example.com',
        role: 'doctor',
        roles: ['doctor'],
        ...claims,
      })
    },
    close: () => server.close(),
  }
}

export const makeKey = () =>
  generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
