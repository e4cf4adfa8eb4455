import type { Application } from '@sallyport/chassis'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { AuthenticateClient } from './authenticate.ts'
import { grantClientCredentials } from './client-credentials.ts'
import { Authentication, type Form } from './form.ts'
import { OAuthError } from './oauth-error.ts'
import { type createTokenExchange, tokenExchange } from './token-exchange.ts'
import { TokenResponse } from './token-response.ts'

const schema = {
  operationId: 'token',
  tags: ['oauth'],
  summary: 'Get an access token for a service account',
  description:
    'The token endpoint (RFC 6749). The client proves who it is by HTTP Basic or by `client_assertion` (RFC 7523). With the grant of token exchange (RFC 8693) it gets a token with which it acts for `subject_token`, where it is registered for that.',
  form: Type.Object({
    grant_type: Type.String({ enum: ['client_credentials', tokenExchange] }),
    scope: Type.Optional(Type.String({ description: 'fewer than it may have, separated by spaces' })),
    audience: Type.Optional(Type.String({ description: 'what the token is to be for; `resource` is the same' })),
    subject_token: Type.Optional(Type.String({ description: 'of an exchange: whom to act for' })),
    subject_token_type: Type.Optional(
      Type.String({ description: 'an access token, or as `...:jwt` what the gateway says in `x-identity-token`' }),
    ),
    ...Authentication,
  }),
  response: { 200: { ...TokenResponse, description: 'An access token' } },
}

interface Dependencies {
  config: Config
  accessTokens: AccessTokens
  authenticate: AuthenticateClient
  exchange: ReturnType<typeof createTokenExchange>
}

/** The token endpoint: who is calling, and what it asks for. */
export function tokenRoute(app: Application, { config, accessTokens, authenticate, exchange }: Dependencies): void {
  const options = { schema, config: { rateLimit: config.tokenRateLimit } }
  app.post('/oauth/token', options, async (request) => {
    const form = request.body as Form
    const grant = form.need('grant_type')
    const client = await authenticate(request as FastifyRequest<{ Body: Form }>)
    if (grant === 'client_credentials') return grantClientCredentials(client, form, accessTokens)
    if (grant === tokenExchange) return exchange(client, form, request)
    throw new OAuthError('unsupported_grant_type', 'the grant is client_credentials or token-exchange')
  })
}
