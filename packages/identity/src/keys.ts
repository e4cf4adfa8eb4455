import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { Algorithm } from '@sallyport/verify'

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

/**
 * The public keys in texts of PEM, each of one or several keys, as an environment has them: a literal `\\n` counts as a
 * line break.
 *
 * @throws unless each text holds keys, of the kinds that we sign with
 */
export function readPublicKeys(texts: readonly (string | undefined)[]): string[] {
  if (!Array.isArray(texts) || texts.length === 0) throw new TypeError(`publicKeys is no list of keys. ${howToMakeOne}`)
  return texts.flatMap((text: unknown, index) => {
    if (text === undefined)
      throw new TypeError(`publicKeys[${index}] is undefined; set IDENTITY_PUBLIC_KEY. ${howToMakeOne}`)
    const blocks = typeof text === 'string' && text.replaceAll('\\n', '\n').match(pemBlock)
    if (!blocks) throw new TypeError(`publicKeys[${index}] holds no PEM of a public key. ${howToMakeOne}`)
    for (const block of blocks) {
      if (block.includes('PRIVATE KEY')) throw new TypeError(`publicKeys[${index}] is a private key. ${howToMakeOne}`)
      try {
        algorithmOf(block)
      } catch (cause) {
        throw new TypeError(`publicKeys[${index}]: the key must be EC P-256, Ed25519, or RSA of at least 2048 bits`, {
          cause,
        })
      }
    }
    return blocks
  })
}

const pemBlock = /-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g

const howToMakeOne = 'It takes what `openssl pkey -pubout` makes of the IDENTITY_PRIVATE_KEY of the gateway'

function publicKeyOf(key: string | KeyObject): KeyObject {
  if (typeof key === 'string' || key.type === 'private') return createPublicKey(key as string)
  return key
}
