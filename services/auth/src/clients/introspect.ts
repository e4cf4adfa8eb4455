import type { Application } from '@sallyport/chassis'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import type { AuthenticateClient, AuthenticatedClient } from './authenticate.ts'
import { Authentication, type Form } from './form.ts'
import type { ReadToken, TokenReader } from './subject-token.ts'

const schema = {
  operationId: 'introspect',
  tags: ['oauth'],
  summary: 'What is known of an access token',
  description:
    'RFC 7662. A service account may ask about tokens that were issued to it, and with the scope `introspect` about any that is for one of its audiences. Of every other token it learns that it is not active.',
  form: Type.Object({ token: Type.String(), ...Authentication }),
  response: {
    200: Type.Object(
      { active: Type.Boolean() },
      { additionalProperties: true, description: 'Its claims if it is active, and nothing else if it is not' },
    ),
  },
}

/** The scope that lets a service account ask about the tokens of others. */
const introspectScope = 'introspect'

interface Dependencies {
  config: Config
  authenticate: AuthenticateClient
  tokens: TokenReader
}

/** What is known of an access token, for services that do not verify tokens themselves (RFC 7662). */
export function introspectRoute(app: Application, { config, authenticate, tokens }: Dependencies): void {
  const options = { schema, config: { rateLimit: config.tokenRateLimit } }
  app.post('/oauth/introspect', options, async (request) => {
    const form = request.body as Form
    const client = await authenticate(request as FastifyRequest<{ Body: Form }>)
    const token = tokens.accessToken(form.need('token'))
    if (!token || !mayAsk(client, token) || !(await isActive(token))) return { active: false }
    return { active: true, token_type: 'Bearer', ...token.claims }
  })

  const isActive = async (token: ReadToken) => token.expiresAt > Date.now() / 1000 && (await tokens.isLive(token))
}

const mayAsk = (client: AuthenticatedClient, { claims, audiences }: ReadToken) =>
  claims.client_id === client.id ||
  (client.scopes.includes(introspectScope) && audiences.some((audience) => client.audiences.includes(audience)))
