import type { ServerResponse } from 'node:http'
import { discardRest } from '../proxy/body.ts'
import { type ResponseWriter, responseHead } from '../proxy/response-writer.ts'

/** Writes a response by Node's own server. */
export class NodeResponseWriter implements ResponseWriter {
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    this.#response = response
  }

  get isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded
  }

  get status(): number {
    return this.#response.headersSent ? this.#response.statusCode : 0
  }

  inform(status: number, statusText: string, headers: string[]): void {
    // Node's server can say some of them and some headers. A response that still waits for others has no socket: its
    // hints are left out.
    this.#response.socket?.write(responseHead(status, statusText, headers), 'latin1')
  }

  begin(status: number, statusText: string, headers: string[]): void {
    this.#response.writeHead(status, statusText, headers)
  }

  flush(): void {
    // Node's own flush would encode in UTF-8 what is bytes already.
    this.#response.write('', 'latin1')
  }

  write(chunk: Buffer, drained: () => void): boolean {
    if (this.#response.write(chunk)) return true
    // Once for several pieces that come together.
    this.#response.off('drain', drained).once('drain', drained)
    return false
  }

  end(body?: Buffer, trailers: string[] = []): void {
    if (trailers.length > 0) this.#response.addTrailers(pairs(trailers))
    // In latin1 every byte is one character: as text, the body shares one write with the headers.
    if (body) this.#response.end(body.toString('latin1'), 'latin1')
    else this.#response.end()
    discardRest(this.#response.req)
  }

  cut(): void {
    this.#response.destroy()
  }

  onClose(listener: () => void): void {
    // It closes once, and `once` costs more.
    this.#response.on('close', listener)
  }
}

function pairs(flat: string[]): [string, string][] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] as string]] : []))
}
