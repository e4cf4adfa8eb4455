import { Problem } from '@sallyport/chassis'
import { countLimit } from '../limits.ts'
import { type Counts, OpenCounts } from '../workers/open-counts.ts'

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
  readonly #counts: Counts

  constructor(limits = defaultStreamLimits, counts: Counts = new OpenCounts()) {
    this.#limits = limits
    this.#counts = counts
  }

  /**
   * Counts one more.
   *
   * @param client whom it counts for (`clientKeyOf`)
   * @returns what is to be called once, when it is over
   * @throws 429 STREAMS_EXCEEDED if the client has too many, 503 STREAMS_FULL if all have
   */
  async open(client: string): Promise<() => void> {
    const { perUser, most } = this.#limits
    const bounds = [
      { key: `stream ${client}`, most: perUser },
      { key: 'stream', most },
    ]
    const reached = await this.#counts.open(bounds)
    if (reached === 0) {
      countLimit('streams_per_user')
      throw new Problem(429, 'STREAMS_EXCEEDED', 'Too many connections are open that stay open', { headers: later })
    }
    if (reached === 1) {
      countLimit('streams_max')
      throw new Problem(503, 'STREAMS_FULL', 'No more connections that stay open are taken just now', {
        headers: later,
      })
    }
    return () => this.#counts.close(bounds)
  }
}

/** Seconds after which it is worth another try. */
const later = { 'retry-after': '10' }
