import type { AuthenticationResponseJSON } from '@simplewebauthn/browser'
import { unlessAborted } from './abort.ts'
import { readAccessToken } from './access-token.ts'
import { AuthError, contentOf, fail } from './auth-error.ts'
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

/** Who has the mail of a registration or an invitation: by the ticket of its link, or by the code of a registration. */
export type Proof = { ticket: string } | { ticketId: string; code: string }

/** What a passkey signed, for a challenge of the server. */
export interface PasskeyProof {
  challengeId: string
  credential: AuthenticationResponseJSON
}

/** The second step of a sign-in. `code` is one of an authenticator app, or a recovery code. */
export type SecondFactor = { challenge: string } & ({ code: string } | { credential: AuthenticationResponseJSON })

/** Who is signed in, proved once more. `code` is one of an authenticator app, or a recovery code. */
export type StepUpProof = { password: string } | { code: string } | PasskeyProof

export type Registration = Proof & { name: string; password: string }

/** The requests that bring an access token or end its session, by their paths at the gateway (docs/api.md). */
export interface AuthService {
  /** @param path `login`, or another with the same response. @throws AuthError */
  signIn(path: string, body: object, before: Session): Promise<NextSession>
  /** A newer token of the same session. @throws AuthError */
  stepUp(body: object, before: Session): Promise<NextSession>
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
    signIn,

    stepUp: (body, before) => signIn('step-up', body, before, { authorization: `Bearer ${before.accessToken}` }),

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

  async function signIn(path: string, content: object, before: Session, more?: Record<string, string>) {
    const sentAt = clock.now()
    const headers = { 'content-type': 'application/json', ...more }
    const response = await post(path, { headers, body: JSON.stringify(content), timeLimit: 30_000 })
    return signedIn(response, sentAt, before)
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

  function exchange(name: string, init: RequestInit, signal: AbortSignal): Promise<unknown> {
    return unlessAborted(signal, async () =>
      contentOf(await send(`${base}/api/auth/${name}`, { ...init, signal, method: 'POST', credentials: 'include' })),
    ).catch(fail)
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
