import { connect, isIP, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import { Problem } from '@sallyport/chassis'
import { countLimit } from '../limits.ts'
import { ChunkedDecoder, Malformed } from './chunked.ts'
import { outliveFailedWrites } from './failed-writes.ts'
import { framing, HeadCollector, parseResponseHead, type ResponseHead } from './response-parser.ts'
import {
  type Connection,
  type Listener,
  StaleConnection,
  type UpstreamRequest,
  UpstreamTimeout,
} from './upstream-request.ts'

/** The pool that a connection belongs to. */
interface Pool {
  readonly hostname: string
  readonly port: number
  readonly authority: string
  readonly isSecure: boolean
  readonly settings: {
    connectTimeout: number
    idleTimeout: number
    clientIdleTimeout: number
    keepAliveTimeout: number
    maxAge: number
  }
  /** The connection can take its first request. */
  connected(connection: UpstreamConnection): void
  /** The response was complete, and the connection can take another request. */
  keep(connection: UpstreamConnection): void
  /** The connection no longer counts as one for ordinary requests. */
  released(connection: UpstreamConnection): void
  /** An idle connection turned out to be closed. */
  foundStale(): void
  lost(connection: UpstreamConnection, error: Error): void
  /** Something of ours threw in an event of a connection. */
  report(error: unknown): void
}

const usuallyHasBody = new Set(['POST', 'PUT', 'PATCH'])

/** Informational responses that are passed on, for one request. */
const mostInformation = 8

/** How the end of a body is found (RFC 9112 section 6.3). */
type Framing = 'none' | 'length' | 'chunked' | 'close'

/**
 * Where what any connection receives is put: it is taken from there at once, and what goes on is copied. A piece of memory
 * for each of them would cost more than the copies.
 */
const received = Buffer.allocUnsafeSlow(65_536)

const closedError = () => new Error('the upstream closed the connection')

/** One connection to an upstream, and the request that is being sent on it (RFC 9112). */
export class UpstreamConnection implements Connection {
  /** By performance.now(). */
  idleUntil = 0
  isConnected = false
  /** Whether it carries an event stream, which has limits of its own (proxy/streams.ts). */
  isReleased = false
  /** What it carries, for as long as that takes a place. */
  request: UpstreamRequest | undefined
  /** Until when it may take requests, so that a name is looked up again; not the same for all that were opened at once. */
  readonly #usableUntil: number
  readonly #pool: Pool
  readonly #socket: Socket
  #method = ''
  #listener: Listener | undefined
  #timer: NodeJS.Timeout
  #error: Error | undefined
  #wasUsed = false
  #isSent = false
  /** Whether what is waited for is the client's: the rest of its body. */
  #awaitsClient = false
  /** Set once writing has failed: what the upstream has said before that is still read (RFC 9112 section 9.5). */
  #writeError: Error | undefined
  #drained: (() => void) | undefined
  #hasReceived = false
  #information = 0
  readonly #heads = new HeadCollector()
  #framing: Framing | undefined
  #left = 0
  #chunks: ChunkedDecoder | undefined
  /** Whether the upstream lets the connection be used again, and for how many milliseconds. */
  #isKept = false
  #keepAlive: number | undefined
  readonly #reader = {
    buffer: received,
    callback: (length: number) => {
      try {
        this.#take(received.subarray(0, length))
      } catch (error) {
        this.#fault(error)
      }
      return true
    },
  }

  constructor(pool: Pool) {
    this.#pool = pool
    const { connectTimeout, maxAge } = pool.settings
    this.#usableUntil = performance.now() + maxAge * (0.8 + 0.2 * Math.random())
    this.#socket = this.#connect()
    this.#timer = this.#startTimer(connectTimeout, 'no connection in time')
  }

  #connect(): Socket {
    const { hostname, port, isSecure } = this.#pool
    const target = { host: hostname, port, onread: this.#reader }
    const name = isIP(hostname) ? {} : { servername: hostname }
    const socket = isSecure ? connectSecurely({ ...target, ...name, ALPNProtocols: ['http/1.1'] }) : connect(target)
    outliveFailedWrites(socket, (error) => {
      this.#writeError ??= error
      this.#drained?.()
    })
    return socket
      .setNoDelay(true)
      .setKeepAlive(true)
      .once(
        isSecure ? 'secureConnect' : 'connect',
        this.#contained(() => this.#onConnected()),
      )
      .on('drain', () => this.#drained?.())
      .on(
        'end',
        this.#contained(() => this.#onEnd()),
      )
      .on('error', (error) => {
        this.#error ??= error
      })
      .on(
        'close',
        this.#contained(() => this.#onClose()),
      )
  }

  /** Whether it may take another request now. */
  isUsable(now: number): boolean {
    return now < this.idleUntil && !this.#writeError && !this.#socket.destroyed
  }

  send(request: UpstreamRequest, listener: Listener, timeout: number): void {
    const { method, path, headers, body } = request
    this.request = request
    this.#method = method
    this.#listener = listener
    this.#framing = undefined
    this.#isKept = true
    this.#hasReceived = false
    this.#information = 0
    let text = `${method} ${path} HTTP/1.1\r\n`
    if (headers[0] !== 'host') text += `host: ${this.#pool.authority}\r\n`
    text += 'connection: keep-alive\r\n'
    let length: number | undefined
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at] as string
      if (name === 'content-length') length = Number(headers[at + 1])
      text += `${name}: ${headers[at + 1]}\r\n`
    }
    const isWhole = typeof body === 'string'
    if (length === undefined) {
      if (!isWhole) text += 'transfer-encoding: chunked\r\n'
      // Where a body is usual, its absence is said (RFC 9110 section 8.6).
      else if (usuallyHasBody.has(method)) text += 'content-length: 0\r\n'
    }
    this.#timer = this.#startTimer(timeout, 'no response in time')
    this.#isSent = isWhole
    listener.onSent(this)
    // Nobody may wait for it any more.
    if (this.#socket.destroyed) return
    if (isWhole) this.#socket.write(`${text}\r\n${body}`, 'latin1')
    else {
      this.#socket.write(`${text}\r\n`, 'latin1')
      this.#sendBody(body, length, listener)
    }
  }

  /** Aborts the listener's request, if it is still being served. */
  abort(listener: Listener): void {
    if (this.#listener !== listener) return
    this.#listener = undefined
    this.#socket.destroy()
    listener.onFailure(new Error('the request was aborted'))
  }

  /** Lets the response go on. A listener that can take more again may have waited until after it was complete. */
  resume(listener: Listener): void {
    if (this.#listener !== listener || !this.#socket.isPaused()) return
    // The time the upstream has to go on begins now.
    this.#restart(this.#pool.settings.idleTimeout, 'the response did not go on')
    this.#socket.resume()
  }

  /** The listener's response is a long-lived stream: from now on it counts as no ordinary request. */
  release(listener: Listener): void {
    if (this.#listener !== listener) return
    this.isReleased = true
    this.#pool.released(this)
  }

  drop(): void {
    this.#socket.destroy()
  }

  #startTimer(milliseconds: number, otherwise: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      // The upstream's time does not run while it waits for us.
      if (this.#awaitsClient) timer.refresh()
      else this.#socket.destroy(new UpstreamTimeout(otherwise))
    }, milliseconds)
    return timer
  }

  #restart(milliseconds: number, otherwise: string): void {
    clearTimeout(this.#timer)
    this.#timer = this.#startTimer(milliseconds, otherwise)
  }

  /** Sends a body as it comes from the client, as fast as the upstream takes it. */
  async #sendBody(body: AsyncIterable<Buffer>, length: number | undefined, listener: Listener): Promise<void> {
    const isOver = () => this.#listener !== listener || this.#writeError !== undefined
    let size = 0
    this.#awaitsClient = true
    try {
      for await (const piece of body) {
        this.#awaitsClient = false
        size += piece.length
        if (isOver() || size > (length ?? size)) break
        // An empty chunk would be the last one.
        if (piece.length > 0 && !this.#writePiece(piece, length === undefined))
          await new Promise<void>((resolve) => {
            this.#drained = resolve
          })
        if (isOver()) break
        this.#timer.refresh()
        this.#awaitsClient = true
      }
      if (isOver()) return
      if (size !== (length ?? size)) throw new Error('the body is not of the length that it was said to have')
      this.#awaitsClient = false
      this.#timer.refresh()
      this.#isSent = true
      if (length === undefined) this.#socket.write('0\r\n\r\n', 'latin1')
    } catch (error) {
      if (this.#listener === listener) this.#socket.destroy(error as Error)
    }
  }

  #writePiece(piece: Buffer, isChunk: boolean): boolean {
    if (!isChunk) return this.#socket.write(piece)
    this.#socket.cork()
    this.#socket.write(`${piece.length.toString(16)}\r\n`, 'latin1')
    this.#socket.write(piece)
    const canTakeMore = this.#socket.write('\r\n', 'latin1')
    this.#socket.uncork()
    return canTakeMore
  }

  #take(chunk: Buffer): void {
    // Unsolicited bytes belong to no response.
    if (!this.#listener) this.drop()
    else if (this.#framing !== undefined) this.#takeBody(chunk)
    else this.#takeHeads(chunk)
  }

  /** Reads up to the head of the response that counts, past informational ones. */
  #takeHeads(chunk: Buffer): void {
    this.#hasReceived = true
    let at = 0
    while (at < chunk.length && !this.#socket.destroyed) {
      const end = this.#heads.take(chunk, at)
      if (end === undefined) return
      const head = parseResponseHead(this.#heads.text)
      // A change of protocol was not asked for.
      if (!head || head.status === 101) throw new Malformed('the response is not valid HTTP')
      at = end
      if (head.status >= 200) {
        this.#begin(head, chunk.subarray(at))
        return
      }
      this.#isKept &&= head.isKept
      // The gateway responds to Expect (100) itself.
      if (head.status > 100) this.#inform(head)
    }
  }

  #inform({ status, statusText, headers }: ResponseHead): void {
    if (this.#information++ < mostInformation) this.#listener?.onInformation(status, statusText, headers)
    else countLimit('informational_responses')
  }

  #begin(head: ResponseHead, rest: Buffer): void {
    this.#isKept &&= head.isKept
    this.#keepAlive = head.keepAlive
    this.#left = head.length ?? 0
    this.#framing = this.#framingOf(head)
    this.#restart(this.#pool.settings.idleTimeout, 'the response did not go on')
    const listener = this.#listener as Listener
    listener.onHead(head.status, head.statusText, head.headers)
    if (this.#socket.destroyed) return
    if (this.#framing === 'none') this.#complete([], rest.length > 0)
    else if (rest.length > 0) this.#takeBody(rest)
    if (this.#listener === listener) listener.onPause()
  }

  #framingOf({ status, length, isChunked }: ResponseHead): Framing {
    if (this.#method === 'HEAD' || status === 204 || status === 304) return 'none'
    if (isChunked) {
      this.#chunks = new ChunkedDecoder()
      return 'chunked'
    }
    if (length !== undefined) return length === 0 ? 'none' : 'length'
    this.#isKept = false
    return 'close'
  }

  #takeBody(chunk: Buffer): void {
    this.#timer.refresh()
    if (this.#framing === 'close') this.#pass(chunk)
    else if (this.#framing === 'length') this.#takeLength(chunk)
    else this.#takeChunks(chunk, this.#chunks as ChunkedDecoder)
  }

  #takeLength(piece: Buffer): void {
    const data = piece.length > this.#left ? piece.subarray(0, this.#left) : piece
    this.#left -= data.length
    this.#pass(data)
    if (this.#left === 0) this.#complete([], data.length < piece.length)
  }

  #takeChunks(piece: Buffer, chunks: ChunkedDecoder): void {
    const end = chunks.take(piece, (data) => this.#pass(data))
    if (end === undefined) return
    // Such trailers are taken out (proxy/response-trailers.ts), and a server that sends them may mean something else by
    // what comes next.
    if (chunks.trailers.some((name, at) => at % 2 === 0 && framing.test(name))) this.#isKept = false
    this.#complete(chunks.trailers, end < piece.length)
  }

  #pass(data: Buffer): void {
    if ((this.#listener as Listener).onData(Buffer.from(data)) || this.#socket.isPaused()) return
    this.#socket.pause()
    // From now on it is the client whose time runs.
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#socket.destroy(tookNothing()), this.#pool.settings.clientIdleTimeout)
  }

  /** @param hasMore whether bytes follow, which then belong to no response */
  #complete(trailers: string[], hasMore: boolean): void {
    clearTimeout(this.#timer)
    const listener = this.#listener as Listener
    this.#listener = undefined
    this.#wasUsed = true
    this.#awaitsClient = false
    this.#drained?.()
    this.#socket.resume()
    const now = performance.now()
    const isUsedAgain = this.#isKept && this.#isSent && !this.#writeError && !hasMore && !this.isReleased
    if (isUsedAgain && now < this.#usableUntil) {
      this.idleUntil = Math.min(this.#usableUntil, now + this.#idleFor())
      this.#pool.keep(this)
    } else this.drop()
    listener.onEnd(trailers)
  }

  /** Somewhat less than the upstream says, since a request must still come there. */
  #idleFor(): number {
    const { keepAliveTimeout } = this.#pool.settings
    return this.#keepAlive === undefined
      ? keepAliveTimeout
      : Math.min(keepAliveTimeout, Math.max(this.#keepAlive - 1_000, this.#keepAlive / 2))
  }

  #onConnected(): void {
    clearTimeout(this.#timer)
    this.isConnected = true
    this.idleUntil = Math.min(this.#usableUntil, performance.now() + this.#pool.settings.keepAliveTimeout)
    this.#pool.connected(this)
  }

  /** The upstream has said all it will. */
  #onEnd(): void {
    if (this.#listener && this.#framing === 'close') this.#complete([], false)
    else this.#socket.destroy()
  }

  #onClose(): void {
    clearTimeout(this.#timer)
    this.#drained?.()
    const error = this.#error ?? this.#writeError ?? closedError()
    const listener = this.#listener
    this.#listener = undefined
    this.#pool.lost(this, error)
    const isStale = this.#wasUsed && !this.#hasReceived && !isOurs(error)
    if (listener && isStale) this.#pool.foundStale()
    listener?.onFailure(isStale ? new StaleConnection(error.message, { cause: error }) : error)
  }

  /** What is thrown in an event of a connection ends that connection alone. */
  #contained(act: () => void): () => void {
    return () => {
      try {
        act()
      } catch (error) {
        this.#fault(error)
      }
    }
  }

  #fault(error: unknown): void {
    if (!(error instanceof Malformed)) this.#pool.report(error)
    this.#socket.destroy(error as Error)
  }
}

/** Whether we closed a connection for it. */
const isOurs = (error: Error): boolean => error instanceof UpstreamTimeout || error instanceof Problem

function tookNothing(): Problem {
  countLimit('send_time')
  return new Problem(408, 'REQUEST_TIMEOUT', 'The client did not go on taking the response')
}
