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
 * `fetch` that keeps cookies. What is missing is done without: no storage, and a restart forgets who was signed in; no
 * channel, and there are no other tabs.
 */
export interface Platform {
  fetch: typeof fetch
  localStorage?: KeyValueStorage | undefined
  locks?: Locks | undefined
  BroadcastChannel?: (new (name: string) => Channel) | undefined
  /** Where `focus`, `online`, `visibilitychange` and `storage` come from, and our own events go to. */
  window?: EventTarget | undefined
}

/** The page's own. In Node and other places without a `window` there is `fetch` alone, so requests share nothing. */
export function browserPlatform(): Platform {
  const page = globalThis.window as (Window & typeof globalThis) | undefined
  return {
    fetch: (input, init) => fetch(input, init),
    localStorage: page && storageOf(page),
    locks: page?.navigator?.locks as Locks | undefined,
    BroadcastChannel: page?.BroadcastChannel as Platform['BroadcastChannel'],
    window: page,
  }
}

/** A browser that blocks storage throws already when it is looked at. */
function storageOf(page: Window): KeyValueStorage | undefined {
  try {
    return page.localStorage
  } catch {
    return undefined
  }
}

/** Storage that is full or forbidden is no reason not to be signed in: what it does not take ends with the page. */
export function forgiving(storage: KeyValueStorage): KeyValueStorage {
  const refused = memoryStorage()
  return {
    getItem: (key) => refused.getItem(key) ?? storage.getItem(key),
    setItem(key, value) {
      refused.removeItem(key)
      try {
        storage.setItem(key, value)
      } catch {
        refused.setItem(key, value)
      }
    },
    removeItem(key) {
      refused.removeItem(key)
      storage.removeItem(key)
    },
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
