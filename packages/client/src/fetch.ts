import { unlessAborted } from './abort.ts'
import { readAccessToken } from './access-token.ts'
import { AuthError, errorOf, type StepUpNeed } from './auth-error.ts'
import { urlOf } from './base-url.ts'
import type { Clock } from './clock.ts'
import type { Refresh } from './refresh.ts'
import { nobody, type Store } from './store.ts'

/** What a new access token fixes. */
export const fixable = ['TOKEN_MISSING', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_STALE', 'SESSION_ENDED']

interface Parts {
  base: string
  store: Store
  refresh: Refresh
  send: typeof fetch
  clock: Clock
  onStepUp: ((need: StepUpNeed) => Promise<boolean>) | undefined
}

/** Makes a request acceptable that was sent with this version of the session, or says that it is not to be. */
type Fix = (version: number, need: StepUpNeed) => Promise<boolean>

/** `fetch` with the access token, for calls to the gateway. */
export function createFetch({ base, store, refresh, send, clock, onStepUp }: Parts) {
  const { origin } = new URL(base)
  let steppingUp: Promise<boolean> | undefined
  /** The version of the session after the last step-up. */
  let steppedUp = 0

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
    const url = urlOf(base, input)
    const target = request ?? url
    const headers = new Headers(init.headers ?? request?.headers)
    // The token is for the gateway, and an app that sends one of its own knows why.
    if (url.origin !== origin || headers.has('authorization')) return send(target, init)

    const sendWith = (accessToken: string | null): Promise<Response> => {
      if (accessToken !== null) headers.set('authorization', `Bearer ${accessToken}`)
      return send(target, { credentials: 'include', ...init, headers })
    }
    return attempt(await freshAccessToken(), new Set<Fix>([renew, stepUp]))

    /** @param fixes what has not been tried yet to have the request accepted */
    async function attempt(token: string | null, fixes: Set<Fix>): Promise<Response> {
      const { version, user } = store.session
      const response = await sendWith(token)
      if (response.status !== 401 || token === null) return response
      const { code, reason, problem } = await errorOf(response.clone())
      const fix = code === 'STEP_UP_REQUIRED' ? stepUp : renew
      if ((fix === renew && !fixable.includes(code)) || !fixes.delete(fix)) return response
      if (code === 'SESSION_ENDED' && store.session.version === version) {
        store.write({ ...nobody, signOut: { code, ...(reason !== undefined && { reason }) } })
        return response
      }
      const isFixed = await fix(version, { ...needOf(response), ...problem })
      const next = store.session.accessToken
      // What one user asked for is not done as another, who has signed in meanwhile.
      if (!isFixed || next === null || store.session.user?.id !== user?.id) return response
      if (request?.bodyUsed || isStream(init.body))
        throw new AuthError(
          'BODY_NOT_REPEATABLE',
          'The access token has been replaced, but the body is a stream and was read: make the call again',
          { status: 401 },
        )
      return attempt(next, fixes)
    }
  }

  async function renew(version: number): Promise<boolean> {
    await refresh(version)
    return true
  }

  /**
   * One for all calls that need it, also for those that were sent before it and whose response comes after. A call asks
   * by itself only if that of others proved too little for it.
   */
  async function stepUp(version: number, { acr, maxAge }: StepUpNeed): Promise<boolean> {
    for (;;) {
      const { accessToken } = store.session
      if (!onStepUp || accessToken === null) return false
      const level = readAccessToken(accessToken)?.acr ?? ''
      if (version < steppedUp && (acr ?? '') <= level) return true
      const isShared = steppingUp !== undefined
      steppingUp ??= onStepUp({ acr, maxAge }).finally(() => {
        steppingUp = undefined
      })
      if (!(await steppingUp)) return false
      steppedUp = store.session.version
      if (!isShared) return true
    }
  }

  async function freshAccessToken(): Promise<string | null> {
    store.sync()
    const { roles, accessToken, expiresAt, version } = store.session
    if (roles.length > 0 && (accessToken === null || expiresAt <= clock.now())) await refresh(version)
    return store.session.accessToken
  }
}

/** Of the challenge (RFC 9470), as the gateway writes it: a proxy that asks it may drop the body, which says the same. */
function needOf({ headers }: Response): StepUpNeed {
  const [, acr, maxAge] =
    /tion"(?:, acr_values="(aal\d)")?(?:, max_age="(\d+))?/.exec(`${headers.get('www-authenticate')}`) ?? []
  return { acr: acr as StepUpNeed['acr'], maxAge: Number(maxAge) || undefined }
}

function isStream(body: unknown): boolean {
  return body instanceof ReadableStream || (body instanceof Object && Symbol.asyncIterator in body)
}
