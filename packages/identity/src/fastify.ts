import type { IncomingHttpHeaders } from 'node:http'
import type { Identity } from '@sallyport/verify'
import type {} from 'fastify'
import { createGuards, expectFramework } from './guards.ts'
import { isNodeResponse } from './node-response.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is calling; set by a guard, so present wherever one ran. */
    identity: Identity
  }
}

/** A Fastify preHandler (or any function of a request) that throws a Refusal unless the caller may go on. */
export type Guard = (request: { headers: IncomingHttpHeaders; identity?: Identity }, reply?: unknown) => Promise<void>

export const { requireIdentity, requireCaller, requireRole, requireScope, requireUuids } = createGuards<Guard>(
  (decide) => {
    const run = async (request: Parameters<Guard>[0]) => {
      request.identity = decide(request, request.headers)
    }
    // Express 4 waits for no promise: what is thrown at once is all that it sees.
    return (request, reply) => {
      expectFramework('fastify', !isNodeResponse(reply))
      return run(request)
    }
  },
)
