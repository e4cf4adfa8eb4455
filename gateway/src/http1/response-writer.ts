import type { Socket } from 'node:net'
import { type ResponseWriter, responseHead } from '../proxy/response-writer.ts'

/** Writes a response to the connection itself (RFC 9112). */
export class FastPathResponseWriter implements ResponseWriter {
  isOpen = true
  /** 0 before it has begun. */
  status = 0
  /** Whether it says `Connection: close`. */
  isLast = false
  readonly #socket: Socket
  readonly #method: string
  readonly #keepAlive: number
  readonly #isClosing: () => boolean
  readonly #listeners: (() => void)[] = []
  /** What was not sent yet. */
  #head = ''
  #isChunked = false

  /**
   * @param keepAlive seconds for which an idle connection is kept open, as `Keep-Alive` says
   * @param isClosing whether the connection closes with a response that begins now
   */
  constructor(socket: Socket, method: string, keepAlive: number, isClosing: () => boolean) {
    this.#socket = socket
    this.#method = method
    this.#keepAlive = keepAlive
    this.#isClosing = isClosing
  }

  inform(status: number, statusText: string, headers: string[]): void {
    this.#socket.write(responseHead(status, statusText, headers), 'latin1')
  }

  begin(status: number, statusText: string, headers: string[]): void {
    this.status = status
    let hasLength = false
    let hasDate = false
    let head = `HTTP/1.1 ${status} ${statusText}\r\n`
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at] as string
      head += `${name}: ${headers[at + 1]}\r\n`
      if (name === 'content-length') hasLength = true
      else if (name === 'date') hasDate = true
    }
    if (!hasDate) head += `date: ${now()}\r\n`
    if (!hasLength && this.#method !== 'HEAD' && status !== 204 && status !== 304) {
      this.#isChunked = true
      head += 'transfer-encoding: chunked\r\n'
    }
    this.isLast = this.#isClosing()
    const connection = this.isLast ? 'close' : `keep-alive\r\nkeep-alive: timeout=${this.#keepAlive}`
    this.#head = `${head}connection: ${connection}\r\n\r\n`
  }

  flush(): void {
    if (this.#head !== '') this.#socket.write(this.#takeHead(), 'latin1')
  }

  write(chunk: Buffer, drained: () => void): boolean {
    const socket = this.#socket
    socket.cork()
    const size = this.#isChunked ? `${chunk.length.toString(16)}\r\n` : ''
    if (this.#head !== '' || size !== '') socket.write(this.#takeHead() + size, 'latin1')
    let canTakeMore = socket.write(chunk)
    if (this.#isChunked) canTakeMore = socket.write('\r\n', 'latin1')
    socket.uncork()
    // Once for several pieces that come together.
    if (!canTakeMore) socket.off('drain', drained).once('drain', drained)
    return canTakeMore
  }

  end(body?: Buffer, trailers: string[] = []): void {
    let rest = this.#takeHead()
    if (body) rest += body.toString('latin1')
    if (this.#isChunked) {
      rest += '0\r\n'
      for (let at = 0; at < trailers.length; at += 2) rest += `${trailers[at]}: ${trailers[at + 1]}\r\n`
      rest += '\r\n'
    }
    if (rest !== '') this.#socket.write(rest, 'latin1')
    this.close()
  }

  cut(): void {
    this.#socket.destroy()
    this.close()
  }

  onClose(listener: () => void): void {
    if (this.isOpen) this.#listeners.push(listener)
    else listener()
  }

  /** It is complete, or the client has left. */
  close(): void {
    this.isOpen = false
    for (const listener of this.#listeners.splice(0)) listener()
  }

  #takeHead(): string {
    const head = this.#head
    this.#head = ''
    return head
  }
}

let date = ''
let dateHolds = 0

/** The time as HTTP writes it, made once a second. */
function now(): string {
  const time = Date.now()
  if (time >= dateHolds) {
    date = new Date(time).toUTCString()
    dateHolds = time - (time % 1_000) + 1_000
  }
  return date
}
