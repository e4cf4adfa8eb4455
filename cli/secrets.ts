import { generateKeyPairSync, randomBytes } from 'node:crypto'

export function makeKey(): string {
  return generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey
}

export const makeSecret = () => randomBytes(36).toString('base64url')
