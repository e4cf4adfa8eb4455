import { isSignedBy, type PublicKey, readJws, readObject } from '@sallyport/identity'

/** Longer than any token of ours. */
const longest = 8_192

/**
 * Reads a JWT that one of these keys has signed, and whose header says nothing but what our own say (RFC 8725). It looks at
 * no claim: whose it is, for whom, and until when, is for the caller.
 *
 * @param keys by their ids
 * @param type of the token, as its header has it
 * @returns its claims, or undefined for anything else
 */
export function readSigned(
  token: string,
  keys: ReadonlyMap<string, PublicKey>,
  type: string,
): Record<string, unknown> | undefined {
  const message = token.length <= longest ? readJws(token) : ''
  if (typeof message === 'string') return undefined
  const { alg, typ, kid, ...others } = readObject(message.header) ?? {}
  const key = keys.get(kid as string)
  if (!key || typ !== type || Object.keys(others).length > 0) return undefined
  return isSignedBy(key, message, alg as string) ? readObject(message.claims) : undefined
}
