import type { Logger } from '@sallyport/chassis'
import { UpstreamConnection } from '../http1/client.ts'
import { type Listener, type UpstreamRequest, UpstreamTimeout } from '../http1/upstream-request.ts'
import { countLimit } from '../limits.ts'

export interface PoolSettings {
  /** The most connections at once for ordinary requests. */
  connections: number
  /** The most of them that the requests of one client have; others of its requests wait. */
  perClient: number
  /** The most requests that wait for one of them, and for how many milliseconds at most. */
  queue: number
  queueTimeout: number
  /** Milliseconds after which a connection takes no more requests, so that its name is looked up again. */
  maxAge: number
  /** Milliseconds to connect. */
  connectTimeout: number
  /** Milliseconds for a response that has begun to go on. */
  idleTimeout: number
  /** Milliseconds for a client to go on taking a response. */
  clientIdleTimeout: number
  /** Milliseconds for which an idle connection is kept, unless the upstream keeps it for less. */
  keepAliveTimeout: number
}

export const defaultSettings: PoolSettings = {
  connections: 256,
  perClient: 128,
  queue: 1_024,
  queueTimeout: 5_000,
  maxAge: 60_000,
  connectTimeout: 3_000,
  idleTimeout: 300_000,
  clientIdleTimeout: 60_000,
  keepAliveTimeout: 4_000,
}

/** Milliseconds between two lines of the log that say that a pool is full. */
const fullLogInterval = 60_000

/** Every connection is in use, and as many requests as may wait do so, or one has waited as long as it may. */
export class UpstreamBusy extends Error {}

interface Waiting {
  request: UpstreamRequest
  listener: Listener
  since: number
  timer: NodeJS.Timeout
}

/**
 * Connections to one upstream that are kept and used again, one request at a time on each. Requests for which there is
 * none wait in a queue, for a time and up to a number.
 */
export class UpstreamClient {
  readonly hostname: string
  readonly port: number
  readonly authority: string
  readonly isSecure: boolean
  readonly settings: PoolSettings
  readonly #origin: string
  readonly #logger: Logger
  readonly #idle: UpstreamConnection[] = []
  readonly #queue = new Set<Waiting>()
  readonly #sweep: NodeJS.Timeout
  /** For each client the connections in use and the requests that wait. */
  readonly #clients = new Map<string, { active: number; waiting: number }>()
  /** Connections for ordinary requests, those among them that are not connected yet, and those with event streams. */
  #open = 0
  #connecting = 0
  #streams = 0
  #saidFull = Number.NEGATIVE_INFINITY
  #isClosing = false
  #closed: (() => void) | undefined

  constructor(origin: string, logger: Logger, settings: Partial<PoolSettings> = {}) {
    const { hostname, port, host, protocol } = new URL(origin)
    this.hostname = hostname.replace(/^\[|\]$/g, '')
    this.isSecure = protocol === 'https:'
    this.port = Number(port || (this.isSecure ? 443 : 80))
    this.authority = host
    this.settings = { ...defaultSettings, ...settings }
    this.#origin = origin
    this.#logger = logger
    this.#sweep = setInterval(() => this.#dropIdle(performance.now()), this.settings.keepAliveTimeout / 4).unref()
  }

  /** How many connections there are, how many requests may have, and how many requests wait for one. */
  get state(): { active: number; idle: number; stream: number; most: number; waiting: number } {
    const idle = this.#idle.length
    const most = this.settings.connections
    return { active: this.#open - idle, idle, stream: this.#streams, most, waiting: this.#queue.size }
  }

  send(request: UpstreamRequest, listener: Listener): void {
    const client = this.#clientOf(request.client)
    const { perClient } = this.settings
    const connection = client.active < perClient ? this.#takeIdle() : undefined
    if (connection) {
      client.active += 1
      connection.send(request, listener, request.timeout)
    } else if (this.#hasRoomFor(client.waiting)) {
      this.#wait(request, listener)
      this.#grow()
    } else {
      this.#forgetIfIdle(request.client)
      countLimit('upstream_queue')
      listener.onFailure(new UpstreamBusy('too many requests wait for the upstream'))
    }
  }

  /** No client takes more than half of the places. Those who wait for a connection that is being opened take none. */
  #hasRoomFor(waitingOfClient: number): boolean {
    const { connections, queue } = this.settings
    if (this.#open < connections) return waitingOfClient < connections + queue / 2
    this.#sayFull()
    return this.#queue.size - this.#connecting < queue && waitingOfClient - this.#connecting < queue / 2
  }

  connected(connection: UpstreamConnection): void {
    this.#connecting -= 1
    this.#put(connection)
  }

  keep(connection: UpstreamConnection): void {
    this.#freed(connection)
    this.#put(connection)
  }

  released(connection: UpstreamConnection): void {
    this.#freed(connection)
    this.#open -= 1
    this.#streams += 1
    this.#grow()
  }

  /** The others were idle for longer than the one that turned out to be closed. */
  foundStale(): void {
    this.#dropIdle(Number.POSITIVE_INFINITY)
  }

  lost(connection: UpstreamConnection, error: Error): void {
    this.#freed(connection)
    if (connection.isReleased) this.#streams -= 1
    else this.#open -= 1
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    if (!connection.isConnected) {
      this.#connecting -= 1
      this.#next(Number.POSITIVE_INFINITY)?.listener.onFailure(error)
    }
    this.#grow()
    this.#endIfDone()
  }

  report(err: unknown): void {
    this.#logger.error({ event: 'upstream_connection_fault', upstream: this.#origin, err })
  }

  /** Completes the requests that are being sent. */
  async close(): Promise<void> {
    this.#isClosing = true
    clearInterval(this.#sweep)
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve
    })
    this.#dropIdle(Number.POSITIVE_INFINITY)
    this.#endIfDone()
    await closed
  }

  #endIfDone(): void {
    if (this.#open + this.#streams + this.#queue.size === 0) this.#closed?.()
  }

  #takeIdle(): UpstreamConnection | undefined {
    for (let connection = this.#idle.pop(); connection; connection = this.#idle.pop()) {
      if (connection.isUsable(performance.now())) return connection
      connection.drop()
    }
    return undefined
  }

  /** Gives a connection its next request, or lets it wait for one. */
  #put(connection: UpstreamConnection): void {
    const next = this.#next(this.settings.perClient)
    if (next) {
      const { request, listener, since } = next
      this.#clientOf(request.client).active += 1
      // A timer takes no less than a millisecond.
      connection.send(request, listener, Math.max(1, request.timeout - (performance.now() - since)))
    } else if (this.#isClosing) connection.drop()
    else this.#idle.push(connection)
  }

  #clientOf(name: string): { active: number; waiting: number } {
    let client = this.#clients.get(name)
    if (!client) {
      client = { active: 0, waiting: 0 }
      this.#clients.set(name, client)
    }
    return client
  }

  #forgetIfIdle(name: string): void {
    const client = this.#clients.get(name)
    if (client?.active === 0 && client.waiting === 0) this.#clients.delete(name)
  }

  /** The request on a connection is over, or no longer counts. */
  #freed(connection: UpstreamConnection): void {
    const name = connection.client
    if (name === undefined) return
    connection.client = undefined
    this.#clientOf(name).active -= 1
    this.#forgetIfIdle(name)
  }

  #wait(request: UpstreamRequest, listener: Listener): void {
    const leave = (why: Error) => {
      if (!this.#queue.has(waiting)) return
      this.#leave(waiting)
      this.#forgetIfIdle(request.client)
      listener.onFailure(why)
    }
    const late = () => {
      const isConnecting = this.#open < this.settings.connections && this.#connecting > 0
      if (!isConnecting) countLimit('upstream_queue_time')
      leave(isConnecting ? new UpstreamTimeout('no connection in time') : new UpstreamBusy('no connection came free'))
    }
    const timer = setTimeout(late, Math.min(request.timeout, this.settings.queueTimeout))
    const waiting = { request, listener, since: performance.now(), timer }
    this.#queue.add(waiting)
    this.#clientOf(request.client).waiting += 1
    listener.onWait(() => leave(new Error('the request was aborted')))
  }

  /** The request that has waited for longest, of a client that has less than so many connections. */
  #next(most: number): Waiting | undefined {
    for (const waiting of this.#queue) {
      if (this.#clientOf(waiting.request.client).active >= most) continue
      this.#leave(waiting)
      return waiting
    }
    return undefined
  }

  #leave(waiting: Waiting): void {
    this.#queue.delete(waiting)
    clearTimeout(waiting.timer)
    this.#clientOf(waiting.request.client).waiting -= 1
  }

  /** Opens connections for those that wait, as far as they may be opened. */
  #grow(): void {
    const { connections, perClient } = this.settings
    if (this.#open >= connections || this.#queue.size <= this.#connecting) return
    let wanted = 0
    for (const { active, waiting } of this.#clients.values()) wanted += Math.min(waiting, perClient - active)
    while (this.#connecting < wanted && this.#open < connections) {
      this.#open += 1
      this.#connecting += 1
      new UpstreamConnection(this)
    }
  }

  #dropIdle(now: number): void {
    for (const connection of this.#idle.filter((idle) => !idle.isUsable(now))) connection.drop()
  }

  #sayFull(): void {
    const now = performance.now()
    if (now < this.#saidFull + fullLogInterval) return
    this.#saidFull = now
    this.#logger.warn({ event: 'upstream_pool_full', upstream: this.#origin, ...this.state })
  }
}
