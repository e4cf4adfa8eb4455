import type { Clock } from './clock.ts'
import { attempt } from './platform.ts'
import type { Store } from './store.ts'

/**
 * Dispatches refreshes on `window`: `tokenRefreshed` with `{ role, roles, expiresAt }` when there is a new access
 * token, from here or from another tab, and `tokenRefreshFailed` with `{ code, reason }` when the session is over and
 * the user did not sign out. Every script of the page hears events, so there is no token in them.
 */
export function announce(store: Store, window: EventTarget, clock: Clock): void {
  store.subscribe((before) => {
    const { accessToken, roles, expiresAt, signOut } = store.session
    if (before.roles.length === 0) return
    if (signOut && signOut.code !== 'LOGOUT') dispatch('tokenRefreshFailed', signOut)
    if (accessToken !== null && accessToken !== before.accessToken)
      dispatch('tokenRefreshed', { role: roles[0], roles, expiresAt: clock.toMachine(expiresAt) })
  })

  function dispatch(name: string, detail: object): void {
    attempt(() => window.dispatchEvent(new CustomEvent(name, { detail })))
  }
}
