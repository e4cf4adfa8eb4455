const key = 'sallyport.returnPath'

/** The path, where storage is blocked or full: it is lost with the page. */
let untaken: string | null = null

/** Remembers this page for after the login, as long as the tab is open. The login itself is no page to come back to. */
export function rememberReturnPath(loginPath: string): void {
  if (isHere(loginPath)) return
  const { pathname, search, hash } = window.location
  // A path that begins with two slashes would name another host.
  const path = pathname.replace(/^\/+/, '/') + search + hash
  try {
    window.sessionStorage.setItem(key, path)
    untaken = null
  } catch {
    untaken = path
  }
}

/**
 * Where to go after a login: the page that `ProtectedRoute` did not show, once; then the fallback. It comes from this
 * tab's own storage, so no link can name it.
 */
export function takeReturnPath(fallback = '/'): string {
  const path = untaken ?? takeStored()
  untaken = null
  return path ?? fallback
}

function takeStored(): string | null {
  try {
    const path = window.sessionStorage.getItem(key)
    window.sessionStorage.removeItem(key)
    return path
  } catch {
    return null
  }
}

/**
 * Whether a path leads to the page that is open. Its query and its hash count as far as an app may tell pages by them:
 * `/?page=login`, `/#/login`.
 */
function isHere(path: string): boolean {
  const [here, there] = [new URL(window.location.href), new URL(path, window.location.href)]
  return (
    here.origin === there.origin &&
    withoutEnd(here.pathname) === withoutEnd(there.pathname) &&
    [...there.searchParams].every(([name, value]) => (here.searchParams.get(name) ?? value) === value) &&
    (!/^#!?\//.test(there.hash) || withoutEnd(here.hash) === withoutEnd(there.hash))
  )
}

/** Without the query of a path in a hash, and without slashes at the end. */
const withoutEnd = (path: string) => path.replace(/\?.*$/, '').replace(/\/+$/, '')
