import type { Logger } from '@sallyport/chassis'
import type { Listener, UpstreamRequest } from '../http1/upstream-request.ts'
import type { Counts } from '../workers/open-counts.ts'
import { type StreamLimits, Streams } from './streams.ts'
import { type PoolSettings, UpstreamClient } from './upstream-client.ts'

/** Failures in a row after which an upstream gets no more requests. */
const failuresAllowed = 3

/** Milliseconds between two health checks of an ejected upstream, and for its response. */
const healthCheckInterval = 1_000

/** Milliseconds that an upstream which no route names any more is kept, for requests that are about to go there. */
const removalDelay = 10_000

/** One server that requests are sent on to. */
export interface Upstream {
  /** Such as http://auth:5001. */
  origin: string
  send(request: UpstreamRequest, listener: Listener): void
  /** Whether it gets requests; an ejected one, which failed again and again, gets none until it passes a health check. */
  isUp: boolean
  /** To be called for every response, and for every request that got none. */
  succeeded(): void
  failed(): void
  /** What is open through this gateway, to whatever upstream, and stays so. */
  streams: Streams
  /** How many connections there are, and requests that wait for one. */
  connections: UpstreamClient['state']
}

/**
 * The servers behind all routes, one entry for each origin however many routes name it, since what one route learns of
 * its health is true for the others.
 */
export class Upstreams {
  readonly #logger: Logger
  readonly #settings: Partial<PoolSettings>
  readonly #streams: Streams
  readonly #open = new Map<string, Upstream & { close(): Promise<void> }>()

  constructor(logger: Logger, settings: Partial<PoolSettings> = {}, streamLimits?: StreamLimits, counts?: Counts) {
    this.#logger = logger
    this.#settings = settings
    this.#streams = new Streams(streamLimits, counts)
  }

  get all(): Upstream[] {
    return [...this.#open.values()]
  }

  at(origin: string): Upstream {
    let upstream = this.#open.get(origin)
    if (!upstream) {
      upstream = openUpstream(origin, this.#streams, this.#settings, this.#logger)
      this.#open.set(origin, upstream)
    }
    return upstream
  }

  /** Lets go of every upstream that is not among these; requests that are being sent there are completed. */
  keep(upstreams: Set<Upstream>): void {
    for (const [origin, upstream] of this.#open) {
      if (upstreams.has(upstream)) continue
      this.#open.delete(origin)
      setTimeout(() => upstream.close(), removalDelay).unref()
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((upstream) => upstream.close()))
  }
}

function openUpstream(origin: string, streams: Streams, settings: Partial<PoolSettings>, logger: Logger) {
  const connections = new UpstreamClient(origin, logger, settings)
  let failures = 0
  let healthChecks: NodeJS.Timeout | undefined

  async function checkHealth() {
    if (!(await passesHealthCheck(origin, logger))) return
    clearInterval(healthChecks)
    healthChecks = undefined
    upstream.succeeded()
    upstream.isUp = true
    logger.info({ event: 'upstream_back', upstream: origin })
  }

  const upstream = {
    origin,
    isUp: true,
    streams,
    get connections() {
      return connections.state
    },
    send: (request: UpstreamRequest, listener: Listener) => connections.send(request, listener),
    succeeded() {
      failures = 0
    },
    failed() {
      failures += 1
      if (failures < failuresAllowed || healthChecks) return
      upstream.isUp = false
      logger.warn({ event: 'upstream_ejected', upstream: origin, failures })
      healthChecks = setInterval(checkHealth, healthCheckInterval).unref()
    },
    async close() {
      clearInterval(healthChecks)
      await connections.close()
    },
  }
  return upstream
}

/** A health check, on a connection of its own: any response will do, as the path may well not exist. */
async function passesHealthCheck(origin: string, logger: Logger): Promise<boolean> {
  const connections = new UpstreamClient(origin, logger)
  const hasResponded = await new Promise<boolean>((resolve) => {
    const ignore = () => true
    connections.send(
      {
        ...{ method: 'HEAD', path: '/', headers: [], body: '', timeout: healthCheckInterval },
        ...{ client: 'health check', route: { name: 'health check' } },
      },
      {
        onWait: ignore,
        onSent: ignore,
        onInformation: ignore,
        onHead: ignore,
        onPause: ignore,
        onData: ignore,
        onEnd: () => resolve(true),
        onFailure: () => resolve(false),
      },
    )
  })
  await connections.close()
  return hasResponded
}

/** Picks upstreams round-robin, passing over ejected ones; if all are ejected, one of them must do. */
export function roundRobin(upstreams: Upstream[]): (except?: Upstream) => Upstream {
  let next = 0
  return (except) => {
    const first = next++ % upstreams.length
    for (let step = 0; step < upstreams.length; step++) {
      const upstream = upstreams[(first + step) % upstreams.length] as Upstream
      if (upstream.isUp && upstream !== except) return upstream
    }
    return upstreams[first] as Upstream
  }
}
