import { readAccessToken } from './access-token.ts'
import type { Clock } from './clock.ts'
import { type KeyValueStorage, randomId } from './platform.ts'

export interface User {
  id: string
  email: string
  /** null when only an access token says who it is; a login gives the name. */
  name: string | null
}

/** Why nobody is signed in any more: `LOGOUT`, `STORAGE_CLEARED`, or the server's code, and its reason if it gave one. */
export interface SignOut {
  code: string
  reason?: string
}

/** Who is signed in in this browser. A session is replaced, never changed. */
export interface Session {
  /** Of two the one with the higher version holds. */
  readonly version: number
  readonly accessToken: string | null
  /** The first is the main one. None means that nobody is signed in. */
  readonly roles: readonly string[]
  readonly user: User | null
  /**
   * The id of the next refresh, by which the server tells a retry from a stolen token. It is made before anybody
   * needs it, so that all tabs have the same, and is used until a response brings the next.
   */
  readonly attempt: string
  /** When the access token expires by the tab's clock (clock.ts), and how long it lives in all; milliseconds. */
  readonly expiresAt: number
  readonly lifetime: number
  readonly signOut: SignOut | null
}

/** What a response or a sign-out makes of a session. */
export type NextSession = Omit<Session, 'version' | 'attempt'>

/** A refresh that failed and may be retried. */
export interface Trouble {
  /** The code of the AuthError. */
  readonly code: string
  /** How many there were in a row, before this one. */
  readonly failures: number
  /** When to retry, in milliseconds since 1970: by the tab's clock, and in a snapshot by the machine's. */
  readonly retryAt: number
}

/** What tabs send each other. Its times are by the machine's clock, which is the same for all of them. */
export interface Shared {
  readonly session: Session
  /** null after a refresh that got its response. */
  readonly trouble: Trouble | null
}

type Listener = (before: Session, origin: 'this tab' | 'elsewhere') => void

export interface Store extends Shared {
  /** For other tabs. */
  readonly shared: Shared
  /** The id for a refresh now. */
  readonly attempt: string
  /**
   * Puts a new session in place of the one before, here and in storage.
   *
   * @param attempt the id of the refresh to come, if no refresh brought this
   */
  write(next: NextSession, attempt?: string): void
  report(trouble: Trouble): void
  /** Takes what another tab sends. What is older than what is here is ignored, and what no tab would send. */
  take(message: unknown): void
  /** Looks into storage for what another tab, or other code of the app, changed there. */
  sync(): void
  /**
   * Looks at the clock: if the machine's was put back, what was said by it is wrong, in storage and in the app. Every
   * tab says it anew, with the same outcome; one that opens before finds a token that seems to be from the future, and
   * gets another. Not for whoever reads while a page renders: on a clock that jumps at each look there is no end to it.
   */
  correct(): void
  /** @returns a function that ends the subscription */
  subscribe(listener: Listener): () => void
}

/**
 * Keys in storage. The record is the session, in one piece, so that no tab reads half of a change. The others repeat
 * parts of it for the app's other code to read, and to take away: without the access token a new one is fetched,
 * without the role nobody is signed in. They are always there while the record says that somebody is signed in: it is
 * written after them, and taken back before them.
 */
const keys = { accessToken: 'accessToken', role: 'role', userName: 'userName', record: 'sallyport' }

type Stored = Record<keyof typeof keys, string | null>

/** @param keepsToken whether the access token goes into storage too */
export function createStore(storage: KeyValueStorage, keepsToken: boolean, clock: Clock): Store {
  const listeners = new Set<Listener>()
  let seen = read()
  let session = arrived(parse(seen))
  let trouble: Trouble | null = null
  let { putBack } = clock
  if (session.roles.length > 0 && seen.record === null) write(session)

  return {
    get session() {
      return session
    },

    get trouble() {
      return trouble
    },

    get shared() {
      return {
        session: leaving(session),
        trouble: trouble && { ...trouble, retryAt: clock.toMachine(trouble.retryAt) },
      }
    },

    get attempt() {
      return newest().attempt
    },

    write,

    report(next) {
      change(session, next, 'this tab')
    },

    take(message) {
      const news = (message ?? {}) as Partial<Shared>
      if (!isSession(news.session) || news.session.version < session.version) return
      const isNewer = news.session.version > session.version || session.accessToken === null
      const nextTrouble = news.trouble && {
        ...news.trouble,
        retryAt: clock.fromMachine(news.trouble.retryAt),
      }
      change(isNewer ? arrived(news.session) : session, nextTrouble ?? null, 'elsewhere')
    },

    sync() {
      const before = seen
      seen = read()
      if (Object.keys(keys).every((key) => seen[key as keyof Stored] === before[key as keyof Stored])) return
      const stored = parse(seen)
      const wasCleared = before.record !== null && seen.record === null
      if (stored.version < session.version && !wasCleared) return
      const isSignedIn = stored.roles.length > 0
      if (!isSignedIn && session.roles.length === 0) return
      // A token that is in memory comes from the tab that has it; storage knows only that there is one.
      if (isSignedIn && !keepsToken) return
      // It was received already, and storage has only now caught up.
      if (isSignedIn && stored.version === session.version && stored.accessToken === session.accessToken) return
      const version = Math.max(stored.version, session.version)
      const signOut = isSignedIn ? null : (stored.signOut ?? { code: 'STORAGE_CLEARED' })
      change({ ...arrived(stored), version, signOut }, null, 'elsewhere')
    },

    correct() {
      if (putBack === clock.putBack) return
      putBack = clock.putBack
      if (parse(read()).version === session.version && session.roles.length > 0) putRecord(session)
      seen = read()
      change(session, trouble, 'elsewhere')
    },

    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }

  function write(
    { accessToken, roles, user, expiresAt, lifetime, signOut }: NextSession,
    attempt: string = randomId(),
  ): void {
    // By the clock, so that it also grows when storage was cleared and with it the last version.
    const version = Math.max(Date.now(), newest().version + 1)
    const next = { version, accessToken, roles, user, attempt, expiresAt, lifetime, signOut }
    const isSignedIn = roles.length > 0
    if (!isSignedIn) putRecord(next)
    put(keys.accessToken, keepsToken ? accessToken : null)
    put(keys.role, roles[0])
    put(keys.userName, user?.name)
    if (isSignedIn) putRecord(next)
    seen = read()
    change(next, null, 'this tab')
  }

  /** A tab that keeps its token in memory may have missed what another sent, while storage knows. */
  function newest(): Session {
    const stored = parse(read())
    return stored.version > session.version ? stored : session
  }

  function leaving(leaver: Session): Session {
    return { ...leaver, expiresAt: clock.toMachine(leaver.expiresAt) }
  }

  /**
   * A token has at most its lifetime left. One that has more was issued before the machine's clock was put back, and
   * nobody knows when: it is taken for expired.
   */
  function arrived(arrival: Session): Session {
    const { expiresAt, lifetime } = arrival
    return { ...arrival, expiresAt: expiresAt - Date.now() <= lifetime ? clock.fromMachine(expiresAt) : 0 }
  }

  function change(nextSession: Session, nextTrouble: Trouble | null, origin: 'this tab' | 'elsewhere'): void {
    const before = session
    session = nextSession
    trouble = nextTrouble
    for (const listener of listeners) listener(before, origin)
  }

  function putRecord(record: Session): void {
    put(keys.record, JSON.stringify({ ...leaving(record), ...(!keepsToken && { accessToken: null }) }))
  }

  function put(key: string, value: string | null | undefined): void {
    if (value == null) storage.removeItem(key)
    else storage.setItem(key, value)
  }

  function read(): Stored {
    return {
      accessToken: keepsToken ? storage.getItem(keys.accessToken) : null,
      role: storage.getItem(keys.role),
      userName: storage.getItem(keys.userName),
      record: storage.getItem(keys.record),
    }
  }
}

function parse({ accessToken, role, userName, record }: Stored): Session {
  const known = parseRecord(record) ?? guess(accessToken, role, userName)
  if (role === null || known.roles.length === 0)
    return { ...nobody, version: known.version, attempt: known.attempt, signOut: known.signOut }
  return { ...known, accessToken: accessToken === null ? null : known.accessToken }
}

function parseRecord(record: string | null): Session | undefined {
  try {
    const known = JSON.parse(record as string)
    return isSession(known) ? known : undefined
  } catch {
    return undefined
  }
}

/** Whether it comes from a client: other code of the page may put anything where we look. */
function isSession(value: Partial<Session> | undefined): value is Session {
  return Array.isArray(value?.roles) && Number.isFinite(value.version)
}

/** An app may have kept a token and a role before it had this client. */
function guess(accessToken: string | null, role: string | null, name: string | null): Session {
  const start = { ...nobody, version: 0, attempt: '', roles: role === null ? [] : [role] }
  const claims = accessToken === null ? undefined : readAccessToken(accessToken)
  if (!claims) return start
  const { sub, email, roles, iat, exp } = claims
  const user = { id: sub, email, name }
  return { ...start, accessToken, roles, user, expiresAt: exp * 1_000, lifetime: (exp - iat) * 1_000 }
}

/** The session of a browser where nobody is signed in. */
export const nobody = { accessToken: null, roles: [], user: null, expiresAt: 0, lifetime: 0, signOut: null } as const
