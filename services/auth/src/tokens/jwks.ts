import type { Application } from '@sallyport/chassis'
import Type from 'typebox'
import type { KeySet } from './key-set.ts'

const Key = Type.Object({ kid: Type.String() }, { additionalProperties: true, description: 'A JWK (RFC 7517)' })

const schema = {
  operationId: 'keySet',
  tags: ['keys'],
  summary: 'The public keys that access tokens are verified with',
  response: {
    200: {
      description: 'A JWK Set',
      content: { 'application/jwk-set+json': { schema: Type.Object({ keys: Type.Array(Key) }) } },
    },
  },
}

/** The public keys that access tokens are verified with. Gateways cache them; anyone may read them. */
export function jwksRoute(app: Application, { keys }: { keys: { readonly current: KeySet } }): void {
  app.get('/.well-known/jwks.json', { schema }, async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=300').type('application/jwk-set+json').send(keys.current.jwks),
  )
}
