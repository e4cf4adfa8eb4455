import type { ServerResponse } from 'node:http'
import { observeRequest } from '@sallyport/chassis'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Answers that go on for as long as the client stays. How long says nothing of us: they are counted while open. */
export const openEventStreams = new Set<ServerResponse>()

/**
 * Takes the time of a request until its answer is complete, or the client has left. Its route is known by then.
 *
 * An upgrade that is forwarded is no longer an answer of ours, and is not measured.
 */
export function measure(request: FastifyRequest, { raw }: FastifyReply): void {
  const start = performance.now()
  // It closes once, and `once` costs more.
  raw.on('close', () => {
    if (openEventStreams.delete(raw)) return
    const { route, method } = request as Partial<FastifyRequest> & { method: string }
    observeRequest(route?.prefix, method, raw.headersSent ? raw.statusCode : 0, (performance.now() - start) / 1000)
  })
}
