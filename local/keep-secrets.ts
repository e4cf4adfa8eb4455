import { createPublicKey } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'
import { type Kind, makeNewKey, readKeys, readKeysIfAny, writeKeys } from '@sallyport/cli/key-file'
import { makeKey, makeSecret } from '@sallyport/cli/secrets'

/**
 * The secrets of a system on one machine, as environment variables. They are made once and kept, readable by their
 * owner alone, so that sessions outlast a restart.
 *
 * @throws ConfigurationError with the file that holds none
 */
export function keepSecrets(folder: string): Record<string, string> {
  const identity = keep(join(folder, 'identity-private-key.pem'), (file) => {
    const text = keepText(file, makeKey)
    return { text, publicKey: createPublicKey(text).export({ type: 'spki', format: 'pem' }).toString() }
  })
  return {
    JWT_PRIVATE_KEY: keep(join(folder, 'jwt-private-key.pem'), (file) => keepKeys('signing', file)),
    JWT_REFRESH_SECRET: keep(join(folder, 'jwt-refresh-secret'), (file) => keepKeys('refresh', file)),
    FACTOR_KEY: keep(join(folder, 'factor-key'), (file) => keepKeys('factor', file)),
    REVOCATIONS_SECRET: keep(join(folder, 'revocations-secret'), (file) => keepText(file, makeSecret)),
    IDENTITY_PRIVATE_KEY: identity.text,
    IDENTITY_PUBLIC_KEY: identity.publicKey,
  }
}

/**
 * What a file holds.
 *
 * @throws ConfigurationError with the file, if it cannot be read as what it is to hold
 */
export function keep<Secret>(file: string, read: (file: string) => Secret): Secret {
  try {
    return read(file)
  } catch (error) {
    throw new ConfigurationError(
      `${file} is of no use (${(error as Error).message}); restore it, or delete it to have another made`,
    )
  }
}

/** A set of keys, as `npm run keys` manages them. */
function keepKeys(kind: Kind, file: string): string {
  if (readKeysIfAny(kind, file).length === 0) writeKeys(file, [makeNewKey(kind)])
  return readKeys(kind, file)
    .map(({ text }) => text)
    .join('\n')
}

/** A text that is made if it is not there. */
export function keepText(file: string, make: () => string): string {
  // An empty file was begun by one who was killed.
  if (!statSync(file, { throwIfNoEntry: false })?.size) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, make(), { mode: 0o600, flush: true })
    renameSync(`${file}.new`, file)
  }
  return readFileSync(file, 'utf8').trim()
}
