import type { Identity } from '@sallyport/verify'
import { createGuards, expectFramework } from './guards.ts'
import { problemHeaders, Refusal } from './refusal.ts'

/** For `new Hono<{ Variables: IdentityVariables }>()`. */
export interface IdentityVariables {
  /** Who is calling, wherever a guard ran. */
  identity: Identity
}

/** As much of Hono's context as a guard needs. */
interface Context {
  req: { header(): Record<string, string> }
  set(key: 'identity', identity: Identity): void
  body(text: string, status: 401 | 403, headers: Record<string, string>): Response
}

/** Middleware of Hono that responds itself, with problem details, unless the caller may go on. */
export type Guard = (c: Context, next: () => Promise<void>) => Promise<Response | undefined>

export const { requireIdentity, requireCaller, requireRole, requireScope, requireUuids } = createGuards<Guard>(
  (decide) => {
    const run: Guard = async (c, next) => {
      try {
        c.set('identity', decide(c, c.req.header()))
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return c.body(JSON.stringify(error.problem), error.statusCode, problemHeaders(error))
      }
      await next()
    }
    return (c, next) => {
      expectFramework('hono', typeof c?.req?.header === 'function')
      return run(c, next)
    }
  },
)
