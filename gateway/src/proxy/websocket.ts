import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import httpProxy from 'http-proxy'
import type { Config } from '../config.ts'
import { lingeringClose } from '../connections/lingering-close.ts'
import { measure } from '../pipeline/measure.ts'
import { clientKeyOf, type RequestContext } from '../pipeline/request-context.ts'
import type { TokenMonitor } from '../pipeline/token-monitor.ts'
import { explain } from './forward.ts'
import type { Upstream } from './upstreams.ts'
import { closeFrame, FrameFollower } from './websocket-frames.ts'
import { fallbackProtocol } from './websocket-protocol.ts'
import { passResponse, requestUpgrade, UpgradeFailure } from './websocket-upgrade.ts'

/** Close codes: ours for "the token is no longer valid", and RFC 6455's for "going away". */
const unauthorized = 4401
const goingAway = 1001

/** How long the two ends may take over a close before the connection is cut, in milliseconds. */
const closeTimeout = 2_000

interface Dependencies {
  config: Config
  checkOrigin(context: RequestContext): void
  tokenMonitor: TokenMonitor
}

/** A request to upgrade that has no response yet. */
export interface Upgrade {
  socket: Socket
  /** Stops reading the connection. @returns what was received behind the request */
  take: () => Buffer
}

/** A request to upgrade that is forwarded. */
export interface UpgradeRequest {
  context: RequestContext
  request: IncomingMessage
  response: ServerResponse
  /** Names and values in a flat list, as the upstream gets them. */
  headers: string[]
  /** The same for the response, unless the upstream says it. */
  ownHeaders: string[]
}

export type WebSockets = ReturnType<typeof createWebSockets>

/** Closes a WebSocket that is open through this gateway. */
type Close = (code: number, reason: string) => void

/**
 * Forwards WebSocket upgrades, and ends a connection when the token it was opened with expires,
 * its session ends, the roles in it change, or its key is withdrawn.
 */
export function createWebSockets({ config, checkOrigin, tokenMonitor }: Dependencies) {
  const upgrades = new WeakMap<IncomingMessage, Upgrade>()
  const open = new Set<Close>()
  // Upgrades only: as a proxy for requests with bodies it can be made to smuggle a second one (see forward.ts).
  const proxy = httpProxy.createProxyServer({ ws: true })

  return {
    /** What is open now. */
    open: open as ReadonlySet<unknown>,

    isUpgrade: (raw: IncomingMessage) => upgrades.has(raw),

    /** Lets a request open a WebSocket; until it is forwarded, it is handled like any other. */
    note(raw: IncomingMessage, upgrade: Upgrade): void {
      upgrades.set(raw, upgrade)
    },

    /**
     * Forwards an upgrade, and once more to another upstream if the first could not be reached. A response of an upstream
     * that does not upgrade goes back like any other.
     *
     * @throws 403 ORIGIN_REFUSED for an origin that is not allowed: browsers send no preflight before an upgrade; 429
     *   or 503
     *   for one connection too many; 502 or 504 when the upstream gives no response
     */
    async forward({ context, request: raw, response, headers, ownHeaders }: UpgradeRequest): Promise<void> {
      checkOrigin(context)
      const { socket, take } = upgrades.get(raw) as Upgrade
      // The client left while its token was verified.
      if (socket.destroyed) return
      const first = context.route.pick()
      const close = await first.streams.open(clientKeyOf(context))
      if (socket.destroyed) return close()
      socket.once('close', close)
      // As it was offered, which the next line takes away.
      const protocol = fallbackProtocol(context.header('sec-websocket-protocol'))
      raw.headers = upgradeHeaders(headers)

      async function ask(upstream: Upstream, head: Buffer): Promise<IncomingMessage | undefined> {
        const onOpen = (behind: Duplex) => opened(context, socket, behind)
        const { origin } = upstream
        const options = { proxy, raw, socket, response, head, context, origin, fallbackProtocol: protocol, onOpen }
        try {
          const received = await requestUpgrade(options)
          upstream.succeeded()
          return received
        } catch (error) {
          if (!socket.destroyed) upstream.failed()
          throw error
        }
      }
      async function askAnother(failure: UpgradeFailure) {
        if (failure.wasSent || socket.destroyed) throw failure
        // What came behind the request is in the socket again.
        return ask(context.route.pick(first), Buffer.alloc(0))
      }
      try {
        const received = await ask(first, take()).catch(askAnother)
        const deadlines = { idleTimeout: context.route.timeout, clientIdleTimeout: config.idleTimeout * 1_000 }
        const added = { ofGateway: ownHeaders, ofRoute: context.route.responseHeaders }
        if (received && !passResponse(received, response, added, deadlines))
          throw new Error('the response is not valid HTTP')
      } catch (error) {
        // A client that is gone gets no response.
        if (!socket.destroyed)
          throw explain(error instanceof UpgradeFailure ? (error.cause as Error) : (error as Error))
      }
    },

    close(): void {
      for (const close of open) close(goingAway, 'going away')
    },
  }

  /** Monitors the token of an open connection, and counts it. */
  function opened(context: RequestContext, client: Socket, upstream: Duplex): void {
    measure(context, 101)
    const close = closer(client, upstream)
    // What the client still sends goes nowhere, and its end would go unnoticed.
    upstream.once('close', () => lingeringClose(client.setTimeout(config.idleTimeout * 1_000, () => client.destroy())))
    client.once('end', () => setTimeout(() => client.destroy(), closeTimeout).unref())
    const stop = context.caller
      ? tokenMonitor.onInvalid(context.caller, (reason) => close(unauthorized, reason))
      : () => {}
    open.add(close)
    client.once('close', () => {
      stop()
      open.delete(close)
    })
  }
}

/** A flat list as an object, and the upgrade itself. */
function upgradeHeaders(list: string[]): IncomingMessage['headers'] {
  // Without the members that every object has, which a header may be named like.
  const headers: Record<string, string> = Object.create(null)
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string
    const value = list[at + 1] as string
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return { ...headers, connection: 'Upgrade', upgrade: 'websocket' }
}

/** Follows an open connection, so that it can be closed from here between two frames of the upstream's. */
function closer(client: Duplex, upstream: Duplex): Close {
  const frames = new FrameFollower()
  let farewell: Buffer | undefined
  const say = (rest: Buffer) => {
    client.end(Buffer.concat([rest, farewell as Buffer]))
    upstream.destroy()
  }
  upstream.on('data', (chunk: Buffer) => {
    const end = frames.follow(chunk)
    if (!farewell || client.writableEnded) return
    if (end !== undefined) say(chunk.subarray(0, end))
    else if (!client.write(chunk)) {
      upstream.pause()
      client.once('drain', () => upstream.resume())
    }
  })

  client.once('close', () => upstream.destroy())
  return (code, reason) => {
    if (farewell) return
    farewell = closeFrame(code, reason)
    upstream.unpipe(client)
    client.unpipe(upstream)
    client.resume()
    setTimeout(() => client.destroy(), closeTimeout).unref()
    if (frames.isBetween) say(Buffer.alloc(0))
    else upstream.resume()
  }
}
