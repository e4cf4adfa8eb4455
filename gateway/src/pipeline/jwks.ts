import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { type Logger, unavailable } from '@sallyport/chassis'
import { type Algorithm, algorithmOf } from '@sallyport/identity'

export interface PublicKey {
  key: KeyObject
  algorithm: Algorithm
}

export interface KeySet {
  /**
   * The key of this id. An unknown id has the set fetched again, at most once a minute.
   *
   * @returns undefined if there is no such key
   * @throws 503 while the set could not be fetched even once
   */
  find(kid: string): PublicKey | undefined | Promise<PublicKey | undefined>
  /** Whether the cached set has a key of this id. */
  holds(kid: string): boolean
  /** Resolves once the set has been fetched; throws if it cannot be. */
  ready(): Promise<void>
  close(): void
}

/** All in milliseconds. */
interface Timing {
  /** How old the set may grow. */
  maxAge: number
  /** How long after a fetch an unknown id causes no other. */
  cooldown?: number
  /** The same after a fetch that failed. */
  retryAfter?: number
}
const fetchTimeout = 3_000

/**
 * Keeps the auth service's public keys (a JWK Set, RFC 7517). It is fetched in the background before it is too old; if
 * that fails, the cached keys stay in use. Concurrent misses share one fetch.
 */
export function openKeySet(
  url: string,
  logger: Logger,
  { maxAge, cooldown = 60_000, retryAfter = 1_000 }: Timing,
): KeySet {
  let keys = new Map<string, PublicKey>()
  let fetched = false
  let fetching: Promise<void> | undefined
  let nextFetch = 0

  function refresh(): Promise<void> {
    fetching ??= fetchKeys(url)
      .then((found) => {
        // Operators who rotate a key see here that this gateway has it.
        if ([...found.keys()].join() !== [...keys.keys()].join())
          logger.info({ event: 'key_set_changed', kids: [...found.keys()] })
        keys = found
        fetched = true
        nextFetch = Date.now() + cooldown
      })
      .catch((error) => {
        nextFetch = Date.now() + retryAfter
        logger.warn({ event: 'key_set_unreachable', err: error }, 'the cached keys stay in use')
        if (!fetched) throw unavailable(error)
      })
      .finally(() => {
        fetching = undefined
      })
    return fetching
  }
  const timer = setInterval(() => refresh().catch(() => {}), maxAge).unref()
  refresh().catch(() => {})

  return {
    find(kid) {
      const key = keys.get(kid)
      if (key || (fetched && Date.now() < nextFetch && !fetching)) return key
      return refresh().then(() => keys.get(kid))
    },
    holds: (kid) => keys.has(kid),
    async ready() {
      if (!fetched) await refresh()
    },
    close: () => clearInterval(timer),
  }
}

async function fetchKeys(url: string): Promise<Map<string, PublicKey>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(fetchTimeout), redirect: 'error' })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  const { keys } = (await response.json()) as { keys: SetKey[] }
  const usable = new Map(keys.flatMap(toPublicKey))
  if (usable.size === 0) throw new Error(`${url} holds no public key that can be used`)
  return usable
}

/** A key as a set has it: what it is for, if it says so (RFC 7517 section 4), beside the key itself. */
type SetKey = JsonWebKey & { kid?: string; use?: string; key_ops?: string[]; alg?: string }

/** A set may hold keys for other purposes; those that we have no use for are passed over (RFC 7517 section 5). */
function toPublicKey({ kid, use = 'sig', key_ops: operations, alg, ...jwk }: SetKey): [kid: string, key: PublicKey][] {
  if (!kid || use !== 'sig' || (operations && !operations.includes('verify'))) return []
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const algorithm = algorithmOf(key)
    if (alg !== undefined && alg !== algorithm) return []
    return [[kid, { key, algorithm }]]
  } catch {
    return []
  }
}
