import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * The secrets of a system on one machine, as environment variables. They are made once and kept, readable by their
 * owner alone, so that sessions outlast a restart.
 */
export function keepSecrets(folder: string): Record<string, string> {
  const keep = (name: string, make: () => string) => {
    const file = join(folder, name)
    if (!existsSync(file)) {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writeFileSync(file, make(), { mode: 0o600 })
    }
    return readFileSync(file, 'utf8').trim()
  }
  const identityKey = keep('identity-private-key.pem', makeKey)
  return {
    JWT_PRIVATE_KEY: keep('jwt-private-key.pem', makeKey),
    JWT_REFRESH_SECRET: keep('jwt-refresh-secret', makeSecret),
    REVOCATIONS_SECRET: keep('revocations-secret', makeSecret),
    IDENTITY_PRIVATE_KEY: identityKey,
    IDENTITY_PUBLIC_KEY: createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString(),
  }
}

export function makeKey(): string {
  return generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey
}

export const makeSecret = () => randomBytes(36).toString('base64url')
