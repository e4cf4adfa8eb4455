import { Problem } from '@sallyport/chassis'
import type { Assertions } from '@sallyport/identity'
import type { HTTPMethods } from 'fastify'
import { countLimit } from '../limits.ts'
import { requestHeaders } from '../proxy/request-headers.ts'
import type { Verifier } from './access-token.ts'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { isTooLong, normalise } from './path.ts'
import type { openRateLimit } from './rate-limit.ts'
import type { RequestContext } from './request-context.ts'
import type { Revocations } from './revocations.ts'
import type { RouteTable } from './route-table.ts'

export const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

export function isAllowed(method: string): boolean {
  return methods.includes(method as HTTPMethods)
}

export function methodNotAllowed(): Problem {
  return new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
    headers: { allow: methods.join(', ') },
  })
}

interface Dependencies {
  routes: RouteTable
  rateLimit: Awaited<ReturnType<typeof openRateLimit>>
  verifier: Verifier
  revocations: Revocations
  assertions: Assertions
}

/**
 * The steps of a call, whichever way it came in by:
 *
 *   route -> rate limit -> verify -> revocation -> role -> identity
 *
 * Only the route is looked up before the limits, since it may have one of its own; what has none counts all the same.
 *
 * @returns what takes a call through them, and gives back the headers it goes on with; it throws the Problem that ends
 *   the call otherwise
 */
export function createPipeline({ routes, rateLimit, verifier, revocations, assertions }: Dependencies) {
  return async (context: RequestContext, isUpgrade = false): Promise<string[]> => {
    const refusal = matchRoute(context, isUpgrade)
    await rateLimit.client(context)
    if (refusal) throw refusal
    const caller = await authenticate(context, verifier, isUpgrade)
    if (caller) {
      context.caller = caller
      await rateLimit.user(context)
      revocations.check(caller.identity)
    }
    authorize(context.route, caller)
    return requestHeaders(context, assertions)
  }

  /** Finds where a call goes. @returns why it goes nowhere */
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
