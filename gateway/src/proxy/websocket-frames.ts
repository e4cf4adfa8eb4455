/**
 * Follows WebSocket frames (RFC 6455 section 5.2) in the bytes of one direction, to know where a frame of our own can
 * go between two of theirs. It reads lengths and nothing else.
 */
export class FrameFollower {
  /** Bytes of the present frame still to come. */
  #remaining = 0
  /** The beginning of a frame whose length is not known yet. */
  #header = Buffer.alloc(0)

  /** Whether the bytes so far end with a complete frame. */
  get isBetween(): boolean {
    return this.#remaining === 0 && this.#header.length === 0
  }

  /** @returns where in the chunk the first frame ends that was not over before it; undefined if none does */
  follow(chunk: Buffer): number | undefined {
    let firstEnd: number | undefined
    let at = 0
    while (at < chunk.length) {
      if (this.#remaining === 0) at = this.#readHeader(chunk, at)
      const step = Math.min(this.#remaining, chunk.length - at)
      this.#remaining -= step
      at += step
      if (this.isBetween) firstEnd ??= at
    }
    return firstEnd
  }

  #readHeader(chunk: Buffer, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      this.#header = Buffer.concat([this.#header, chunk.subarray(at, at + 1)])
      const length = frameLength(this.#header)
      if (length === undefined) continue
      this.#remaining = length - this.#header.length
      this.#header = Buffer.alloc(0)
      return at + 1
    }
    return chunk.length
  }
}

/** The length of a complete frame with its header, once enough of the header was received. */
function frameLength(header: Buffer): number | undefined {
  if (header.length < 2) return undefined
  const second = header.readUInt8(1)
  const mask = second & 0x80 ? 4 : 0
  const short = second & 0x7f
  if (short < 126) return 2 + mask + short
  if (short === 126) return header.length < 4 ? undefined : 4 + mask + header.readUInt16BE(2)
  return header.length < 10 ? undefined : 10 + mask + Number(header.readBigUInt64BE(2))
}

/** A close frame as a server sends it: unmasked, a code and a reason of at most 123 bytes. */
export function closeFrame(code: number, reason: string): Buffer {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
  return Buffer.concat([Buffer.from([0x88, payload.length]), payload])
}
