import type { Application } from '@sallyport/chassis'
import type { Tokens } from '../tokens.ts'

/** The public keys that access tokens are checked with. Gateways keep them; anyone may read them. */
export function keySetRoute(app: Application, { tokens }: { tokens: Tokens }): void {
  app.get('/.well-known/jwks.json', async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=300').type('application/jwk-set+json').send(tokens.keySet),
  )
}
