import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger, Problem } from '@sallyport/chassis'
import { countLimit, type LimitName } from '../limits.ts'
import { malformed, respondAndClose } from './client-error.ts'
import { contain } from './contain.ts'
import { lingeringClose } from './lingering-close.ts'
import { isTooLong } from './message.ts'

/** The most requests of a connection that wait behind one that is under way; a connection that sends more is cut. */
const maxPipelined = 64

/** Bytes that are taken in of a connection behind an upgrade that waits. */
const maxHeld = 65_536

/** Limits that Node's parser keeps, by the code of the error it then gives up with. */
const limits: Record<string, LimitName> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'header_time',
  HPE_HEADER_OVERFLOW: 'header_size',
}

/** What Node's server read of a connection: a request, an upgrade, or something that is no message. */
interface Turn {
  begin(): void
  /** The request that it is about, while its body may still be to come. */
  request?: IncomingMessage
  response?: ServerResponse
}

interface Dependencies {
  /** Handles a request; the response closes once it is answered, or its connection is gone. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /** Notes that a request is an upgrade that may be taken; it is handled like any other until it is. */
  noteUpgrade(request: IncomingMessage, upgrade: { socket: Socket; take: () => Buffer }): void
  /** Reads a connection by Node's server. */
  serve(socket: Socket, received: Buffer): void
  /** Counts and logs what is refused before it is a request. @returns what it is answered with */
  refused(problem: Problem, peer: string): Promise<Problem>
  /** Seconds that a connection is kept on which nothing comes, and that a client may take for the next of a response. */
  idleTimeout: number
  logger: Logger
}

/**
 * Takes what Node's server reads of a connection one after another (RFC 9112 section 9.3.2): nothing begins before what
 * came before it was answered and the answer has left, and nothing at all once a message was refused for its form, or
 * once the client is gone. Node by itself begins everything at once.
 *
 * @returns how to end a connection on which no request is under way, whether or not one ever came, or began to come
 */
export function serveInOrder(server: Server, dependencies: Dependencies) {
  const connections = new WeakMap<Socket, NodeConnection>()
  const of = (socket: Socket) => {
    let connection = connections.get(socket)
    if (!connection) {
      connection = new NodeConnection(socket, dependencies)
      connections.set(socket, connection)
    }
    return connection
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse) => of(request.socket).take(request, response)
  for (const event of ['request', 'checkContinue', 'checkExpectation']) {
    server.removeAllListeners(event)
    server.on(event, onRequest)
  }
  for (const event of ['upgrade', 'connect'])
    server.on(event, (request: IncomingMessage, socket: Socket, head: Buffer) => of(socket).takeUpgrade(request, head))
  server.setTimeout(dependencies.idleTimeout * 1_000, (socket: Socket) => of(socket).onTimeout())
  server.removeAllListeners('clientError')
  server.on('clientError', (error: Error & { code: string }, socket: Socket) => of(socket).refuse(error))
  return (socket: Socket) => of(socket).endIfIdle()
}

class NodeConnection {
  readonly #socket: Socket
  readonly #dependencies: Dependencies
  readonly #waiting: Turn[] = []
  #current: Turn | undefined
  /** Whether a message was refused: what comes after it is not read. */
  #isRefused = false

  constructor(socket: Socket, dependencies: Dependencies) {
    this.#socket = socket
    this.#dependencies = dependencies
    // What Node's server calls behind a last response would close while the client may still send.
    socket.destroySoon = () => lingeringClose(socket)
  }

  take(request: IncomingMessage, response: ServerResponse): void {
    for (const emitter of [request, response]) contain(emitter, this.#fail)
    this.#add({
      request,
      response,
      begin: () => {
        // It closes once, and `once` costs more.
        response.on('close', this.#next)
        this.#dependencies.handle(request, response)
      },
    })
  }

  /** From here on Node's server does not read the connection any more. */
  takeUpgrade(request: IncomingMessage, head: Buffer): void {
    // Where it stopped reading for the sake of a body before, it does not go on, and what reads next takes its last read
    // for one that is still under way: this ends that one.
    this.#socket.push('')
    const take = this.#hold(head)
    this.#add({ begin: () => this.#beginUpgrade(request, take) })
  }

  /** Reads on until an upgrade is taken, to notice a client that leaves. @returns how to stop, and what has come by then */
  #hold(head: Buffer): () => Buffer {
    const socket = this.#socket
    const held = [head]
    let size = head.length
    const onData = (chunk: Buffer) => {
      held.push(chunk)
      size += chunk.length
      if (size >= maxHeld) socket.pause()
    }
    const onEnd = () => socket.destroy()
    const onTimeout = () => this.onTimeout()
    // The responses before are no longer told that the client can take more.
    const onDrain = () => this.#current?.response?.emit('drain')
    socket.on('data', onData).on('end', onEnd).on('timeout', onTimeout).on('drain', onDrain)
    return () => {
      socket.pause()
      socket.off('data', onData).off('end', onEnd).off('timeout', onTimeout).off('drain', onDrain)
      return Buffer.concat(held)
    }
  }

  /** Node's server cannot read on: the message is malformed, or its header or the next one did not come in time. */
  refuse(error: Error & { code: string }): void {
    const latest = this.#waiting.at(-1) ?? this.#current
    // What is broken is the body of that one: this is what it is answered with, in its place.
    const broken = latest?.request?.complete === false ? latest : undefined
    // Nobody waits for what is under way once the client says that it will say no more. Node leaves that to us here.
    if (this.#socket.readableEnded && this.#current?.response && broken !== this.#current) this.#socket.destroy()
    // After a request that was to be the last one nothing is read, and what comes is no fault of that one.
    if (this.#isRefused || error.code === 'HPE_CLOSED_CONNECTION') return
    const limit = limits[error.code]
    if (limit) countLimit(limit)
    // Where nothing came there is nothing to answer: the client would take it for the answer to what it sends just then.
    if (!this.#socket.writable || this.#socket.bytesRead === 0) {
      this.#socket.destroy()
      return
    }
    const refusal: Turn = { begin: () => this.#answer(error, broken) }
    if (broken && broken === this.#current) refusal.begin()
    else if (broken) this.#waiting.splice(-1, 1, refusal)
    else this.#add(refusal)
    this.#isRefused = true
  }

  /** @param broken what was to be answered in its place, and perhaps began to be */
  async #answer(error: { code: string }, broken?: Turn): Promise<void> {
    const socket = this.#socket
    const problem = await this.#dependencies.refused(malformed(error), socket.remoteAddress as string)
    // Within a response that has begun, a second one would be read as part of it.
    if (!socket.writable || broken?.response?.headersSent) socket.destroy()
    else respondAndClose(problem, socket, broken?.request?.method)
  }

  /** Nothing came and nothing left: the client takes nothing of a response, or has nothing more to ask. */
  onTimeout(): void {
    if (this.#socket.writableLength > 0) countLimit('send_time')
    // So much waits that no more is read: whether the client is still there cannot be told.
    else if (this.#waiting.length > 0 && this.#socket.isPaused()) countLimit('pipelined_requests')
    else if (this.#current) return
    else countLimit('idle_time')
    this.#socket.destroy()
  }

  endIfIdle(): void {
    if (!this.#current) this.#socket.end(() => this.#socket.destroy())
  }

  #add(turn: Turn): void {
    // Nor is anything read behind a response that was the last one.
    if (this.#isRefused || !this.#socket.writable) return
    if (!this.#current) this.#begin(turn)
    else if (this.#waiting.length < maxPipelined) this.#waiting.push(turn)
    else {
      countLimit('pipelined_requests')
      this.#socket.destroy()
    }
  }

  #begin(turn: Turn): void {
    this.#current = turn
    try {
      turn.begin()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** What waits has its turn after those of others, unless the client left meanwhile. */
  readonly #next = () => {
    if (this.#waiting.length === 0) this.#current = undefined
    else setImmediate(this.#beginNext)
  }

  readonly #beginNext = () => {
    const { writable, readableEnded } = this.#socket
    if (writable && !readableEnded) this.#begin(this.#waiting.shift() as Turn)
  }

  readonly #fail = (err: unknown) => {
    this.#dependencies.logger.error({ event: 'connection_ended', err }, 'an error in an event of a request')
    this.#socket.destroy()
  }

  /** A WebSocket that may be opened, or a CONNECT, which is refused; any other upgrade is ignored (RFC 9110 section 7.8). */
  #beginUpgrade(request: IncomingMessage, take: () => Buffer): void {
    const socket = this.#socket
    socket.setTimeout(0)
    const isWebSocket = /^websocket$/i.test(request.headers.upgrade ?? '')
    if (request.method !== 'CONNECT' && !isWebSocket && !isTooLong(request)) {
      this.#current = undefined
      this.#dependencies.serve(socket, Buffer.concat([withoutUpgrade(request), take()]))
      return
    }
    if (isWebSocket) this.#dependencies.noteUpgrade(request, { socket, take })
    const response = new ServerResponse(request)
    for (const emitter of [request, response]) contain(emitter, this.#fail)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once('finish', () => lingeringClose(socket))
    this.#dependencies.handle(request, response)
  }
}

/** The header of a request as it came, but for the line that asks for another protocol. */
function withoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.toLowerCase() !== 'upgrade') head += `${name}: ${rawHeaders[at + 1]}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1')
}
