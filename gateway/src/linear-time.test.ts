import fc from 'fast-check'
import t from 'tap'
import { readHeaderLines } from './http1/header-lines.ts'
import { decodeAll } from './pipeline/authenticate.ts'
import { fold, normalise } from './pipeline/path.ts'
import type { Route } from './pipeline/route-file.ts'
import { createRouteLookup } from './pipeline/route-lookup.ts'

/** CPU in microseconds that something takes, at its best: whatever else the machine does only adds to it. */
function cost(act: () => unknown): number {
  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run < 8; run++) {
    const before = process.cpuUsage()
    for (let count = 0; count < 4; count++) act()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, user + system)
  }
  return best
}

const path = (target: string) => {
  const found = normalise(target)
  if (found) fold(found.path)
}
/** A table that has more to look at than a path alone. */
const { match } = createRouteLookup(
  [
    { name: '/A', prefix: '/A', hosts: undefined, methods: ['GET'], upstreamPath: (path: string) => path },
    { name: 'a.test/', prefix: '/A/b', hosts: ['a.test'], methods: undefined, upstreamPath: (path: string) => path },
  ] as unknown as Route[],
  (why) => new Error(why),
)
const lookup = (path: string) => match(path, 'GET', 'A.test')
const host = (authority: string) => match('/A', 'GET', authority)
const header = (lines: string) => readHeaderLines(`${lines}\r\n\r\n`, 0)

/** What takes long to read if it is looked at again and again, in any size. */
const nasty: Record<string, [look: (text: string) => unknown, make: (size: number) => string]> = {
  'spaces before a control character': [header, (size) => `a:${' '.repeat(size)}\x01`],
  'spaces within a value': [header, (size) => `a: b${' '.repeat(size)}c`],
  'spaces and a value in turn': [header, (size) => `a:${' \tb'.repeat(size / 3)}\x01`],
  'a name without an end': [header, (size) => 'a'.repeat(size)],
  'colons and nothing else': [header, (size) => `a${':'.repeat(size)}\x00`],
  'lines without values': [header, (size) => 'a:\r\n'.repeat(size / 4)],
  'dots at the end of a name': [path, (size) => `/A${'.'.repeat(size)}`],
  'dots before the end of a name': [path, (size) => `/A${'.'.repeat(size)}x`],
  'spaces before the end of a name': [path, (size) => `/A${'%20'.repeat(size / 3)}x`],
  'many names': [path, (size) => '/A'.repeat(size / 2)],
  'names that end in dots': [path, (size) => '/A.'.repeat(size / 3)],
  'escapes of letters': [path, (size) => `/${'%41'.repeat(size / 3)}`],
  'marks in no order': [path, (size) => `/%C3%A9${'%CC%81'.repeat(size / 12)}${'%CC%96'.repeat(size / 12)}`],
  'marks in no order, on many letters': [path, (size) => `/${`x${'%CC%81%CC%96'.repeat(15)}`.repeat(size / 181)}`],
  'a letter that stands for eighteen': [path, (size) => `/${'%EF%B7%BA'.repeat(size / 9)}`],
  'a path of many names, in a table': [lookup, (size) => '/A'.repeat(size / 2)],
  'a path of names that end in dots, in a table': [lookup, (size) => '/A.'.repeat(size / 3)],
  'dots at the end of a host': [host, (size) => `a.test${'.'.repeat(size)}:80`],
  'dots before the end of a host': [host, (size) => `a.test${'.'.repeat(size)}x:80`],
  'a host of capitals': [host, (size) => 'A.'.repeat(size / 2)],
  'an escape within an escape': [decodeAll, (size) => `%${'25'.repeat(size / 2)}`],
  'escapes side by side': [decodeAll, (size) => '%25'.repeat(size / 3)],
  'escapes made of escapes': [decodeAll, (size) => `${'%'.repeat(size / 3)}${'35'.repeat(size / 3)}`],
}

for (const [name, [look, make]] of Object.entries(nasty))
  t.test(`what is sent is read in time by its length: ${name}`, async (t) => {
    const [small, large] = [make(5_000), make(20_000)]
    const ratio =
      cost(() => look(large)) /
      Math.max(
        cost(() => look(small)),
        200,
      )
    t.ok(ratio < 9, `four times as much takes ${ratio.toFixed(1)} times as long; by the square it would be 16`)
  })

t.test('a name is decoded as often as it was encoded', async (t) => {
  for (const encoded of ['%61ccess', '%2561ccess', '%25252561ccess', '%%36%31ccess', '%2%35%36%31ccess'])
    t.equal(decodeAll(encoded), 'access', encoded)
  for (const same of ['', 'access', '%', '%%', '%zz', '%4', '100%']) t.equal(decodeAll(same), same)
  fc.assert(
    fc.property(fc.array(fc.constantFrom('%', '2', '5', '25', '41', '%25', 'f', 'G', 'a')), (parts) => {
      let expected = parts.join('')
      for (let before = ''; before !== expected; ) {
        before = expected
        expected = expected.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)))
      }
      return decodeAll(parts.join('')) === expected
    }),
    { numRuns: 5_000 },
  )
})

t.test('spaces around a value are no part of it, bytes that look like some are', async (t) => {
  t.strictSame(readHeaderLines('a: \t b c \t\r\nb:\r\nc:   \r\nd:\xa0x\xa0\r\n\r\n', 0), [
    ...['a', 'b c', 'b', '', 'c', '', 'd', '\xa0x\xa0'],
  ])
  for (const line of ['a : b', ' a: b', 'a', ': b', 'a: \x01', 'a: b\x7f', 'a: b\rc', 'a: b\nc'])
    t.equal(readHeaderLines(`${line}\r\n\r\n`, 0), undefined, JSON.stringify(line))
})
