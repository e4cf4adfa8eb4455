import type { Identity } from '@sallyport/identity'
import { type Guard, requireUuids } from '@sallyport/identity/fastify'
import { Problem } from '@sallyport/verify'

/**
 * The same guard, for those alone whom the auth service vouches for, in a service that knows people by the ids of that: at
 * another issuer, whose tokens the gateway may take too, somebody else may have the id of an account here.
 *
 * @throws as the guard, 403 ISSUER_REFUSED, and 401 TOKEN_INVALID for ids that are none of ours
 */
export function ownCallers(guard: Guard): Guard {
  const withUuids = requireUuids(guard)
  return async (request) => {
    // First, so that their client is told that another token of theirs would not help either.
    await guard(request)
    if ((request.identity as Identity).issuer !== undefined)
      throw new Problem(403, 'ISSUER_REFUSED', 'This is not for users of your identity provider')
    await withUuids(request)
  }
}
