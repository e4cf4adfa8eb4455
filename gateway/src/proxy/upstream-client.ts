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

/** What the requests of one client, or of one route, have of an upstream. */
interface Share {
  /** Connections in use, of so many at most, and requests that wait. */
  active: number
  most: number
  waiting: number
}

interface Waiting {
  request: UpstreamRequest
  listener: Listener
  client: Share
  route: Share
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
  readonly #clients = new Map<string, Share>()
  readonly #routes = new Map<string, Share>()
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
    const { connections, perClient } = this.settings
    const client = shareOf(this.#clients, request.client, perClient)
    const route = shareOf(this.#routes, request.route.name, request.route.connections ?? connections)
    const connection = maySend(client, route) ? this.#takeIdle() : undefined
    if (connection) {
      client.active += 1
      route.active += 1
      connection.send(request, listener, request.timeout)
    } else if (this.#hasRoomFor(client, route, request.route.queue)) {
      this.#wait({ request, listener, client, route })
      this.#grow()
    } else {
      this.#forgetUnused(request)
      countLimit('upstream_queue')
      listener.onFailure(new UpstreamBusy('too many requests wait for the upstream'))
    }
  }

  /**
   * No client takes more than half of the places in the queue, and no route more than are its own. Those who wait for a
   * connection that is being opened take none.
   */
  #hasRoomFor(client: Share, route: Share, queueOfRoute = this.settings.queue): boolean {
    const { connections, queue } = this.settings
    const mayOpen = connections - this.#open
    if (route.waiting - Math.min(route.most - route.active, this.#connecting + mayOpen) >= queueOfRoute) return false
    if (mayOpen > 0) return client.waiting < connections + queue / 2
    this.#sayFull()
    return this.#queue.size - this.#connecting < queue && client.waiting - this.#connecting < queue / 2
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
      this.#next(() => true)?.listener.onFailure(error)
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
    const next = this.#next(({ client, route }) => maySend(client, route))
    if (next) {
      const { request, listener, client, route, since } = next
      client.active += 1
      route.active += 1
      // A timer takes no less than a millisecond.
      connection.send(request, listener, Math.max(1, request.timeout - (performance.now() - since)))
    } else if (this.#isClosing) connection.drop()
    else this.#idle.push(connection)
  }

  /** The request on a connection is over, or no longer counts. */
  #freed(connection: UpstreamConnection): void {
    const { request } = connection
    if (!request) return
    connection.request = undefined
    const [client, route] = this.#sharesOf(request)
    client.active -= 1
    route.active -= 1
    this.#forgetUnused(request)
  }

  /** Of a request that has a connection or waits for one. */
  #sharesOf({ client, route }: UpstreamRequest): [client: Share, route: Share] {
    return [this.#clients.get(client) as Share, this.#routes.get(route.name) as Share]
  }

  #forgetUnused(request: UpstreamRequest): void {
    const [client, route] = this.#sharesOf(request)
    if (client.active + client.waiting === 0) this.#clients.delete(request.client)
    if (route.active + route.waiting === 0) this.#routes.delete(request.route.name)
  }

  #wait(begun: Omit<Waiting, 'since' | 'timer'>): void {
    const { request, listener, client, route } = begun
    const leave = (why: Error) => {
      if (!this.#queue.has(waiting)) return
      this.#leave(waiting)
      this.#forgetUnused(request)
      listener.onFailure(why)
    }
    const late = () => {
      const isConnecting = this.#open < this.settings.connections && this.#connecting > 0
      if (!isConnecting) countLimit('upstream_queue_time')
      leave(isConnecting ? new UpstreamTimeout('no connection in time') : new UpstreamBusy('no connection came free'))
    }
    const timer = setTimeout(late, Math.min(request.timeout, request.route.queueTimeout ?? this.settings.queueTimeout))
    const waiting = { ...begun, since: performance.now(), timer }
    this.#queue.add(waiting)
    client.waiting += 1
    route.waiting += 1
    listener.onWait(() => leave(new Error('the request was aborted')))
  }

  /** The request that has waited for longest, of those that may be sent. */
  #next(isNext: (waiting: Waiting) => boolean): Waiting | undefined {
    for (const waiting of this.#queue) {
      if (!isNext(waiting)) continue
      this.#leave(waiting)
      return waiting
    }
    return undefined
  }

  #leave(waiting: Waiting): void {
    this.#queue.delete(waiting)
    clearTimeout(waiting.timer)
    waiting.client.waiting -= 1
    waiting.route.waiting -= 1
  }

  /** Opens connections for those that wait, as far as they may be opened. */
  #grow(): void {
    const { connections } = this.settings
    if (this.#open >= connections || this.#queue.size <= this.#connecting) return
    const wanted = Math.min(wantedBy(this.#clients), wantedBy(this.#routes))
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

/** The share of this name, which may have so many connections from now on. */
function shareOf(shares: Map<string, Share>, name: string, most: number): Share {
  let share = shares.get(name)
  if (!share) {
    share = { active: 0, most, waiting: 0 }
    shares.set(name, share)
  }
  share.most = most
  return share
}

const maySend = (client: Share, route: Share): boolean => client.active < client.most && route.active < route.most

/** How many connections more can be used by those who wait. */
function wantedBy(shares: Map<string, Share>): number {
  let wanted = 0
  for (const { active, most, waiting } of shares.values()) wanted += Math.max(0, Math.min(waiting, most - active))
  return wanted
}
