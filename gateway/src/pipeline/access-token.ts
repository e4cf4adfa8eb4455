import type { KeyObject } from 'node:crypto'
import { isSigned } from '@sallyport/identity'
import { createTokenReader, expired, type Issuer, isStillValid, type VerifiedToken } from '@sallyport/verify'
import { LRUCache } from 'lru-cache'
import { countLimit } from '../limits.ts'

/** A caller whose access token is valid. The same object stands for the same token until the token expires. */
export interface Caller extends VerifiedToken {
  /** The identity headers for services (identity.ts), by audience, once they were needed. */
  identityHeaders: Map<string, { headers: readonly string[]; expiresAt: number }>
}

export interface Verifier {
  /**
   * Checks an access token, as `ReadToken` has it, and keeps it. It does not know whether the token is for the route
   * (`forAudience`), nor whether the session has ended since (see revocations).
   *
   * @throws 401 TOKEN_EXPIRED or TOKEN_INVALID; 503 while no keys of its issuer could be fetched
   */
  verify(token: string): Caller | Promise<Caller>
  /** The same for a token that somebody else keeps: it is not kept here. */
  read(token: string): Caller | Promise<Caller>
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

/**
 * Keeps tokens that have been verified, so that a caller's next request costs no signature: a token ends by its own `exp`, by
 * its key, and by its issuer when that is no longer taken.
 *
 * @param find the issuer of this name, if its tokens are taken
 */
export function createVerifier(find: (name: string) => Issuer<KeyObject> | undefined): Verifier {
  const readToken = createTokenReader(find, isSigned, () => countLimit('token_length'))
  const verified = new LRUCache<string, Caller>({
    max: mostTokens,
    maxSize: mostBytes,
    sizeCalculation: ({ token }) => token.length + overhead,
    ttl: 1,
    // Reading the clock more often would cost more than it saves: whether a token is valid is decided below.
    ttlResolution: 1_000,
    allowStale: true,
  })
  let forgotten = performance.now()
  let hits = 0
  let misses = 0

  function read(token: string): Caller | Promise<Caller> {
    const found = readToken(token)
    return found instanceof Promise ? found.then(toCaller) : toCaller(found)
  }

  function keep(caller: Caller): Caller {
    const now = performance.now()
    if (now > forgotten + purgeInterval) {
      forgotten = now
      verified.purgeStale()
    }
    verified.set(signatureOf(caller.token), caller, { ttl: Math.ceil(caller.expiresAt * 1000 - Date.now()) })
    return caller
  }

  return {
    verify(token) {
      const known = verified.get(signatureOf(token))
      if (known?.token === token) {
        if (isStillValid(known)) {
          hits += 1
          return known
        }
        verified.delete(signatureOf(token))
        if (known.expiresAt <= Date.now() / 1000) throw expired()
      }
      misses += 1
      const caller = read(token)
      return caller instanceof Promise ? caller.then(keep) : keep(caller)
    },
    read,
    get cache() {
      return { size: verified.size, hits, misses }
    },
  }
}

const toCaller = (token: VerifiedToken): Caller => ({ ...token, identityHeaders: new Map() })

const signatureOf = (token: string) => token.slice(token.lastIndexOf('.') + 1)
