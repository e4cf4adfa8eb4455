import { Problem } from '@sallyport/chassis'
import { type Identity, identityFrom } from '@sallyport/identity'
import { LRUCache } from 'lru-cache'
import type { KeySet, PublicKey } from './jwks.ts'
import { isSignedBy, readObject, readToken, type SignedToken } from './jws.ts'

/** A caller whose access token is valid. The same object stands for the same token until the token expires. */
export interface Caller {
  token: string
  identity: Identity
  /** The id of the key that signed the token: once the key is retired, the token is invalid. */
  keyId: string
  /** When the token ends, in seconds since 1970. */
  expiresAt: number
  /** The identity headers for services (identity.ts), by audience, once they were needed. */
  identityHeaders: Map<string, { headers: readonly string[]; expiresAt: number }>
}

export interface Verifier {
  /**
   * Checks an access token (RFC 9068, RFC 8725): form, key, signature, type, issuer, audience, times and claims. It
   * does not know whether the session has ended since: see revocations.
   *
   * @throws 401 TOKEN_EXPIRED or TOKEN_INVALID; 503 while no key set could be fetched
   */
  verify(token: string): Caller | Promise<Caller>
  /** The tokens that are kept, and how often one was there, or was not, since the start. */
  readonly cache: { size: number; hits: number; misses: number }
}

/** Bounds of the cache of verified tokens. */
const mostTokens = 50_000
const mostBytes = 64 * 1024 * 1024

/** What a cached token costs beside its own characters, roughly: claims and signed assertions. */
const overhead = 1_500

/** How often tokens that have expired are forgotten, in milliseconds, if they were not pushed out before. */
const purgeInterval = 60_000

/** How far in the future a token may become valid, as clocks differ, in seconds. */
const skew = 30

/**
 * How far in the future a token may have been issued, and its user have proved who they are. More than the skew, as a
 * clock that steps by minutes should sign nobody out, and when a token was issued decides nothing else (RFC 7519
 * section 4.1.6).
 */
const issuedAhead = 360

/** A time later than this, in seconds since 1970, is one in milliseconds, or none: the year 5138. */
const latest = 1e11

interface Settings {
  issuer: string
  audience: string
}

export function createVerifier(settings: Settings, keySet: KeySet): Verifier {
  // By its signature, which is a seventh of a token and takes as much less time to look up; whose token is compared.
  const verified = new LRUCache<string, Caller>({
    max: mostTokens,
    maxSize: mostBytes,
    sizeCalculation: ({ token }) => token.length + overhead,
    // Reading the clock more often would cost more than it saves: whether a token is valid is decided below.
    ttlResolution: 1_000,
    allowStale: true,
  })
  let forgotten = performance.now()
  let hits = 0
  let misses = 0

  function check(token: string, parts: SignedToken, key: PublicKey | undefined): Caller {
    if (!key) throw invalid('no such key')
    if (!isSignedBy(key, parts)) throw invalid('not signed by this key')
    const caller = toCaller(token, readObject(parts.claims), parts.keyId, settings)
    const now = performance.now()
    if (now > forgotten + purgeInterval) {
      forgotten = now
      verified.purgeStale()
    }
    verified.set(signatureOf(token), caller, { ttl: Math.ceil(caller.expiresAt * 1000 - Date.now()) })
    return caller
  }

  return {
    verify(token) {
      const known = verified.get(signatureOf(token))
      if (known?.token === token && keySet.holds(known.keyId)) {
        hits += 1
        if (known.expiresAt > Date.now() / 1000) return known
        verified.delete(signatureOf(token))
        throw expired()
      }
      misses += 1
      const parts = readToken(token)
      if (typeof parts === 'string') throw invalid(parts)
      const key = keySet.find(parts.keyId)
      return key instanceof Promise ? key.then((found) => check(token, parts, found)) : check(token, parts, key)
    },
    get cache() {
      return { size: verified.size, hits, misses }
    },
  }
}

function toCaller(
  token: string,
  claims: Record<string, unknown> | undefined,
  keyId: string,
  { issuer, audience }: Settings,
): Caller {
  const {
    iss,
    aud,
    sub,
    sid,
    email,
    role,
    roles,
    auth_time,
    acr,
    amr,
    iat,
    exp,
    nbf = 0,
    jti,
    client_id,
  } = claims ?? {}
  const now = Date.now() / 1000
  if (iss !== issuer || !(aud === audience || (isTexts(aud) && aud.includes(audience)))) throw invalid('not for here')
  if (!isTime(iat) || !isTime(exp) || !isTime(nbf) || nbf > now + skew || iat > now + issuedAhead)
    throw invalid('wrong times')
  if (typeof jti !== 'string' || typeof client_id !== 'string') throw invalid('wrong claims')
  const identity = identityFrom({ userId: sub, sessionId: sid, email, role, roles, acr, authTime: auth_time, amr })
  if (!identity) throw invalid('wrong claims')
  if (identity.authTime !== undefined && identity.authTime > now + issuedAhead) throw invalid('wrong times')
  if (exp <= now) throw expired()
  return { token, identity, keyId, expiresAt: exp, identityHeaders: new Map() }
}

const signatureOf = (token: string) => token.slice(token.lastIndexOf('.') + 1)

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')

const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < latest

/** RFC 6750 section 3.1: a token was sent and is invalid. */
export const badToken = { 'www-authenticate': 'Bearer error="invalid_token"' }

function invalid(why: string): Problem {
  return new Problem(401, 'TOKEN_INVALID', 'The access token is not valid', { headers: badToken, cause: why })
}

function expired(): Problem {
  return new Problem(401, 'TOKEN_EXPIRED', 'The access token has expired', { headers: badToken })
}
