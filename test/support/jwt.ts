import { constants, generateKeyPairSync, sign } from 'node:crypto'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const

/** A private key for an algorithm, in PEM. */
export function makeKey(algorithm: string): string {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }).privateKey
  const namedCurve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[algorithm]
  return namedCurve === undefined
    ? generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }).privateKey
    : generateKeyPairSync('ec', { namedCurve, publicKeyEncoding, privateKeyEncoding }).privateKey
}

/** Signs whatever it is given, objects or text as it is, by an algorithm that need not be the one it names. */
export function signBy(algorithm: string, key: string, header: object | string, claims: object | string): string {
  const encode = (part: object | string) =>
    Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
  const content = `${encode(header)}.${encode(claims)}`
  const options = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { dsaEncoding: 'ieee-p1363' as const }
  const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
  return `${content}.${sign(hash, Buffer.from(content), { key, ...options }).toString('base64url')}`
}
