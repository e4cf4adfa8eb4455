import { Problem } from '@sallyport/chassis'
import type { Assertions } from '@sallyport/identity'
import type { Revocations } from '@sallyport/verify'
import { host as hostForm } from '../connections/message.ts'
import { countLimit } from '../limits.ts'
import type { Verifier } from './access-token.ts'
import type { ApiKeys } from './api-keys.ts'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { identify } from './identity.ts'
import { methodNotAllowed } from './methods.ts'
import { isTooLong, normalise } from './path.ts'
import type { RateLimit } from './rate-limit.ts'
import type { RequestContext } from './request-context.ts'
import { NoRoute } from './route-lookup.ts'
import type { RouteTable } from './route-table.ts'

interface Dependencies {
  routes: Pick<RouteTable, 'match'>
  rateLimit: RateLimit
  verifier: Verifier
  apiKeys: ApiKeys
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
 *   route -> rate limit -> authenticate -> revocations -> rate limit of the user -> authorize -> identity
 *
 * Only the route is matched before the rate limit, since it may have one of its own; a request without a route counts all
 * the same.
 */
export function createPipeline(dependencies: Dependencies): RunPipeline {
  const { routes, rateLimit, revocations, assertions } = dependencies
  return async function run(context, isUpgrade = false) {
    const unmatched = matchRoute(context, isUpgrade)
    await rateLimit.client(context)
    if (unmatched) throw unmatched
    const caller = await authenticate(context, dependencies, isUpgrade)
    if (caller) {
      context.caller = caller
      // Before anything else is waited for: who sends an API key has a token that was not stale a moment ago.
      revocations.check(caller)
      await rateLimit.user(context)
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
    if (!hostForm.test(context.source.host))
      return new Problem(400, 'MESSAGE_AMBIGUOUS', 'The host that a proxy names is none')
    const target = normalise(context.url)
    if (!target) return new Problem(400, 'PATH_INVALID', 'The path can be read in more than one way')
    const route = routes.match(target.path, context.method, context.source.host)
    if (route instanceof NoRoute && route.reason === 'method') return methodNotAllowed(route.allowed)
    if (route instanceof NoRoute || (isUpgrade && !route.websocket))
      return new Problem(404, 'NOT_FOUND', 'There is nothing here')
    context.target = target
    context.route = route
    context.upstreamTarget = route.upstreamPath(target.path) + target.query
    if (context.trace) context.trace.route = route.prefix
    return undefined
  }
}
