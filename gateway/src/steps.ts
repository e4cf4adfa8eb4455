import { Problem } from '@sallyport/chassis'
import type { Assertions } from '@sallyport/identity'
import type { HTTPMethods } from 'fastify'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import type { Call } from './call.ts'
import { outgoingHeaders } from './headers.ts'
import { isInternal, normalise } from './path.ts'
import type { openRateLimit } from './rate-limit.ts'
import type { Revocations } from './revocations.ts'
import type { RouteTable } from './routes.ts'
import type { Verifier } from './verify.ts'

export const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

interface Parts {
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
 * @returns what takes a call through them, and gives back the headers it goes on with; it throws the Problem that ends
 *   the call otherwise
 */
export function createSteps({ routes, rateLimit, verifier, revocations, assertions }: Parts) {
  return async (call: Call, isUpgrade = false): Promise<string[]> => {
    direct(call, isUpgrade)
    await rateLimit.client(call)
    const caller = await authenticate(call, verifier, isUpgrade)
    if (caller) {
      call.caller = caller
      await rateLimit.user(call)
      revocations.check(caller.identity)
    }
    authorize(call.route, caller)
    return outgoingHeaders(call, assertions)
  }

  /** Finds where a call goes. */
  function direct(call: Call, isUpgrade: boolean): void {
    if (!methods.includes(call.method as HTTPMethods))
      throw new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
        headers: { allow: methods.join(', ') },
      })
    const target = normalise(call.url)
    if (!target) throw new Problem(400, 'PATH_INVALID', 'The path can be read in more than one way')
    const route = isInternal(target.path) ? undefined : routes.match(target.path)
    if (!route || (isUpgrade && !route.websocket)) throw new Problem(404, 'NOT_FOUND', 'There is nothing here')
    call.target = target
    call.route = route
    if (call.trace) call.trace.route = route.prefix
  }
}
