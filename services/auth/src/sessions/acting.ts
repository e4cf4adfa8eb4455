import { Problem } from '@sallyport/chassis'
import type { Identity } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'

/**
 * The same guard, for what is the user's own to do: nobody who acts for them may, neither an administrator nor a service.
 *
 * @throws as the guard, and 403 ACTOR_REFUSED
 */
export function refuseActors(guard: Guard): Guard {
  return async (request) => {
    await guard(request)
    const { act } = request.identity as Identity
    if (act)
      throw new Problem(403, 'ACTOR_REFUSED', 'Whoever acts for a user may not do this', {
        detail: 'Only the user can, signed in themself.',
      })
  }
}
