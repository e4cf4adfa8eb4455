import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type httpProxy from 'http-proxy'
import { isTooLong } from '../connections/message.ts'
import { NodeResponseWriter } from '../connections/node-response-writer.ts'
import { UpstreamTimeout } from '../http1/upstream-request.ts'
import { countLimit } from '../limits.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import { responseHeaders } from './response-headers.ts'
import { responseTrailers } from './response-trailers.ts'
import { defaultSettings } from './upstream-client.ts'

/** An upstream gave no response to an upgrade. */
export class UpgradeFailure extends Error {
  /** Whether it may have got the request. */
  readonly wasSent: boolean

  constructor(cause: Error, wasSent: boolean) {
    super(cause.message, { cause })
    this.wasSent = wasSent
  }
}

interface Options {
  proxy: httpProxy
  raw: IncomingMessage
  /** The client's connection, and its response while it is not upgraded. */
  socket: Duplex
  response: ServerResponse
  /** What came behind the request. */
  head: Buffer
  context: RequestContext
  /** Where it goes. */
  origin: string
  /** The subprotocol of a 101 that selects none, if it needs one. */
  fallbackProtocol: string | undefined
  /** Called as soon as the two connections are piped together, before anything has passed. */
  onOpen: (upstream: Duplex) => void
}

/**
 * Sends an upgrade to an upstream by http-proxy, which writes the 101 and pipes the connections together. All else is done
 * here: it would write a rejection as no response is written, and end the client's connection over an upstream's
 * failure.
 *
 * @returns the response of an upstream that does not upgrade; undefined once it has
 * @throws UpgradeFailure
 */
export function requestUpgrade(options: Options): Promise<IncomingMessage | undefined> {
  const { proxy, raw, socket, response, head, context, origin, fallbackProtocol, onOpen } = options
  return new Promise((resolve, reject) => {
    let request = undefined as unknown as ClientRequest
    let isConnected = false
    proxy.once('proxyReqWs', (proxyRequest) => {
      request = proxyRequest
      // A path that http-proxy has put together is another one: `/a:/b` would be `/a://b`.
      request.path = context.upstreamTarget
    })
    // Of a connection that is open.
    const onError = (error: Error) => socket.destroy(error)
    proxy.ws(raw, socket, head, { target: origin, changeOrigin: !context.route.preserveHost }, onError)

    const destroy = (why: string) => {
      countLimit('upstream_time')
      request.destroy(new UpstreamTimeout(why))
    }
    let timer = setTimeout(destroy, defaultSettings.connectTimeout, 'no connection in time')
    const onGone = () => {
      socket.destroy()
      request.destroy(new Error('the client left'))
    }
    // Nobody reads from the client yet, and only who reads sees the end.
    const onReadable = () => {
      if (socket.readableLength === 0) socket.read()
    }
    socket.once('close', onGone).once('end', onGone).on('readable', onReadable)
    const settle = () => {
      clearTimeout(timer)
      socket.off('close', onGone).off('end', onGone).off('readable', onReadable)
    }
    request.once('socket', (upstream) => {
      upstream.once('connect', () => {
        isConnected = true
        clearTimeout(timer)
        timer = setTimeout(destroy, context.route.timeout, 'no response to the upgrade')
      })
    })
    request.prependListener('upgrade', (received) => {
      settle()
      // http-proxy writes the 101 next, as a text in which each byte is one character.
      socket.setDefaultEncoding('latin1')
      response.detachSocket(socket as never)
      received.headers = upgradedHeaders(received.rawHeaders, fallbackProtocol)
    })
    request.on('upgrade', (_received, upstream) => {
      onOpen(upstream)
      resolve(undefined)
    })
    request.removeAllListeners('response').on('response', (received) => {
      settle()
      resolve(received)
    })
    request.removeAllListeners('error').on('error', (error) => {
      settle()
      reject(new UpgradeFailure(error, isConnected))
    })
  })
}

/** Of an upstream's headers those that may go back with a 101, and the subprotocol if it selected none. */
function upgradedHeaders(received: string[], fallbackProtocol: string | undefined): IncomingMessage['headers'] {
  const headers: Record<string, string[]> = Object.create(null)
  const passed = responseHeaders(received, [])
  for (let at = 0; at < passed.length; at += 2) {
    const name = passed[at] as string
    if (name === 'content-length') continue
    headers[name] ??= []
    headers[name].push(passed[at + 1] as string)
  }
  if (fallbackProtocol !== undefined) headers['sec-websocket-protocol'] ??= [fallbackProtocol]
  return { ...headers, connection: 'Upgrade', upgrade: 'websocket' } as never
}

/** Node's parser lets some of these pass, and its server throws at them. */
const control = /[^\t\x20-\x7e\x80-\xff]/

interface Deadlines {
  /** Milliseconds for the upstream to go on, and for the client to go on taking what comes. */
  idleTimeout: number
  clientIdleTimeout: number
}

/** What a response gets unless its upstream says it, names and values in flat lists. */
interface AddedHeaders {
  ofGateway: string[]
  ofRoute: readonly string[]
}

/**
 * Gives a client the response of an upstream that does not upgrade.
 *
 * @returns false if it is none that can be passed on; nothing is sent then
 */
export function passResponse(
  received: IncomingMessage,
  response: ServerResponse,
  { ofGateway, ofRoute }: AddedHeaders,
  { idleTimeout, clientIdleTimeout }: Deadlines,
): boolean {
  const status = received.statusCode as number
  const texts = [received.statusMessage as string, ...received.rawHeaders]
  const { 'transfer-encoding': coding = 'chunked' } = received.headers
  if (
    status < 200 ||
    status > 999 ||
    isTooLong(received) ||
    coding.toLowerCase() !== 'chunked' ||
    texts.some((text) => control.test(text))
  ) {
    received.destroy()
    return false
  }
  const writer = new NodeResponseWriter(response)
  const headers = responseHeaders(received.rawHeaders, ofGateway, status, ofRoute)
  // It has no body, so no length either (RFC 9110 section 8.6).
  const isEmpty = status === 204
  writer.begin(
    status,
    received.statusMessage as string,
    isEmpty ? headers.filter((_, at) => headers[at - (at % 2)] !== 'content-length') : headers,
  )
  writer.flush()
  const resume = () => received.resume()
  // Node's server has let go of the connection of an upgrade: it neither says when it can take more, nor ends it.
  response.socket
    ?.on('drain', () => response.emit('drain'))
    .setTimeout(clientIdleTimeout, () => {
      if (!response.writableLength) return
      countLimit('send_time')
      writer.cut()
    })
  received.socket.setTimeout(idleTimeout, () => {
    if (received.isPaused()) return
    countLimit('upstream_time')
    received.destroy(new UpstreamTimeout('the response did not go on'))
  })
  received.on('data', (chunk) => {
    if (!writer.write(chunk, resume)) received.pause()
  })
  received.on('end', () => writer.end(undefined, responseTrailers(received.rawTrailers)))
  received.on('error', () => writer.cut())
  writer.onClose(() => received.destroy())
  return true
}
