import type { Readable } from 'node:stream'
import type { Logger } from '@sallyport/chassis'
import { type Dispatcher, Pool } from 'undici'
import {
  type Listener,
  mostConnections,
  type OutgoingRequest,
  UpstreamConnections,
  UpstreamTimeout,
  usualTiming,
  type WholeRequest,
} from './upstream-connections.ts'

/** Failures in a row after which an upstream gets no more requests. */
const failuresAllowed = 3

/** Milliseconds between two questions whether an upstream is back, and for its answer. */
const probeEvery = 1_000

/** Milliseconds that an upstream which no route names any more is kept, for requests that are about to go there. */
const partAfter = 10_000

/** One server that requests are sent on to. */
export interface Upstream {
  /** Such as http://auth:5001. */
  origin: string
  send(request: OutgoingRequest, listener: Listener): void
  /** Whether requests go there; one that failed again and again gets none until it answers a probe. */
  isUp: boolean
  /** To be told of every answer, and of every request that got none. */
  answered(): void
  failed(): void
}

/**
 * The servers behind all routes, one entry for each origin however many routes name it, since what one route learns of
 * its health is true for the others.
 */
export class Upstreams {
  readonly #logger: Logger
  readonly #open = new Map<string, Upstream & { close(): Promise<void> }>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  get all(): Upstream[] {
    return [...this.#open.values()]
  }

  at(origin: string): Upstream {
    let upstream = this.#open.get(origin)
    if (!upstream) {
      upstream = openUpstream(origin, this.#logger)
      this.#open.set(origin, upstream)
    }
    return upstream
  }

  /** Lets go of every upstream that is not among these; requests on their way there come to their end. */
  keep(upstreams: Set<Upstream>): void {
    for (const [origin, upstream] of this.#open) {
      if (upstreams.has(upstream)) continue
      this.#open.delete(origin)
      setTimeout(() => upstream.close(), partAfter).unref()
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((upstream) => upstream.close()))
  }
}

function openUpstream(origin: string, logger: Logger) {
  const pool = new Pool(origin, {
    connections: mostConnections,
    pipelining: 1,
    connect: { timeout: usualTiming.connectWithin },
  })
  const wholeOnly = new URL(origin).protocol === 'http:' ? new UpstreamConnections(origin) : undefined
  let failures = 0
  let probing: NodeJS.Timeout | undefined

  /** Any answer will do: the path may well not be there, but someone is. */
  async function probe() {
    try {
      const { body } = await pool.request({ method: 'HEAD', path: '/', headersTimeout: probeEvery })
      await body.dump()
    } catch {
      return
    }
    clearInterval(probing)
    probing = undefined
    upstream.answered()
    upstream.isUp = true
    logger.info({ event: 'upstream_back', upstream: origin })
  }

  const upstream = {
    origin,
    isUp: true,
    send(request: OutgoingRequest, listener: Listener) {
      if (wholeOnly && typeof request.body === 'string') wholeOnly.send(request as WholeRequest, listener)
      else pool.dispatch(toDispatch(request), new PoolListener(listener))
    },
    answered() {
      failures = 0
    },
    failed() {
      failures += 1
      if (failures < failuresAllowed || probing) return
      upstream.isUp = false
      logger.warn({ event: 'upstream_ejected', upstream: origin, failures })
      probing = setInterval(probe, probeEvery).unref()
    },
    async close() {
      clearInterval(probing)
      await Promise.all([pool.close(), wholeOnly?.close()])
    },
  }
  return upstream
}

function toDispatch({ method, path, headers, body, timeout }: OutgoingRequest): Dispatcher.DispatchOptions {
  return {
    path,
    method: method as Dispatcher.HttpMethod,
    headers,
    // undici reads any iterable; its types know of streams only.
    body: (typeof body === 'string' ? Buffer.from(body, 'latin1') : body) as Readable,
    headersTimeout: timeout,
    bodyTimeout: usualTiming.goOnWithin,
  }
}

const timeouts = ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT']

/**
 * Passes on what undici says of an answer. It takes the events in their plain form: the newer one builds an object of an
 * answer's headers each time, only for us to take it apart again.
 */
class PoolListener implements Dispatcher.DispatchHandler {
  readonly #listener: Listener

  constructor(listener: Listener) {
    this.#listener = listener
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#listener.onSent(abort)
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean {
    // An early hint is no answer.
    if (status < 200) return true
    this.#listener.onHead(status, statusText, toTexts(headers), resume)
    process.nextTick(pause, this.#listener)
    return true
  }

  onData(chunk: Buffer): boolean {
    return this.#listener.onData(chunk)
  }

  onComplete(trailers: unknown): void {
    this.#listener.onEnd(toTexts(trailers as Buffer[]))
  }

  onError(error: Error & { code?: string }): void {
    const isLate = timeouts.includes(error.code as string)
    this.#listener.onFailure(isLate ? new UpstreamTimeout(error.message, { cause: error }) : error)
  }
}

const pause = (listener: Listener) => listener.onPause()

const toTexts = (buffers: Buffer[]) => buffers.map((buffer) => buffer.toString('latin1'))

/** Takes upstreams in turn, passing over those that are down; if all are, one of them must do. */
export function inTurn(upstreams: Upstream[]): (except?: Upstream) => Upstream {
  let turn = 0
  return (except) => {
    const first = turn++ % upstreams.length
    for (let step = 0; step < upstreams.length; step++) {
      const upstream = upstreams[(first + step) % upstreams.length] as Upstream
      if (upstream.isUp && upstream !== except) return upstream
    }
    return upstreams[first] as Upstream
  }
}
