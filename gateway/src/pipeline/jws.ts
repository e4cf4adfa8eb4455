import { verify } from 'node:crypto'
import { countLimit } from '../limits.ts'
import type { PublicKey } from './jwks.ts'

/** A compact JWS (RFC 7515 section 7.1) that says it is an access token, not yet checked any further. */
export interface SignedToken {
  keyId: string
  algorithm: string
  /** What is signed: header and claims as they came. */
  signed: string
  claims: string
  signature: string
}

/** No token of ours comes near this many characters. */
const longest = 4_096

const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** Headers read before, since all tokens of one key have the same; few, as any client can make one up. */
const headers = new Map<string, { keyId: string; algorithm: string }>()
const mostHeaders = 100

/**
 * Takes a token apart. Its header may say nothing but what our own say: whatever else one can hold (`jwk`, `jku`,
 * `x5u`, `crit`, `b64`) exists to change how a token is checked, so its presence is refused unread. So is a second
 * spelling of the same bytes.
 *
 * @returns why it is no access token, if it is none
 */
export function readToken(token: string): SignedToken | string {
  if (token.length > longest) {
    countLimit('token_length')
    return 'too long'
  }
  if (!compact.test(token)) return 'not a JWT'
  const [first, last] = [token.indexOf('.'), token.lastIndexOf('.')]
  const header = token.slice(0, first)
  const claims = token.slice(first + 1, last)
  const signature = token.slice(last + 1)
  if (!isCanonical(header) || !isCanonical(claims) || !isCanonical(signature)) return 'not canonical base64url'
  let known = headers.get(header)
  if (!known) {
    const { alg, typ, kid, ...others } = readObject(header) ?? {}
    if (typeof alg !== 'string' || typ !== 'at+jwt' || typeof kid !== 'string' || Object.keys(others).length > 0)
      return 'not an access token header'
    known = { keyId: kid, algorithm: alg }
    if (headers.size === mostHeaders) headers.clear()
    headers.set(header, known)
  }
  return { keyId: known.keyId, algorithm: known.algorithm, signed: token.slice(0, last), claims, signature }
}

/** Whether a key signed a token, with the one algorithm that the key may be used with (RFC 8725 section 3.1). */
export function isSignedBy({ key, algorithm }: PublicKey, token: SignedToken): boolean {
  if (token.algorithm !== algorithm) return false
  const hash = algorithm === 'EdDSA' ? null : 'sha256'
  return verify(
    hash,
    Buffer.from(token.signed, 'latin1'),
    { key, dsaEncoding: 'ieee-p1363' },
    Buffer.from(token.signature, 'base64url'),
  )
}

/**
 * A JSON object in base64url in which no name is repeated: which of the two counts would be ambiguous (RFC 7519
 * section 4).
 */
export function readObject(encoded: string): Record<string, unknown> | undefined {
  const json = Buffer.from(encoded, 'base64url').toString()
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  // What comes out as it went in has each name once. Other issuers may write spaces, escapes or exponents.
  if (JSON.stringify(value) !== json && countNames(json) !== countMembers(value)) return undefined
  return value as Record<string, unknown>
}

const countNames = (json: string) =>
  json.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((word) => word.endsWith(':')).length ?? 0

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const own = Array.isArray(value) ? 0 : Object.keys(value).length
  return Object.values(value).reduce<number>((sum, member) => sum + countMembers(member), own)
}

/** Base64url without padding has one spelling for each text, if the bits that its last character has to spare are 0. */
function isCanonical(encoded: string): boolean {
  const last = encoded.charAt(encoded.length - 1)
  const over = encoded.length % 4
  return over === 0 || (over === 2 && 'AQgw'.includes(last)) || (over === 3 && 'AEIMQUYcgkosw048'.includes(last))
}
