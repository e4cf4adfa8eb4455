import fc from 'fast-check'
import t from 'tap'
import { normalise } from './path.ts'
import { faultOf, rewriter, strippedPrefix, withoutEnd } from './route-prefix.ts'

/** Prefixes that other tools read as patterns, and what stands before the pattern. */
const patterns: Record<string, string> = {
  '/admin/*': '/admin',
  '/admin*': '/',
  '/*': '/',
  '*': '/',
  '/admin/**': '/admin',
  '/a/*/b': '/a',
  '/users/:id': '/users',
  '/flights/:from-:to': '/flights',
  '/files/name.:ext': '/files',
  '/users/{id}': '/users',
  '/users/%7Bid%7D': '/users',
  '/users/%2A': '/users',
  '/users/<id>': '/users',
  '/users/[id]': '/users',
  '/[a-z]/x': '/',
  '/a/(.*)': '/a',
  '/(a|b)': '/',
  '/a|b': '/',
  '/a?': '/',
  '^/admin': '/',
  '/^admin': '/',
  '/admin$': '/',
  '/admin/.+': '/admin',
  '/admin/+': '/admin',
  '/admin/\\d': '/admin',
  '/admin/...': '/admin',
  '~ ^/admin': '/',
}

t.test('a prefix that another tool reads as a pattern is refused, with what to write', async (t) => {
  for (const [prefix, instead] of Object.entries(patterns)) {
    t.match(faultOf(prefix), /is no pattern: .* holds the path itself and everything below it; write /, prefix)
    t.ok(faultOf(prefix)?.endsWith(`; write ${instead}`), `${prefix}: ${faultOf(prefix)}`)
  }
})

t.test('what can be a name is one', async (t) => {
  for (const prefix of [
    ...['/', '/api', '/api/', '/~user', '/c++', '/a+b', '/$metadata', '/users:export', '/a.b-c_d', '/.well-known'],
    ...['/a@b', '/a,b', '/a=b', "/it's", '/a!', '/a&b', '/caf%C3%A9', '/a%20b', '/internals', '/api/metrics'],
  ])
    t.equal(faultOf(prefix), undefined, prefix)
})

t.test('a prefix that no path can begin with is refused', async (t) => {
  for (const prefix of [
    'api',
    '',
    '//',
    '/a//',
    '/a//b',
    '/a/../b',
    '/a;b',
    '/%61pi',
    '/caf%c3%a9',
    '/a b',
    '/é',
    '/%zz',
  ])
    t.match(faultOf(prefix), /is not a plain absolute path/, prefix)
  for (const prefix of [`/${'a'.repeat(8_192)}`, '/a'.repeat(129)]) t.match(faultOf(prefix), /longer than any path/)
  for (const prefix of [
    '/metrics',
    '/Metrics/',
    '/internal/x',
    '/INTERNAL',
    '/healthz',
    '/readyz',
    '/metrics.',
    '/%EF%BD%8Detrics',
  ])
    t.match(faultOf(prefix), /is never reachable/, prefix)
})

t.test('what is put in place of a prefix', async (t) => {
  const rewritten: [prefix: string, rewrite: string | undefined, paths: Record<string, string>][] = [
    ['/api/billing', undefined, { '/api/billing': '/api/billing', '/api/billing/x': '/api/billing/x' }],
    ['/api/billing', '/', { '/api/billing': '/', '/api/billing/': '/', '/api/billing/users/': '/users/' }],
    ['/api', '/v2', { '/api': '/v2', '/api/': '/v2/', '/api/a/b': '/v2/a/b' }],
    ['/', '/v2', { '/': '/v2/', '/a': '/v2/a' }],
    ['/', '/', { '/': '/', '/a/': '/a/' }],
  ]
  for (const [prefix, rewrite, paths] of rewritten)
    for (const [path, expected] of Object.entries(paths))
      t.equal(rewriter(prefix, rewrite)(path), expected, `${path}, ${prefix} to ${rewrite}`)
})

t.test('what was taken away is said where that can be', async (t) => {
  t.equal(strippedPrefix('/api/billing', undefined), undefined)
  t.equal(strippedPrefix('/api/billing', '/'), '/api/billing')
  t.equal(strippedPrefix('/api/billing', '/billing'), '/api')
  t.equal(strippedPrefix('/api/billing', '/api/billing'), undefined)
  t.equal(strippedPrefix('/api', '/v2'), undefined)
  t.equal(strippedPrefix('/', '/'), undefined)
})

t.test('a rewritten path is as plain as the one that was matched, and what is below the prefix stays', async () => {
  const segment = fc.constantFrom('a', 'B', '.x', 'x.', 'internal', '~', '-', '%20', '%C3%A9', '%2A', 'a:b', '$x')
  const prefix = fc.array(segment, { maxLength: 3 }).map((names) => `/${names.join('/')}`)
  const rest = fc.array(segment, { maxLength: 4 }).map((names) => names.map((name) => `/${name}`).join(''))
  fc.assert(
    fc.property(prefix, prefix, rest, fc.constantFrom('', '/'), (from, to, below, end) => {
      const path = (from === '/' ? below : from + below) + end || '/'
      fc.pre(normalise(path)?.path === path)
      const sent = rewriter(from, to)(path)
      return normalise(sent)?.path === sent && sent.endsWith(below + end) && `${sent}/`.startsWith(to)
    }),
    { numRuns: 3_000 },
  )
})

t.test('the / at the end of a prefix does not count', async (t) => {
  t.strictSame(['/', '/a', '/a/'].map(withoutEnd), ['/', '/a', '/a'])
})
