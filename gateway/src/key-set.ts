import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { type Logger, unavailable } from '@sallyport/chassis'
import { type Algorithm, algorithmOf } from '@sallyport/identity'

export interface PublicKey {
  pem: string
  algorithm: Algorithm
}

export interface KeySet {
  /**
   * The key of this id. An id that is not known makes the set be fetched anew, at most once a minute.
   *
   * @returns undefined if there is no such key
   * @throws 503 while the set could not be fetched even once
   */
  find(kid: string): PublicKey | undefined | Promise<PublicKey | undefined>
  /** Resolves once the set has been fetched; throws if it cannot be. */
  ready(): Promise<void>
  close(): void
}

/** Milliseconds: how often an unknown id may cause a fetch, how long after a failed one, how old the set may grow. */
const cooldown = 60_000
const retryAfter = 1_000
const maxAge = 300_000
const fetchWithin = 3_000

/**
 * Keeps the auth service's public keys (a JWK Set, RFC 7517). It is fetched in the background before it is too old; if
 * that fails, the keys at hand stay in use. All who wait for a fetch wait for the same one.
 */
export function openKeySet(url: string, logger: Logger): KeySet {
  let keys: Map<string, PublicKey> | undefined
  let fetching: Promise<void> | undefined
  let nextFetch = 0

  function refresh(): Promise<void> {
    fetching ??= fetchKeys(url)
      .then((fetched) => {
        keys = fetched
        nextFetch = Date.now() + cooldown
      })
      .catch((error) => {
        nextFetch = Date.now() + retryAfter
        logger.warn({ event: 'key_set_unreachable', err: error }, 'the keys at hand stay in use')
        if (!keys) throw unavailable(error)
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
      const key = keys?.get(kid)
      if (key || (keys && Date.now() < nextFetch && !fetching)) return key
      return refresh().then(() => keys?.get(kid))
    },
    async ready() {
      if (!keys) await refresh()
    },
    close: () => clearInterval(timer),
  }
}

async function fetchKeys(url: string): Promise<Map<string, PublicKey>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(fetchWithin), redirect: 'error' })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  const { keys } = (await response.json()) as { keys: ({ kid?: string } & JsonWebKey)[] }
  const usable = keys.filter(({ kid, kty }) => kid && kty !== 'oct')
  if (usable.length === 0) throw new Error(`${url} holds no public key`)
  return new Map(
    usable.map((jwk) => {
      const key = createPublicKey({ key: jwk, format: 'jwk' })
      const pem = key.export({ type: 'spki', format: 'pem' }).toString()
      return [jwk.kid as string, { pem, algorithm: algorithmOf(key) }]
    }),
  )
}
