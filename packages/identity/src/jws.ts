import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto'
import {
  type Algorithm,
  algorithmOfKey,
  publicPart,
  type SetKey,
  type SignedMessage,
  usualAlgorithms,
} from '@sallyport/verify'

/** A key with which signatures are verified, and the one algorithm for it. */
export interface PublicKey {
  key: KeyObject
  algorithm: Algorithm
}

/**
 * Whether a key signed a message, with the one algorithm that the key may be used with (RFC 8725 section 3.1).
 *
 * @param named the `alg` of the message's header
 */
export function isSignedBy({ key, algorithm }: PublicKey, message: SignedMessage, named: string): boolean {
  return named === algorithm && isSigned(key, algorithm, message)
}

/** By Node's own cryptography, at once: what runs in a worker thread takes longer than it spares. */
export function isSigned(key: KeyObject, algorithm: Algorithm, { signed, signature }: SignedMessage): boolean {
  // Ed25519 brings a hash of its own.
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {}
  return verify(
    hash,
    Buffer.from(signed, 'latin1'),
    { key, dsaEncoding: 'ieee-p1363', ...padding },
    Buffer.from(signature, 'base64url'),
  )
}

/** @throws for what is no key */
export const importKey = (jwk: SetKey): KeyObject => createPublicKey({ key: publicPart(jwk), format: 'jwk' })

/**
 * A key of a JWK Set with which signatures can be verified; undefined for one that is for something else, or that we have
 * no use for (RFC 7517 section 5).
 */
export function toPublicKey(jwk: SetKey): PublicKey | undefined {
  const algorithm = algorithmOfKey(jwk, usualAlgorithms)
  if (algorithm === undefined) return undefined
  try {
    return { key: importKey(jwk), algorithm }
  } catch {
    return undefined
  }
}
