import { randomUUID } from 'node:crypto'
import { createVerifier } from 'fast-jwt'
import { type Identity, identityFrom } from './identity.ts'
import { algorithmOf } from './keys.ts'
import { createSigner } from './sign.ts'

/** Who signs assertions, as their `iss`. */
const issuer = 'sallyport-gateway'

/** How long an assertion is valid, in seconds. Services allow no skew beyond `tolerance`. */
const lifetime = 60
const tolerance = 5

export interface Assertions {
  /** An assertion of who is calling, for one audience, with when it ends, in seconds since 1970. */
  sign(identity: Identity, audience: string): { token: string; expiresAt: number }
}

/**
 * Signs `x-identity-token`: the gateway's own statement of who is calling, as a JWT (RFC 7519) that one service
 * accepts for 60 seconds, so that the service need not trust its network.
 *
 * @param privateKey PEM of an EC P-256, RSA or Ed25519 key; the algorithm follows from it
 * @throws if the key is not one of these
 */
export function createAssertions(privateKey: string): Assertions {
  const sign = createSigner(privateKey, 'identity+jwt')
  return {
    sign(identity, audience) {
      const now = Math.floor(Date.now() / 1000)
      const expiresAt = now + lifetime
      const { userId: sub, sessionId: sid, email, role, roles, authTime: auth_time, acr, amr } = identity
      const token = sign({
        iss: issuer,
        aud: audience,
        sub,
        sid,
        email,
        role,
        roles,
        auth_time,
        acr,
        amr,
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
 * Makes the check of `x-identity-token`: signature by one of the gateway's keys, type, issuer, audience and time.
 * It does not know about sessions ended since: the gateway does, and signs nothing for them.
 *
 * @param publicKeys PEM of the keys the gateway may sign with; several while a key is being replaced
 * @param audience the name under which the gateway's route knows this service
 * @returns the identity, or undefined for anything invalid
 */
export function createAssertionVerifier(publicKeys: string[], audience: string): VerifyAssertion {
  const verifiers = publicKeys.map((key) =>
    createVerifier({
      key,
      algorithms: [algorithmOf(key)],
      checkTyp: 'identity+jwt',
      allowedIss: issuer,
      allowedAud: audience,
      requiredClaims: ['iss', 'aud', 'sub', 'iat', 'exp'],
      clockTolerance: tolerance * 1000,
      cache: 1000,
      cacheTTL: lifetime * 1000,
    }),
  )
  return (token) => {
    for (const verify of verifiers) {
      try {
        const { sub, sid, email, role, roles, auth_time, acr, amr } = verify(token)
        return identityFrom({ userId: sub, sessionId: sid, email, role, roles, acr, authTime: auth_time, amr })
      } catch {
        // Not by this key, or not valid: the next key decides.
      }
    }
    return undefined
  }
}
