import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Identity } from '@sallyport/verify'
import { createGuards, expectFramework } from './guards.ts'
import { admit, isNodeResponse } from './node-response.ts'

declare global {
  namespace Express {
    interface Request {
      /** Who is calling; set by a guard. */
      identity?: Identity
    }
  }
}

/** Middleware of Express and Connect that responds itself, with problem details, unless the caller may go on. */
export type Guard = (
  request: IncomingMessage & { identity?: Identity },
  response: ServerResponse,
  next: () => void,
) => void

export const { requireIdentity, requireCaller, requireRole, requireScope, requireUuids } = createGuards<Guard>(
  (decide) => (request, response, next) => {
    expectFramework('express', isNodeResponse(response) && typeof next === 'function')
    if (admit(decide, request, response)) next()
  },
)
