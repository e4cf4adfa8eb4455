import type { StepUpNeed } from './auth-error.ts'
import {
  type Credentials,
  createAuthService,
  type PasskeyProof,
  type Registration,
  type SecondFactor,
  type StepUpProof,
} from './auth-service.ts'
import { findGateway } from './base-url.ts'
import { createClock } from './clock.ts'
import { announce } from './events.ts'
import { exclusively } from './exclusive.ts'
import { createFetch } from './fetch.ts'
import { createLogout } from './logout.ts'
import { createMonitor } from './monitor.ts'
import { browserPlatform, dependable, type KeyValueStorage, memoryStorage, type Platform } from './platform.ts'
import { createRefresh } from './refresh.ts'
import { type AuthSnapshot, createSnapshots } from './snapshot.ts'
import { createStepUp } from './step-up.ts'
import { createStore } from './store.ts'

export interface AuthClientOptions {
  /**
   * Where the gateway is. For a page it may be relative: `/` is the page's own origin. A server that renders such a page
   * may make the client too, and knows nobody; its calls to the gateway reject with `BASE_URL_RELATIVE`.
   */
  baseUrl: string
  /**
   * Where the access token is kept: `localStorage` (the default) survives a reload; `memory` leaves no token on the
   * disk, and a reload fetches a new one. Who is signed in (roles, name, e-mail) is in localStorage either way. An
   * object with the methods of Web Storage takes the place of localStorage.
   */
  storage?: 'localStorage' | 'memory' | KeyValueStorage
  /**
   * Has the user confirm who they are, by `stepUp`, when a call of `fetch` needs that (401 `STEP_UP_REQUIRED`). The call is
   * sent again if it resolves true, and gives the 401 otherwise. Calls that need it at the same time share one, unless
   * it proved too little for one of them, which then asks by itself.
   */
  onStepUp?: (need: StepUpNeed) => Promise<boolean>
  /** Says what happens in `console.debug`, or to a function. Never a token, or a part of one. */
  debug?: boolean | ((event: string) => void)
  /** What the client uses instead of the browser's own. */
  platform?: Partial<Platform>
}

export interface AuthClient {
  /** The gateway's address, without a slash at its end. */
  readonly baseUrl: string
  /**
   * @throws AuthError, such as `AUTH_INVALID_CREDENTIALS`, `RATE_LIMITED` (with `retryAfter`) or `NETWORK`; and
   *   `SECOND_FACTOR_REQUIRED`, whose `problem` says what `loginWithSecondFactor` goes on with
   */
  login(credentials: Credentials): Promise<void>
  /** @throws AuthError, such as `CODE_WRONG`, or `CHALLENGE_INVALID`: begin with `login` again */
  loginWithSecondFactor(factor: SecondFactor): Promise<void>
  /** `passkeysOf` gets the proof from the browser. @throws AuthError, such as `PASSKEY_UNKNOWN` or `CHALLENGE_INVALID` */
  loginWithPasskey(proof: PasskeyProof): Promise<void>
  /**
   * Makes the account that a mail offers, and signs in as `login` does.
   *
   * @throws AuthError, such as `TICKET_INVALID`, `PASSWORD_WEAK` or `REGISTRATION_CLOSED`
   */
  completeRegistration(registration: Registration): Promise<void>
  /**
   * Proves once more who the signed-in user is. The session goes on, with a new access token.
   *
   * @throws AuthError, such as `PASSWORD_WRONG`, `CODE_WRONG`, `SIGNED_OUT` or `NETWORK`
   */
  stepUp(proof: StepUpProof): Promise<void>
  /**
   * Signs out in all tabs at once, before it returns, also without a network. The promise is for those who want to wait
   * until the server was notified; it never rejects, and what fails is retried while monitoring runs.
   */
  logout(): Promise<void>
  /**
   * `fetch` for the gateway: a path is one of `baseUrl`'s. Sends the access token to `baseUrl`'s origin and nowhere
   * else. When the token is rejected it is replaced once and the request sent again; so it is after a step-up, if there
   * is `onStepUp`.
   *
   * @throws AuthError if a needed token cannot be had now (`NETWORK`, `UNAVAILABLE`, ...), or `BODY_NOT_REPEATABLE`;
   *   what `fetch` throws; and the reason of the call's signal as soon as that is aborted, whatever it waits for
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** What is there now, expired or not; null if nobody is signed in or it has yet to be fetched. */
  getAccessToken(): string | null
  /** One that has not expired, for a WebSocket or another library; null if nobody is signed in. @throws AuthError */
  getFreshAccessToken(): Promise<string | null>
  /** The main role; null if nobody is signed in. */
  getRole(): string | null
  /** Gets a new access token now, such as after a change of roles. @throws AuthError */
  refresh(): Promise<void>
  /** @returns a function that ends the subscription */
  subscribe(listener: () => void): () => void
  /** The same object until something changes. */
  getSnapshot(): AuthSnapshot
  /** Keeps the user signed in, and this tab in sync with the others, until it is stopped. Idempotent. */
  startTokenMonitoring(): void
  stopTokenMonitoring(): void
}

/**
 * @throws TypeError if `baseUrl` is no URL, or not one of http or https
 */
export function createAuthClient(options: AuthClientOptions): AuthClient {
  const { baseUrl, storage = 'localStorage', debug = false, onStepUp } = options
  const platform: Platform = { ...browserPlatform(), ...options.platform }
  const { locks, window } = platform
  const { base, send } = findGateway(baseUrl, platform.fetch)
  const kept = dependable(typeof storage === 'object' ? storage : (platform.localStorage ?? memoryStorage()))

  const clock = createClock()
  const store = createStore(kept, storage !== 'memory', clock)
  const service = createAuthService(base, send, clock)
  const refresh = createRefresh({ store, service, locks, clock, log })
  const logout = createLogout({ store, service, storage: kept, locks, clock, log })
  const snapshots = createSnapshots(store, clock)
  const monitor = createMonitor({ store, refresh, logout, snapshots, platform, clock })
  const authorized = createFetch({ base, store, refresh, send, clock, onStepUp })
  const { freshAccessToken } = authorized
  if (window) announce(store, window, clock)

  return {
    baseUrl: base,
    login: (credentials) => signIn('login', credentials),
    loginWithSecondFactor: (factor) => signIn('login/second-factor', factor),
    loginWithPasskey: (proof) => signIn('login/passkey', proof),
    completeRegistration: (registration) => signIn('register/complete', registration),
    stepUp: createStepUp({ store, service, refresh, freshAccessToken, locks, log }),

    logout() {
      logout.begin()
      return logout.finish()
    },

    fetch: authorized.fetch,
    getFreshAccessToken: freshAccessToken,

    getAccessToken() {
      store.sync()
      return store.session.accessToken
    },

    getRole() {
      store.sync()
      return store.session.roles[0] ?? null
    },

    refresh: () => refresh(),
    subscribe: snapshots.subscribe,
    getSnapshot: snapshots.get,
    startTokenMonitoring: monitor.start,
    stopTokenMonitoring: monitor.stop,
  }

  function signIn(path: string, body: object): Promise<void> {
    return exclusively(locks, async () => {
      await logout.notifyServer()
      const session = await service.signIn(path, body, store.session)
      logout.forget()
      store.write(session)
      log('signed in')
    })
  }

  function log(event: string): void {
    if (typeof debug === 'function') debug(event)
    // biome-ignore lint/suspicious/noConsole: asked for
    else if (debug) console.debug(`[sallyport] ${event}`)
  }
}
