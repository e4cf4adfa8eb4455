import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const cipher = 'aes-256-gcm'
const ivLength = 12
const tagLength = 16

/** Encrypts a text (AES-256-GCM), so that nobody has it who reads the database. @param about goes with it, and has to be the same to open it */
export function seal(key: Buffer, text: string, about = ''): string {
  const iv = randomBytes(ivLength)
  const encrypt = createCipheriv(cipher, key, iv).setAAD(Buffer.from(about))
  return Buffer.concat([iv, encrypt.update(text, 'utf8'), encrypt.final(), encrypt.getAuthTag()]).toString('base64')
}

/** @returns undefined for what was sealed with none of the keys, or about something else */
export function open(keys: Buffer[], sealed: string, about = ''): string | undefined {
  const bytes = Buffer.from(sealed, 'base64')
  for (const key of keys) {
    try {
      const decrypt = createDecipheriv(cipher, key, bytes.subarray(0, ivLength), { authTagLength: tagLength })
      decrypt.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-tagLength))
      const text = decrypt.update(bytes.subarray(ivLength, -tagLength))
      return Buffer.concat([text, decrypt.final()]).toString()
    } catch {
      // Another key's, perhaps.
    }
  }
  return undefined
}
