import { Problem } from '@sallyport/chassis'
import { countLimit } from '../limits.ts'

export interface StreamLimits {
  /** The most WebSockets and event streams of one user, or of one address where nobody is signed in. */
  perUser: number
  /** The most of all together. */
  most: number
}

export const defaultStreamLimits: StreamLimits = { perUser: 64, most: 10_000 }

/** Counts what stays open: WebSockets and event streams, which last as long as the client likes. */
export class Streams {
  readonly #limits: StreamLimits
  readonly #open = new Map<string, number>()
  #all = 0

  constructor(limits = defaultStreamLimits) {
    this.#limits = limits
  }

  /**
   * Counts one more.
   *
   * @param client whom it counts for (`clientKeyOf`)
   * @returns what is to be called once, when it is over
   * @throws 429 STREAMS_EXCEEDED if the client has too many, 503 STREAMS_FULL if all have
   */
  open(client: string): () => void {
    const open = this.#open.get(client) ?? 0
    if (open >= this.#limits.perUser) {
      countLimit('streams_per_user')
      throw new Problem(429, 'STREAMS_EXCEEDED', 'Too many connections are open that stay open', { headers: later })
    }
    if (this.#all >= this.#limits.most) {
      countLimit('streams_max')
      throw new Problem(503, 'STREAMS_FULL', 'No more connections that stay open are taken just now', {
        headers: later,
      })
    }
    this.#open.set(client, open + 1)
    this.#all += 1
    return () => {
      const left = (this.#open.get(client) as number) - 1
      if (left === 0) this.#open.delete(client)
      else this.#open.set(client, left)
      this.#all -= 1
    }
  }
}

/** Seconds after which it is worth another try. */
const later = { 'retry-after': '10' }
