import type { AuthError } from './auth-error.ts'
import type { AuthService } from './auth-service.ts'
import { backOff } from './back-off.ts'
import type { Clock } from './clock.ts'
import { exclusively } from './exclusive.ts'
import type { KeyValueStorage, Locks } from './platform.ts'
import { nobody, type Store } from './store.ts'

export interface Logout {
  /** Whether the server has still to be notified, and now is the time. */
  readonly isDue: boolean
  /** Signs out here and in the other tabs, at once. */
  begin(): void
  /** Notifies the server, when no other tab is talking to it. Never throws: what fails stays due. */
  finish(): Promise<void>
  /** The same for a caller who holds the lock. */
  notifyServer(): Promise<void>
  /** Tries again without waiting. */
  hurry(): void
  /** A new session has taken the place of the old one. */
  forget(): void
}

interface Parts {
  store: Store
  service: AuthService
  storage: KeyValueStorage
  locks: Locks | undefined
  clock: Clock
  log(event: string): void
}

const key = 'sallyport.logout'

/**
 * Signing out. The server has to be notified with the cookie, so it may be notified only as long as nobody has signed
 * in again: the cookie would be the new session's.
 */
export function createLogout({ store, service, storage, locks, clock, log }: Parts): Logout {
  let failures = 0
  let retryAt = 0
  let running: Promise<void> | undefined

  return {
    get isDue() {
      return storage.getItem(key) !== null && !running && clock.now() >= retryAt
    },

    begin() {
      storage.setItem(key, 'due')
      retryAt = failures = 0
      store.write({ ...nobody, signOut: { code: 'LOGOUT' } })
      log('signed out')
    },

    finish() {
      running ??= exclusively(locks, notifyServer, async () => {}).finally(() => {
        running = undefined
      })
      return running
    },

    notifyServer,

    hurry() {
      retryAt = failures = 0
    },

    forget: () => storage.removeItem(key),
  }

  async function notifyServer(): Promise<void> {
    store.sync()
    if (storage.getItem(key) === null) return
    if (store.session.roles.length > 0) return storage.removeItem(key)
    try {
      await service.logout()
      storage.removeItem(key)
      log('the server ended the session')
    } catch (error) {
      const failure = error as AuthError
      retryAt = clock.now() + backOff(failures++, failure)
      log(`the server could not be told: ${failure.code}`)
    }
  }
}
