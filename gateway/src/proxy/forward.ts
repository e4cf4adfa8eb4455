import { Problem } from '@sallyport/chassis'
import {
  type Connection,
  type Listener,
  StaleConnection,
  type UpstreamRequest,
  UpstreamTimeout,
} from '../http1/upstream-request.ts'
import { countLimit } from '../limits.ts'
import { openEventStreams } from '../pipeline/measure.ts'
import { clientKeyOf, type RequestContext } from '../pipeline/request-context.ts'
import type { TokenMonitor } from '../pipeline/token-monitor.ts'
import { responseHeaders } from './response-headers.ts'
import { responseTrailers } from './response-trailers.ts'
import type { ResponseWriter } from './response-writer.ts'
import { UpstreamBusy } from './upstream-client.ts'
import type { Upstream } from './upstreams.ts'

/** Bytes of a response that is sent in one piece with its headers. */
const small = 16_384

/** What may be sent twice, as nothing happens twice (RFC 9110 section 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

const eventStream = /^text\/event-stream/i

/** A request that is forwarded to an upstream. */
export interface ProxyRequest {
  context: RequestContext
  writer: ResponseWriter
  /** Names and values in a flat list, as the upstream gets them. */
  headers: string[]
  /** In latin1 if it is complete. */
  body: UpstreamRequest['body']
  /** Names and values in a flat list that the response gets, unless the upstream sets its own. */
  ownHeaders: string[]
  tokenMonitor: TokenMonitor
}

/**
 * Forwards a request and sends its response back, both as streams; a slow reader slows the writer down. A request whose
 * client has left is not sent, or aborted.
 *
 * @throws 413 for a body over the route's limit, 408 for one that does not come; 502, 503 or 504 when the upstream gives
 *   no response, 429 or 503 for one event stream too many. Once a response has begun, the only way left to say that it is
 *   not complete is to break it off.
 */
export function forward(proxyRequest: ProxyRequest): Promise<void> {
  return new Promise((resolve, reject) => new Exchange(proxyRequest, resolve, reject).start())
}

/** What came of an event stream before it could begin, and its trailers if that was all. */
interface Early {
  pieces: Buffer[]
  trailers?: string[]
}

/** One exchange with one upstream, or with a second one if the first could not be reached. */
class Exchange implements Listener {
  readonly #request: ProxyRequest
  readonly #resolve: () => void
  readonly #reject: (problem: Problem) => void
  readonly #writer: ResponseWriter
  #upstream: Upstream
  #isRetry = false
  #isResend = false
  /** Takes the request out of the queue. */
  #leave: (() => void) | undefined
  /** Set once the request is being written to an upstream: from then on it may have had an effect. */
  #connection: Connection | undefined
  /** Why the exchange ends, if it is we who end it. */
  #ending: Error | undefined
  #hasBegun = false
  #isOver = false
  /** The length the upstream gives its response, and the body, if it is small and was received in one piece. */
  #length = -1
  #body: Buffer | undefined
  #early: Early | undefined
  /** Lets the upstream go on once a client that could not take more can again. */
  readonly #resume = () => this.#connection?.resume(this)

  constructor(proxyRequest: ProxyRequest, resolve: () => void, reject: (problem: Problem) => void) {
    this.#request = proxyRequest
    this.#resolve = resolve
    this.#reject = reject
    this.#writer = proxyRequest.writer
    this.#upstream = proxyRequest.context.route.pick()
  }

  start(): void {
    if (!this.#writer.isOpen) {
      this.#resolve()
      return
    }
    this.#writer.onClose(() => {
      if (!this.#isOver) this.#end(new Error('the client left'))
    })
    this.#send()
  }

  #send(): void {
    const { context, headers, body } = this.#request
    const { method, route, upstreamTarget: path } = context
    const { timeout } = route
    this.#upstream.send({ method, path, headers, body, timeout, client: clientKeyOf(context), route }, this)
  }

  #end(why: Error): void {
    this.#ending ??= why
    if (this.#connection) this.#connection.abort(this)
    else this.#leave?.()
  }

  onWait(leave: () => void): void {
    this.#leave = leave
  }

  onSent(connection: Connection): void {
    this.#connection = connection
  }

  /** A client of HTTP/1.0 knows of none (RFC 9110 section 15.2). */
  onInformation(status: number, statusText: string, headers: string[]): void {
    if (this.#request.context.httpVersion !== '1.0')
      this.#writer.inform(status, statusText, responseHeaders(headers, []))
  }

  onHead(status: number, statusText: string, received: string[]): void {
    const { context, ownHeaders } = this.#request
    const writer = this.#writer
    this.#upstream.succeeded()
    const headers = responseHeaders(received, ownHeaders, status, context.route.responseHeaders)
    this.#length = Number(headerOf('content-length', headers) ?? -1)
    const isStream = context.method !== 'HEAD' && eventStream.test(headerOf('content-type', headers) ?? '')
    const begin = () => {
      writer.begin(status, statusText, headers)
      this.#hasBegun = true
    }
    if (isStream) this.#openStream(begin)
    else begin()
  }

  /** Begins a response that stays open if one more can be. What comes of it until that is known waits. */
  async #openStream(begin: () => void): Promise<void> {
    const { context, tokenMonitor } = this.#request
    const writer = this.#writer
    const early: Early = { pieces: [] }
    this.#early = early
    let close: () => void
    try {
      close = await this.#upstream.streams.open(clientKeyOf(context))
    } catch (problem) {
      if (early.trailers) this.#reject(problem as Problem)
      else this.#end(problem as Problem)
      return
    }
    if (this.#isOver || !writer.isOpen) {
      close()
      return
    }
    writer.onClose(close)
    begin()
    // A stream lasts longer than the check of its token; its end is an ordinary one, so that clients come back. Of one that
    // has a length the rest is missing: the next response on the connection would be read as that.
    const end = () => {
      if (this.#length === -1) writer.end()
      else writer.cut()
      this.#end(new Error('the stream was ended'))
    }
    openEventStreams.set(context, end)
    if (context.caller) writer.onClose(tokenMonitor.onInvalid(context.caller, end))
    this.#connection?.release(this)
    this.#early = undefined
    let goesOn = true
    for (const piece of early.pieces) goesOn = this.onData(piece)
    if (early.trailers) this.onEnd(early.trailers)
    else {
      this.onPause()
      if (goesOn) this.#resume()
    }
  }

  /** The headers go ahead. */
  onPause(): void {
    if (this.#hasBegun && !this.#isOver && !this.#body && this.#writer.isOpen) this.#writer.flush()
  }

  onData(chunk: Buffer): boolean {
    if (this.#early) {
      this.#early.pieces.push(chunk)
      return false
    }
    if (chunk.length === this.#length && chunk.length <= small) {
      this.#body = chunk
      return true
    }
    return this.#writer.write(chunk, this.#resume)
  }

  onEnd(trailers: string[]): void {
    if (this.#early) {
      this.#early.trailers = trailers
      return
    }
    this.#isOver = true
    this.#writer.end(this.#body, trailers.length > 0 ? responseTrailers(trailers) : undefined)
    this.#resolve()
  }

  onFailure(error: Error): void {
    if (error instanceof UpstreamTimeout) countLimit('upstream_time')
    if (!this.#ending && this.#sendAgain(error)) return
    this.#isOver = true
    if (!this.#hasBegun && this.#writer.isOpen) {
      this.#reject(explain(this.#ending ?? error))
      return
    }
    if (this.#writer.isOpen) this.#writer.cut()
    this.#resolve()
  }

  /**
   * Sends once more what may be sent twice: to another upstream if none of it was sent, and to the same one if its
   * connection was closed before anything came back, as happens to connections that were idle.
   */
  #sendAgain(error: Error): boolean {
    const { context, body } = this.#request
    const isIdempotent = idempotent.has(context.method)
    if (error instanceof StaleConnection && isIdempotent && typeof body === 'string' && !this.#isResend) {
      this.#isResend = true
      this.#connection = undefined
      this.#send()
      return true
    }
    // It may be the client that ends the exchange: its body is too large, or it is too slow.
    if (error instanceof Problem) return false
    if (!(error instanceof UpstreamBusy)) this.#upstream.failed()
    if (this.#connection || this.#isRetry || !isIdempotent) return false
    const other = context.route.pick(this.#upstream)
    // One that is full is so a moment later too, and the wait has its bound.
    if (error instanceof UpstreamBusy && other === this.#upstream) return false
    this.#isRetry = true
    this.#upstream = other
    this.#send()
    return true
  }
}

/** A value in a flat list of names in lower case and values. */
function headerOf(name: string, headers: string[]): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}

/** The problem that a client gets to see. */
export function explain(error: Error): Problem {
  if (error instanceof Problem) return error
  if (error instanceof UpstreamBusy)
    return new Problem(503, 'UPSTREAM_BUSY', 'The service has as many requests as it may have at once', {
      cause: error,
      headers: { 'retry-after': '1' },
    })
  if (error instanceof UpstreamTimeout)
    return new Problem(504, 'UPSTREAM_TIMEOUT', 'The service did not respond in time', { cause: error })
  return new Problem(502, 'UPSTREAM_UNREACHABLE', 'The service could not be reached', { cause: error })
}
