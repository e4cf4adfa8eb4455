import { setTimeout as sleep } from 'node:timers/promises'
import { type Logger, Problem } from '@sallyport/chassis'
import type { Identity, RevocationEvents } from '@sallyport/identity'
import { createParser } from 'eventsource-parser'
import { badToken } from './access-token.ts'
import { followClock } from './remote-clock.ts'

export interface Revocations {
  /**
   * Throws if the caller's session has ended, or the roles in the token are no longer the user's.
   *
   * @throws 401 SESSION_ENDED with the reason, 401 TOKEN_STALE; 503 if the view is too old and that is to refuse
   */
  check(identity: Identity): void
  /** Calls back when a session ends or a user's roles change. @returns how to stop */
  onRevoked(listener: (revoked: { session: string } | { user: string }) => void): () => void
  /** How long ago the view was last proved to be current, in seconds. */
  age(): number
  /** Whether the stream is open and has sent everything up to now; never if there is none. */
  readonly isCurrent: boolean
  /** How many ended sessions, and users with changed roles, the view holds. */
  readonly held: { sessions: number; users: number }
  close(): void
}

interface Settings {
  /** Undefined: there is no stream, and tokens are valid until they expire. */
  url: string | undefined
  secret: string | undefined
  /** Whether to refuse tokens when the view is older than `maxAge`, in seconds. */
  failClosed: boolean
  maxAge: number
}

/** Milliseconds: until a lost stream is tried again, how long it may prove nothing, how often the past is forgotten. */
const defaultTiming = { retryAfter: 500, silence: 5_000, sweepEvery: 10_000 }

/**
 * Keeps a view of which sessions ended and whose roles changed, from the auth service's stream. Every connection
 * begins with what still matters, so nothing is missed in between; an entry is forgotten when the tokens it concerns
 * have expired by themselves, by whatever clock.
 *
 * The view is as old as its last proof: the auth service sends one for each message that has gone through the database
 * and back, with the time at which it was sent. That bytes come proves nothing.
 */
export function openRevocations(settings: Settings, logger: Logger, timing = defaultTiming): Revocations {
  const sessions = new Map<string, { reason: string; until: number }>()
  const users = new Map<string, { roles: string; until: number }>()
  const listeners = new Set<(revoked: { session: string } | { user: string }) => void>()
  const closing = new AbortController()
  let lastCurrent = Number.NEGATIVE_INFINITY
  let current = false

  function note(revocation: RevocationEvents['revoked']): void {
    const until = performance.now() + (revocation.holds ?? revocation.until - Date.now() / 1000) * 1000
    if ('session' in revocation) sessions.set(revocation.session, { reason: revocation.reason, until })
    else users.set(revocation.user, { roles: revocation.roles.join(), until })
    for (const listener of listeners) listener(revocation)
  }

  function prove(at: number): void {
    if (!Number.isFinite(at)) throw new Error('a proof without a time')
    lastCurrent = Math.max(lastCurrent, at)
  }

  async function follow(url: string): Promise<void> {
    const begun = performance.now()
    const attempt = new AbortController()
    const abort = () => attempt.abort()
    closing.signal.addEventListener('abort', abort)
    const silent = setTimeout(() => attempt.abort(new Error(`${url} proves nothing`)), timing.silence)
    let readTime: ReturnType<typeof followClock> | undefined
    const parser = createParser({
      onEvent: ({ event, data }) => {
        silent.refresh()
        if (event === 'revoked') note(JSON.parse(data))
        if (event === 'current') {
          const { at } = JSON.parse(data)
          if (at !== undefined) readTime = followClock(begun, at)
          // What it has sent is from after the request.
          prove(begun)
          current = true
        }
        if (event === 'alive' && readTime) prove(readTime(JSON.parse(data).at, performance.now()))
      },
    })
    try {
      const { status, body } = await fetch(url, {
        headers: settings.secret ? { authorization: `Bearer ${settings.secret}` } : {},
        redirect: 'error',
        signal: attempt.signal,
      })
      if (status !== 200) throw new Error(`${url} answered ${status}`)
      silent.refresh()
      const decoder = new TextDecoder()
      // Of a response with this status fetch has a body, if an empty one.
      for await (const chunk of body as NonNullable<typeof body>) {
        parser.feed(decoder.decode(chunk, { stream: true }))
        if (current && !readTime) {
          // The auth service is of an earlier version, which has no proofs and sends comments as signs of life.
          silent.refresh()
          prove(performance.now())
        }
      }
    } finally {
      clearTimeout(silent)
      closing.signal.removeEventListener('abort', abort)
      // What is left of the response is of no use.
      abort()
    }
  }

  async function followForever(url: string): Promise<void> {
    while (!closing.signal.aborted) {
      await follow(url).catch((err) => {
        if (!closing.signal.aborted) logger.warn({ event: 'revocation_stream_lost', err })
      })
      current = false
      await sleep(timing.retryAfter, undefined, { signal: closing.signal }).catch(() => {})
    }
  }
  if (settings.url) followForever(settings.url)

  const sweep = setInterval(() => {
    const now = performance.now()
    for (const view of [sessions, users]) for (const [key, { until }] of view) if (until < now) view.delete(key)
  }, timing.sweepEvery).unref()

  const age = () => (settings.url ? (performance.now() - lastCurrent) / 1000 : 0)
  return {
    age,
    get isCurrent() {
      return current
    },
    get held() {
      return { sessions: sessions.size, users: users.size }
    },
    check({ sessionId, userId, roles }) {
      if (settings.failClosed && age() > settings.maxAge)
        throw new Problem(503, 'UNAVAILABLE', 'Service unavailable', {
          detail: 'Whether sessions have ended is not known just now.',
          headers: { 'retry-after': '1' },
        })
      const ended = sessions.get(sessionId)
      if (ended)
        throw new Problem(401, 'SESSION_ENDED', 'The session has ended', {
          headers: badToken,
          members: { reason: ended.reason },
        })
      const changed = users.get(userId)
      if (changed && changed.roles !== roles.join())
        throw new Problem(401, 'TOKEN_STALE', 'The roles have changed', {
          headers: badToken,
          detail: 'Refresh and try again.',
        })
    },
    onRevoked(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      closing.abort()
      clearInterval(sweep)
    },
  }
}
