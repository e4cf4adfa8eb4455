import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { privateKeys, readSettings, secrets } from '@sallyport/chassis/settings'
import { publicJwk } from '@sallyport/identity'
import { makeKey, makeSecret } from './secrets.ts'

export interface Key {
  kid: string
  /** The key itself: PEM, or a secret. */
  text: string
  /** ISO times; undefined where a file made by hand does not say. */
  created: string | undefined
  /** When it last stopped being the one that signs. */
  activeUntil: string | undefined
}

const nameOfSecret = (text: string) => createHash('sha256').update(text).digest('base64url').slice(0, 16)

/** The sets of keys: the setting that holds one, how the auth service reads it, how a key is made and named. */
export const kinds = {
  signing: {
    setting: 'JWT_PRIVATE_KEY',
    validator: privateKeys({ desc: 'PEM of private keys' }),
    make: makeKey,
    nameOf: (text: string) => publicJwk(text).kid,
  },
  refresh: {
    setting: 'JWT_REFRESH_SECRET',
    // Whether a secret is strong is for the auth service to say, which knows whether it is in production.
    validator: secrets({})({ desc: 'secrets, one on a line' }),
    make: makeSecret,
    nameOf: nameOfSecret,
  },
  factor: {
    setting: 'FACTOR_KEY',
    validator: secrets({})({ desc: 'secrets, one on a line' }),
    make: makeSecret,
    nameOf: nameOfSecret,
  },
}
export type Kind = keyof typeof kinds

/** What a file says of a key, in a comment before it. */
const record = /^# kid (\S+)(?: created (\S+))?(?: active until (\S+))?\s*$/gm

/** @throws if the file cannot be read, or holds anything that the auth service would refuse */
export const readKeys = (kind: Kind, file: string) => parseKeys(kind, readFileSync(file, 'utf8'))

/** The keys in the content of a file. */
export function parseKeys(kind: Kind, content: string): Key[] {
  const { setting, validator, nameOf } = kinds[kind]
  const found: string[] = readSettings({ [setting]: content }, { [setting]: validator })[setting] as string[]
  const records = new Map([...content.matchAll(record)].map(([, kid, ...times]) => [kid, times]))
  return found.map((text) => {
    const kid = nameOf(text)
    const [created, activeUntil] = records.get(kid) ?? []
    return { kid, text, created, activeUntil }
  })
}

/** The keys of a file that may not be there yet. */
export function readKeysIfAny(kind: Kind, file: string): Key[] {
  return statSync(file, { throwIfNoEntry: false })?.size ? readKeys(kind, file) : []
}

/** The content of a file that holds these keys, the active one first. */
export function formatKeys(keys: Key[]): string {
  const records = keys.map(({ kid, text, created, activeUntil }) => {
    const times = [created && ` created ${created}`, activeUntil && ` active until ${activeUntil}`]
    return `# kid ${kid}${times.filter(Boolean).join('')}\n${text.trim()}\n`
  })
  return records.join('')
}

/**
 * A process that reads the file meanwhile sees the old keys or the new ones, and never half of them. Whoever could read the
 * file before can do so after; a new one is its owner's alone.
 */
export function writeKeys(file: string, keys: Key[]): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0o600
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, formatKeys(keys), { mode: 0o600, flush: true })
  chmodSync(temporary, mode & 0o777)
  renameSync(temporary, file)
}

export function makeNewKey(kind: Kind): Key {
  const { make, nameOf } = kinds[kind]
  let text: string
  // On a command line an id that begins with a hyphen looks like an option.
  do text = make()
  while (nameOf(text).startsWith('-'))
  return { kid: nameOf(text), text, created: new Date().toISOString(), activeUntil: undefined }
}
