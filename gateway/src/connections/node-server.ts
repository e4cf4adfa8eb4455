import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger, Problem } from '@sallyport/chassis'
import { countLimit, type LimitName } from '../limits.ts'
import { maxReadAhead } from './client-connections.ts'
import { malformed, respondAndClose } from './client-error.ts'
import { contain } from './contain.ts'
import { lingeringClose } from './lingering-close.ts'
import { isTooLong } from './message.ts'

/** The most pipelined requests of a connection that wait behind the current one; a connection that sends more is cut. */
const maxPipelined = 64

/** Limits that Node's parser keeps, by the code of the error it then gives up with. */
const limits: Record<string, LimitName> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'header_time',
  HPE_HEADER_OVERFLOW: 'header_size',
}

/** What Node's server read of a connection: a request, an upgrade, or a malformed message. */
interface Message {
  begin(): void
  /** The request that it is about, while its body may still be to come. */
  request?: IncomingMessage
  response?: ServerResponse
}

interface Dependencies {
  /** Handles a request; the response closes once it is complete, or its connection is closed. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /** Notes that a request is an upgrade that may be taken; it is handled like any other until it is. */
  noteUpgrade(request: IncomingMessage, upgrade: { socket: Socket; take: () => Buffer }): void
  /** Reads a connection by Node's server. */
  serve(socket: Socket, received: Buffer): void
  /** Counts and logs what is rejected before it is a request. @returns what its sender is shown */
  refused(problem: Problem, peer: string): Promise<Problem>
  /** Seconds for which an idle connection is kept open, and for which a client may take nothing of a response. */
  idleTimeout: number
  logger: Logger
}

/**
 * Serves the pipelined requests of a connection one after another (RFC 9112 section 9.3.2): none begins before the response
 * to the one before it was sent, and none at all once a message was rejected for its form, or once the client has left.
 * Node by itself begins all of them at once.
 *
 * @returns how to close a connection that is idle, whether or not a request ever came, or began to come; and how to respond
 *   to what is no request, on a connection that this server does not read
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
  return {
    endIfIdle: (socket: Socket) => of(socket).endIfIdle(),
    refuse: (socket: Socket, error: { code: string }) => of(socket).refuse(error),
  }
}

class NodeConnection {
  readonly #socket: Socket
  readonly #dependencies: Dependencies
  readonly #waiting: Message[] = []
  #current: Message | undefined
  /** Whether a message was rejected: what comes after it is not read. */
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
    // for one that has not ended: this ends that one.
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
      if (size >= maxReadAhead) socket.pause()
    }
    const onEnd = () => socket.destroy()
    const onTimeout = () => this.onTimeout()
    // Node no longer notifies the responses before it that the client can take more.
    const onDrain = () => this.#current?.response?.emit('drain')
    socket.on('data', onData).on('end', onEnd).on('timeout', onTimeout).on('drain', onDrain)
    return () => {
      socket.pause()
      socket.off('data', onData).off('end', onEnd).off('timeout', onTimeout).off('drain', onDrain)
      return Buffer.concat(held)
    }
  }

  /** Node's server cannot read on: the message is malformed, or its header or the next one was not received in time. */
  refuse(error: { code: string }): void {
    const latest = this.#waiting.at(-1) ?? this.#current
    // It is the body of that one that is malformed: this is its response.
    const broken = latest?.request?.complete === false ? latest : undefined
    // A client that has half-closed the connection waits for no response. Node leaves that to us here.
    if (this.#socket.readableEnded && this.#current?.response && broken !== this.#current) this.#socket.destroy()
    // After the last request of a connection nothing is read, and what comes is no error of that request.
    if (this.#isRefused || error.code === 'HPE_CLOSED_CONNECTION') return
    const limit = limits[error.code]
    if (limit) countLimit(limit)
    // What comes behind the last response takes nothing from it.
    if (!this.#socket.writable) return
    // On a silent connection no response is sent: the client would take it for the response to what it sends just then.
    if (this.#socket.bytesRead === 0) {
      this.#socket.destroy()
      return
    }
    const refusal: Message = { begin: () => this.#respond(error, broken) }
    if (broken && broken === this.#current) refusal.begin()
    else if (broken) this.#waiting.splice(-1, 1, refusal)
    else this.#add(refusal)
    this.#isRefused = true
  }

  /** @param broken the request whose response this replaces, unless that has begun */
  async #respond(error: { code: string }, broken?: Message): Promise<void> {
    const socket = this.#socket
    const problem = await this.#dependencies.refused(malformed(error), socket.remoteAddress as string)
    if (!socket.writable) return
    // It was rejected before its body was seen.
    if (broken?.response?.writableEnded) lingeringClose(socket)
    // Within a response that has begun, a second one would be read as part of it.
    else if (broken?.response?.headersSent) socket.destroy()
    else respondAndClose(problem, socket, broken?.request?.method)
  }

  /** Nothing was received and nothing sent: the client takes nothing of a response, or has nothing more to ask. */
  onTimeout(): void {
    if (this.#socket.writableLength > 0) countLimit('send_time')
    // So much waits that reading has stopped, and a client that left would go unnoticed.
    else if (this.#waiting.length > 0 && this.#socket.isPaused()) countLimit('pipelined_requests')
    else if (this.#current) return
    else countLimit('idle_time')
    this.#socket.destroy()
  }

  endIfIdle(): void {
    if (!this.#current) this.#socket.end(() => this.#socket.destroy())
  }

  #add(message: Message): void {
    // Nor is anything read behind a response that was the last one.
    if (this.#isRefused || !this.#socket.writable) return
    if (!this.#current) this.#begin(message)
    else if (this.#waiting.length < maxPipelined) this.#waiting.push(message)
    else {
      countLimit('pipelined_requests')
      this.#socket.destroy()
    }
  }

  #begin(message: Message): void {
    this.#current = message
    try {
      message.begin()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** What waits is served after other connections, unless the client left meanwhile. */
  readonly #next = () => {
    if (this.#waiting.length === 0) this.#current = undefined
    else setImmediate(this.#beginNext)
  }

  readonly #beginNext = () => {
    const { writable, readableEnded } = this.#socket
    if (writable && !readableEnded) this.#begin(this.#waiting.shift() as Message)
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
