import fc from 'fast-check'
import t from 'tap'
import { asksForAnotherProtocol, asksForWebSocket, hasSecondReading, isInNormalForm, originalOf } from './check.ts'

const check = (rawHeaders: string[], url = '/forward-auth', method = 'GET') => originalOf({ method, url, rawHeaders })
const nginx = ['X-Original-Method', 'POST', 'X-Original-URI', '/a%20b?c']
const traefik = ['X-Forwarded-Method', 'POST', 'X-Forwarded-Uri', '/a%20b?c']

t.test('the original request is in one family of headers, or is the check itself behind a prefix', async (t) => {
  const original = { method: 'POST', url: '/a%20b?c' }
  t.strictSame(check(nginx), original)
  t.strictSame(check(traefik), original)
  t.strictSame(
    check(['host', 'g', ...traefik.map((text) => text.replace(/^X-.*/, (name) => name.toUpperCase()))]),
    original,
  )
  t.strictSame(check(nginx, '/forward-auth?left=by-the-client'), original)
  t.strictSame(check([], '/ext-authz/a%20b?c', 'POST'), original)
  t.strictSame(
    check(nginx, '/ext-authz/other', 'PUT'),
    { method: 'PUT', url: '/other' },
    'a header is no second word there',
  )
  t.strictSame(check([], '/ext-authz//forward-auth'), { method: 'GET', url: '//forward-auth' })
})

t.test('a check that does not say it in one way is about nothing', async (t) => {
  const [methodName, method, uriName, uri] = nginx as [string, string, string, string]
  const refused: Record<string, string[]> = {
    'no header': [],
    'no method': [uriName, uri],
    'no target': [methodName, method],
    'two methods': [...nginx, methodName, method],
    'two targets': [...nginx, 'x-original-uri', uri],
    'both families': [...nginx, ...traefik],
    'one and a half': [...nginx, 'X-Forwarded-Uri', '/open'],
    'half of each': [methodName, method, 'X-Forwarded-Uri', uri],
    'a method of several words': ['X-Original-Method', 'GET, GET', uriName, uri],
    'an empty method': ['X-Original-Method', '', uriName, uri],
    'a method in lower case': ['X-Original-Method', 'get', uriName, uri],
  }
  for (const [what, headers] of Object.entries(refused)) t.equal(check(headers), undefined, what)
  for (const target of [
    '',
    '*',
    'a',
    'http://g/a',
    '?a',
    ' /a',
    '/a b',
    '/a, /b',
    '/a\r\nX: y',
    '/\x00',
    '/é',
    '/\x7f',
  ])
    t.equal(check([methodName, method, uriName, target]), undefined, JSON.stringify(target))
  for (const path of [
    '/',
    '/forward-auth/',
    '/Forward-Auth',
    '//forward-auth',
    '/forward-authx',
    '/ext-authz',
    '/ext-authzx/a',
    '*',
  ])
    t.equal(check(nginx, path), undefined, path)
})

t.test('whatever headers a check has, it is about what one clean family says, or about nothing', async () => {
  const name = fc.constantFrom(
    ...['X-Original-URI', 'x-original-uri', 'X-Original-Method', 'X-Forwarded-Uri', 'X-Forwarded-Method', 'Host'],
  )
  const value = fc.oneof(
    fc.constantFrom('GET', 'POST', '/', '/a?b', '/a,/b', '', 'http://g/', 'GET,GET', '/a\n'),
    fc.string({ maxLength: 8 }),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), (headers) => {
      const found = check(headers.flat())
      const valuesOf = (wanted: string) =>
        headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
      const said = ['x-original-', 'x-forwarded-'].map((family) => [
        valuesOf(`${family}method`),
        valuesOf(`${family}uri`),
      ])
      const [first = [], ...others] = said.filter((family) => family.flat().length > 0)
      const isClean = others.length === 0 && first.length === 2 && first.every(({ length }) => length === 1)
      if (!found) return
      if (!isClean) throw new Error('more than one reading')
      if (found.method !== first[0]?.[0] || found.url !== first[1]?.[0]) throw new Error('not what it says')
      if (!/^\/[!-~]*$/.test(found.url) || !/^[A-Z]+$/.test(found.method)) throw new Error('malformed')
    }),
  )
})

t.test('a name that some server takes for a header that proxies remove is misspelled', async (t) => {
  for (const name of [
    ...['X_User_Id', 'x.user.id', 'x-user_id', 'X~Identity-Token', 'x_request-id'],
    ...['X_Original_URL', 'x.rewrite.url', 'X_Forwarded_Host', 'x_real_ip', 'Content_Length', 'transfer.encoding'],
  ])
    t.equal(hasSecondReading(['host', 'g', name, 'forged']), true, name)
  for (const name of [
    ...['X-User-Id', 'x-user-id', 'X-REQUEST-ID', 'x_users_id', 'x-user-agent', 'x_api_key'],
    ...['X-Original-URI', 'X-Forwarded-Host', 'X-Real-IP', 'Content-Length', 'Transfer-Encoding'],
  ])
    t.equal(hasSecondReading(['host', 'g', name, 'forged']), false, name)
})

t.test('a name by which some service takes another method than was asked about has a second reading', async (t) => {
  for (const name of ['X-HTTP-Method-Override', 'x-http-method', 'X-Method-Override', 'X_Http_Method_Override'])
    t.equal(hasSecondReading([name, 'DELETE']), true, name)
  for (const name of ['x-method', 'x-original-method', 'x-forwarded-method', 'access-control-request-method'])
    t.equal(hasSecondReading([name, 'DELETE']), false, name)
})

t.test('a WebSocket is asked for by its key, or by name, and nothing else is', async (t) => {
  for (const [headers, isWebSocket, isOther] of [
    [{}, false, false],
    [{ 'sec-websocket-key': 'x' }, true, false],
    [{ upgrade: 'WebSocket' }, true, false],
    [{ upgrade: 'h2c' }, true, true],
    [{ upgrade: 'websocket, h2c' }, true, true],
    [{ upgrade: '' }, true, true],
    [{ 'http2-settings': 'AAMAAABk' }, false, true],
  ] as [Record<string, string>, boolean, boolean][]) {
    t.equal(
      asksForWebSocket((name) => headers[name]),
      isWebSocket,
      JSON.stringify(headers),
    )
    t.equal(
      asksForAnotherProtocol((name) => headers[name]),
      isOther,
      JSON.stringify(headers),
    )
  }
})

t.test('a path is in normal form if only hexadecimal digits could be written otherwise', async (t) => {
  t.equal(isInNormalForm('/a%C3%A9?b', '/a%C3%A9'), true)
  t.equal(isInNormalForm('/a%c3%a9?%zz', '/a%C3%A9'), true)
  t.equal(isInNormalForm('/%61', '/a'), false)
})
