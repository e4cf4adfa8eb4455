import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { AuthenticateClient } from './authenticate.ts'
import { Authentication, type Form } from './form.ts'
import { OAuthError } from './oauth-error.ts'
import type { TokenReader } from './subject-token.ts'

const schema = {
  operationId: 'revoke',
  tags: ['oauth'],
  summary: 'Revoke an access token',
  description:
    'RFC 7009. A service account may revoke tokens that were issued to it. A token that is none, or is none any more, is revoked already.',
  form: Type.Object({ token: Type.String(), ...Authentication }),
  response: { 200: Type.Object({}, { description: 'It is not taken any more' }) },
}

interface Dependencies {
  config: Config
  database: Database
  authenticate: AuthenticateClient
  tokens: TokenReader
}

/** By which a client gives a token back before it expires (RFC 7009). Every gateway is notified in the same commit. */
export function revokeRoute(app: Application, { config, database, authenticate, tokens }: Dependencies): void {
  const options = { schema, config: { rateLimit: config.tokenRateLimit } }
  app.post('/oauth/revoke', options, async (request) => {
    const form = request.body as Form
    const client = await authenticate(request as FastifyRequest<{ Body: Form }>)
    const token = tokens.accessToken(form.need('token'))
    if (!token) return {}
    const { client_id: issuedTo, jti } = token.claims as { client_id: string; jti: string }
    if (issuedTo !== client.id) throw new OAuthError('unauthorized_client', 'the token was issued to another client')
    const added = await database.$executeRaw`
      INSERT INTO auth.revocations (id, reason) VALUES (${jti}::uuid, 'token_revoked') ON CONFLICT DO NOTHING`
    const { userId, sessionId: session, act } = token.identity
    const user = token.identity.caller === 'user' ? userId : undefined
    const event = { event: 'token_revoked', user, client: client.id, session, act, ip: request.ip } as const
    if (added > 0) await record(database, request.log, event)
    return {}
  })
}
