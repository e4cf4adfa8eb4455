import { createPublicKey, randomUUID } from 'node:crypto'
import {
  assertionIssuer,
  assertionLifetime,
  assertionType,
  claimsOf,
  type Identity,
  KeptAssertions,
  readAssertion,
} from '@sallyport/verify'
import { isSigned } from './jws.ts'
import { algorithmOf, readPublicKeys } from './keys.ts'
import { createSigner } from './sign.ts'

export interface Assertions {
  /**
   * An assertion of who is calling, for one audience, with when it ends, in seconds since 1970.
   *
   * @param from the access token by which that is known: what the assertion is exchanged for ends no later than it
   */
  sign(identity: Identity, audience: string, from?: { jti: string | undefined; expiresAt: number }): Assertion
}

interface Assertion {
  token: string
  expiresAt: number
}

/**
 * Signs `x-identity-token`: the gateway's own statement of who is calling, as a JWT (RFC 7519) that one service
 * accepts for 60 seconds, so that the service need not trust its network.
 *
 * @param privateKey PEM of an EC P-256, RSA or Ed25519 key; the algorithm follows from it
 * @throws if the key is not one of these
 */
export function createAssertions(privateKey: string): Assertions {
  const sign = createSigner(privateKey, assertionType)
  return {
    sign(identity, audience, from) {
      const now = Math.floor(Date.now() / 1000)
      const expiresAt = now + assertionLifetime
      const token = sign({
        iss: assertionIssuer,
        aud: audience,
        ...claimsOf(identity),
        token_jti: from?.jti,
        token_exp: from?.expiresAt,
        iat: now,
        exp: expiresAt,
        jti: randomUUID(),
      })
      return { token, expiresAt }
    },
  }
}

export type VerifyAssertion = (token: string) => Identity | undefined

/**
 * Makes the check of `x-identity-token`, by Node's own cryptography and so at once: signature by one of the gateway's
 * keys, and all that `readAssertion` reads. It does not know about sessions ended since: the gateway does, and signs
 * nothing for them. What runs elsewhere than on Node has the one of `@sallyport/verify`.
 *
 * @param publicKeys PEM of the keys the gateway may sign with; several while a key is being replaced
 * @param audience the name under which the gateway's route knows this service
 * @returns the identity, or undefined for anything invalid
 * @throws without a key or an audience, since nothing can be checked then
 */
export function createAssertionVerifier(
  publicKeys: readonly (string | undefined)[],
  audience: string,
): VerifyAssertion {
  if (typeof audience !== 'string' || audience === '')
    throw new TypeError("audience is not set. It is the name under which the gateway's route knows this service")
  const keys = readPublicKeys(publicKeys).map((pem) => ({ key: createPublicKey(pem), algorithm: algorithmOf(pem) }))
  const kept = new KeptAssertions()
  return (token) => {
    const known = kept.find(token)
    if (known) return known
    const read = readAssertion(token, audience)
    const isGood =
      read && keys.some(({ key, algorithm }) => algorithm === read.algorithm && isSigned(key, algorithm, read.message))
    return isGood ? kept.keep(token, read) : undefined
  }
}
