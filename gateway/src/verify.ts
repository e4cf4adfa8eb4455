import { Problem } from '@sallyport/chassis'
import { type Identity, identityFrom } from '@sallyport/identity'
import { createVerifier as createJwtVerifier } from 'fast-jwt'
import { LRUCache } from 'lru-cache'
import type { KeySet, PublicKey } from './key-set.ts'

/** A caller whose access token holds. The same object stands for the same token until the token expires. */
export interface Caller {
  identity: Identity
  /** The id of the key that signed the token: once the key is retired, the token no longer holds. */
  keyId: string
  /** When the token ends, in seconds since 1970. */
  expiresAt: number
  /** The identity headers, names and values in turn, once they were needed. */
  headers?: string[]
  /** Assertions already signed for this token, by audience. */
  assertions: Map<string, { token: string; expiresAt: number }>
}

export interface Verifier {
  /**
   * Checks an access token (RFC 9068, RFC 8725): form, key, signature, type, issuer, audience, times and claims. It
   * does not know whether the session has ended since: see revocations.
   *
   * @throws 401 TOKEN_EXPIRED or TOKEN_INVALID; 503 while no key set could be fetched
   */
  verify(token: string): Caller | Promise<Caller>
}

/** Bounds of the cache of verified tokens. */
const mostTokens = 50_000
const mostBytes = 64 * 1024 * 1024

/** What a cached token costs beside its own characters, roughly: claims and signed assertions. */
const overhead = 1_500

/** No token of ours comes near this many characters. */
const longest = 4_096

/** How far in the future a token may have been issued, by clocks that differ, in seconds. */
const skew = 30

/** A time later than this, in seconds since 1970, is one in milliseconds, or none: the year 5138. */
const latest = 1e11

const wellFormed = /^[\w-]+\.[\w-]+\.[\w-]+$/

interface Settings {
  issuer: string
  audience: string
}

export function createVerifier(settings: Settings, keySet: KeySet): Verifier {
  const verified = new LRUCache<string, Caller>({
    max: mostTokens,
    maxSize: mostBytes,
    sizeCalculation: (_caller, token) => token.length + overhead,
  })
  const verifyWith = new WeakMap<PublicKey, (token: string) => Record<string, unknown>>()

  function check(token: string, keyId: string, key: PublicKey | undefined): Caller {
    if (!key) throw invalid('no such key')
    let verifyJwt = verifyWith.get(key)
    if (!verifyJwt) {
      verifyJwt = createJwtVerifier({
        key: key.pem,
        algorithms: [key.algorithm],
        allowedIss: settings.issuer,
        allowedAud: settings.audience,
        requiredClaims: ['iss', 'aud', 'sub', 'client_id', 'iat', 'exp', 'jti'],
        cache: false,
      })
      verifyWith.set(key, verifyJwt)
    }
    const caller = toCaller(read(verifyJwt, token), keyId)
    verified.set(token, caller)
    return caller
  }

  return {
    verify(token) {
      const known = verified.get(token)
      if (known && keySet.holds(known.keyId)) {
        if (known.expiresAt > Date.now() / 1000) return known
        verified.delete(token)
        throw expired()
      }
      const keyId = readKeyId(token)
      const key = keySet.find(keyId)
      return key instanceof Promise ? key.then((found) => check(token, keyId, found)) : check(token, keyId, key)
    },
  }
}

/**
 * The id of the key, from a header that says nothing but what our own say. Whatever else a header can hold (`jwk`,
 * `jku`, `x5u`, `crit`, `b64`) exists to change how a token is checked, so its presence is refused unread.
 */
function readKeyId(token: string): string {
  if (token.length > longest || !wellFormed.test(token)) throw invalid('not a JWT')
  const parts = token.split('.')
  // One token, one spelling: base64url with spare bits set would be a second one.
  for (const part of parts)
    if (Buffer.from(part, 'base64url').toString('base64url') !== part) throw invalid('not canonical base64url')
  const { alg, typ, kid, ...others } = parseObject(parts[0] as string)
  parseObject(parts[1] as string)
  if (typeof alg !== 'string' || typ !== 'at+jwt' || typeof kid !== 'string' || Object.keys(others).length > 0)
    throw invalid('not an access token header')
  return kid
}

/** A JSON object in which no name is there twice: which of the two counts would be anybody's guess (RFC 7519 section 4). */
function parseObject(encoded: string): Record<string, unknown> {
  const json = Buffer.from(encoded, 'base64url').toString()
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw invalid('not JSON', error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('not a JSON object')
  const written = json.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((word) => word.endsWith(':')).length ?? 0
  if (written !== countMembers(value)) throw invalid('a name is there twice')
  return value as Record<string, unknown>
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const own = Array.isArray(value) ? 0 : Object.keys(value).length
  return Object.values(value).reduce<number>((sum, member) => sum + countMembers(member), own)
}

function read(verifyJwt: (token: string) => Record<string, unknown>, token: string): Record<string, unknown> {
  try {
    return verifyJwt(token)
  } catch (error) {
    throw (error as { code?: string }).code === 'FAST_JWT_EXPIRED' ? expired() : invalid('does not verify', error)
  }
}

function toCaller(claims: Record<string, unknown>, keyId: string): Caller {
  const { sub, sid, email, role, roles, iat, exp, jti, client_id } = claims
  if (!isTime(iat) || !isTime(exp) || iat > Date.now() / 1000 + skew) throw invalid('wrong times')
  if (typeof jti !== 'string' || typeof client_id !== 'string') throw invalid('wrong claims')
  const identity = identityFrom({ userId: sub, sessionId: sid, email, role, roles })
  if (!identity) throw invalid('wrong claims')
  return { identity, keyId, expiresAt: exp, assertions: new Map() }
}

const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < latest

/** RFC 6750 section 3.1: a token was sent and does not do. */
export const badToken = { 'www-authenticate': 'Bearer error="invalid_token"' }

function invalid(why: string, cause: unknown = why): Problem {
  return new Problem(401, 'TOKEN_INVALID', 'The access token is not valid', { headers: badToken, cause })
}

function expired(): Problem {
  return new Problem(401, 'TOKEN_EXPIRED', 'The access token has expired', { headers: badToken })
}
