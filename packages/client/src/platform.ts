/** The part of Web Storage that the client uses. */
export interface KeyValueStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** The part of the Web Locks API that the client uses. */
export interface Locks {
  request(name: string, options: { signal: AbortSignal }, whileHeld: () => Promise<void>): Promise<unknown>
}

/** The part of a BroadcastChannel that the client uses. */
export interface Channel {
  onmessage: ((event: { data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
}

/**
 * What the client uses of its surroundings. A browser has all of it. Outside of one, give what there is: above all a
 * `fetch` that keeps cookies. What is missing, or throws, is done without: no storage, and a restart forgets who was
 * signed in; no channel, and there are no other tabs.
 */
export interface Platform {
  fetch: typeof fetch
  localStorage?: KeyValueStorage | undefined
  locks?: Locks | undefined
  BroadcastChannel?: (new (name: string) => Channel) | undefined
  /** Where `focus`, `online`, `visibilitychange` and `storage` come from, and our own events go to. */
  window?: EventTarget | undefined
}

/**
 * The page's own. In Node and other places without a `window` there is `fetch` alone, so requests share nothing. A
 * browser that blocks storage throws already when it is looked at.
 */
export function browserPlatform(): Platform {
  const page = globalThis.window as (Window & typeof globalThis) | undefined
  return {
    fetch: (input, init) => fetch(input, init),
    localStorage: attempt(() => page?.localStorage),
    locks: attempt(() => page?.navigator?.locks) as Locks | undefined,
    BroadcastChannel: attempt(() => page?.BroadcastChannel) as Platform['BroadcastChannel'],
    window: page,
  }
}

/** Surroundings that fail are like those that are not there: undefined. */
export function attempt<Result>(act: () => Result): Result | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}

/**
 * Storage that never throws. Storage that is full or forbidden, always or now and then, is no reason not to be signed
 * in: what it does not take or take away, and what it gave last before it failed, is kept until the page ends.
 */
export function dependable(storage: KeyValueStorage): KeyValueStorage {
  const known = new Map<string, string>()
  /** Keys for which what is known holds, whatever storage says. */
  const refused = new Set<string>()
  return {
    getItem(key) {
      const value = refused.has(key) ? undefined : attempt(() => storage.getItem(key))
      if (value === null) known.delete(key)
      else if (value !== undefined) known.set(key, value)
      return known.get(key) ?? null
    },
    setItem(key, value) {
      known.set(key, value)
      write(key, () => storage.setItem(key, value))
    },
    removeItem(key) {
      known.delete(key)
      write(key, () => storage.removeItem(key))
    },
  }

  function write(key: string, act: () => void): void {
    refused.add(key)
    attempt(() => {
      act()
      refused.delete(key)
    })
  }
}

/** Storage that ends with the page. */
export function memoryStorage(): KeyValueStorage {
  const values = new Map<string, string>()
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.delete(key),
  }
}

/** A channel that never throws; undefined where there is none. */
export function openChannel(
  { BroadcastChannel }: Platform,
  hear: (message: unknown) => void,
): Pick<Channel, 'postMessage' | 'close'> | undefined {
  const channel = attempt(() => BroadcastChannel && new BroadcastChannel('sallyport'))
  if (!channel) return undefined
  channel.onmessage = ({ data }) => hear(data)
  return {
    postMessage: (message) => attempt(() => channel.postMessage(message)),
    close: () => attempt(() => channel.close()),
  }
}

/**
 * Waits for the lock, and holds it for as long as `whileHeld` takes.
 *
 * @returns a promise that is fulfilled, also where locks are forbidden or fail: it says nothing of whether it was held
 */
export function holdLock(locks: Locks, signal: AbortSignal, whileHeld: () => Promise<void>): Promise<unknown> {
  return new Promise((resolve) => resolve(locks.request('sallyport', { signal }, whileHeld))).catch(() => {})
}

/**
 * An id that nobody guesses. Where a browser has no Web Crypto it is one that nobody else has: the refresh token, by
 * which a session is known, does not come from here.
 */
export function randomId(): string {
  const id = attempt(() => crypto.getRandomValues(new BigUint64Array(2)).join('-'))
  return id ?? [1, 2, 3].map(Math.random).join('-')
}
