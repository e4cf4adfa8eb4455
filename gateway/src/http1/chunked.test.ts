import fc from 'fast-check'
import t from 'tap'
import { ChunkedDecoder } from './chunked.ts'

/** Hands bytes over in pieces, and gives back what came out and how many bytes the body had. */
function decode(bytes: Buffer, cuts: number[]) {
  const chunks = new ChunkedDecoder()
  const data: Buffer[] = []
  const places = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].sort((a, b) => a - b)
  for (const [index, at] of places.slice(0, -1).entries()) {
    const end = chunks.take(bytes.subarray(at, places[index + 1]), (piece) => data.push(piece))
    if (end !== undefined) return { data: Buffer.concat(data), length: at + end, trailers: chunks.trailers }
  }
  return undefined
}

t.test('a body comes out as it went in, however it is cut, and nothing of what follows it is taken', async () => {
  const trailer = fc.tuple(fc.stringMatching(/^[a-z-]{1,10}$/), fc.stringMatching(/^[a-z]{1,10}$/))
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 6 }),
      fc.array(trailer, { maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (pieces, trailers, cuts) => {
        const coded = Buffer.concat([
          ...pieces.flatMap((piece) => [
            Buffer.from(`${piece.length.toString(16)};x=y\r\n`),
            piece,
            Buffer.from('\r\n'),
          ]),
          Buffer.from(`0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`),
        ])
        const decoded = decode(Buffer.concat([coded, Buffer.from('HTTP/1.1 200 OK')]), cuts)
        return (
          decoded?.length === coded.length &&
          decoded.data.equals(Buffer.concat(pieces)) &&
          decoded.trailers.join() === trailers.flat().join()
        )
      },
    ),
    { numRuns: 2_000 },
  )
})

t.test('anything else is refused', async (t) => {
  for (const coded of [
    'x\r\n',
    '\r\n',
    '-1\r\n',
    '+1\r\na\r\n',
    '0x1\r\na\r\n',
    ' 1\r\na\r\n',
    '123456789\r\n',
    '1\na\r\n',
    '1\r\nab\r\n',
    '1\r\na\n',
    '1;a=\x01\r\na\r\n',
    '0\r\nfolded: a\r\n b\r\n\r\n',
    '0\r\nno colon\r\n\r\n',
    `0\r\nlong: ${'x'.repeat(17_000)}`,
    `1;${'x'.repeat(17_000)}`,
  ])
    t.throws(() => decode(Buffer.from(coded, 'latin1'), []), JSON.stringify(coded.slice(0, 30)))
})

t.test('a body that is not over yet is waited for', async (t) => {
  for (const coded of ['', '1', '1\r', '1\r\n', '1\r\na', '1\r\na\r\n0\r\n', '0\r\nname: value\r\n'])
    t.equal(decode(Buffer.from(coded), []), undefined, JSON.stringify(coded))
})
