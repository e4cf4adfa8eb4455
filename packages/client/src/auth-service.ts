import { unlessAborted } from './abort.ts'
import { readAccessToken } from './access-token.ts'
import { AuthError, errorOf } from './auth-error.ts'
import type { Clock } from './clock.ts'
import type { NextSession, Session } from './store.ts'

export interface Credentials {
  email: string
  password: string
}

interface PostInit {
  timeLimit: number
  headers?: Record<string, string>
  body?: string
  signal?: AbortSignal
  /** Whether the request outlives the page. */
  keepalive?: boolean
}

/** The requests that use the refresh cookie, by their paths at the gateway (docs/api.md). */
export interface AuthService {
  /** @throws AuthError */
  login(credentials: Credentials, before: Session): Promise<NextSession>
  /** @throws AuthError */
  refresh(before: Session, attempt: string, signal: AbortSignal): Promise<NextSession>
  /** @throws AuthError */
  logout(): Promise<void>
}

/** Far below the time between two refreshes, so that no old one is still in flight when the next one starts. */
const timeLimitOf = (lifetime: number) => Math.min(10_000, lifetime / 4 || 10_000)

/** @param base the gateway's address, without a slash at its end */
export function createAuthService(base: string, send: typeof fetch, clock: Clock): AuthService {
  return {
    async login(credentials, before) {
      const sentAt = clock.now()
      const headers = { 'content-type': 'application/json' }
      const response = await post('login', { headers, body: JSON.stringify(credentials), timeLimit: 30_000 })
      return signedIn(response, sentAt, before)
    },

    async refresh(before, attempt, signal) {
      const sentAt = clock.now()
      const headers = { 'x-refresh-attempt': attempt }
      const response = await post('refresh', { headers, signal, timeLimit: timeLimitOf(before.lifetime) })
      return signedIn(response, sentAt, before)
    },

    async logout() {
      await post('logout', { keepalive: true, timeLimit: 10_000 })
    },
  }

  /** The time limit holds until the body is there, also where `fetch` knows nothing of signals. */
  function post(name: string, { timeLimit, signal, ...init }: PostInit): Promise<unknown> {
    const controller = new AbortController()
    const abort = () => controller.abort()
    const limit = setTimeout(abort, timeLimit)
    signal?.addEventListener('abort', abort)
    return exchange(name, init, controller.signal).finally(() => {
      clearTimeout(limit)
      signal?.removeEventListener('abort', abort)
    })
  }

  async function exchange(name: string, init: RequestInit, signal: AbortSignal): Promise<unknown> {
    try {
      return await unlessAborted(signal, async () => {
        const response = await send(`${base}/api/auth/${name}`, {
          ...init,
          signal,
          method: 'POST',
          credentials: 'include',
        })
        if (!response.ok) throw await errorOf(response)
        return response.json()
      })
    } catch (cause) {
      if (cause instanceof AuthError) throw cause
      if (cause instanceof SyntaxError) throw new AuthError('ANSWER_INVALID', 'The response is not JSON', { cause })
      throw new AuthError('NETWORK', 'The server did not respond', { cause })
    }
  }
}

/**
 * What a response with an access token says. The token expires its lifetime after the request was sent, however
 * wrong this machine's clock is, and never too late.
 */
function signedIn(content: unknown, sentAt: number, before: Session): NextSession {
  const { accessToken, user } = (content ?? {}) as { accessToken: string; user?: { name: string } }
  const claims = readAccessToken(accessToken)
  if (!claims?.roles.length) throw new AuthError('ANSWER_INVALID', 'The response has no access token')
  const lifetime = (claims.exp - claims.iat) * 1_000
  const nameBefore = before.user?.id === claims.sub ? before.user.name : null
  return {
    accessToken,
    roles: claims.roles,
    user: { id: claims.sub, email: claims.email, name: user?.name ?? nameBefore },
    expiresAt: sentAt + lifetime,
    lifetime,
    signOut: null,
  }
}
