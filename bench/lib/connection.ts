import { connect } from 'node:net'

/**
 * Sends one request after the other, as bytes that were made once. It does little else, since the client shares the
 * cores with the server: responses have a Content-Length, and only their status is read.
 */
export class Connection {
  readonly #socket
  #heard = ''
  #responded: ((status: number) => void) | undefined
  #failed: ((error: Error) => void) | undefined

  constructor(address: string) {
    const { hostname, port } = new URL(address)
    this.#socket = connect(Number(port), hostname)
      .setNoDelay()
      .setEncoding('latin1')
      .on('data', (text) => this.#hear(String(text)))
      .on('error', (error) => this.#failed?.(error))
      .on('close', () => this.#failed?.(new Error('the connection was closed')))
  }

  /** @returns the status of the response */
  exchange(request: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#responded = resolve
      this.#failed = reject
      this.#socket.write(request)
    })
  }

  #hear(text: string): void {
    this.#heard += text
    const end = this.#heard.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = /^content-length: (\d+)/im.exec(this.#heard.slice(0, end))
    if (this.#heard.length < end + 4 + Number(length?.[1])) return
    const status = Number(this.#heard.slice(9, 12))
    this.#heard = ''
    this.#responded?.(status)
  }

  close(): void {
    this.#failed = undefined
    this.#socket.destroy()
  }
}
