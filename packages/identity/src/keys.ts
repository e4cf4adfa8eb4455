import { createHash, createPublicKey, type KeyObject } from 'node:crypto'

export type Algorithm = 'ES256' | 'RS256' | 'EdDSA'

/**
 * The one algorithm a key may be used with, so that no token chooses how it is checked.
 *
 * @param key public or private, as PEM or as Node's key object
 * @throws if the key is not EC P-256, Ed25519, or RSA of at least 2048 bits
 */
export function algorithmOf(key: string | KeyObject): Algorithm {
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKeyOf(key)
  const { namedCurve, modulusLength = 0 } = asymmetricKeyDetails ?? {}
  if (asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') return 'ES256'
  if (asymmetricKeyType === 'rsa' && modulusLength >= 2048) return 'RS256'
  throw new Error('the key must be EC P-256, Ed25519, or RSA of at least 2048 bits')
}

/** The public half of a key as a JWK (RFC 7517) that names its algorithm and, as `kid`, its thumbprint (RFC 7638). */
export function publicJwk(key: string | KeyObject): Record<string, string> & { kid: string } {
  const { kty = '', crv, e, n, x, y } = publicKeyOf(key).export({ format: 'jwk' })
  const members = Object.entries({ crv, e, kty, n, x, y }).filter((member): member is [string, string] => !!member[1])
  const required = Object.fromEntries(members)
  const kid = createHash('sha256').update(JSON.stringify(required)).digest('base64url')
  return { ...required, use: 'sig', alg: algorithmOf(key), kid }
}

function publicKeyOf(key: string | KeyObject): KeyObject {
  if (typeof key === 'string' || key.type === 'private') return createPublicKey(key as string)
  return key
}
