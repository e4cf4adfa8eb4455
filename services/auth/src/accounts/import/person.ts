/** A person as an export of another system has them. */
export interface Person {
  /** What the other system knows them by. */
  id: string | undefined
  email: string | undefined
  /** Whether that system has found out that they read the address. */
  verified: boolean
  name: string | undefined
  locale: string | undefined
  roles: string[]
  disabled: boolean
  /** Whether they are gone there, or never were a person of their own. */
  gone: boolean
  createdAt: string | number | undefined
  /** In a form that stored-hash.ts reads; undefined if there is no password, null if its hash is of no such form. */
  hash: string | null | undefined
  /** The secret of an authenticator app in base32; undefined if there is none, null if it is not to be read. */
  totp: string | null | undefined
}

/** An object of an export, of which nothing is known. */
export type Fields = Record<string, unknown>

/** Reads one of them. In CSV, what is no text is JSON. */
export type ReadPerson = (fields: Fields) => Person

/** A value as an object, which has nothing if it is none. */
export function fieldsOf(value: unknown): Fields {
  const found = typeof value === 'string' ? parsed(value) : value
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Fields) : {}
}

/** A value as a list. Words of a text are one too, such as in a column of roles. */
export function listOf(value: unknown): unknown[] {
  const found = typeof value === 'string' && value.startsWith('[') ? parsed(value) : value
  if (Array.isArray(found)) return found
  return typeof found === 'string' ? found.split(/[\s,;|]+/).filter(Boolean) : []
}

export const textsOf = (value: unknown): string[] => listOf(value).filter((one) => typeof one === 'string')

export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

/** A number or a word as text: of an object nobody knows what it would be. */
export const wordOf = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'string' ? String(value) : ''

/** True where it says so in JSON, or as databases print it. */
export const isTrue = (value: unknown): boolean =>
  value === true || value === 1 || (typeof value === 'string' && /^(true|t|1|yes)$/i.test(value))

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
