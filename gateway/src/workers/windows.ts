/** What a worker may let through of the requests of a key, without asking again. */
export interface Grant {
  /** So many; none for the rest of the window if it is 0. */
  granted: number
  /** How many of the window are granted by now, to whichever worker. */
  used: number
  /** Which window it is, and how many milliseconds it still lasts. */
  window: number
  ttl: number
}

interface Window {
  number: number
  ends: number
  used: number
  /** Whether all of it is used up, and nobody has anything left of it. */
  isSpent: boolean
  holders: Set<number>
  reclaiming: Promise<void> | undefined
}

interface Options {
  /** How many workers there are. */
  workers: number
  /** Windows that are kept at most; the one that began first goes first. */
  most: number
  /** Asks a worker for what it has left of a window. */
  reclaim(worker: number, key: string, window: number): Promise<number>
}

/**
 * Counts requests of several workers together, in windows that begin with a request: so many pass in each, and not one less,
 * whichever workers they come to. Each request would be a message to the process that counts; so a worker is granted a part of
 * what is left, the smaller the less there is, and what others did not use is asked back before anything is refused.
 */
export class Windows {
  readonly #options: Options
  readonly #windows = new Map<string, Window>()
  #number = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** @param max how many requests pass in a window of so many milliseconds */
  async take(worker: number, key: string, timeWindow: number, max: number): Promise<Grant> {
    for (;;) {
      const window = this.#windowOf(key, timeWindow)
      const { number, ends } = window
      const left = max - window.used
      if (left > 0 || window.isSpent) {
        const granted = window.isSpent ? 0 : Math.max(1, Math.floor(left / (2 * this.#options.workers)))
        window.used += granted
        window.holders.add(worker)
        return { granted, used: window.used, window: number, ttl: ends - performance.now() }
      }
      window.reclaiming ??= this.#reclaim(key, window)
      await window.reclaiming
    }
  }

  #windowOf(key: string, timeWindow: number): Window {
    const now = performance.now()
    const found = this.#windows.get(key)
    if (found && now < found.ends) return found
    // One that begins anew is the youngest.
    this.#windows.delete(key)
    const [eldest] = this.#windows.keys()
    if (this.#windows.size >= this.#options.most) this.#windows.delete(eldest as string)
    const number = this.#number++
    const window = { number, ends: now + timeWindow, used: 0, isSpent: false, holders: new Set<number>() }
    const begun: Window = { ...window, reclaiming: undefined }
    this.#windows.set(key, begun)
    return begun
  }

  async #reclaim(key: string, window: Window): Promise<void> {
    const holders = [...window.holders]
    window.holders.clear()
    const given = await Promise.all(holders.map((worker) => this.#options.reclaim(worker, key, window.number)))
    const back = given.reduce((sum, left) => sum + left, 0)
    window.used -= back
    window.isSpent = back === 0
    window.reclaiming = undefined
  }
}
