import { unlessAborted } from './abort.ts'
import { AuthError, errorOf } from './auth-error.ts'
import type { Clock } from './clock.ts'
import type { Refresh } from './refresh.ts'
import { nobody, type Store } from './store.ts'

/** What a new access token fixes. */
const fixable = ['TOKEN_MISSING', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_STALE', 'SESSION_ENDED']

interface Parts {
  base: string
  store: Store
  refresh: Refresh
  send: typeof fetch
  clock: Clock
}

/** `fetch` with the access token, for calls to the gateway. */
export function createFetch({ base, store, refresh, send, clock }: Parts) {
  const { origin } = new URL(base)

  return {
    /** A refresh that a call waits for may take long, and others wait for it too: an aborted call does not have to. */
    fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
      const request = input instanceof Request ? input : undefined
      const signal = init.signal === undefined ? request?.signal : init.signal
      return unlessAborted(signal, () => authorizedFetch(input, init, request))
    },

    freshAccessToken,
  }

  async function authorizedFetch(
    input: string | URL | Request,
    init: RequestInit,
    request: Request | undefined,
  ): Promise<Response> {
    const url = new URL(request?.url ?? String(input).replace(/^\/(?!\/)/, `${base}/`), `${base}/`)
    const target = request ?? url
    const headers = new Headers(init.headers ?? request?.headers)
    // The token is for the gateway, and an app that sends one of its own knows why.
    if (url.origin !== origin || headers.has('authorization')) return send(target, init)

    const token = await freshAccessToken()
    const { version } = store.session
    const response = await sendWith(token)
    if (response.status !== 401 || token === null) return response
    const { code, reason } = await errorOf(response.clone())
    if (!fixable.includes(code)) return response
    if (code === 'SESSION_ENDED' && store.session.version === version) {
      store.write({ ...nobody, signOut: { code, ...(reason !== undefined && { reason }) } })
      return response
    }
    await refresh(version)
    const next = store.session.accessToken
    if (next === null) return response
    if (request?.bodyUsed || isStream(init.body))
      throw new AuthError(
        'BODY_NOT_REPEATABLE',
        'The access token has been replaced, but the body is a stream and was read: make the call again',
        { status: 401 },
      )
    return sendWith(next)

    function sendWith(accessToken: string | null): Promise<Response> {
      if (accessToken !== null) headers.set('authorization', `Bearer ${accessToken}`)
      return send(target, { credentials: 'include', ...init, headers })
    }
  }

  async function freshAccessToken(): Promise<string | null> {
    store.sync()
    const { roles, accessToken, expiresAt, version } = store.session
    if (roles.length > 0 && (accessToken === null || expiresAt <= clock.now())) await refresh(version)
    return store.session.accessToken
  }
}

function isStream(body: unknown): boolean {
  return body instanceof ReadableStream || (body instanceof Object && Symbol.asyncIterator in body)
}
