import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Logger, Problem } from '@sallyport/chassis'
import type { FastifyReply, FastifyRequest } from 'fastify'
import httpProxy from 'http-proxy'
import type { Call } from './call.ts'
import type { Config } from './config.ts'
import { closeFrame, FrameFollower } from './frames.ts'
import type { Caller } from './verify.ts'
import type { Watch } from './watch.ts'

/** Close codes: ours for "your token no longer holds", and RFC 6455's for "going away". */
const unauthorized = 4401
const goingAway = 1001

/** How long the two ends may take over a close before the connection is cut, in milliseconds. */
const closeWithin = 2_000

interface Parts {
  config: Config
  watch: Watch
  logger: Logger
}

/** A request to upgrade, on its way. */
interface Upgrade {
  socket: Duplex
  head: Buffer
  caller: Caller | undefined
  /** How long the upstream may take to answer, in milliseconds. */
  timeout: number
}

/** Closes a WebSocket that is open through this gateway. */
type Close = (code: number, reason: string) => void

/**
 * Takes WebSocket upgrades the same way as requests, and ends a connection when the token it was opened with expires,
 * its session ends, or the roles in it change.
 */
export function createUpgrader({ config, watch, logger }: Parts) {
  const upgrades = new WeakMap<IncomingMessage, Upgrade>()
  const answered = new WeakMap<Duplex, { client: Duplex; caller: Caller | undefined }>()
  const open = new Set<Close>()
  // Upgrades only: as a proxy for requests with bodies it can be made to smuggle a second one (see forward.ts).
  const proxy = httpProxy.createProxyServer({ ws: true })

  proxy.on('proxyReqWs', (proxyRequest, request, socket) => {
    const { timeout, caller } = upgrades.get(request) as Upgrade
    proxyRequest.setTimeout(timeout, () => proxyRequest.destroy(new Error('no answer to the upgrade')))
    proxyRequest.once('upgrade', (_response, upstream) => answered.set(upstream, { client: socket, caller }))
  })
  // Not before the two are piped together: a listener that comes earlier takes the first bytes away.
  proxy.on('open', (upstream) => {
    const { client, caller } = answered.get(upstream) as { client: Duplex; caller: Caller | undefined }
    const close = closer(client, upstream)
    const stop = caller ? watch.over(caller, (reason) => close(unauthorized, reason)) : () => {}
    open.add(close)
    client.once('close', () => {
      stop()
      open.delete(close)
    })
  })

  return {
    /** What is open now. */
    open: open as ReadonlySet<unknown>,

    isUpgrade: (raw: IncomingMessage) => upgrades.has(raw),

    /** Lets a request open a WebSocket; until it is forwarded, it is handled like any other. */
    note(raw: IncomingMessage, { socket, head }: { socket: Duplex; head: Buffer }): void {
      upgrades.set(raw, { socket, head, timeout: 0, caller: undefined })
    },

    /** @throws 403 ORIGIN_REFUSED for a page whose origin may not call: browsers do not ask before an upgrade */
    forward({ raw, call }: FastifyRequest, reply: FastifyReply, headers: string[]): FastifyReply {
      const { route, caller } = call
      checkOrigin(call)
      const upgrade = upgrades.get(raw) as Upgrade
      const { socket, head } = upgrade
      upgrade.timeout = route.timeout
      upgrade.caller = caller
      reply.hijack()
      reply.raw.detachSocket(socket as never)
      raw.url = call.upstreamTarget
      raw.headers = upgradeHeaders(headers)
      proxy.ws(raw, socket, head, { target: route.pick().origin, changeOrigin: !route.preserveHost }, (err) => {
        logger.warn({ event: 'upgrade_failed', err })
        if (socket.writable) socket.end(unreachable)
      })
      return reply
    },

    close(): void {
      for (const close of open) close(goingAway, 'going away')
    },
  }

  function checkOrigin({ header, source }: Call): void {
    const origin = header('origin')
    if (origin === undefined || config.origins.includes(origin) || isOwn(origin, source.host)) return
    throw new Problem(403, 'ORIGIN_REFUSED', 'This page may not open this connection')
  }
}

const isOwn = (origin: string, host: string) => URL.canParse(origin) && new URL(origin).host === host

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

const unreachable = [
  'HTTP/1.1 502 Bad Gateway',
  'content-type: application/problem+json',
  'connection: close',
  '',
  JSON.stringify(new Problem(502, 'UPSTREAM_UNREACHABLE', 'The service could not be reached').body()),
].join('\r\n')

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
    if (end === undefined) client.write(chunk)
    else say(chunk.subarray(0, end))
  })

  client.once('close', () => upstream.destroy())
  return (code, reason) => {
    if (farewell) return
    farewell = closeFrame(code, reason)
    upstream.unpipe(client)
    client.unpipe(upstream)
    client.resume()
    setTimeout(() => client.destroy(), closeWithin).unref()
    if (frames.isBetween) say(Buffer.alloc(0))
    else upstream.resume()
  }
}
