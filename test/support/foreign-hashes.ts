import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { fromFirebase, fromText } from '@sallyport/auth/accounts/import/hashes'

export const formats = ['argon2', 'bcrypt', 'scrypt', 'pbkdf2', 'phpass', 'ssha', 'better-auth', 'firebase'] as const
export type Format = (typeof formats)[number]

export interface Vector {
  password: string
  /** As the format's own library wrote it. */
  exported: string
  /** As it is stored here. */
  stored: string | null
  /** Of Firebase, what the project has for all. */
  parameters?: { memCost: number; rounds: number; saltSeparator: string; signerKey: string }
  salt?: string
}

const committed = new URL('../../foreign-hashes/', import.meta.url)

/** The hashes that test/foreign-hashes/make.py and make.mjs made of passwords. @param folder with a slash at its end */
export function vectorsOf(format: Format, folder = committed): Vector[] {
  const lines = gunzipSync(readFileSync(new URL(`${format}.ndjson.gz`, folder)))
    .toString()
    .trim()
    .split('\n')
  return lines.map((line) => {
    const { password, stored: exported, ...more } = JSON.parse(line)
    if (format !== 'firebase') {
      const text: string = exported ?? more.exported
      return { password, exported: text, stored: fromText(text) }
    }
    const { passwordHash, salt } = more.exported
    const stored = fromFirebase(more.parameters, salt, passwordHash)
    return { password, exported: passwordHash, stored, parameters: more.parameters, salt }
  })
}
