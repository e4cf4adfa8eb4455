import fc from 'fast-check'
import t from 'tap'
import { fold, isInternal, isTooLong, normalise } from './path.ts'

/** Good targets, and the form in which they are matched and forwarded. */
const good: Record<string, string> = {
  '/': '/',
  '/api': '/api',
  '/api/': '/api/',
  '/api/x?y=1&z=a/../b': '/api/x?y=1&z=a/../b',
  '/api?': '/api?',
  '/?': '/?',
  '/api/x?a?b': '/api/x?a?b',
  '/api/x?%zz%2e%2e%00;\\': '/api/x?%zz%2e%2e%00;\\',
  '/%61pi': '/api',
  '/ap%69/%7Euser/%7euser': '/api/~user/~user',
  '/a%2Db%5fc%2ed': '/a-b_c.d',
  '/caf%c3%a9': '/caf%C3%A9',
  '/%F0%9F%98%80': '/%F0%9F%98%80',
  '/a%20b': '/a%20b',
  '/a%2bb+c': '/a%2Bb+c',
  '/%7b%7d%22%3c%3e': '/%7B%7D%22%3C%3E',
  "/!$&'()*+,=:@": "/!$&'()*+,=:@",
  '/...': '/...',
  '/.../x': '/.../x',
  '/.well-known/jwks.json': '/.well-known/jwks.json',
  '/a.': '/a.',
  '/a..': '/a..',
  '/..a/.b': '/..a/.b',
}

/** Targets that some server would read differently than another, by what they try. */
const bad: Record<string, string[]> = {
  'dot segments': ['/.', '/..', '/./', '/../', '/api/.', '/api/..', '/api/./x', '/api/../admin', '/../../etc/passwd'],
  'dot segments, encoded': ['/%2e', '/%2e%2e', '/api/%2e%2e/admin', '/api/.%2E/admin', '/api/%2E./admin', '/a/%2e/b'],
  'dot segments before a query': ['/..?x', '/a/.?', '/a/%2e%2e?x=1'],
  'dot segments, encoded twice': ['/%252e%252e/admin', '/api/%252E%252e', '/%25%32%65'],
  'empty segments': ['//', '//evil.test/x', '/api//admin', '/api///', '///'],
  separators: ['/api%2fadmin', '/api%2Fadmin', '/api/..%2fadmin', '/api%252fadmin', '/%2f'],
  backslashes: ['\\', '/\\', '/api\\admin', '/api/..\\admin', '/api%5cadmin', '/api/..%5Cadmin', '/api%255cadmin'],
  'path parameters': ['/api;x', '/api/..;/admin', '/api;/../admin', '/api%3bx', '/api%3B/', '/;'],
  fragments: ['/api#x', '/#', '/api/%23', '/api?x#y'],
  'question marks': ['/api%3fx', '/api%3F'],
  'percent signs': ['/100%25', '/%2500'],
  'broken encoding': ['/%', '/%2', '/api/%zz', '/%g1', '/%-1', '/%+1', '/% 1', '/a%', '/%u002e', '/%%32e', '/%2%65'],
  'controls and null': ['/%00', '/api%00.png', '/%0a', '/%0d%0aset-cookie:x', '/%1f', '/%7f', '/%09', '/\u0000', '/\t'],
  'bytes that are no UTF-8': ['/%ff', '/%80', '/%c3', '/%c3%28', '/%ed%a0%80', '/%f5%80%80%80', '/%a9'],
  'overlong UTF-8': ['/%c0%ae%c0%ae/', '/%c0%af', '/%e0%80%af', '/%f0%80%80%ae', '/%c1%9c'],
  'characters of structure in another form': [
    '/%EF%BC%8E%EF%BC%8E/admin',
    '/api%EF%BC%8Fadmin',
    '/api%EF%BC%BCadmin',
    '/%E2%80%A5/admin',
    '/a/%E2%80%A6',
    '/api%EF%BC%9Bx',
    '/%E2%84%80',
  ],
  'other forms of target': ['http://evil.test/', 'https://evil.test', '*', '', 'api', '?x', 'evil.test:443', './api'],
  'raw characters that a path does not take': [
    '/a b',
    '/é',
    '/"',
    '/<x>',
    '/{x}',
    '/a|b',
    '/a^b',
    '/`',
    '/[x]',
    '/\u2025/',
    '/\uff0e\uff0e/',
    '/a?é',
    '/a?x y',
  ],
}

t.test('a path with one reading passes, in one spelling', async (t) => {
  for (const [target, expected] of Object.entries(good)) {
    const found = normalise(target)
    t.equal(found && found.path + found.query, expected, target)
  }
})

for (const [name, targets] of Object.entries(bad))
  t.test(`a path with more than one reading is refused: ${name}`, async (t) => {
    for (const target of targets) t.equal(normalise(target), undefined, JSON.stringify(target))
  })

const pieces = [
  ...['/', '/', '/', '.', '..', 'a', 'B', '~', '-', ':', '@', '?', '#', ';', '\\', '%', ' ', 'é', '//', '\u0000'],
  ...['%2e', '%2E', '%2f', '%5c', '%25', '%3b', '%00', '%41', '%7e', '%20', '%c3%a9', '%c0%ae', '%ff', '%zz', '%252e'],
]
const anyTarget = fc.oneof(
  fc.array(fc.constantFrom(...pieces)).map((parts) => `/${parts.join('')}`),
  fc.array(fc.constantFrom('a', '..', '.', '%2e', '%61', '%c3%a9', '')).map((parts) => `/${parts.join('/')}`),
  fc.string().map((text) => `/${encodeURI(text.replaceAll(/[\ud800-\udfff]/g, ''))}`),
  fc.string({ unit: 'binary' }),
)

t.test('whatever is accepted is the same when read again', async () => {
  fc.assert(
    fc.property(anyTarget, (target) => {
      const once = normalise(target)
      if (!once) return true
      const twice = normalise(once.path + once.query)
      return twice?.path === once.path && twice.query === once.query
    }),
    { numRuns: 5_000 },
  )
})

t.test('whatever is accepted names the same place to a server that decodes it', async () => {
  fc.assert(
    fc.property(anyTarget, (target) => {
      const found = normalise(target)
      if (!found) return true
      const decoded = decodeURIComponent(found.path)
      const segments = decoded.split('/')
      return (
        new URL(found.path, 'http://upstream.test').pathname === found.path &&
        segments.length === found.path.split('/').length &&
        segments.every((segment) => segment !== '.' && segment !== '..') &&
        segments.slice(1, -1).every((segment) => segment !== '') &&
        !/[\\;?#%\u0000-\u001f]/.test(decoded)
      )
    }),
    { numRuns: 5_000 },
  )
})

t.test('what services tell operators is internal, and nothing that only looks like it', async (t) => {
  for (const path of [
    ...['/internal', '/internal/x', '/INTERNAL/x', '/metrics', '/healthz/', '/readyz'],
    ...['/metrics.', '/metrics%20/', '/Metrics./x', '/%EF%BD%8Detrics', '/%E1%B5%90etrics'],
  ])
    t.ok(isInternal(fold(path)), path)
  for (const path of ['/', '/internals', '/api/metrics', '/metrics2', '/health', '/metrics.x'])
    t.notOk(isInternal(fold(path)), path)
})

t.test('dots and spaces fall away at the end of a name, and nowhere else', async (t) => {
  t.equal(fold('/A../b. .x/.c/d.e/%20.'), '/a/b. .x/.c/d.e/')
  t.equal(fold('/A..'), '/a')
})

t.test('a path has a length and a number of segments, its query has neither', async (t) => {
  const query = `?${'/'.repeat(10_000)}`
  for (const path of [`/${'a'.repeat(8_191)}`, '/a'.repeat(128), '/'])
    for (const target of [path, path + query]) t.notOk(isTooLong(target), target.slice(0, 20))
  for (const path of [`/${'a'.repeat(8_192)}`, '/a'.repeat(129), '/'.repeat(129)])
    for (const target of [path, path + query]) t.ok(isTooLong(target), target.slice(0, 20))
})

t.test('a character with more marks than any language has is refused', async (t) => {
  const marks = (count: number) => `/%C3%A9${'%CC%81'.repeat(count)}x`
  t.ok(normalise(marks(30)))
  t.equal(normalise(marks(31)), undefined)
  t.equal(normalise(`/${'%CC%81'.repeat(40)}`), undefined)
  t.ok(normalise(`/${'e%CC%81'.repeat(400)}`), 'a text with marks is none of these')
})
