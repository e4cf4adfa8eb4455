import { hash } from 'node:crypto'
import { type Logger, type Problem, unavailable } from '@sallyport/chassis'
import { apiKeyId } from '@sallyport/identity'
import { invalid, isStillValid, type Revocations } from '@sallyport/verify'
import { LRUCache } from 'lru-cache'
import { countLimit } from '../limits.ts'
import type { Caller, Verifier } from './access-token.ts'

export interface ApiKeys {
  /**
   * The service account whose API key this is, by the access token that the auth service issues for it. Nobody who sends a
   * key hears of that token: neither that it has expired, nor that it is stale.
   *
   * It does not know whether the key was revoked since it was looked up: see revocations.
   *
   * @throws 401 TOKEN_INVALID; 503 while the auth service is unavailable and the key is not known, or its token has ended
   */
  find(key: string): Caller | Promise<Caller>
  /** The keys that are kept, and what became of lookups since the start. */
  readonly cache: { size: number; outcomes: Readonly<Record<Outcome, number>> }
}

/** Of a request: its key was kept; or of a call to the auth service. */
type Outcome = 'hit' | 'issued' | 'refused' | 'unavailable' | 'queue_full'

interface Settings {
  /** Undefined: API keys are refused. */
  url: string | undefined
  secret: string | undefined
}

interface Dependencies {
  verifier: Verifier
  revocations: Revocations
  logger: Logger
}

interface Known {
  caller: Caller
  /** When a new token is asked for, in milliseconds since 1970. */
  refreshAt: number
}

const mostKeys = 50_000
const mostRefused = 1_000

/** Milliseconds for which a key that was refused is refused without asking again. */
const refusedFor = 10_000

/** Calls to the auth service at once, and keys that wait for one. */
const mostCalls = 32
const mostWaiting = 1_000

/** In milliseconds, waiting included; and how long after a call that failed a token is not refreshed. */
const callTimeout = 3_000
const retryAfter = 1_000

/** The least time before its end at which a token is refreshed, in milliseconds. */
const leastAhead = 60_000

/** No answer of the auth service comes near this many bytes. */
const longestAnswer = 64 * 1024

/**
 * Takes API keys to the auth service for access tokens, once each and again before a token ends, in the background: while
 * the auth service is away, keys go on until their tokens end. Keys are kept as digests alone.
 */
export function openApiKeys(
  { url, secret }: Settings,
  { verifier, revocations, logger }: Dependencies,
  timeout = callTimeout,
): ApiKeys {
  const known = new LRUCache<string, Known>({ max: mostKeys })
  const refused = new LRUCache<string, true>({ max: mostRefused, ttl: refusedFor })
  const pending = new Map<string, Promise<Caller>>()
  const calls = new Queue(mostCalls, mostWaiting)
  const outcomes = { hit: 0, issued: 0, refused: 0, unavailable: 0, queue_full: 0 }
  let isAway = false

  /** Asks for a token, once however many wait for it. */
  function lookUp(digest: string, key: string, id: string): Promise<Caller> {
    const under = pending.get(digest)
    if (under) return under
    const lookup = issue(key, id)
      .then(
        (caller) => {
          outcomes.issued += 1
          isAway = false
          known.set(digest, { caller, refreshAt: refreshTime(caller) })
          return caller
        },
        (error) => {
          if (error instanceof Refused) {
            outcomes.refused += 1
            known.delete(digest)
            refused.set(digest, true)
            throw invalid('the API key is unknown, revoked or expired')
          }
          outcomes[error instanceof QueueFull ? 'queue_full' : 'unavailable'] += 1
          if (error instanceof QueueFull) countLimit('api_key_queue')
          if (error.name === 'TimeoutError') countLimit('api_key_time')
          throw unavailable(error)
        },
      )
      .finally(() => pending.delete(digest))
    pending.set(digest, lookup)
    return lookup
  }

  async function issue(key: string, id: string): Promise<Caller> {
    const deadline = AbortSignal.timeout(timeout)
    const token = await calls.run(() => ask(key, deadline))
    // A token that is not valid is none of the client's.
    const caller = await Promise.resolve(token).then(verifier.read).catch(malformed)
    if (caller.identity.caller !== 'client' || caller.identity.sessionId !== id) throw malformed()
    return caller
  }

  async function ask(key: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    const response = await fetch(url as string, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ key }),
      redirect: 'error',
      signal,
    })
    const { code, accessToken } = await readAnswer(response)
    if (response.status === 401 && code === 'API_KEY_INVALID') throw new Refused()
    if (response.status !== 200) throw new Error(`${url} answered ${response.status} ${code ?? ''}`)
    return typeof accessToken === 'string' ? accessToken : malformed()
  }

  function malformed(cause?: unknown): never {
    throw new Error(`${url} answered with no access token for the API key`, { cause })
  }

  /** Asks for a new token while the old one is in use. */
  function refresh(digest: string, key: string, entry: Known): void {
    // Of a key that was revoked its callers hear that, and not that it is unknown.
    if (revocations.hasEnded(entry.caller)) return
    entry.refreshAt = Date.now() + timeout + retryAfter
    lookUp(digest, key, entry.caller.identity.sessionId).catch((error: Problem) => {
      entry.refreshAt = Date.now() + retryAfter
      if (error.statusCode !== 503 || isAway) return
      isAway = true
      logger.warn({ event: 'api_keys_unavailable', err: error.cause }, 'the tokens of known API keys stay in use')
    })
  }

  /** A token of before a change may have been on its way when the change was heard of: then another is asked for, once. */
  async function findAnew(digest: string, key: string, id: string): Promise<Caller> {
    const caller = await lookUp(digest, key, id)
    if (!revocations.isStale(caller)) return caller
    const next = await lookUp(digest, key, id)
    if (revocations.isStale(next)) throw unavailable('the token for the API key is of before a change')
    return next
  }

  return {
    find(key) {
      if (url === undefined) throw invalid('API keys are not taken here')
      const digest = hash('sha256', key, 'base64')
      const entry = known.get(digest)
      if (entry && isStillValid(entry.caller) && !revocations.isStale(entry.caller)) {
        outcomes.hit += 1
        if (entry.refreshAt <= Date.now()) refresh(digest, key, entry)
        return entry.caller
      }
      const id = apiKeyId(key)
      if (id === undefined) throw invalid('no API key')
      if (refused.has(digest)) throw invalid('the API key was refused a moment ago')
      return findAnew(digest, key, id)
    },
    get cache() {
      return { size: known.size, outcomes }
    },
  }
}

/** The auth service said that there is no such API key. */
class Refused extends Error {}

class QueueFull extends Error {}

/** Runs so many at once; others wait, in order. */
class Queue {
  readonly #most: number
  readonly #mostWaiting: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(most: number, mostWaiting: number) {
    this.#most = most
    this.#mostWaiting = mostWaiting
  }

  /** @throws QueueFull */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#most) this.#running += 1
    else if (this.#waiting.length < this.#mostWaiting) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else throw new QueueFull(`more than ${this.#mostWaiting} API keys wait to be looked up`)
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running -= 1
    }
  }
}

/** In the last fifth of its life or its last minute, whichever begins first; a short life has a half. */
function refreshTime({ expiresAt }: Caller): number {
  const end = expiresAt * 1_000
  const life = end - Date.now()
  return end - Math.min(Math.max(life / 5, leastAhead), life / 2)
}

/** The JSON of an answer; empty if that is none. */
async function readAnswer({ body }: Response): Promise<Record<string, unknown>> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    // Leaving the loop lets go of the rest.
    if (length > longestAnswer) throw new Error('the answer is too long')
    chunks.push(chunk)
  }
  try {
    return Object(JSON.parse(Buffer.concat(chunks).toString()))
  } catch {
    return {}
  }
}
