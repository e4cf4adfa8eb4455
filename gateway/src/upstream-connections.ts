import { connect, type Socket } from 'node:net'
import { Chunks } from './chunks.ts'
import { endOfHead, longestHead, lowerCase, readHeaderLines } from './message-head.ts'

/** A request as it goes on. */
export interface OutgoingRequest {
  method: string
  /** Path and query, as they are sent. */
  path: string
  /** Names and values, in turn, without what is for one connection alone; Host comes first, if it is not the upstream's own. */
  headers: string[]
  /** A stream, or in latin1 what is there as a whole; empty if there is none. Its length is among the headers. */
  body: string | AsyncIterable<Buffer>
  /** Milliseconds for the answer to begin. */
  timeout: number
}

/** Is told of what becomes of a request, and of its answer as that comes. */
export interface Listener {
  /** The request is being written: from now on it may have an effect. `abort` gives it up. */
  onSent(abort: () => void): void
  /** @param resume lets the answer go on after `onData` returned false */
  onHead(status: number, statusText: string, headers: string[], resume: () => void): void
  /** Nothing of the body came together with the head. */
  onPause(): void
  /** @returns whether more can be taken at once */
  onData(chunk: Buffer): boolean
  onEnd(trailers: string[]): void
  onFailure(error: Error): void
}

/** An upstream that took too long: to connect, to begin its answer, or to go on with it. */
export class UpstreamTimeout extends Error {}

/** Milliseconds to connect, for an answer that has begun to go on, and for which an idle connection is kept. */
export const usualTiming = { connectWithin: 3_000, goOnWithin: 300_000, idleFor: 4_000 }

/** The most connections at once. */
export const mostConnections = 256

/** The only ones that come here. */
export type WholeRequest = OutgoingRequest & { body: string }

interface Waiting {
  request: WholeRequest
  listener: Listener
}

/**
 * Connections to one upstream that are kept and used again, one request at a time on each (RFC 9112).
 *
 * It does what a gateway asks for most and costs least: requests that are there as a whole, over plain HTTP. It reads
 * an answer strictly, and whatever has more than one reading fails the request. Bodies that are still to come, and TLS,
 * are for undici (upstreams.ts).
 */
export class UpstreamConnections {
  readonly hostname: string
  readonly port: number
  readonly authority: string
  readonly timing: typeof usualTiming
  readonly #idle: Connection[] = []
  readonly #waiting: Waiting[] = []
  readonly #sweep: NodeJS.Timeout
  #open = 0
  #isClosing = false
  #closed: (() => void) | undefined

  constructor(origin: string, timing = usualTiming) {
    const { hostname, port, host } = new URL(origin)
    this.hostname = hostname.replace(/^\[|\]$/g, '')
    this.port = Number(port || 80)
    this.authority = host
    this.timing = timing
    const { idleFor } = timing
    this.#sweep = setInterval(() => this.#dropIdle(performance.now() - idleFor), idleFor / 4).unref()
  }

  send(request: WholeRequest, listener: Listener): void {
    const connection = this.#idle.pop()
    if (connection) connection.send(request, listener)
    else if (this.#open < mostConnections) this.#connect({ request, listener })
    else this.#waiting.push({ request, listener })
  }

  /** Takes back a connection whose answer was complete. */
  keep(connection: Connection): void {
    const next = this.#waiting.shift()
    if (next) connection.send(next.request, next.listener)
    else if (this.#isClosing) connection.drop()
    else this.#idle.push(connection)
  }

  /** Is told of a connection that is gone. */
  lost(connection: Connection): void {
    this.#open -= 1
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    const next = this.#waiting.shift()
    if (next) this.#connect(next)
    else if (this.#open === 0) this.#closed?.()
  }

  /** Lets requests under way come to their end. */
  async close(): Promise<void> {
    this.#isClosing = true
    clearInterval(this.#sweep)
    if (this.#open === 0) return
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve
    })
    this.#dropIdle(Number.POSITIVE_INFINITY)
    await closed
  }

  #connect({ request, listener }: Waiting): void {
    this.#open += 1
    new Connection(this, request, listener)
  }

  /** The ones that were used first are at the front. */
  #dropIdle(usedBefore: number): void {
    const fresh = this.#idle.findIndex(({ idleSince }) => idleSince > usedBefore)
    for (const connection of this.#idle.splice(0, fresh === -1 ? this.#idle.length : fresh)) connection.drop()
  }
}

const hasBody = new Set(['POST', 'PUT', 'PATCH'])

const statusLine = /HTTP\/1\.([01]) (\d{3})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n/y

/** How the end of a body is told (RFC 9112 section 6.3). */
type Framing = 'none' | 'length' | 'chunked' | 'close'

/**
 * Where what any connection receives is put: it is taken from there at once, and what goes on is copied. A piece of memory
 * for each of them would cost more than the copies.
 */
const received = Buffer.allocUnsafeSlow(65_536)

/** One connection, with the one request that is under way on it. */
class Connection {
  idleSince = 0
  readonly #pool: UpstreamConnections
  readonly #socket: Socket
  #request: WholeRequest
  #listener: Listener | undefined
  #timer: NodeJS.Timeout
  /** What has come of a header that is not whole yet. */
  #held = ''
  #framing: Framing | undefined
  #left = 0
  #chunks: Chunks | undefined
  /** Whether the upstream lets the connection be used again. */
  #isKept = false
  readonly #reader = {
    buffer: received,
    callback: (length: number) => {
      this.#take(received.subarray(0, length))
      return true
    },
  }
  readonly #abort = () => this.#socket.destroy()

  constructor(pool: UpstreamConnections, request: WholeRequest, listener: Listener) {
    this.#pool = pool
    this.#request = request
    this.#listener = listener
    this.#socket = connect({
      host: pool.hostname,
      port: pool.port,
      noDelay: true,
      keepAlive: true,
      onread: this.#reader,
    })
    this.#timer = this.#within(pool.timing.connectWithin, 'no connection in time')
    this.#socket
      .once('connect', () => {
        clearTimeout(this.#timer)
        this.send(this.#request, this.#listener as Listener)
      })
      .on('end', () => this.#end())
      .on('error', (error) => this.#fail(error))
      .on('close', () => {
        this.#fail(new Error('the upstream closed the connection'))
        pool.lost(this)
      })
  }

  send(request: WholeRequest, listener: Listener): void {
    this.#request = request
    this.#listener = listener
    this.#framing = undefined
    const { method, path, headers, body, timeout } = request
    let text = `${method} ${path} HTTP/1.1\r\n`
    if (headers[0] !== 'host') text += `host: ${this.#pool.authority}\r\n`
    text += 'connection: keep-alive\r\n'
    // Where a body is usual, its absence is said (RFC 9110 section 8.6).
    if (body === '' && hasBody.has(method) && !headers.includes('content-length')) text += 'content-length: 0\r\n'
    for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
    this.#timer = this.#within(timeout, 'no answer in time')
    listener.onSent(this.#abort)
    // Nobody may wait for it any more.
    if (!this.#socket.destroyed) this.#socket.write(`${text}\r\n${body}`, 'latin1')
  }

  drop(): void {
    this.#socket.destroy()
  }

  #within(milliseconds: number, otherwise: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      // It is the client who is slow, while the upstream waits for it.
      if (this.#socket.isPaused()) timer.refresh()
      else this.#socket.destroy(new UpstreamTimeout(otherwise))
    }, milliseconds)
    return timer
  }

  #take(chunk: Buffer): void {
    // Bytes that nobody asked for belong to no answer.
    if (!this.#listener) this.drop()
    else if (this.#framing === undefined) this.#takeHead(chunk)
    else this.#takeBody(chunk)
  }

  #takeHead(chunk: Buffer): void {
    const text = this.#held + chunk.toString('latin1')
    const end = endOfHead(text)
    if (end === -1 && text.length <= longestHead) {
      this.#held = text
      return
    }
    this.#held = ''
    statusLine.lastIndex = 0
    const [, version, digits, statusText = ''] = statusLine.exec(text) ?? []
    const headers = end === -1 || end > longestHead || !digits ? undefined : readHeaderLines(text, statusLine.lastIndex)
    const status = Number(digits)
    const more = chunk.subarray(chunk.length - (text.length - end))
    // A change of protocol was not asked for; any other hint ahead of the answer is for us alone.
    if (!headers || status === 101) this.#refuse()
    else if (status < 200) {
      if (more.length > 0) this.#takeHead(more)
    } else if (this.#begin(status, headers, version === '1')) {
      clearTimeout(this.#timer)
      this.#timer = this.#within(this.#pool.timing.goOnWithin, 'the answer did not go on')
      const listener = this.#listener as Listener
      listener.onHead(status, statusText, headers, () => this.#resume(listener))
      if (this.#framing === 'none') this.#complete([], more.length > 0)
      else if (more.length > 0) this.#takeBody(more)
      else listener.onPause()
    } else this.#refuse()
  }

  /** Finds how the body ends. @returns false if there is more than one way to read that */
  #begin(status: number, headers: string[], isOnePointOne: boolean): boolean {
    let length: string | undefined
    let coding: string | undefined
    let isLast = false
    for (let at = 0; at < headers.length; at += 2) {
      const name = lowerCase(headers[at] as string)
      const value = headers[at + 1] as string
      if (name === 'content-length') {
        if (length !== undefined || !/^\d{1,15}$/.test(value)) return false
        length = value
      } else if (name === 'transfer-encoding') {
        if (coding !== undefined) return false
        coding = value.toLowerCase()
      } else if (name === 'connection') isLast ||= /(^|,)\s*close\s*(,|$)/i.test(value)
    }
    if (coding !== undefined && (coding !== 'chunked' || length !== undefined || !isOnePointOne)) return false
    this.#isKept = isOnePointOne && !isLast
    this.#left = Number(length ?? 0)
    if (this.#request.method === 'HEAD' || status === 204 || status === 304) this.#framing = 'none'
    else if (coding !== undefined) {
      this.#framing = 'chunked'
      this.#chunks = new Chunks()
    } else if (length === undefined) {
      this.#framing = 'close'
      this.#isKept = false
    } else this.#framing = this.#left === 0 ? 'none' : 'length'
    return true
  }

  #takeBody(chunk: Buffer): void {
    this.#timer.refresh()
    if (this.#framing === 'close') this.#pass(chunk)
    else if (this.#framing === 'length') this.#takeLength(chunk)
    else this.#takeChunks(chunk, this.#chunks as Chunks)
  }

  #takeLength(piece: Buffer): void {
    const data = piece.length > this.#left ? piece.subarray(0, this.#left) : piece
    this.#left -= data.length
    this.#pass(data)
    if (this.#left === 0) this.#complete([], data.length < piece.length)
  }

  #takeChunks(piece: Buffer, chunks: Chunks): void {
    try {
      const end = chunks.take(piece, (data) => this.#pass(data))
      if (end !== undefined) this.#complete(chunks.trailers, end < piece.length)
    } catch (error) {
      this.#socket.destroy(error as Error)
    }
  }

  #pass(data: Buffer): void {
    if (!(this.#listener as Listener).onData(Buffer.from(data))) this.#socket.pause()
  }

  /** @param hasMore whether bytes follow, which then belong to no answer */
  #complete(trailers: string[], hasMore: boolean): void {
    clearTimeout(this.#timer)
    const listener = this.#listener as Listener
    this.#listener = undefined
    this.#socket.resume()
    if (this.#isKept && !hasMore) {
      this.idleSince = performance.now()
      this.#pool.keep(this)
    } else this.drop()
    listener.onEnd(trailers)
  }

  /** Whoever can take more again may have waited until after its answer was complete. */
  #resume(listener: Listener): void {
    if (this.#listener !== listener) return
    // The time it has to go on begins now.
    this.#timer.refresh()
    this.#socket.resume()
  }

  /** The upstream has said all it will. */
  #end(): void {
    if (this.#listener && this.#framing === 'close') this.#complete([], false)
    else this.#socket.destroy()
  }

  #refuse(): void {
    this.#socket.destroy(new Error('the answer is not valid HTTP'))
  }

  #fail(error: Error): void {
    clearTimeout(this.#timer)
    const listener = this.#listener
    this.#listener = undefined
    listener?.onFailure(error)
  }
}
