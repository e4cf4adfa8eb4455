import fc from 'fast-check'
import t from 'tap'
import { closeFrame, FrameFollower } from './websocket-frames.ts'

/** A frame by the book (RFC 6455 section 5.2), its payload all alike. */
function frame(length: number, masked: boolean, opcode = 2): Buffer {
  const bit = masked ? 0x80 : 0
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const extended = Buffer.alloc(length < 126 ? 0 : length < 65_536 ? 2 : 8)
  if (extended.length === 2) extended.writeUInt16BE(length)
  if (extended.length === 8) extended.writeBigUInt64BE(BigInt(length))
  const short = [length, 0, 126, 0, 0, 0, 0, 0, 127][extended.length] as number
  return Buffer.concat([Buffer.from([0x80 | opcode, bit | short]), extended, mask, Buffer.alloc(length, 0x81)])
}

const anyFrame = fc.record({
  length: fc.oneof(fc.nat(130), fc.constantFrom(0, 125, 126, 127, 65_535, 65_536, 70_000)),
  masked: fc.boolean(),
  opcode: fc.constantFrom(0, 1, 2, 8, 9, 10),
})

t.test('frames are told apart, however the bytes are cut into chunks', async () => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 12 }), (specs, places) => {
      const frames = specs.map(({ length, masked, opcode }) => frame(length, masked, opcode))
      const bytes = Buffer.concat(frames)
      const ends: number[] = []
      for (const { length } of frames) ends.push((ends.at(-1) ?? 0) + length)
      const cuts = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)

      const follower = new FrameFollower()
      let start = 0
      return [...cuts, bytes.length].every((cut) => {
        const end = follower.follow(bytes.subarray(start, cut))
        const first = ends.find((end) => end > start && end <= cut)
        const right = end === (first === undefined ? undefined : first - start)
        start = cut
        return right && follower.isBetween === (cut === 0 || ends.includes(cut))
      })
    }),
    { numRuns: 500 },
  )
})

t.test('a frame can come byte by byte, whichever way its length is written', async (t) => {
  for (const masked of [false, true])
    for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
      const follower = new FrameFollower()
      const bytes = frame(length, masked)
      const between: number[] = []
      for (let at = 0; at < bytes.length; at++)
        if (follower.follow(bytes.subarray(at, at + 1)) !== undefined) between.push(at + 1)
      t.strictSame(between, [bytes.length], `${length} ${masked ? 'masked' : 'unmasked'}`)
      t.ok(follower.isBetween)
    }
})

t.test('nothing is written into the middle of a frame longer than any chunk', async (t) => {
  const follower = new FrameFollower()
  const header = frame(65_536, false).subarray(0, 10)
  header.writeBigUInt64BE(2n ** 33n, 2)
  t.equal(follower.follow(header), undefined)
  t.equal(follower.follow(Buffer.alloc(1024 * 1024)), undefined)
  t.notOk(follower.isBetween)
})

t.test('a close frame of ours is complete and says code and reason', async (t) => {
  const bytes = closeFrame(4401, 'token expired')
  t.equal(bytes[0], 0x88, 'final, opcode 8')
  t.equal(bytes[1], bytes.length - 2, 'unmasked, of this length')
  t.equal(bytes.readUInt16BE(2), 4401)
  t.equal(bytes.subarray(4).toString(), 'token expired')
  t.equal(new FrameFollower().follow(bytes), bytes.length)
})
