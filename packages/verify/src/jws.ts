import { base64url } from 'jose'

/** A compact JWS (RFC 7515 section 7.1), taken apart and not yet checked any further. */
export interface SignedMessage {
  /** In base64url, as it came. */
  header: string
  claims: string
  signature: string
  /** What is signed: header and claims as they came. */
  signed: string
}

const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/

/**
 * Takes a compact JWS apart. A second spelling of the same bytes is refused (RFC 4648 section 3.5).
 *
 * @returns why it is none, if it is none
 */
export function readJws(token: string): SignedMessage | string {
  if (!compact.test(token)) return 'not a JWT'
  const [first, last] = [token.indexOf('.'), token.lastIndexOf('.')]
  const header = token.slice(0, first)
  const claims = token.slice(first + 1, last)
  const signature = token.slice(last + 1)
  if (!isCanonical(header) || !isCanonical(claims) || !isCanonical(signature)) return 'not canonical base64url'
  return { header, claims, signature, signed: token.slice(0, last) }
}

/** A JSON object as it was read. */
export interface ReadJson {
  value: Record<string, unknown>
  json: string
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A JSON object in base64url; undefined for anything else. Whether it repeats a name, `repeatsName` tells. */
export function readJson(encoded: string): ReadJson | undefined {
  try {
    const json = utf8.decode(base64url.decode(encoded))
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { value: value as Record<string, unknown>, json }
      : undefined
  } catch {
    return undefined
  }
}

/** The same in which no name is repeated: which of the two counts would be ambiguous (RFC 7519 section 4). */
export function readObject(encoded: string): Record<string, unknown> | undefined {
  const read = readJson(encoded)
  return read && !repeatsName(read) ? read.value : undefined
}

export function repeatsName({ value, json }: ReadJson): boolean {
  // What comes out as it went in has each name once. Other issuers may write spaces, escapes or exponents.
  return write(value) !== json && countNames(json) !== countMembers(value)
}

/** @returns undefined for what is too deep to be written */
function write(value: object): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

const countNames = (json: string) =>
  json.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((word) => word.endsWith(':')).length ?? 0

/** Without recursion: how deep it goes is for whoever sent it to say. */
function countMembers(object: unknown): number {
  let count = 0
  const open = [object]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value !== 'object' || value === null) continue
    const members = Object.values(value)
    if (!Array.isArray(value)) count += members.length
    for (const member of members) open.push(member)
  }
  return count
}

/** Base64url without padding has one spelling for each text, if the bits that its last character has to spare are 0. */
function isCanonical(encoded: string): boolean {
  const last = encoded.charAt(encoded.length - 1)
  const over = encoded.length % 4
  return over === 0 || (over === 2 && 'AQgw'.includes(last)) || (over === 3 && 'AEIMQUYcgkosw048'.includes(last))
}
