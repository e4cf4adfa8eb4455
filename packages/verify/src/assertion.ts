import { base64url, type CryptoKey, importSPKI } from 'jose'
import type { Algorithm } from './algorithm.ts'
import type { Identity } from './identity.ts'
import { KeptAssertions, readAssertion } from './read-assertion.ts'
import { isSigned } from './web-crypto.ts'

export type VerifyAssertion = (token: string) => Promise<Identity | undefined>

/**
 * Makes the check of `x-identity-token`: signature by one of the gateway's keys, type, issuer, audience and time.
 * It does not know about sessions ended since: the gateway does, and signs nothing for them. Nor does it know whether an
 * assertion was used before, in its 60 seconds.
 *
 * @param publicKeys PEM (SubjectPublicKeyInfo) of the keys the gateway may sign with; several while a key is being replaced
 * @param audience the name under which the gateway's route knows this service
 * @returns takes an assertion, and resolves to the identity, or to undefined for anything invalid; it rejects if a key
 *   that has the form of one turns out to be none
 * @throws Error without a key or an audience, or unless the keys are EC P-256, Ed25519, or RSA of at least 2048 bits
 */
export function createAssertionVerifier(
  publicKeys: readonly (string | undefined)[],
  audience: string,
): VerifyAssertion {
  // Also where types are not checked, and a setting is missing: without an audience any would do.
  if (!publicKeys?.length || !audience)
    throw new Error('an assertion is checked by the public keys of the gateway and the audience; set both')
  const keys = publicKeys.map((pem, index) => {
    if (pem === undefined) throw new Error(`publicKeys[${index}] is undefined; set IDENTITY_PUBLIC_KEY`)
    const algorithm = algorithmOfPem(pem)
    let key: CryptoKey | undefined
    const keyOnceImported = async () => {
      key ??= await importSPKI(pem.trim(), algorithm)
      return key
    }
    return { algorithm, keyOnceImported }
  })
  const kept = new KeptAssertions()

  return async (token) => {
    const known = kept.find(token)
    if (known) return known
    const read = readAssertion(token, audience)
    if (!read) return undefined
    for (const { algorithm, keyOnceImported } of keys) {
      if (algorithm === read.algorithm && (await isSigned(await keyOnceImported(), algorithm, read.message)))
        return kept.keep(token, read)
    }
    return undefined
  }
}

/** How the DER of a SubjectPublicKeyInfo begins (RFC 5480, RFC 8410, RFC 8017), in hexadecimal. */
const beginnings: [RegExp, Algorithm][] = [
  [/^3059301306072a8648ce3d020106082a8648ce3d030107034200/, 'ES256'],
  [/^302a300506032b6570032100/, 'EdDSA'],
  // Of an RSA key with the number of bytes of its modulus, of which the first is 0.
  [/^3082....300d06092a864886f70d01010105000382....003082....0282(....)00/, 'RS256'],
]

/** The one algorithm for a key, so that no token chooses how it is checked. */
function algorithmOfPem(pem: string): Algorithm {
  const der = hexOf(pem)
  for (const [beginning, algorithm] of beginnings) {
    const [found, modulus = '0101'] = beginning.exec(der) ?? []
    if (found && Number.parseInt(modulus, 16) > 2048 / 8) return algorithm
  }
  throw new Error('the public key must be EC P-256, Ed25519, or RSA of at least 2048 bits, in PEM')
}

/** What a public key in PEM holds; nothing if it is none. */
function hexOf(pem: string): string {
  const [, body = ''] = /^-----BEGIN PUBLIC KEY-----([\w+/=\s]+)-----END PUBLIC KEY-----$/.exec(pem.trim()) ?? []
  try {
    const bytes = base64url.decode(body.replace(/[\s=]/g, '').replaceAll('+', '-').replaceAll('/', '_'))
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  } catch {
    return ''
  }
}
