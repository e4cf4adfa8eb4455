import type { ServerResponse } from 'node:http'
import { discardRest } from './body.ts'

/** Where an answer goes: to a client, by whichever of the two ways its call came. */
export interface Answer {
  /** Whether something of it can still be sent. */
  readonly isOpen: boolean
  /**
   * Sends an informational response (1xx) ahead of the one that counts.
   *
   * @param headers names and values, in turn
   */
  inform(status: number, statusText: string, headers: string[]): void
  /** @param headers names in lower case and values, in turn; they leave with what comes next, or with `flush` */
  begin(status: number, statusText: string, headers: string[]): void
  flush(): void
  /** @returns whether the client can take more now; if not, `drained` is called once it can */
  write(chunk: Buffer, drained: () => void): boolean
  /**
   * @param whole the body, where it is small and was not written yet
   * @param trailers names and values, in turn
   */
  end(whole?: Buffer, trailers?: string[]): void
  /** Breaks off: the only way left to say that an answer which has begun is not whole. */
  cut(): void
  /** Calls back once, when the answer is complete, or the client has left. */
  onClose(listener: () => void): void
}

/** An answer by way of Node's own server. */
export class ServedAnswer implements Answer {
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    this.#response = response
  }

  get isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded
  }

  inform(status: number, statusText: string, headers: string[]): void {
    // Node's server can say some of them and some headers. A response whose turn has not come yet has no socket: its
    // hints are left out.
    this.#response.socket?.write(informationalHead(status, statusText, headers), 'latin1')
  }

  begin(status: number, statusText: string, headers: string[]): void {
    this.#response.writeHead(status, statusText, headers)
  }

  flush(): void {
    // Node's own way to flush would encode in UTF-8 what is bytes already.
    this.#response.write('', 'latin1')
  }

  write(chunk: Buffer, drained: () => void): boolean {
    if (this.#response.write(chunk)) return true
    // Once for several pieces that come together.
    this.#response.off('drain', drained).once('drain', drained)
    return false
  }

  end(whole?: Buffer, trailers: string[] = []): void {
    if (trailers.length > 0) this.#response.addTrailers(pairs(trailers))
    // In latin1 every byte is one character: as text the body shares one write with the headers.
    if (whole) this.#response.end(whole.toString('latin1'), 'latin1')
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

/** In latin1. */
export function informationalHead(status: number, statusText: string, headers: string[]): string {
  let head = `HTTP/1.1 ${status} ${statusText}\r\n`
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${head}\r\n`
}

function pairs(flat: string[]): [string, string][] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] as string]] : []))
}
