import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { KeySet } from './key-set.ts'

/** What a secret of refresh tokens is also good for, each with a key of its own (HKDF, RFC 5869). */
type Use = 'mail' | 'codes' | 'guessing' | 'devices'

const cipher = 'aes-256-gcm'
const ivLength = 12
const tagLength = 16

export interface DerivedKeys {
  /** Encrypts a text for the queue of mails (AES-256-GCM), so that nobody who reads the database has what is in it. */
  seal(text: string): string
  /**
   * @returns undefined for what was not sealed with one of our secrets
   */
  open(sealed: string): string | undefined
  /**
   * HMAC-SHA-256 of a text, for values that a database is searched by and that few enough are possible of to try them all.
   *
   * @returns that of the active secret first, then those of the others
   */
  digests(use: Exclude<Use, 'mail'>, text: string): [Buffer, ...Buffer[]]
}

/** @param keys the keys of the moment */
export function createDerivedKeys(keys: { readonly current: Pick<KeySet, 'refreshSecrets'> }): DerivedKeys {
  const derived = new Map<string, Buffer>()

  function derive(secret: string, use: Use): Buffer {
    const name = `${use} ${secret}`
    const key = derived.get(name) ?? Buffer.from(hkdfSync('sha256', secret, '', `sallyport ${use}`, 32))
    derived.set(name, key)
    return key
  }
  const all = (use: Use) => keys.current.refreshSecrets.map((secret) => derive(secret, use)) as [Buffer, ...Buffer[]]

  return {
    seal(text) {
      const iv = randomBytes(ivLength)
      const encrypt = createCipheriv(cipher, all('mail')[0], iv)
      return Buffer.concat([iv, encrypt.update(text, 'utf8'), encrypt.final(), encrypt.getAuthTag()]).toString('base64')
    },
    open(sealed) {
      const bytes = Buffer.from(sealed, 'base64')
      for (const key of all('mail')) {
        try {
          const decrypt = createDecipheriv(cipher, key, bytes.subarray(0, ivLength), { authTagLength: tagLength })
          decrypt.setAuthTag(bytes.subarray(-tagLength))
          const text = decrypt.update(bytes.subarray(ivLength, -tagLength))
          return Buffer.concat([text, decrypt.final()]).toString()
        } catch {
          // Another secret's, perhaps.
        }
      }
      return undefined
    },
    digests: (use, text) =>
      all(use).map((key) => createHmac('sha256', key).update(text).digest()) as [Buffer, ...Buffer[]],
  }
}
