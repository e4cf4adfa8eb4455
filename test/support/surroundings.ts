/// <reference lib="dom" />

/** What a fault takes hold of: a page's `window`, or what stands for one in Node. Times are in milliseconds. */
export interface Scope {
  /** What localStorage and sessionStorage are. */
  Storage: { prototype: Storage }
  navigator: { locks: LockManager }
  BroadcastChannel: unknown
  fetch: typeof fetch
  crypto: Crypto
  Date: { now(): number }
  /** How far the clock is off; a test corrects it. */
  clockOff?: number
}

/** Each runs by itself, also in a browser, so that it can use nothing around it. */
export type Fault = (scope: Scope) => void

/** What a window can lack, or have wrong. */
export const pageFaults: Record<string, Fault> = {
  'storage that throws when it is looked at': (scope) => {
    for (const name of ['localStorage', 'sessionStorage'])
      Object.defineProperty(scope, name, {
        configurable: true,
        get() {
          throw new DOMException('Access is denied for this document', 'SecurityError')
        },
      })
  },
  'no storage': (scope) => {
    for (const name of ['localStorage', 'sessionStorage'])
      Object.defineProperty(scope, name, { configurable: true, value: undefined })
  },
  'storage that throws when it is read': (scope) => {
    scope.Storage.prototype.getItem = () => {
      throw new DOMException('The operation is insecure', 'SecurityError')
    }
  },
  'storage that is full': (scope) => {
    scope.Storage.prototype.setItem = () => {
      throw new DOMException('The quota has been exceeded', 'QuotaExceededError')
    }
  },
  'storage that lets nothing be removed': (scope) => {
    scope.Storage.prototype.removeItem = () => {
      throw new DOMException('The operation is insecure', 'SecurityError')
    }
  },
  'no locks': (scope) => {
    Object.defineProperty(scope.navigator, 'locks', { configurable: true, value: undefined })
  },
  'locks that are refused': (scope) => {
    const request = () => Promise.reject(new DOMException('Access is denied', 'SecurityError'))
    Object.defineProperty(scope.navigator, 'locks', { configurable: true, value: { request } })
  },
  'locks that throw': (scope) => {
    const request = () => {
      throw new DOMException('The document is not active', 'InvalidStateError')
    }
    Object.defineProperty(scope.navigator, 'locks', { configurable: true, value: { request } })
  },
  'locks that are stolen': (scope) => {
    const request = (_name: string, _options: object, whileHeld: () => Promise<void>) => {
      whileHeld()
      return Promise.reject(new DOMException('The lock was stolen', 'AbortError'))
    }
    Object.defineProperty(scope.navigator, 'locks', { configurable: true, value: { request } })
  },
  'no channels': (scope) => {
    Object.defineProperty(scope, 'BroadcastChannel', { configurable: true, value: undefined })
  },
  'channels that cannot be opened': (scope) => {
    const BroadcastChannel = class {
      constructor() {
        throw new DOMException('Access is denied', 'SecurityError')
      }
    }
    Object.defineProperty(scope, 'BroadcastChannel', { configurable: true, value: BroadcastChannel })
  },
  'channels that carry nothing': (scope) => {
    const BroadcastChannel = class {
      postMessage() {
        throw new DOMException('The channel is closed', 'InvalidStateError')
      }
      close() {
        throw new DOMException('The channel is closed', 'InvalidStateError')
      }
    }
    Object.defineProperty(scope, 'BroadcastChannel', { configurable: true, value: BroadcastChannel })
  },
  'a first refresh that fails': (scope) => {
    const real = scope.fetch
    let isOver = false
    scope.fetch = (input, init) => {
      if (isOver || !String(input).endsWith('/refresh')) return real.call(scope as never, input, init)
      isOver = true
      throw new TypeError('Failed to fetch')
    }
  },
  'a first refresh that hangs': (scope) => {
    const real = scope.fetch
    let isOver = false
    scope.fetch = (input, init) => {
      if (isOver || !String(input).endsWith('/refresh')) return real.call(scope as never, input, init)
      isOver = true
      return new Promise(() => {})
    }
  },
  'a first refresh that is aborted': (scope) => {
    const real = scope.fetch
    let isOver = false
    scope.fetch = (input, init) => {
      if (isOver || !String(input).endsWith('/refresh')) return real.call(scope as never, input, init)
      isOver = true
      return Promise.reject(new DOMException('The user aborted a request', 'AbortError'))
    }
  },
}

/** What anything can lack, or have wrong: in Node it is the same for all that runs. */
export const globalFaults: Record<string, Fault> = {
  'no crypto.randomUUID': (scope) => {
    Object.defineProperty(scope.crypto, 'randomUUID', { configurable: true, value: undefined })
  },
  'no crypto.subtle': (scope) => {
    Object.defineProperty(scope.crypto, 'subtle', { configurable: true, value: undefined })
  },
  'no crypto': (scope) => {
    Object.defineProperty(scope, 'crypto', { configurable: true, value: undefined })
  },
  'no steady clock': (scope) => {
    Object.defineProperty(scope, 'performance', { configurable: true, value: undefined })
  },
  'a clock 5 h ahead, then corrected': (scope) => {
    const { now } = scope.Date
    scope.clockOff = 5 * 3_600_000
    scope.Date.now = () => now() + (scope.clockOff as number)
  },
  'a clock 5 h behind, then corrected': (scope) => {
    const { now } = scope.Date
    scope.clockOff = -5 * 3_600_000
    scope.Date.now = () => now() + (scope.clockOff as number)
  },
  'a clock that jumps': (scope) => {
    const { now } = scope.Date
    let looks = 0
    scope.Date.now = () => {
      looks += 1
      return now() + ([0, 0, 0, 5, 5, -5].at(looks % 6) as number) * 3_600_000
    }
  },
}

/** Every one alone, and every two. */
export function pairsOf<Value>(values: Value[]): Value[][] {
  return values.flatMap((one, at) => [[one], ...values.slice(at + 1).map((other) => [one, other])])
}
