import { type Application, storable } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { requireGateway } from '../sessions/revocation-stream.ts'
import { noteReplica, removeReplica } from './replicas.ts'

const Id = Type.String({ format: 'uuid' })

const Report = Type.Object({
  id: Id,
  version: Type.String({ pattern: '^[0-9A-Za-z.+-]{1,64}$' }),
  uptime: Type.Number({ minimum: 0, maximum: 1e9 }),
  time: Type.Number({ minimum: 0, maximum: 1e14 }),
  /** Seconds since its view of ended sessions was last proved to be current; null if it follows no stream. */
  streamAge: Type.Union([Type.Number({ minimum: 0, maximum: 1e9 }), Type.Null()]),
  /** The ids of the keys by which it verifies access tokens of this service. */
  keys: Type.Array(Type.String({ maxLength: 200, pattern: storable }), { maxItems: 50 }),
  /** Of its route file. */
  routesDigest: Type.String({ pattern: '^[0-9a-f]{16}$' }),
})

/**
 * Where gateways report every ten seconds that they run, and that they end. For gateways alone, like the revocation
 * stream; nothing that they do needs it.
 */
export function reportRoutes(app: Application, { config, database }: { config: Config; database: Database }): void {
  const onRequest = requireGateway(config.revocationsSecrets)

  app.post('/internal/replicas', { schema: { hide: true, body: Report }, onRequest }, async ({ body }, reply) => {
    const { id, version, uptime, time, ...state } = body
    await noteReplica(database, { id, kind: 'gateway', version, uptime, time, state })
    return reply.code(204).send()
  })

  app.delete(
    '/internal/replicas/:id',
    { schema: { hide: true, params: Type.Object({ id: Id }) }, onRequest },
    async ({ params: { id } }, reply) => {
      await removeReplica(database, id, 'gateway')
      return reply.code(204).send()
    },
  )
}
