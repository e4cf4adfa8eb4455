import { countLimit } from '../limits.ts'
import { longestHead, readHeaderLines } from './header-lines.ts'

/** What an upstream sent is not HTTP, or has more than one reading. */
export class Malformed extends Error {}

/** The line that a chunk begins with: its size, and extensions, which are ignored (RFC 9112 section 7.1.1). */
const sizeLine =
  /^([\da-f]{1,8})(?:;[\w!#$%&'*+\-.^`|~]+(?:=(?:[\w!#$%&'*+\-.^`|~]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e]*"))?)*\r\n$/i

/** Decodes a body in chunked transfer coding (RFC 9112 section 7.1), piece by piece as it is received. */
export class ChunkedDecoder {
  /** Names and values in a flat list, once the body is complete. */
  readonly trailers: string[] = []
  #expects: 'size' | 'data' | 'end of data' | 'trailers' = 'size'
  #left = 0
  /** What has come of the present line. */
  #line = ''
  #trailersLength = 0

  /**
   * @param pass gets the data
   * @returns where in the piece the body ended; undefined if it goes on
   * @throws Malformed if it is not in chunked coding
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
      this.#line += piece.toString('latin1', at, end)
      at = end
      if (this.#line.length + this.#trailersLength > longestHead) {
        countLimit('response_trailers')
        throw broken()
      }
      if (lineFeed === -1) continue
      const line = this.#line
      this.#line = ''
      if (this.#takeLine(line)) return at
    }
    return undefined
  }

  /** @returns whether this was the last line */
  #takeLine(line: string): boolean {
    if (this.#expects === 'trailers') {
      if (line === '\r\n') return true
      const trailer = readHeaderLines(`${line}\r\n`, 0)
      if (!trailer) throw broken()
      this.trailers.push(...trailer)
      this.#trailersLength += line.length
    } else if (this.#expects === 'end of data') {
      if (line !== '\r\n') throw broken()
      this.#expects = 'size'
    } else {
      const [, size] = sizeLine.exec(line) ?? []
      if (size === undefined) throw broken()
      this.#left = Number.parseInt(size, 16)
      this.#expects = this.#left === 0 ? 'trailers' : 'data'
    }
    return false
  }
}

const broken = () => new Malformed('the body is not in chunked coding')
