import { createHash, timingSafeEqual } from 'node:crypto'
import { type Application, Problem } from '@sallyport/chassis'
import type { Config } from '../config.ts'
import type { Revocations } from './revocations.ts'

/**
 * The stream that gateways keep open to hear of ended sessions and changed roles, as server-sent events. It is for
 * gateways alone: they present a secret of their own, and no route of a gateway leads here. A stream on which nothing
 * has come for some seconds tells nothing: what is sent is what was proved, and nothing else keeps it going.
 */
export function revocationStreamRoute(
  app: Application,
  { config, revocations }: { config: Config; revocations: Revocations },
): void {
  app.get('/internal/revocations', { schema: { hide: true } }, async (request, reply) => {
    if (!isGateway(request.headers.authorization, config.revocationsSecrets))
      throw new Problem(401, 'GATEWAY_ONLY', 'This is for gateways')

    // The answer begins with the first event, so that a subscription that fails is still an ordinary error.
    let started = false
    const write = (text: string) => {
      if (!started) {
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
        started = true
      }
      reply.raw.write(text)
    }
    const stop = await revocations.subscribe(
      (event, data) => write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
      () => reply.raw.end(),
    )
    // The gateway may have left meanwhile.
    if (reply.raw.destroyed) stop()
    else reply.raw.once('close', stop)
  })
}

function isGateway(authorization: string | undefined, secrets: string[] | undefined): boolean {
  const presented = digest(authorization ?? '')
  return !!secrets?.some((secret) => timingSafeEqual(presented, digest(`Bearer ${secret}`)))
}

/** Digests are of one length, so that comparing them in constant time gives away nothing about the secret's. */
const digest = (value: string) => createHash('sha256').update(value).digest()
