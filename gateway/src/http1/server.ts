import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Logger, noteProblem } from '@sallyport/chassis'
import { lingeringClose } from '../connections/client-error.ts'
import { countContained } from '../connections/contain.ts'
import { countLimit } from '../limits.ts'
import { measure } from '../pipeline/measure.ts'
import { type IsTrusted, RequestContext, sourceOf } from '../pipeline/request-context.ts'
import type { TokenMonitor } from '../pipeline/token-monitor.ts'
import { requestIdOf } from '../pipeline/trace.ts'
import { tooLarge } from '../proxy/body.ts'
import { forward } from '../proxy/forward.ts'
import { type ParsedRequest, parseRequest } from './parser.ts'
import { FastPathResponseWriter } from './response-writer.ts'

/** Milliseconds for the first request on a connection to come. */
const defaultFirstRequestTimeout = 5_000

/** Bytes that are taken in of a connection while a request on it is under way. */
const maxHeld = 65_536

interface Dependencies {
  isTrusted: IsTrusted
  tokenMonitor: TokenMonitor
  logger: Logger
  /** Seconds that a connection is kept on which nothing comes, and that a client may take for the next of a response. */
  idleTimeout: number
  /** Whether an `Origin` is one whose pages may call. */
  isOurs(origin: string): boolean
  /** Takes a call as far as to where it is sent on. @returns the headers it goes on with */
  run(context: RequestContext): Promise<string[]>
  /** What the answer carries beside what the upstream gives it. */
  ownHeaders(context: RequestContext): string[]
  /** Has Node's server read a connection, beginning with what came on it and was not answered. */
  handOver(socket: Socket, received: Buffer): void
}

/**
 * A shorter way for requests of the ordinary kind (whole-request.ts) through the same steps: it reads and writes the
 * connection itself, which costs far less than Node's server (docs/performance.md).
 *
 * A connection is idle, serves one request, or waits until the client has taken the response; what comes meanwhile is
 * held. Only when idle, with nothing of a response still to leave, is a request taken in, and only then does a connection
 * change hands: whatever is not ordinary (other framing, upgrades, preflights, bodies that are still to come, everything
 * malformed) goes to Node's server byte by byte as it came, and its connection with it for good.
 */
export class FastPath {
  readonly dependencies: Dependencies
  readonly firstRequestTimeout: number
  readonly #connections = new Set<Connection>()
  #isClosing = false
  #isClosed = false

  constructor(dependencies: Dependencies, firstRequestTimeout = defaultFirstRequestTimeout) {
    this.dependencies = dependencies
    this.firstRequestTimeout = firstRequestTimeout
  }

  /** Takes a connection whose errors have a listener. */
  readonly serve = (socket: Socket, peer: string): void => {
    this.#connections.add(new Connection(this, socket, peer))
  }

  /** Whether connections end with the answers that begin now, and with every answer. */
  readonly isClosing = () => this.#isClosing
  readonly isClosed = () => this.#isClosed

  /** From now on answers tell clients that their connections end. */
  beginClosing(): void {
    this.#isClosing = true
  }

  /** Ends connections, those that are in use with their answers. */
  close(): void {
    this.#isClosing = true
    this.#isClosed = true
    for (const connection of this.#connections) connection.endIfIdle()
  }

  gone(connection: Connection): void {
    this.#connections.delete(connection)
  }
}

class Connection {
  readonly #way: FastPath
  readonly #socket: Socket
  readonly #peer: string
  #state: 'idle' | 'serving' | 'sending' = 'idle'
  /** The answer to the request that is under way. */
  #writer: FastPathResponseWriter | undefined
  /** What came while it was not idle. */
  #held: Buffer[] = []
  #heldLength = 0
  #hasBegun = false

  constructor(way: FastPath, socket: Socket, peer: string) {
    this.#way = way
    this.#socket = socket
    this.#peer = peer
    socket.setTimeout(way.firstRequestTimeout)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('timeout', this.#onTimeout)
  }

  endIfIdle(): void {
    if (this.#state === 'idle') this.#socket.destroySoon()
  }

  readonly #onData = (chunk: Buffer) => {
    if (this.#state === 'idle') this.#take(chunk)
    else this.#hold(chunk)
  }

  /** A client that will say no more does not wait for an answer either, as Node's server sees it. */
  readonly #onEnd = () => this.#socket.destroy()

  readonly #onClose = () => {
    this.#way.gone(this)
    this.#writer?.close()
  }

  /**
   * Nothing came and nothing left. Where nothing is under way there is nothing to answer: the client would take it for the
   * answer to what it sends just then.
   */
  readonly #onTimeout = () => {
    if (this.#socket.writableLength > 0) {
      countLimit('send_time')
      this.#socket.destroy()
    } else if (this.#socket.isPaused()) {
      // So much is held that no more is read: whether the client is still there cannot be told.
      countLimit('pipelined_requests')
      this.#socket.destroy()
    } else if (this.#state === 'idle') {
      countLimit(this.#hasBegun ? 'idle_time' : 'header_time')
      this.#socket.destroySoon()
    }
  }

  #take(piece: Buffer): void {
    const whole = parseRequest(piece)
    const context = whole ? this.#toCall(whole) : undefined
    if (!whole || !context) {
      this.#handOver(piece)
      return
    }
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#socket.setTimeout(this.#way.dependencies.idleTimeout * 1_000)
    }
    this.#state = 'serving'
    if (whole.length < piece.length) this.#hold(piece.subarray(whole.length))
    this.#pass(context, whole.body).catch(this.#fail)
  }

  /** Reading goes on for as long as it may, to notice a client that leaves. */
  #hold(chunk: Buffer): void {
    this.#held.push(chunk)
    this.#heldLength += chunk.length
    if (this.#heldLength >= maxHeld) this.#socket.pause()
  }

  /** @returns undefined if the call comes from a page that may not call, which is for Node's server to answer */
  #toCall({ method, url, rawHeaders, names }: ParsedRequest): RequestContext | undefined {
    const { isOurs, isTrusted } = this.#way.dependencies
    const header = (name: string) => {
      const at = names.indexOf(name)
      return at === -1 ? undefined : rawHeaders[2 * at + 1]
    }
    const origin = header('origin')
    if (origin !== undefined && !isOurs(origin)) return undefined
    const source = sourceOf(this.#peer, header, isTrusted)
    const id = requestIdOf(header('x-request-id'), this.#peer, isTrusted)
    return new RequestContext({ id, method, url, httpVersion: '1.1', rawHeaders, header, source, trace: undefined })
  }

  async #pass(context: RequestContext, body: string): Promise<void> {
    const { run, ownHeaders, tokenMonitor, idleTimeout } = this.#way.dependencies
    const writer = new FastPathResponseWriter(this.#socket, context.method, idleTimeout, this.#way.isClosing)
    this.#writer = writer
    try {
      writer.onClose(() => this.#done(context, writer))
      const headers = await run(context)
      if (body.length > context.route.bodyLimit) throw tooLarge()
      await forward({ context, writer, headers, body, ownHeaders: ownHeaders(context), tokenMonitor })
    } catch (error) {
      this.#refuse(context, error, writer)
    }
  }

  /** What goes wrong while a request is answered ends its connection, and not the process. */
  readonly #fail = (err: unknown) => {
    countContained()
    this.#way.dependencies.logger.error({ event: 'connection_ended', err }, 'a request could not be answered')
    this.#socket.destroy()
  }

  /** A request that goes nowhere. */
  #refuse(context: RequestContext, error: unknown, writer: FastPathResponseWriter): void {
    const { logger, ownHeaders } = this.#way.dependencies
    const problem = noteProblem(error, context, logger)
    // The client has left, or what was sent to it cannot be taken back.
    if (!writer.isOpen || writer.status !== 0) {
      writer.cut()
      return
    }
    const body = Buffer.from(JSON.stringify(problem.body()))
    writer.begin(problem.statusCode, STATUS_CODES[problem.statusCode] as string, [
      ...ownHeaders(context),
      ...Object.entries(problem.headers).flat(),
      ...['content-type', 'application/problem+json', 'content-length', String(body.length)],
    ])
    writer.end(context.method === 'HEAD' ? undefined : body)
  }

  #done(context: RequestContext, writer: FastPathResponseWriter): void {
    measure(context, writer.status)
    this.#writer = undefined
    this.#state = 'sending'
    if (writer.isLast || this.#way.isClosed()) lingeringClose(this.#socket)
    else if (this.#socket.writableLength === 0) this.#onSent()
    else this.#socket.write('', this.#onSent)
  }

  /** The whole response has left. What was held has its turn after others had theirs, unless the client left meanwhile. */
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
    const socket = this.#socket
    this.#way.gone(this)
    socket.pause()
    socket.setTimeout(0)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('timeout', this.#onTimeout)
    this.#way.dependencies.handOver(socket, received)
  }
}
