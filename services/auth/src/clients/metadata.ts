import type { Application } from '@sallyport/chassis'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { tokenExchange } from './token-exchange.ts'

const schema = {
  operationId: 'metadata',
  tags: ['oauth'],
  summary: 'Where the endpoints of OAuth are, and what they take',
  description: 'RFC 8414.',
  response: {
    200: Type.Object({ issuer: Type.String() }, { additionalProperties: true, description: 'The metadata' }),
  },
}

/** What clients find by the issuer alone (RFC 8414). Anyone may read it. */
export function metadataRoute(app: Application, { config }: { config: Config }): void {
  const { oauthOrigin } = config
  // An issuer that is a mere name leads nowhere.
  if (oauthOrigin === undefined) return
  const { issuer } = config.accessToken
  const at = (path: string) => new URL(path, oauthOrigin).href
  const authentication = {
    auth_methods_supported: ['client_secret_basic', 'private_key_jwt'],
    auth_signing_alg_values_supported: ['ES256', 'RS256', 'EdDSA'],
  }
  const withPrefix = (prefix: string) =>
    Object.fromEntries(Object.entries(authentication).map(([name, values]) => [`${prefix}_${name}`, values]))
  const metadata = {
    issuer,
    token_endpoint: at('/oauth/token'),
    introspection_endpoint: at('/oauth/introspect'),
    revocation_endpoint: at('/oauth/revoke'),
    jwks_uri: at('/.well-known/jwks.json'),
    // There is no authorization endpoint, whose response types these would be.
    response_types_supported: [],
    grant_types_supported: ['client_credentials', tokenExchange],
    ...withPrefix('token_endpoint'),
    ...withPrefix('introspection_endpoint'),
    ...withPrefix('revocation_endpoint'),
  }
  // Section 3.1: the path of the issuer follows the well-known name.
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  app.get(`/.well-known/oauth-authorization-server${path}`, { schema }, async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=300').send(metadata),
  )
}
