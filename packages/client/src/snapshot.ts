import type { Clock } from './clock.ts'
import type { SignOut, Store, Trouble, User } from './store.ts'

/** What an app shows. Times are in milliseconds since 1970 by this machine's clock. */
export interface AuthSnapshot {
  /**
   * `loading`: it is known who was signed in, but there is no valid access token, and the first attempt to get one has
   * not ended. Only at the start of a page.
   */
  readonly status: 'loading' | 'signed-in' | 'signed-out'
  readonly user: User | null
  /** The main role, the first of `roles`. */
  readonly role: string | null
  readonly roles: readonly string[]
  /** When the access token expires; null without one. */
  readonly expiresAt: number | null
  /** When this tab will refresh if no other does first; null if nobody is signed in. */
  readonly refreshAt: number | null
  /** The last refresh failed and will be retried; the user stays signed in. */
  readonly trouble: Trouble | null
  /** Why nobody is signed in any more; null if somebody is, or nobody was. */
  readonly signOut: SignOut | null
  /** Who acts for `user` in this tab; null if nobody does. Only with `withImpersonation`, as is the next. */
  readonly actor?: User | null
  /** Why acting ended by itself, for the one who acted; null after `stopActing`, and once they act again or leave. */
  readonly actingEnd?: ActingEnd | null
}

/** The code is `TOKEN_EXPIRED`, or another of the server's. */
export interface ActingEnd extends SignOut {
  /** Whom it was for. */
  user: User
}

export interface Snapshots {
  get(): AuthSnapshot
  subscribe(listener: () => void): () => void
}

export function createSnapshots(store: Store, clock: Clock): Snapshots {
  const listeners = new Set<() => void>()
  let settled = false
  let plannedAt = planRefresh(store, clock)
  let snapshot = take()

  store.subscribe((before) => {
    if (store.session !== before) {
      plannedAt = planRefresh(store, clock)
      // A token that has just come ends the wait, even if the machine slept or its clock moved on the way.
      settled ||= store.session.accessToken !== null
    }
    snapshot = take()
    for (const listener of listeners) listener()
  })

  return {
    get: () => snapshot,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }

  function take(): AuthSnapshot {
    const { session, trouble } = store
    const { user, roles, accessToken, expiresAt, signOut } = session
    const isSignedIn = roles.length > 0
    settled = isSignedIn && (settled || trouble !== null || (accessToken !== null && expiresAt > clock.now()))
    return {
      status: settled ? 'signed-in' : isSignedIn ? 'loading' : 'signed-out',
      user,
      role: roles[0] ?? null,
      roles,
      expiresAt: accessToken === null ? null : clock.toMachine(expiresAt),
      refreshAt: isSignedIn ? clock.toMachine(trouble?.retryAt ?? plannedAt) : null,
      trouble: store.shared.trouble,
      signOut,
    }
  }
}

/** 90 s before the access token expires, or a fifth of a shorter life; up to a third more, so that tabs do not meet. */
function planRefresh({ session: { accessToken, expiresAt, lifetime } }: Store, clock: Clock): number {
  const ahead = Math.min(90_000, lifetime / 5)
  return accessToken === null ? clock.now() : expiresAt - ahead * (1 + Math.random() / 3)
}
