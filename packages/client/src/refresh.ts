import { AuthError } from './auth-error.ts'
import type { AuthService } from './auth-service.ts'
import { backOff } from './back-off.ts'
import type { Clock } from './clock.ts'
import { exclusively } from './exclusive.ts'
import type { Locks } from './platform.ts'
import { nobody, type Store } from './store.ts'

/** The codes that say that the session is over. Nothing else signs anybody out. */
const ends = ['REFRESH_MISSING', 'REFRESH_INVALID', 'REFRESH_EXPIRED', 'REFRESH_REUSED', 'SESSION_ENDED']

interface Parts {
  store: Store
  service: AuthService
  locks: Locks | undefined
  clock: Clock
  log(event: string): void
}

/**
 * Ensures that there is a newer session than this version: by a refresh here, by one in another tab that was first, or
 * by a sign-out.
 *
 * @throws AuthError if that is not possible now; the session goes on
 */
export type Refresh = (since?: number) => Promise<void>

/** The client's half of the rotation of refresh tokens (docs/rotation.md). */
export function createRefresh({ store, service, locks, clock, log }: Parts): Refresh {
  let running: Promise<void> | undefined

  return async (since = store.session.version) => {
    const isDue = () => store.session.version === since && store.session.roles.length > 0
    if (store.session.version === since && !isDue()) throw new AuthError('SIGNED_OUT', 'Nobody is signed in')
    // One that runs already may have begun for an older version.
    while (isDue()) {
      running ??= exclusively(locks, () => present(since)).finally(() => {
        running = undefined
      })
      await running
    }
  }

  /** Presents the refresh cookie, unless another tab did while this one waited for the lock. */
  async function present(since: number): Promise<void> {
    store.sync()
    const { session, trouble } = store
    if (session.version !== since) return log('another tab was first')
    const retryAfter = trouble ? trouble.retryAt - clock.now() : 0
    if (trouble && retryAfter > 0) throw new AuthError(trouble.code, 'It is too early to try again', { retryAfter })

    const superseded = new AbortController()
    const unsubscribe = store.subscribe(() => {
      if (store.session !== session) superseded.abort()
    })
    const isSuperseded = () => {
      store.sync()
      return store.session !== session
    }
    try {
      const next = await service.refresh(session, store.attempt, superseded.signal)
      // What came meanwhile is newer than this response.
      if (isSuperseded()) return
      store.write(next)
      log('refreshed')
    } catch (error) {
      if (isSuperseded()) return
      const failure = error as AuthError
      const { code, reason } = failure
      if (ends.includes(code)) {
        log(`signed out: ${code}`)
        return store.write({ ...nobody, signOut: { code, ...(reason !== undefined && { reason }) } })
      }
      const failures = trouble ? trouble.failures + 1 : 0
      store.report({ code, failures, retryAt: clock.now() + backOff(failures, failure) })
      log(`refresh failed: ${code}`)
      throw failure
    } finally {
      unsubscribe()
    }
  }
}
