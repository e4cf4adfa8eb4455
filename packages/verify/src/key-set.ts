import { type Algorithm, algorithmOfKey, publicPart, type SetKey } from './algorithm.ts'
import { fetchJson } from './fetch-json.ts'
import { createOutage } from './outage.ts'
import { unavailable } from './problem.ts'

/** A key with which signatures are verified, and the one algorithm for it; what a key is depends on the platform. */
export interface VerifyingKey<Key> {
  key: Key
  algorithm: Algorithm
  /** What the set says of it: of two keys with the same id, not the same. */
  said: string
}

export interface KeySet<Key> {
  /**
   * The key of this id. An unknown id has the set fetched again, at most once a minute, and one that could not be fetched
   * at most once a second.
   *
   * @returns undefined if there is no such key
   * @throws 503 while the set could not be fetched even once
   */
  find(kid: string): VerifyingKey<Key> | undefined | Promise<VerifyingKey<Key> | undefined>
  /** Whether the cached set still has this key, and not another one of its id. */
  holds(kid: string, key: VerifyingKey<unknown>): boolean
  /** Resolves once the set has been fetched; throws 503 if it cannot be. */
  ready(): Promise<void>
  /** From then on it holds no key. */
  close(): void
}

/** Where the keys of an issuer are: a JWK Set (RFC 7517), or the issuer's metadata, which name one. */
export type KeySource = { jwks: string } | { discovery: string; issuer: string }

interface Options<Key> {
  /** The algorithms that a key may be for. */
  algorithms: readonly Algorithm[]
  /** Makes a key of a JWK, which is for this algorithm. It throws if that is none. */
  importKey(jwk: SetKey, algorithm: Algorithm): Key | Promise<Key>
  /** How old the set may grow, in milliseconds. */
  maxAge: number
  /** Whether to fetch it in the background before it is too old; without that whoever asks then waits for it. */
  isKeptFresh?: boolean
  /** How long after a fetch an unknown id causes no other, and the same after one that failed, in milliseconds. */
  cooldown?: number
  retryAfter?: number
  /** The set has other keys than before, with these ids. */
  onChange?(kids: string[]): void
  /** The set could not be fetched; not twice for one reason until it was. Whether one is cached, which stays in use. */
  onFailure?(error: unknown, isCached: boolean): void
}

/**
 * Keeps the public keys of an issuer. If they cannot be fetched again, the cached ones stay in use. All who ask at once
 * share one fetch, but on Workers.
 */
export function openKeySet<Key>(source: KeySource, options: Options<Key>): KeySet<Key> {
  const { maxAge, isKeptFresh = false, cooldown = 60_000, retryAfter = 1_000, onChange, onFailure } = options
  const outage = createOutage((error) => onFailure?.(error, fetched))
  let keys = new Map<string, VerifyingKey<Key>>()
  let fetched = false
  /** Why the last fetch failed, while none has succeeded. */
  let failure: unknown
  let isClosed = false
  // There no request may wait for what another began: with that one ended, it would wait forever.
  const isShared = (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent !== 'Cloudflare-Workers'
  let fetching: Promise<void> | undefined
  let nextFetch = 0
  let tooOldAt = 0

  function refresh(): Promise<void> {
    if (fetching) return fetching
    const begun = fetchKeys(source, options)
      .then((found) => {
        nextFetch = Date.now() + cooldown
        if (isClosed) return
        const hasChanged = textOf(found) !== textOf(keys)
        keys = found
        fetched = true
        outage.isOver()
        if (hasChanged) onChange?.([...keys.keys()])
      })
      .catch((error) => {
        nextFetch = Date.now() + retryAfter
        failure = error
        outage.failed(error)
        if (!fetched) throw unavailable(error)
      })
      .finally(() => {
        fetching = undefined
        // Also where it failed: while an issuer is away, nobody waits for it more than once in this time.
        tooOldAt = isKeptFresh ? Number.POSITIVE_INFINITY : Date.now() + maxAge
      })
    if (isShared) fetching = begun
    return begun
  }
  const timer = isKeptFresh ? setInterval(() => refresh().catch(() => {}), maxAge) : undefined
  if (typeof timer === 'object') timer.unref?.()
  if (isKeptFresh) refresh().catch(() => {})

  return {
    find(kid) {
      const key = keys.get(kid)
      const now = Date.now()
      if (isClosed || (now < tooOldAt && (key || (fetched && now < nextFetch && !fetching)))) return key
      // Any client can name this issuer: no more of them ask it than of one that answers.
      if (!fetched && now < nextFetch && !fetching) throw unavailable(failure)
      return refresh().then(() => keys.get(kid))
    },
    holds: (kid, { said }) => keys.get(kid)?.said === said,
    async ready() {
      if (!fetched) await refresh()
    },
    close() {
      isClosed = true
      keys = new Map()
      clearInterval(timer)
    },
  }
}

const textOf = (keys: Map<string, VerifyingKey<unknown>>) =>
  JSON.stringify([...keys].map(([kid, { said }]) => [kid, said]))

/** The keys that can be used, by their ids. */
async function fetchKeys<Key>(source: KeySource, { algorithms, importKey }: Options<Key>) {
  const url = 'jwks' in source ? source.jwks : await discover(source)
  const { keys } = await fetchJson(url)
  if (!Array.isArray(keys)) throw new Error(`${url} answered with no key set`)
  const usable = new Map<string, VerifyingKey<Key>>()
  for (const jwk of keys.slice(0, mostKeys) as (SetKey | null)[]) {
    const algorithm = jwk && typeof jwk.kid === 'string' ? algorithmOfKey(jwk, algorithms) : undefined
    if (!jwk || algorithm === undefined) continue
    try {
      const said = JSON.stringify([algorithm, publicPart(jwk)])
      usable.set(jwk.kid as string, { key: await importKey(jwk, algorithm), algorithm, said })
    } catch {
      // Of no use to us (RFC 7517 section 5), such as a point that is not on its curve.
    }
  }
  if (usable.size === 0) throw new Error(`${url} holds no public key that can be used`)
  return usable
}

/** No issuer has as many at once. */
const mostKeys = 100

/** Where an issuer publishes its metadata (OpenID Connect Discovery 1.0 section 4). */
export const discoveryOf = (issuer: string): string => `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

/**
 * Where the metadata of an issuer say that its keys are (OpenID Connect Discovery 1.0 section 4, RFC 8414).
 *
 * @throws if they are of another issuer, or name no address that is at least as safe as their own
 */
async function discover({ discovery: url, issuer }: { discovery: string; issuer: string }): Promise<string> {
  const { issuer: named, jwks_uri: jwks } = await fetchJson(url)
  if (named !== issuer) throw new Error(`${url} is of the issuer ${String(named).slice(0, 200)}`)
  if (typeof jwks !== 'string' || !URL.canParse(jwks)) throw new Error(`${url} names no jwks_uri`)
  const { protocol } = new URL(jwks)
  if (protocol !== 'https:' && protocol !== new URL(url).protocol)
    throw new Error(`${url} names a jwks_uri that is not over https`)
  return jwks
}
