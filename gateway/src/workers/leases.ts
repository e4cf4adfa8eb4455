import type { Grant } from './windows.ts'

/** How many requests a key has in its window by now, this one included, and how many milliseconds that goes on. */
export interface RequestCount {
  current: number
  ttl: number
}

interface Lease extends Pick<Grant, 'used' | 'window'> {
  left: number
  isSpent: boolean
  ends: number
}

/** The requests that a worker may let through by itself, as the process that counts for all has granted it (windows.ts). */
export class Leases {
  readonly #take: (key: string, timeWindow: number, max: number) => Promise<Grant>
  readonly #most: number
  readonly #leases = new Map<string, Lease>()
  readonly #renewing = new Map<string, Promise<void>>()

  /** @param most leases that are kept; then the one that was taken first goes */
  constructor(take: (key: string, timeWindow: number, max: number) => Promise<Grant>, most: number) {
    this.#take = take
    this.#most = most
  }

  /** Counts a request: at once, if it has a lease. What is more than `max` does not pass. */
  count(key: string, timeWindow: number, max: number, done: (count: RequestCount) => void): void {
    const lease = this.#leases.get(key)
    const ttl = lease ? lease.ends - performance.now() : 0
    if (lease && ttl > 0 && lease.isSpent) done({ current: max + 1, ttl })
    else if (lease && ttl > 0 && lease.left > 0) {
      lease.left -= 1
      // What others were granted since is not known here, nor what they have not used.
      done({ current: lease.used - lease.left, ttl })
    } else this.#renewed(key, timeWindow, max).then(() => this.count(key, timeWindow, max, done))
  }

  /** Gives back what is left of a window. */
  giveBack(key: string, window: number): number {
    const lease = this.#leases.get(key)
    if (lease?.window !== window) return 0
    const { left } = lease
    lease.left = 0
    return left
  }

  /** Requests of one key that come together wait for one answer. */
  #renewed(key: string, timeWindow: number, max: number): Promise<void> {
    const renewing = this.#renewing.get(key)
    if (renewing) return renewing
    const begun = this.#take(key, timeWindow, max).then((grant) => {
      this.#renewing.delete(key)
      this.#keep(key, grant)
    })
    this.#renewing.set(key, begun)
    return begun
  }

  #keep(key: string, { granted, used, window, ttl }: Grant): void {
    // What is taken anew is the youngest.
    this.#leases.delete(key)
    const [eldest] = this.#leases.keys()
    if (this.#leases.size >= this.#most) this.#leases.delete(eldest as string)
    this.#leases.set(key, { left: granted, isSpent: granted === 0, used, window, ends: performance.now() + ttl })
  }
}
