import { base64url } from 'jose'

/** The algorithms by which tokens may be signed (RFC 7518 section 3.1, RFC 8037): with a private key, every one. */
export const algorithms = [
  'ES256',
  'ES384',
  'ES512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
] as const

export type Algorithm = (typeof algorithms)[number]

/** What Sallyport signs with, and what is taken of an issuer for which nothing else is said. */
export const usualAlgorithms: readonly Algorithm[] = ['ES256', 'RS256', 'EdDSA']

/** A key of a JWK Set as it came. */
export type SetKey = Record<string, unknown>

/** By kind of key, and curve where there is one. */
const fitting: Record<string, readonly Algorithm[]> = {
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  'OKP Ed25519': ['EdDSA'],
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
}

/** Bits of an RSA modulus (RFC 7518 section 3.3). */
const leastBits = 2048

/**
 * The one algorithm with which a key of a set may be used, so that no token chooses how it is checked (RFC 8725
 * section 3.1): the one that the key names, or else the first of those allowed that fits it.
 *
 * @returns undefined for a key that is for something else than signatures (RFC 7517 section 4), or that may not be used
 */
export function algorithmOfKey(key: SetKey, allowed: readonly Algorithm[]): Algorithm | undefined {
  const { kty, crv, n, use = 'sig', key_ops: operations, alg } = key
  if (use !== 'sig' || (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))))
    return undefined
  if (kty === 'RSA' && bitsOf(n) < leastBits) return undefined
  const fits = fitting[kty === 'RSA' ? 'RSA' : `${kty} ${crv}`] ?? []
  return allowed.find((algorithm) => fits.includes(algorithm) && (alg === undefined || alg === algorithm))
}

/** The public key alone, without what else a set says of it. */
export function publicPart({ kty, crv, x, y, n, e }: SetKey): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ kty, crv, x, y, n, e }).filter(
      (member): member is [string, string] => typeof member[1] === 'string',
    ),
  )
}

/** How long a number is, in base64url with the most significant byte first. */
function bitsOf(number: unknown): number {
  try {
    const bytes = base64url.decode(number as string)
    const first = bytes.findIndex((byte) => byte !== 0)
    return first === -1 ? 0 : 8 * (bytes.length - first) - Math.clz32(bytes[first] as number) + 24
  } catch {
    return 0
  }
}
