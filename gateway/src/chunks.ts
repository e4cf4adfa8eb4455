import { longestHead, readHeaderLines } from './message-head.ts'

/** The line that a chunk begins with: its size, and extensions, which nobody has a use for. */
const sizeLine = /^([\da-f]{1,8})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n$/i

/** Takes a body in chunked coding apart (RFC 9112 section 7.1), piece by piece as it comes. */
export class Chunks {
  /** Names and values in turn, once the body is over. */
  trailers: string[] = []
  #expects: 'size' | 'data' | 'end of data' | 'trailers' = 'size'
  #left = 0
  #text = ''

  /**
   * @param pass gets the data
   * @returns where in the piece the body ended; undefined if it goes on
   * @throws Error if it is not in chunked coding
   */
  take(piece: Buffer, pass: (data: Buffer) => void): number | undefined {
    for (let at = 0; at < piece.length; ) {
      if (this.#expects === 'data') {
        const end = Math.min(at + this.#left, piece.length)
        pass(piece.subarray(at, end))
        this.#left -= end - at
        at = end
        if (this.#left === 0) this.#expects = 'end of data'
        continue
      }
      const lineFeed = piece.indexOf('\n', at)
      const end = lineFeed === -1 ? piece.length : lineFeed + 1
      this.#text += piece.toString('latin1', at, end)
      at = end
      if (this.#text.length > longestHead) throw broken()
      if (lineFeed !== -1 && this.#takeLine()) return at
    }
    return undefined
  }

  /** @returns whether this was the last line */
  #takeLine(): boolean {
    const text = this.#text
    if (this.#expects === 'trailers') {
      if (text !== '\r\n' && !text.endsWith('\r\n\r\n')) return false
      const trailers = readHeaderLines(text, 0)
      if (!trailers) throw broken()
      this.trailers = trailers
      return true
    }
    this.#text = ''
    if (this.#expects === 'end of data') {
      if (text !== '\r\n') throw broken()
      this.#expects = 'size'
      return false
    }
    const [, size] = sizeLine.exec(text) ?? []
    if (size === undefined) throw broken()
    this.#left = Number.parseInt(size, 16)
    this.#expects = this.#left === 0 ? 'trailers' : 'data'
    return false
  }
}

const broken = () => new Error('the body is not in chunked coding')
