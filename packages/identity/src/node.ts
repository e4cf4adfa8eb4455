import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Identity } from '@sallyport/verify'
import { createGuards, expectFramework } from './guards.ts'
import { admit, isNodeResponse } from './node-response.ts'

/** Returns who is calling, or responds with problem details and returns undefined. */
export type Guard = (
  request: IncomingMessage & { identity?: Identity },
  response: ServerResponse,
) => Identity | undefined

export const { requireIdentity, requireCaller, requireRole, requireScope, requireUuids } = createGuards<Guard>(
  // One more argument is the `next` of Express, which would wait for it.
  (decide) =>
    (request, response, ...more: unknown[]) => {
      expectFramework('node', isNodeResponse(response) && more.length === 0)
      return admit(decide, request, response)
    },
)
