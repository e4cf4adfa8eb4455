const key = 'sallyport.returnPath'

/** Remembers this page for after the login, as long as the tab is open. */
export function rememberReturnPath(): void {
  const { pathname, search, hash } = window.location
  // A path that begins with two slashes would name another host.
  window.sessionStorage.setItem(key, pathname.replace(/^\/+/, '/') + search + hash)
}

/**
 * Where to go after a login: the page that `ProtectedRoute` did not show, once; then the fallback. It comes from this
 * tab's own storage, so no link can name it.
 */
export function takeReturnPath(fallback = '/'): string {
  const path = window.sessionStorage.getItem(key)
  window.sessionStorage.removeItem(key)
  return path ?? fallback
}
