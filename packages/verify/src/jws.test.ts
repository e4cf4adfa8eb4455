import t from 'tap'
import { readJson, readJws, readObject, repeatsName } from './jws.ts'

const encode = (text: string | Buffer) => Buffer.from(text).toString('base64url')

t.test('a compact JWS comes apart, and has one spelling', async (t) => {
  t.strictSame(readJws('AAAA.AAA.AA'), { header: 'AAAA', claims: 'AAA', signature: 'AA', signed: 'AAAA.AAA' })
  for (const none of [
    '',
    '.',
    '..',
    'AA.AA',
    'AA.AA.',
    'AA..AA',
    '.AA.AA',
    'AA.AA.AA.AA',
    'AA.AA.A+',
    'AA.AA.A\n',
    'AA.AA.AA\n',
    'A A.AA.AA',
    'AA==.AA.AA',
  ])
    t.equal(readJws(none), 'not a JWT', JSON.stringify(none))
  for (const other of ['A.AA.AA', 'AA.AAAAA.AA', 'AB.AA.AA', 'AA.AAB.AA', 'AA.AA.AP'])
    t.equal(readJws(other), 'not canonical base64url', other)
})

t.test('an object is read if it is one, and has each name once', async (t) => {
  for (const none of [
    '',
    ' ',
    '{',
    'null',
    '7',
    '"x"',
    '[]',
    '[{}]',
    'true',
    '\ufeff{}',
    '{}x',
    '{a:1}',
    Buffer.from([0x7b, 0xff, 0x7d]),
  ])
    t.equal(readJson(encode(none)), undefined, String(none))
  t.equal(readJson('!'), undefined)
  const odd = [
    '{}',
    '{ }',
    '{ "a" : 1 }',
    '{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
    '{"a":"\\"b\\":"}',
    '{"\\u0061":1}',
    '{"a":1e3,"b":"c"}',
    '{"__proto__":{"a":1}}',
  ]
  for (const json of odd) t.strictSame(readObject(encode(json)), JSON.parse(json), json)
  const repeated = [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"b":{"a":1,"a":2}}',
    '{"b":[{"a":1,"a":2}]}',
    '{"a":1 , "a" :2}',
    '{"__proto__":1,"__proto__":2}',
  ]
  for (const json of repeated) t.equal(readObject(encode(json)), undefined, json)
})

t.test('however deep it goes, it is read or refused, and nothing breaks', async (t) => {
  const deep = (depth: number, within: string) => `{"a":${'['.repeat(depth)}${within}${']'.repeat(depth)}}`
  for (const depth of [10, 1_000, 50_000]) {
    const read = readJson(encode(deep(depth, '{"b":1}')))
    if (read) t.equal(repeatsName(read), false)
    t.equal(readObject(encode(deep(depth, '{"b":1,"b":2}'))), undefined)
  }
})
