import type { Socket } from 'node:net'
import { type Logger, startTrace } from '@sallyport/chassis'
import { maxReadAhead } from '../connections/client-connections.ts'
import { endConnection } from '../connections/contain.ts'
import { lingeringClose } from '../connections/lingering-close.ts'
import { countLimit } from '../limits.ts'
import { countRequest, measure } from '../pipeline/measure.ts'
import { type IsTrusted, RequestContext, sourceOf } from '../pipeline/request-context.ts'
import { requestIdOf } from '../pipeline/trace.ts'
import type { RequestHandler } from '../proxy/request-handler.ts'
import { type ParsedRequest, parseRequest } from './parser.ts'
import { FastPathResponseWriter } from './response-writer.ts'

interface Dependencies {
  /** Writes the response to a request. If the promise is rejected, the connection ends. */
  handle: RequestHandler['handle']
  /** Hands a connection over to Node's server, with the bytes that were received and not served. */
  handOver(socket: Socket, received: Buffer): void
  /** Responds as Node's server does to what is no request: its client has closed its half of the connection within it. */
  refuse(socket: Socket, error: { code: string }): void
  /** Seconds for the first request on a connection to come. */
  headersTimeout: number
  /** Seconds for which an idle connection is kept open, and for which a client may take nothing of a response. */
  idleTimeout: number
  isTrusted: IsTrusted
  logger: Logger
}

/** A request that comes in more pieces or bytes than this, or takes longer from its first piece on, is read by Node's server. */
const awaited = { pieces: 16, bytes: 32_768, milliseconds: 1_000 }

/**
 * The fast path: reads and writes the connections of clients itself, for requests that are eligible (parser.ts), which
 * costs far less than Node's server (docs/performance.md).
 *
 * A connection is idle, serves one request, or waits until the client has taken the response; what comes meanwhile is
 * held. Only when idle, with nothing of a response still to be sent, is a request read, which may come in several pieces, and
 * only then does a connection change hands: whatever is not eligible (other framing, upgrades, everything
 * malformed, everything slow) goes to Node's server byte by byte as it was received, and its connection with it for good.
 */
export class FastPath {
  readonly dependencies: Dependencies
  readonly #connections = new Set<FastPathConnection>()
  #isClosing = false
  #isClosed = false

  constructor(dependencies: Dependencies) {
    this.dependencies = dependencies
  }

  /** Takes a connection whose errors have a listener. */
  readonly serve = (socket: Socket, peer: string): void => {
    this.#connections.add(new FastPathConnection(this, socket, peer))
  }

  /** Whether connections close with responses that begin now, and with every response. */
  readonly isClosing = () => this.#isClosing
  readonly isClosed = () => this.#isClosed

  /** From now on responses say `Connection: close`. */
  beginClosing(): void {
    this.#isClosing = true
  }

  /** Closes connections, those in use with their responses. */
  close(): void {
    this.#isClosing = true
    this.#isClosed = true
    for (const connection of this.#connections) connection.endIfIdle()
  }

  forget(connection: FastPathConnection): void {
    this.#connections.delete(connection)
  }
}

class FastPathConnection {
  readonly #server: FastPath
  readonly #socket: Socket
  readonly #peer: string
  #state: 'idle' | 'serving' | 'sending' = 'idle'
  /** Of the request that is being served. */
  #writer: FastPathResponseWriter | undefined
  /** The first pieces of a request whose rest is still to come, while it is idle. */
  #begun: Buffer[] = []
  #waiting: NodeJS.Timeout | undefined
  /** What came while it was not idle. */
  #held: Buffer[] = []
  #heldLength = 0
  #hasBegun = false

  constructor(server: FastPath, socket: Socket, peer: string) {
    this.#server = server
    this.#socket = socket
    this.#peer = peer
    socket.setTimeout(server.dependencies.headersTimeout * 1000)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('timeout', this.#onTimeout)
  }

  endIfIdle(): void {
    if (this.#state === 'idle') this.#socket.destroySoon()
  }

  readonly #onData = (chunk: Buffer) => {
    if (this.#state !== 'idle') this.#hold(chunk)
    else if (this.#begun.length === 0) this.#take(chunk)
    else {
      this.#begun.push(chunk)
      this.#take(Buffer.concat(this.#begun))
    }
  }

  /** Node's server does not respond to a client that has half-closed its connection, but within a request, so neither does this. */
  readonly #onEnd = () => {
    if (this.#begun.length === 0) this.#socket.destroy()
    else {
      this.#letGo()
      this.#server.dependencies.refuse(this.#socket, { code: 'HPE_INVALID_EOF_STATE' })
    }
  }

  readonly #onClose = () => {
    clearTimeout(this.#waiting)
    this.#server.forget(this)
    this.#writer?.close()
  }

  /**
   * Nothing was received and nothing sent. On an idle connection no response is sent: the client would take it for the
   * response to what it sends just then.
   */
  readonly #onTimeout = () => {
    if (this.#socket.writableLength > 0) {
      countLimit('send_time')
      this.#socket.destroy()
    } else if (this.#socket.isPaused()) {
      // So much is held that reading has stopped, and a client that left would go unnoticed.
      countLimit('pipelined_requests')
      this.#socket.destroy()
    } else if (this.#state === 'idle') {
      countLimit(this.#hasBegun ? 'idle_time' : 'header_time')
      this.#socket.destroySoon()
    }
  }

  #take(piece: Buffer): void {
    const request = parseRequest(piece)
    if (request === 'incomplete' && this.#mayWait(piece)) return
    if (request === 'incomplete' || request === 'ineligible') {
      this.#handOver(piece)
      return
    }
    this.#begun = []
    clearTimeout(this.#waiting)
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#socket.setTimeout(this.#server.dependencies.idleTimeout * 1_000)
    }
    if (request.length < piece.length) this.#hold(piece.subarray(request.length))
    this.#serve(request)
  }

  /** Waits for the rest of a request, for as long as no slow client would. @returns false if that is over */
  #mayWait(piece: Buffer): boolean {
    if (this.#begun.length === 0) {
      const { headersTimeout } = this.#server.dependencies
      const time = Math.min(awaited.milliseconds, headersTimeout * 500)
      this.#waiting = setTimeout(() => this.#handOver(Buffer.concat(this.#begun)), time)
      this.#begun = [piece]
    }
    return this.#begun.length < awaited.pieces && piece.length <= awaited.bytes
  }

  #serve(request: ParsedRequest): void {
    this.#state = 'serving'
    const { handle, idleTimeout } = this.#server.dependencies
    countRequest.byFastPath.inc()
    const context = this.#contextOf(request)
    const writer = new FastPathResponseWriter(this.#socket, context.method, idleTimeout, this.#server.isClosing)
    this.#writer = writer
    writer.onClose(() => this.#done(context, writer))
    handle(context, writer, request.body).catch(this.#fail)
  }

  /** Reading goes on for as long as it may, to notice a client that leaves. */
  #hold(chunk: Buffer): void {
    this.#held.push(chunk)
    this.#heldLength += chunk.length
    if (this.#heldLength >= maxReadAhead) this.#socket.pause()
  }

  #contextOf({ method, url, rawHeaders, names }: ParsedRequest): RequestContext {
    const { isTrusted } = this.#server.dependencies
    const header = (name: string) => {
      const at = names.indexOf(name)
      return at === -1 ? undefined : rawHeaders[2 * at + 1]
    }
    const source = sourceOf(this.#peer, header, isTrusted)
    const id = requestIdOf(header('x-request-id'), this.#peer, isTrusted)
    const trace = startTrace({ id, method, header, peer: this.#peer })
    return new RequestContext({ id, method, url, httpVersion: '1.1', rawHeaders, header, source, trace })
  }

  readonly #fail = (error: unknown) => endConnection(this.#socket, error, this.#server.dependencies.logger)

  #done(context: RequestContext, writer: FastPathResponseWriter): void {
    measure(context, writer.status)
    context.trace?.end(writer.status)
    this.#writer = undefined
    this.#state = 'sending'
    if (writer.isLast || this.#server.isClosed()) lingeringClose(this.#socket)
    else if (this.#socket.writableLength === 0) this.#onSent()
    else this.#socket.write('', this.#onSent)
  }

  /** The response is sent. What was held is served after other connections, unless the client left meanwhile. */
  readonly #onSent = () => {
    if (this.#held.length === 0) this.#state = 'idle'
    else setImmediate(this.#takeHeld)
  }

  readonly #takeHeld = () => {
    if (this.#socket.destroyed) return
    const received = Buffer.concat(this.#held)
    this.#held = []
    this.#heldLength = 0
    this.#state = 'idle'
    this.#socket.resume()
    this.#take(received)
  }

  #handOver(received: Buffer): void {
    this.#socket.pause()
    this.#letGo()
    this.#server.dependencies.handOver(this.#socket, received)
  }

  /** From here on the connection is somebody else's. */
  #letGo(): void {
    const socket = this.#socket
    clearTimeout(this.#waiting)
    this.#server.forget(this)
    socket.setTimeout(0)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('timeout', this.#onTimeout)
  }
}
