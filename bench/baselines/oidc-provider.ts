import { createPrivateKey } from 'node:crypto'
// @ts-expect-error: it comes without types
import Provider from 'oidc-provider'

/**
 * oidc-provider for service accounts alone, at its best: accounts and all else in memory, and access tokens that are JWTs
 * signed with ES256 and kept nowhere (resource indicators, as its manual has them).
 */
const { ISSUER, AUDIENCE, SCOPE, PRIVATE_KEY, CLIENTS, PORT } = process.env as Record<string, string>

const provider = new Provider(ISSUER, {
  clients: JSON.parse(CLIENTS as string),
  jwks: { keys: [{ ...createPrivateKey(PRIVATE_KEY as string).export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  ttl: { ClientCredentials: 900 },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: [SCOPE],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: SCOPE,
        audience: AUDIENCE,
        accessTokenTTL: 900,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
provider.listen(Number(PORT), '127.0.0.1', () => process.send?.('listening'))
process.once('disconnect', () => process.exit())
