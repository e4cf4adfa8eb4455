import { type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Logger, noteProblem } from '@sallyport/chassis'
import { tooLarge } from './body.ts'
import { Call, type IsTrusted, sourceOf } from './call.ts'
import { forward } from './forward.ts'
import { measure } from './measure.ts'
import { keptFor, ShortAnswer } from './short-answer.ts'
import { requestIdOf } from './trace.ts'
import type { Watch } from './watch.ts'
import { readWhole, type Whole } from './whole-request.ts'

/** Milliseconds for the first request on a connection to come, and for the next one. */
const usualTiming = { beginWithin: 5_000, nextWithin: keptFor * 1_000 }

interface Parts {
  isTrusted: IsTrusted
  watch: Watch
  logger: Logger
  /** Whether an `Origin` is one whose pages may call. */
  isOurs(origin: string): boolean
  /** Takes a call as far as to where it is sent on. @returns the headers it goes on with */
  admit(call: Call): Promise<string[]>
  /** What the answer carries beside what the upstream gives it. */
  ownHeaders(call: Call): string[]
}

/**
 * A shorter way for requests of the ordinary kind (whole-request.ts) through the same steps: it reads and writes the
 * connection itself, which costs far less than Node's server (docs/performance.md).
 *
 * Whatever is not ordinary goes to Node's server, byte by byte as it came, and its connection with it for good: other
 * framing, upgrades, preflights, bodies that are still to come, everything malformed.
 */
export class ShortWay {
  readonly #serve: (socket: Socket) => void
  readonly #connections = new Set<Connection>()
  #isClosing = false
  #isClosed = false

  /** Stands before a server that does not listen yet. */
  constructor(server: Server, parts: Parts, timing = usualTiming) {
    const [serve] = server.listeners('connection') as [(socket: Socket) => void]
    this.#serve = serve.bind(server)
    server.removeAllListeners('connection')
    server.on('connection', (socket) => this.#connections.add(new Connection(this, socket, parts, timing)))
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

  /** Gives a connection to Node's server, with what came on it and was not answered. */
  handOver(connection: Connection, socket: Socket, received: Buffer): void {
    this.gone(connection)
    this.#serve(socket)
    socket.unshift(received)
    socket.resume()
  }
}

class Connection {
  readonly #way: ShortWay
  readonly #parts: Parts
  readonly #socket: Socket
  readonly #timing: typeof usualTiming
  /** The answer to the request that is under way. */
  #answer: ShortAnswer | undefined
  /** What came while a request was under way. */
  #next: Buffer | undefined
  readonly #peer: string
  #hasBegun = false

  constructor(way: ShortWay, socket: Socket, parts: Parts, timing: typeof usualTiming) {
    this.#way = way
    this.#socket = socket
    this.#parts = parts
    this.#timing = timing
    this.#peer = socket.remoteAddress as string
    socket.setTimeout(timing.beginWithin)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
    socket.on('error', ignore).on('timeout', this.#onTimeout)
  }

  endIfIdle(): void {
    if (!this.#answer) this.#socket.destroySoon()
  }

  readonly #onData = (chunk: Buffer) => {
    if (this.#answer) this.#wait(chunk)
    else this.#take(chunk)
  }

  /** A client that will say no more does not wait for an answer either, as Node's server sees it. */
  readonly #onEnd = () => this.#socket.destroy()

  readonly #onClose = () => {
    this.#way.gone(this)
    this.#answer?.close()
  }

  /** Where nothing came there is nothing to answer: the client would take it for the answer to what it sends just then. */
  readonly #onTimeout = () => this.endIfIdle()

  #take(piece: Buffer): void {
    const whole = readWhole(piece)
    const call = whole ? this.#toCall(whole) : undefined
    if (!whole || !call) {
      this.#handOver(piece)
      return
    }
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#socket.setTimeout(this.#timing.nextWithin)
    }
    if (whole.length < piece.length) this.#wait(piece.subarray(whole.length))
    this.#pass(call, whole.body)
  }

  /** Requests are answered one after the other, and none that waits is taken in before. */
  #wait(received: Buffer): void {
    this.#next = received
    this.#socket.pause()
  }

  /** @returns undefined if the call comes from a page that may not call, which is for Node's server to answer */
  #toCall({ method, url, rawHeaders, names }: Whole): Call | undefined {
    const header = (name: string) => {
      const at = names.indexOf(name)
      return at === -1 ? undefined : rawHeaders[2 * at + 1]
    }
    const origin = header('origin')
    if (origin !== undefined && !this.#parts.isOurs(origin)) return undefined
    const source = sourceOf(this.#peer, header, this.#parts.isTrusted)
    const id = requestIdOf(header('x-request-id'), this.#peer, this.#parts.isTrusted)
    return new Call({ id, method, url, httpVersion: '1.1', rawHeaders, header, source, trace: undefined })
  }

  async #pass(call: Call, body: string): Promise<void> {
    const { admit, ownHeaders, watch } = this.#parts
    const answer = new ShortAnswer(this.#socket, call.method, this.#way.isClosing)
    this.#answer = answer
    answer.onClose(() => this.#done(call, answer))
    try {
      const headers = await admit(call)
      if (body.length > call.route.bodyLimit) throw tooLarge()
      await forward({ call, answer, headers, body, ownHeaders: ownHeaders(call), watch })
    } catch (error) {
      this.#refuse(call, error, answer)
    }
  }

  /** A request that goes nowhere. */
  #refuse(call: Call, error: unknown, answer: ShortAnswer): void {
    const problem = noteProblem(error, call, this.#parts.logger)
    const body = Buffer.from(JSON.stringify(problem.body()))
    answer.begin(problem.statusCode, STATUS_CODES[problem.statusCode] as string, [
      ...this.#parts.ownHeaders(call),
      ...Object.entries(problem.headers).flat(),
      ...['content-type', 'application/problem+json', 'content-length', String(body.length)],
    ])
    answer.end(call.method === 'HEAD' ? undefined : body)
  }

  #done(call: Call, answer: ShortAnswer): void {
    measure(call, answer.status)
    this.#answer = undefined
    const next = this.#next
    this.#next = undefined
    if (answer.isLast || this.#way.isClosed()) this.#socket.destroySoon()
    else if (next) {
      this.#socket.resume()
      this.#take(next)
    }
  }

  #handOver(received: Buffer): void {
    const socket = this.#socket
    socket.pause()
    socket.setTimeout(0)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    socket.off('error', ignore).off('timeout', this.#onTimeout)
    this.#way.handOver(this, socket, received)
  }
}

const ignore = () => {}
