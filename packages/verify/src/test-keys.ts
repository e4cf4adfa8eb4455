import { constants, createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import type { Algorithm } from './algorithm.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const

/** The public half of a key in PEM as a key of a JWK Set, for tests. */
export function publicJwk(pem: string): Record<string, string> & { kid: string } {
  const jwk = createPublicKey(pem).export({ format: 'jwk' }) as Record<string, string>
  return { ...jwk, kid: createHash('sha256').update(JSON.stringify(jwk)).digest('base64url') }
}

export interface KeyPair {
  publicKey: string
  privateKey: string
}

/** A key for an algorithm, in PEM. */
export function makeKeyPair(algorithm: Algorithm = 'ES256', modulusLength = 2048): KeyPair {
  const namedCurve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[algorithm as string]
  if (namedCurve) return generateKeyPairSync('ec', { namedCurve, publicKeyEncoding, privateKeyEncoding })
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })
  return generateKeyPairSync('rsa', { modulusLength, publicKeyEncoding, privateKeyEncoding })
}

/** Signs whatever it is given: objects, or text as it is. */
export function signJwt(algorithm: Algorithm, key: string, header: object | string, claims: object | string): string {
  const encode = (part: object | string) =>
    Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
  const content = `${encode(header)}.${encode(claims)}`
  const options = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { dsaEncoding: 'ieee-p1363' as const }
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  return `${content}.${sign(hash, Buffer.from(content), { key, ...options }).toString('base64url')}`
}
