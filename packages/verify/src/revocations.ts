import type { VerifiedToken } from './access-token.ts'
import { createOutage } from './outage.ts'
import { badToken, Problem } from './problem.ts'
import { followClock } from './remote-clock.ts'
import type { RevocationEvents } from './revocation-events.ts'
import { readEvents } from './server-sent-events.ts'

/** A token as far as revocations go. */
type Token = Pick<VerifiedToken, 'identity' | 'audiences' | 'belongsTo'>

export interface Revocations {
  /**
   * Throws if something that the token belongs to has ended, or the token says what is no longer so.
   *
   * @throws 401 SESSION_ENDED with the reason, 401 TOKEN_STALE; 503 if the view is too old and that is to refuse
   */
  check(token: Token): void
  /** Whether something that the token belongs to has ended. */
  hasEnded(token: Token): boolean
  /** Whether a new token of the same caller would say something else: its roles, scopes or audiences are other ones. */
  isStale(token: Token): boolean
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

export interface RevocationSettings {
  /** The auth service's stream, `/internal/revocations`. Undefined: there is none, and tokens are valid until they expire. */
  url: string | undefined
  /** The auth service's REVOCATIONS_SECRET. */
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
 *
 * It is about tokens of Sallyport's auth service alone: those of other issuers end when they expire.
 *
 * @param onLost the stream broke off or could not be opened, and is tried again; not twice for one reason until it is back
 */
export function openRevocations(
  settings: RevocationSettings,
  onLost: (error: unknown) => void,
  timing = defaultTiming,
): Revocations {
  const sessions = new Map<string, { reason: string; until: number }>()
  const users = new Map<string, { now: Changed; until: number }>()
  const listeners = new Set<(revoked: { session: string } | { user: string }) => void>()
  const closing = new AbortController()
  const outage = createOutage(onLost)
  let lastCurrent = Number.NEGATIVE_INFINITY
  let current = false

  function note(revocation: RevocationEvents['revoked']): void {
    const until = performance.now() + (revocation.holds ?? revocation.until - Date.now() / 1000) * 1000
    if ('session' in revocation) sessions.set(revocation.session, { reason: revocation.reason, until })
    else users.set(revocation.user, { now: toChanged(revocation), until })
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
    const silent = watch(() => attempt.abort(new Error(`${url} proves nothing`)), timing.silence)
    let readTime: ReturnType<typeof followClock> | undefined
    const feed = readEvents((name, data) => {
      silent.refresh()
      if (name === 'revoked') note(JSON.parse(data))
      if (name === 'current') {
        const { at } = JSON.parse(data)
        if (at !== undefined) readTime = followClock(begun, at)
        // What it has sent is from after the request.
        prove(begun)
        current = true
        outage.isOver()
      }
      if (name === 'alive' && readTime) prove(readTime(JSON.parse(data).at, performance.now()))
    })
    try {
      const { status, body } = await fetch(url, {
        headers: settings.secret ? { authorization: `Bearer ${settings.secret}` } : {},
        // Not `error`, which not every runtime has: what redirects has no 200.
        redirect: 'manual',
        signal: attempt.signal,
      })
      if (status !== 200) throw new Error(`${url} answered ${status}`)
      silent.refresh()
      const decoder = new TextDecoder()
      // Of a response with this status fetch has a body, if an empty one.
      const reader = (body as NonNullable<typeof body>).getReader()
      for (;;) {
        const { done, value } = await reader.read()
        if (done && !current) throw new Error(`${url} answered with no stream of revocations`)
        if (done) break
        feed(decoder.decode(value, { stream: true }))
        if (current && !readTime) {
          // The auth service is of an earlier version, which has no proofs and sends comments as signs of life.
          silent.refresh()
          prove(performance.now())
        }
      }
    } finally {
      silent.stop()
      closing.signal.removeEventListener('abort', abort)
      // What is left of the response is of no use.
      abort()
    }
  }

  async function followForever(url: string): Promise<void> {
    while (!closing.signal.aborted) {
      await follow(url).catch((error) => {
        if (!closing.signal.aborted) outage.failed(error)
      })
      current = false
      await pause(timing.retryAfter, closing.signal)
    }
  }

  function forgetThePast(): void {
    const now = performance.now()
    for (const view of [sessions, users]) for (const [key, { until }] of view) if (until < now) view.delete(key)
  }
  // Without a stream there is no timer, which Workers have none of outside of a request.
  const sweep = settings.url ? setInterval(forgetThePast, timing.sweepEvery) : undefined
  if (typeof sweep === 'object') sweep.unref?.()
  if (settings.url) followForever(settings.url)

  function endOf({ belongsTo }: Token) {
    // As a rule nothing has ended lately.
    if (sessions.size === 0) return undefined
    for (const id of belongsTo) {
      const ended = sessions.get(id)
      if (ended) return ended
    }
    return undefined
  }

  function isStale(token: Token): boolean {
    if (token.identity.issuer !== undefined) return false
    const changed = users.size === 0 ? undefined : users.get(token.identity.userId)
    return changed !== undefined && differs(token, changed.now)
  }

  const age = () => (settings.url ? (performance.now() - lastCurrent) / 1000 : 0)
  return {
    age,
    get isCurrent() {
      return current
    },
    get held() {
      return { sessions: sessions.size, users: users.size }
    },
    check(token) {
      if (token.identity.issuer !== undefined) return
      if (settings.failClosed && age() > settings.maxAge)
        throw new Problem(503, 'UNAVAILABLE', 'Service unavailable', {
          detail: 'Whether sessions have ended is not known just now.',
          headers: { 'retry-after': '1' },
        })
      const ended = endOf(token)
      if (ended)
        throw new Problem(401, 'SESSION_ENDED', 'The session has ended', {
          headers: badToken,
          members: { reason: ended.reason },
        })
      if (isStale(token))
        throw new Problem(401, 'TOKEN_STALE', 'The roles have changed', {
          headers: badToken,
          detail: 'Refresh and try again.',
        })
    },
    hasEnded: (token) => endOf(token) !== undefined,
    isStale,
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

/** What the tokens of a caller may say now. */
interface Changed {
  roles: string[]
  scopes: string[] | undefined
  audiences: string[] | undefined
}

/** @throws if an event makes no sense: a lost stream is opened anew, and a lost event is not noticed */
function toChanged({ roles, scopes, audiences }: Partial<Changed>): Changed {
  if (![roles, scopes ?? [], audiences ?? []].every(Array.isArray)) throw new Error('a change without roles')
  return { roles: roles as string[], scopes, audiences }
}

/**
 * Whether a token says what is no longer so. One for acting has some of the roles of its subject, and an audience that the
 * subject need not have.
 */
function differs({ identity: { roles, scopes = [], act }, audiences }: Token, now: Changed): boolean {
  const isWithin = (held: readonly string[], allowed: readonly string[] = held) =>
    held.every((one) => allowed.includes(one))
  if (!isWithin(scopes, now.scopes)) return true
  return act ? !isWithin(roles, now.roles) : roles.join() !== now.roles.join() || !isWithin(audiences, now.audiences)
}

/** Calls back after so many milliseconds, from the start or from when it was last put off. */
function watch(end: () => void, milliseconds: number) {
  let timer = setTimeout(end, milliseconds)
  return {
    refresh() {
      clearTimeout(timer)
      timer = setTimeout(end, milliseconds)
    },
    stop: () => clearTimeout(timer),
  }
}

/** Resolves after so many milliseconds, or when the signal is aborted. */
const pause = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve()
    function end() {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
  })
