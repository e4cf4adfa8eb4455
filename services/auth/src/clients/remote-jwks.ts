import { LRUCache } from 'lru-cache'
import { createOutbound, type Outbound } from '../outbound.ts'
import { type Jwks, readPublishedJwks } from './jwks.ts'

export interface RemoteJwks {
  /**
   * The JWK Set at a URL, as it was in the last five minutes; with `kid`, fetched again if it has no such key, at most
   * every 30 seconds.
   *
   * @throws Error if it cannot be had, and was not had within an hour
   */
  find(url: string, kid?: string): Promise<Jwks>
  /** The JWK Set at a URL now. @throws Error, with a line for who gave the URL */
  fetch(url: string): Promise<Jwks>
}

/** In milliseconds: how old a set grows, how old one that cannot be had again, and how soon it is asked for again. */
const maxAge = 300_000
const maxStale = 3_600_000
const cooldown = 30_000

const timeout = 3_000
const longest = 64 * 1024

/** How many sets are kept; the one that was not used for longest goes first. */
const mostSets = 1_000

interface Entry {
  jwks: Jwks | undefined
  fetchedAt: number
  triedAt: number
  fetching: Promise<Jwks> | undefined
}

/**
 * Fetches the keys of service accounts from where they are published: over https, without following redirects, and from
 * no address inside (loopback, private, link-local, reserved), whatever its name says at the moment of connecting.
 *
 * @param insideOrigins from which they may be fetched all the same, also over http
 */
export function createRemoteJwks(insideOrigins: string[]): RemoteJwks {
  const entries = new LRUCache<string, Entry>({ max: mostSets })
  const outbound = createOutbound(insideOrigins, 'CLIENT_JWKS_ORIGINS')

  async function fetch(url: string): Promise<Jwks> {
    if (!outbound.allows(url)) throw new Error('a JWK Set is fetched over https, from an address without a password')
    const text = await get(outbound, url)
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      throw new Error('what is there is no JSON')
    }
    return readPublishedJwks(value)
  }

  function refresh(url: string, entry: Entry): Promise<Jwks> {
    entry.triedAt = performance.now()
    entry.fetching ??= fetch(url)
      .then((jwks) => {
        entry.jwks = jwks
        entry.fetchedAt = performance.now()
        return jwks
      })
      .finally(() => {
        entry.fetching = undefined
      })
    return entry.fetching
  }

  return {
    fetch,
    async find(url, kid) {
      const never = Number.NEGATIVE_INFINITY
      const entry = entries.get(url) ?? { jwks: undefined, fetchedAt: never, triedAt: never, fetching: undefined }
      entries.set(url, entry)
      const now = performance.now()
      const isKnown = kid === undefined || entry.jwks?.keys.some((key) => key.kid === kid)
      const isDue = now > entry.fetchedAt + maxAge || !isKnown
      const mayTry = entry.fetching || now > entry.triedAt + cooldown
      if (!isDue || !mayTry) {
        if (entry.jwks && now < entry.fetchedAt + maxStale) return entry.jwks
        throw new Error('its JWK Set could not be had a moment ago')
      }
      return refresh(url, entry).catch((error) => {
        if (entry.jwks && now < entry.fetchedAt + maxStale) return entry.jwks
        throw error
      })
    },
  }
}

/** @throws Error for anything but 200 and a body of at most 64 KiB, within three seconds in all */
async function get(outbound: Outbound, url: string): Promise<string> {
  const signal = AbortSignal.timeout(timeout)
  const response = await outbound.request(url, { headers: { accept: 'application/json' }, signal })
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      reject(new Error(why))
      response.destroy()
    }
    response.on('error', reject)
    if (response.statusCode !== 200) return fail(`it responded with ${response.statusCode}, which is not 200`)
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (part: string) => {
      text += part
      if (text.length > longest) fail(`it is longer than ${longest} bytes`)
    })
    response.on('end', () => resolve(text))
  })
}
