import fc from 'fast-check'
import t from 'tap'
import { readEvents } from './server-sent-events.ts'

/** What is read of a stream that comes in these chunks. */
function read(chunks: string[]): [name: string, data: string][] {
  const events: [string, string][] = []
  const feed = readEvents((name, data) => events.push([name, data]))
  for (const chunk of chunks) feed(chunk)
  return events
}

t.test('events are read as HTML has them', async (t) => {
  const streams: [string, [string, string][]][] = [
    ['event: a\ndata: 1\n\n', [['a', '1']]],
    ['event:a\ndata:1\n\n', [['a', '1']]],
    ['event: a\r\ndata: 1\r\n\r\n', [['a', '1']]],
    ['data: 1\ndata: 2\n\n', [['', '1\n2']]],
    ['data\n\n', [['', '']]],
    ['data:  two spaces\n\n', [['', ' two spaces']]],
    ['data: a: b\n\n', [['', 'a: b']]],
    ['data: a\u2028b\u0085c\rd\n\n', [['', 'a\u2028b\u0085c\rd']]],
    ['event: a\n\ndata: 1\n\n', [['', '1']]],
    [
      'event: a\ndata: 1\n\ndata: 2\n\n',
      [
        ['a', '1'],
        ['', '2'],
      ],
    ],
    ['event: a\nevent: b\ndata: 1\n\n', [['b', '1']]],
    [': comment\n\nid: 7\nretry: 5\nother\ndata: 1\n\n', [['', '1']]],
    ['data: 1\n', []],
    ['data: 1', []],
    ['\n\n\n', []],
    ['', []],
  ]
  for (const [stream, events] of streams) t.strictSame(read([stream]), events, encodeURI(stream))
})

t.test('they are the same however the stream is cut', async () => {
  const piece = fc.constantFrom(
    'event',
    'data',
    'id',
    ':',
    ': ',
    ' ',
    '\n',
    '\r\n',
    '\n\n',
    'x',
    '{"a":1}',
    '\u2028',
    '😀',
  )
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, cuts) => {
      const stream = pieces.join('')
      const places = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((one, other) => one - other)
      const chunks = [...places, stream.length].map((end, index) => stream.slice(places[index - 1] ?? 0, end))
      return JSON.stringify(read(chunks)) === JSON.stringify(read([stream]))
    }),
    { numRuns: 5_000 },
  )
})

t.test('whatever was written is read', async () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ''))
  const event = fc.tuple(line, fc.array(line, { minLength: 1 }))
  fc.assert(
    fc.property(fc.array(event), fc.constantFrom('\n', '\r\n'), (events, end) => {
      const stream = events.map(([name, data]) =>
        [`event: ${name}`, ...data.map((one) => `data: ${one}`), '', ''].join(end),
      )
      const expected = events.map(([name, data]) => [name, data.join('\n')])
      return JSON.stringify(read([stream.join('')])) === JSON.stringify(expected)
    }),
    { numRuns: 2_000 },
  )
})
