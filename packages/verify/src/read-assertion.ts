import { identityFromClaims } from './claims.ts'
import { type Identity, isNumericDate } from './identity.ts'
import { readJws, readObject, type SignedMessage } from './jws.ts'

/** Who signs assertions, as their `iss`; and their type (RFC 8725 section 3.11). */
export const assertionIssuer = 'sallyport-gateway'
export const assertionType = 'identity+jwt'

/** How long an assertion is valid, in seconds. Services allow no skew beyond `assertionTolerance`. */
export const assertionLifetime = 60
export const assertionTolerance = 5

/** An assertion in which all is right but for its signature, which is still to be checked. */
export interface ReadAssertion {
  message: SignedMessage
  /** What it says that it is signed by: a key that is for this is to be tried, and no other. */
  algorithm: string
  identity: Identity
  /** In seconds since 1970. */
  expiresAt: number
}

/**
 * Reads `x-identity-token`: its form, type, issuer, audience, times and claims. It does not check who signed it.
 *
 * @returns undefined for anything that the gateway would not have written for this audience and time
 */
export function readAssertion(token: string, audience: string): ReadAssertion | undefined {
  const message = readJws(token)
  if (typeof message === 'string') return undefined
  // Whatever else a header can hold exists to change how a token is checked.
  const { alg, typ, kid: _kid, ...others } = readObject(message.header) ?? {}
  if (typeof alg !== 'string' || typ !== assertionType || Object.keys(others).length > 0) return undefined
  const claims = readObject(message.claims)
  const { iss, aud, iat, exp, nbf = 0 } = claims ?? {}
  if (!claims || iss !== assertionIssuer || ![aud].flat().includes(audience)) return undefined
  const now = Date.now() / 1000
  if (!isNumericDate(iat) || !isNumericDate(exp) || !isNumericDate(nbf)) return undefined
  if (nbf > now + assertionTolerance || exp <= now - assertionTolerance) return undefined
  const identity = identityFromClaims(claims)
  return identity && { message, algorithm: alg, identity, expiresAt: exp }
}

/** Assertions that were valid, as the gateway sends one again for a while: so many are kept. */
const mostKept = 1_000

/** Keeps the assertions whose signature was good, each until its end. */
export class KeptAssertions {
  readonly #known = new Map<string, ReadAssertion>()

  find(token: string): Identity | undefined {
    const known = this.#known.get(token)
    return known && known.expiresAt > Date.now() / 1000 - assertionTolerance ? known.identity : undefined
  }

  keep(token: string, read: ReadAssertion): Identity {
    if (this.#known.size === mostKept) this.#known.clear()
    this.#known.set(token, read)
    return read.identity
  }
}
