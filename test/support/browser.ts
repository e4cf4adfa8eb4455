import { randomUUID } from 'node:crypto'
import {
  type AuthClient,
  type AuthClientOptions,
  type Channel,
  createAuthClient,
  type KeyValueStorage,
  type Locks,
  type Platform,
} from '@sallyport/client'

/** What a page sent: enough to count it and to lose it. */
export interface Sent {
  path: string
  /** 0 until there is a response. */
  status: number
  attempt: string | null
  authorization: string | null
}

/** Carries a request and its response, or does not. By default it does. */
export type Network = (deliver: () => Promise<Response>, sent: Sent) => Promise<Response>

export interface Tab {
  client: AuthClient
  window: EventTarget
  /** The client's events on `window`. */
  events: { type: string; detail: unknown }[]
  storage: KeyValueStorage
  close(): void
}

/**
 * A browser as far as the client sees one: tabs that share storage, a cookie jar, locks and channels. Node has the
 * channels; the rest is here because Node 20 has none of it. It talks to real servers.
 */
export class Browser {
  readonly baseUrl: string
  readonly values = new Map<string, string>()
  readonly sent: Sent[] = []
  cookie: string | undefined
  network: Network = (deliver) => deliver()
  locks: Locks | undefined = createLocks()
  /** Whether tabs are notified of what others change in storage. */
  storageEvents = true
  BroadcastChannel: Platform['BroadcastChannel'] = channelsOf(randomUUID())
  readonly #tabs = new Set<Tab>()

  constructor(baseUrl: string) {
    this.baseUrl = baseUrl
  }

  /** Opens a page that has a client and monitors. */
  open(options: Partial<AuthClientOptions> = {}): Tab {
    const window = new EventTarget()
    const events: Tab['events'] = []
    for (const type of ['tokenRefreshed', 'tokenRefreshFailed'])
      window.addEventListener(type, (event) => events.push({ type, detail: (event as CustomEvent).detail }))
    const storage = this.#storageOf(window)
    const { fetch, locks, BroadcastChannel } = this
    const platform = { fetch, locks, BroadcastChannel, window, localStorage: storage, ...options.platform }
    const client = createAuthClient({ baseUrl: this.baseUrl, ...options, platform })
    const close = () => {
      client.stopTokenMonitoring()
      this.#tabs.delete(tab)
    }
    const tab: Tab = { client, window, events, storage, close }
    this.#tabs.add(tab)
    client.startTokenMonitoring()
    return tab
  }

  close(): void {
    for (const { close } of this.#tabs) close()
  }

  /** Requests to a path of the auth service. */
  requests(name: string): Sent[] {
    return this.sent.filter(({ path }) => path === `/api/auth/${name}`)
  }

  /** Adds and keeps the refresh cookie of requests with credentials; the response to an aborted one leaves no cookie. */
  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input as Request, init)
    const hasCookies = request.credentials === 'include'
    if (this.cookie && hasCookies) request.headers.set('cookie', `refreshToken=${this.cookie}`)
    const { headers, signal } = request
    const sent: Sent = {
      path: new URL(request.url).pathname,
      status: 0,
      attempt: headers.get('x-refresh-attempt'),
      authorization: headers.get('authorization'),
    }
    this.sent.push(sent)
    const response = await this.network(() => fetch(request), sent)
    signal.throwIfAborted()
    sent.status = response.status
    const set = /^refreshToken=([^;]*)/.exec(response.headers.get('set-cookie') ?? '')
    if (set && hasCookies) this.cookie = set[1] || undefined
    return response
  }

  /** One tab's view; the others are notified of what it changes. */
  #storageOf(window: EventTarget): KeyValueStorage {
    const notify = () => {
      if (!this.storageEvents) return
      for (const tab of this.#tabs)
        if (tab.window !== window) setImmediate(() => tab.window.dispatchEvent(new Event('storage')))
    }
    return {
      getItem: (key) => this.values.get(key) ?? null,
      setItem: (key, value) => {
        this.values.set(key, value)
        notify()
      },
      removeItem: (key) => {
        if (this.values.delete(key)) notify()
      },
    }
  }
}

/** Web Locks: one holder at a time, the others wait in line until they give up. */
export function createLocks(): Locks {
  let last: Promise<unknown> = Promise.resolve()
  return {
    async request(_name, { signal }, whileHeld) {
      const before = last
      let release = () => {}
      last = new Promise<void>((resolve) => {
        release = resolve
      })
      const gaveUp = new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      )
      try {
        await Promise.race([before, gaveUp])
      } catch (error) {
        before.then(release)
        throw error
      }
      await whileHeld().finally(release)
    },
  }
}

/** Node's channels are for all of the process; a browser's are its own. */
function channelsOf(browser: string): NonNullable<Platform['BroadcastChannel']> {
  return class extends BroadcastChannel {
    constructor(name: string) {
      super(`${browser} ${name}`)
    }
  } as unknown as new (
    name: string,
  ) => Channel
}
