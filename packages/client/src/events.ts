import type { Store } from './store.ts'

/**
 * Tells of refreshes on `window`: `tokenRefreshed` with `{ role, roles, expiresAt }` when there is a new access token,
 * from here or from another tab, and `tokenRefreshFailed` with `{ code, reason }` when the session is over and the
 * person did not sign out. Every script of the page hears events, so there is no token in them.
 */
export function announce(store: Store, window: EventTarget): void {
  store.subscribe((before) => {
    const { accessToken, roles, expiresAt, signOut } = store.session
    if (before.roles.length === 0) return
    if (signOut && signOut.code !== 'LOGOUT') dispatch('tokenRefreshFailed', signOut)
    if (accessToken !== null && accessToken !== before.accessToken)
      dispatch('tokenRefreshed', { role: roles[0], roles, expiresAt })
  })

  function dispatch(name: string, detail: object): void {
    window.dispatchEvent(new CustomEvent(name, { detail }))
  }
}
