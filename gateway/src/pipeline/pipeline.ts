import { Problem } from '@sallyport/chassis'
import type { Assertions } from '@sallyport/identity'
import { countLimit } from '../limits.ts'
import type { Verifier } from './access-token.ts'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { identify } from './identity.ts'
import { isTooLong, normalise } from './path.ts'
import type { RateLimit } from './rate-limit.ts'
import type { RequestContext } from './request-context.ts'
import type { Revocations } from './revocations.ts'
import type { RouteTable } from './route-table.ts'

interface Dependencies {
  routes: RouteTable
  rateLimit: RateLimit
  verifier: Verifier
  revocations: Revocations
  assertions: Assertions
}

/**
 * Decides whether a request is forwarded, and as whose.
 *
 * @returns the identity headers that it is forwarded with, names and values in a flat list
 * @throws the Problem that ends the request otherwise
 */
export type RunPipeline = (context: RequestContext, isUpgrade?: boolean) => Promise<readonly string[]>

/**
 * The pipeline that every request runs through, whichever server read it:
 *
 *   route -> rate limit -> authenticate -> revocations -> authorize -> identity
 *
 * Only the route is matched before the rate limit, since it may have one of its own; a request without a route counts all
 * the same.
 */
export function createPipeline({ routes, rateLimit, verifier, revocations, assertions }: Dependencies): RunPipeline {
  return async function run(context, isUpgrade = false) {
    const unmatched = matchRoute(context, isUpgrade)
    await rateLimit.client(context)
    if (unmatched) throw unmatched
    const caller = await authenticate(context, verifier, isUpgrade)
    if (caller) {
      context.caller = caller
      await rateLimit.user(context)
      revocations.check(caller.identity)
    }
    authorize(context.route, caller)
    return identify(caller, context.route.audience, assertions)
  }

  /** Notes the route in the context. @returns why there is none */
  function matchRoute(context: RequestContext, isUpgrade: boolean): Problem | undefined {
    if (isTooLong(context.url)) {
      countLimit('path_length')
      return new Problem(414, 'PATH_TOO_LONG', 'The path is too long')
    }
    const target = normalise(context.url)
    if (!target) return new Problem(400, 'PATH_INVALID', 'The path can be read in more than one way')
    const route = routes.match(target.path)
    if (!route || (isUpgrade && !route.websocket)) return new Problem(404, 'NOT_FOUND', 'There is nothing here')
    context.target = target
    context.route = route
    context.upstreamTarget = route.upstreamPath(target.path) + target.query
    if (context.trace) context.trace.route = route.prefix
    return undefined
  }
}
