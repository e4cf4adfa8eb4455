import t from 'tap'
import { mismatch, shown } from './shown.ts'

t.test('what a token says is short in the log, and nothing but visible ASCII', async (t) => {
  const cases: [unknown, string][] = [
    ['at+jwt', '"at+jwt"'],
    [undefined, 'missing'],
    [null, 'an object'],
    [{ a: 1 }, 'an object'],
    [7, '7'],
    [false, 'false'],
    [[], 'an empty list'],
    [['a', 7, ['b']], '"a", 7, an object'],
    [['a', 'b', 'c', 'd'], '"a", "b", "c", "d"'],
    [['a', 'b', 'c', 'd', 'e'], '"a", "b", "c", "d", ...'],
    ['a\r\nb\u001b[31m\u0085\u202e\u2028é', '"a??b?[31m????"'],
    ['x'.repeat(80), `"${'x'.repeat(80)}"`],
    ['x'.repeat(81), `"${'x'.repeat(80)}..."`],
    ['someone@example.com', 'an address'],
  ]
  for (const [value, expected] of cases) t.equal(shown(value), expected, expected)
  let deep: unknown = 'x'
  for (let n = 0; n < 100_000; n++) deep = [deep]
  t.equal(shown(deep), 'an object')
  t.equal(mismatch('aud', ['a'], ['b', 'c']), 'aud is "a"; wanted "b", "c"')
})
