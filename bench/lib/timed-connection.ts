import { connect } from 'node:net'

export interface TimedResponse {
  /** The status line and the headers, as they came. */
  head: string
  body: string
  /** Milliseconds from the request to the first byte of the response, and to the last. */
  firstByte: number
  total: number
}

/** A connection that sends one request after the other, and takes the time of each. Responses have a Content-Length. */
export class TimedConnection {
  readonly #socket
  #heard = ''
  #sent = 0
  #firstByte = 0
  #resolve: ((response: TimedResponse) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(address: string) {
    const { hostname, port } = new URL(address)
    this.#socket = connect(Number(port), hostname)
      .setNoDelay()
      .setEncoding('latin1')
      .on('data', (text) => this.#hear(String(text), performance.now()))
      .on('error', (error) => this.#reject?.(error))
      .on('close', () => this.#reject?.(new Error('the connection was closed')))
  }

  exchange(request: string): Promise<TimedResponse> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) throw new Error('the connection was closed')
      this.#resolve = resolve
      this.#reject = reject
      this.#sent = performance.now()
      this.#socket.write(request)
    })
  }

  #hear(text: string, now: number): void {
    if (this.#heard === '') this.#firstByte = now
    this.#heard += text
    const end = this.#heard.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = this.#heard.slice(0, end)
    const length = /^content-length: (\d+)/im.exec(head)
    if (this.#heard.length < end + 4 + Number(length?.[1])) return
    const body = this.#heard.slice(end + 4)
    this.#heard = ''
    this.#resolve?.({ head, body, firstByte: this.#firstByte - this.#sent, total: now - this.#sent })
  }

  close(): void {
    this.#reject = undefined
    this.#socket.destroy()
  }
}
