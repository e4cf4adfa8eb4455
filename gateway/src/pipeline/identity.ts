import { type Assertions, headersOf, identityHeaders } from '@sallyport/identity'
import type { Caller } from './access-token.ts'

/** Seconds for which an assertion must still be valid to be used again. */
const leastLife = 15

const nobody: readonly string[] = []

/**
 * Who is calling, as services read it: the identity headers and the signed assertion, names and values in a flat list.
 * Signed once for a token and an audience, and used again while it is valid.
 */
export function identify(caller: Caller | undefined, audience: string, assertions: Assertions): readonly string[] {
  if (!caller) return nobody
  const known = caller.identityHeaders.get(audience)
  if (known && known.expiresAt - leastLife > Date.now() / 1000) return known.headers
  const { token, expiresAt } = assertions.sign(caller.identity, audience, caller)
  const headers = [...Object.entries(headersOf(caller.identity)).flat(), identityHeaders.assertion, token]
  caller.identityHeaders.set(audience, { headers, expiresAt })
  return headers
}
