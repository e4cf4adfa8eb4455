import { createHash, timingSafeEqual } from 'node:crypto'
import { type Application, openEventStream, Problem } from '@sallyport/chassis'
import type { RevocationEvents } from '@sallyport/identity'
import type { onRequestAsyncHookHandler } from 'fastify'
import type { Config } from '../config.ts'
import type { Revocations } from './revocations.ts'

/**
 * The stream by which gateways are notified of ended sessions and changed roles, as server-sent events. It is for
 * gateways alone: they present a secret of their own, and no route of a gateway leads here. A stream on which nothing
 * has come for some seconds tells nothing: what is sent is what was proved, and nothing else keeps it going.
 */
export function revocationStreamRoute(
  app: Application,
  { config, revocations }: { config: Config; revocations: Revocations },
): void {
  const onRequest = requireGateway(config.revocationsSecrets)
  app.get('/internal/revocations', { schema: { hide: true }, onRequest }, async (_request, reply) => {
    const stream = openEventStream<RevocationEvents>(reply)
    stream.onClose(await revocations.subscribe(stream))
  })
}

/** Lets gateways pass, by a secret of theirs, and nobody else. It throws 401 GATEWAY_ONLY. */
export const requireGateway =
  (secrets: string[] | undefined): onRequestAsyncHookHandler =>
  async ({ headers }) => {
    if (!isGateway(headers.authorization, secrets)) throw new Problem(401, 'GATEWAY_ONLY', 'This is for gateways')
  }

function isGateway(authorization: string | undefined, secrets: string[] | undefined): boolean {
  const presented = digest(authorization ?? '')
  return !!secrets?.some((secret) => timingSafeEqual(presented, digest(`Bearer ${secret}`)))
}

/** Digests are of one length, so that comparing them in constant time gives away nothing about the secret's. */
const digest = (value: string) => createHash('sha256').update(value).digest()
