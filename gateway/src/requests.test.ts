import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, METHODS, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createLogger } from '@sallyport/chassis'
import { register } from 'prom-client'
import t, { type Test } from 'tap'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { environmentWith } from './test-environment.ts'

/** A line that only Node's server reads, so that both servers through the gateway are taken. */
const servers: Record<string, string> = { 'the fast path': '', "Node's server": 'TE: trailers\r\n' }

type Respond = (request: IncomingMessage, response: ServerResponse) => void

/** A gateway on a port of its own, before an upstream that responds as the test wants. */
async function open(t: Test, written: object | object[], settings: Record<string, string> = {}) {
  const behind = { respond: ((_request, response) => response.end('ok')) as Respond, seen: [] as IncomingMessage[] }
  const upstream = createServer((request, response) => {
    behind.seen.push(request)
    behind.respond(request, response)
  })
  upstream.on('upgrade', (request, socket) => {
    behind.seen.push(request)
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const authority = `127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const place = { prefix: '/', access: 'public', upstreams: [`http://${authority}`] }
  const routes = [written].flat().map((route) => ({ ...place, ...route }))
  const environment = environmentWith(t, routes, { CORS_ORIGINS: 'https://app.test', ...settings })
  const held = new EventEmitter()
  const log: Record<string, unknown>[] = []
  const logger = createLogger('gateway', 'info', { write: (line) => log.push(JSON.parse(line)) })
  const { app, webSockets } = await buildApp(readConfig(environment), environment, logger)
  app.addHook('onRequest', async (request, { raw }) => {
    // As Node's server throws at a header that it cannot write.
    if (request.originalUrl === '/fault-of-ours')
      raw.writeHead = () => {
        throw new Error('of ours')
      }
    if (request.originalUrl === '/left-early') {
      held.emit('upgrade')
      await new Promise((resolve) => request.raw.socket.once('close', resolve))
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => {
    upstream.closeAllConnections()
    upstream.close()
    await app.close()
  })
  const { port } = app.server.address() as AddressInfo
  /** Sends a request and what comes of it up to the end of its connection. */
  const send = async (start: string, lines = '', body = '') => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    socket.on('error', () => {})
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk
      // The server keeps the connection open: what has come is looked at, not waited for.
      if (/\r\n\r\n/.test(heard) && isWhole(heard, start)) socket.destroy()
    })
    socket.write(`${start} HTTP/1.1\r\nHost: shop.test:81\r\n${lines}\r\n${body}`, 'latin1')
    await once(socket, 'close')
    return heard
  }
  return { behind, send, log, authority, port, held, webSockets, upstream }
}

/** Whether a response is complete, as far as its head says. */
function isWhole(heard: string, start: string): boolean {
  const [head = '', ...rest] = heard.split('\r\n\r\n')
  const length = /content-length: (\d+)/i.exec(head)?.[1]
  if (start.startsWith('HEAD') || /^HTTP\/1\.1 (101|204|304)/.test(head)) return true
  if (length !== undefined) return rest.join('\r\n\r\n').length >= Number(length)
  return heard.endsWith('0\r\n\r\n')
}

const headerOf = (name: string, response: string) =>
  new RegExp(`^${name}: (.*)\r$`, 'im').exec(response.split('\r\n\r\n', 1)[0] as string)?.[1]

t.test('a route that rewrites sends on another path than the one it was matched by', async (t) => {
  const { behind, send, authority } = await open(t, { prefix: '/api/billing', stripPrefix: true, websocket: true })
  for (const [server, line] of Object.entries(servers)) {
    for (const [path, expected] of Object.entries({
      '/api/billing': '/',
      '/api/billing/': '/',
      '/api/billing/%75sers?a=/../b': '/users?a=/../b',
    })) {
      t.match(await send(`GET ${path}`, line), /^HTTP\/1\.1 200/, `${path} by ${server}`)
      t.equal(behind.seen.at(-1)?.url, expected)
      t.match(behind.seen.at(-1)?.headers, { 'x-forwarded-prefix': '/api/billing', host: authority })
    }
    const before = behind.seen.length
    t.match(await send('GET /api/billing/metrics', line), /^HTTP\/1\.1 404/, `what is internal stays so by ${server}`)
    t.match(await send('GET /api/billingx', line), /^HTTP\/1\.1 404/)
    t.equal(behind.seen.length, before)
    await send('GET /api/billing/x', `X-Forwarded-Prefix: /evil\r\n${line}`)
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-prefix'], '/api/billing', 'whatever the client says')
  }
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  t.match(await send('GET /api/billing/live?a', upgrade), /^HTTP\/1\.1 101/)
  t.match(behind.seen.at(-1), { url: '/live?a', headers: { host: authority, 'x-forwarded-prefix': '/api/billing' } })
})

t.test('a route that preserves the host sends on the client’s, whichever server reads the request', async (t) => {
  const { behind, send } = await open(t, { preserveHost: true, websocket: true }, { TRUSTED_PROXIES: '127.0.0.1' })
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  const chunked = 'Transfer-Encoding: chunked\r\n'
  const body = '2\r\nhi\r\n0\r\n\r\n'
  for (const [start, lines, sent] of [
    ['GET /', '', ''],
    ['GET /', servers["Node's server"], ''],
    ['PUT /', chunked, body],
    ['GET /', upgrade, ''],
  ] as [string, string, string][]) {
    await send(start, lines, sent)
    t.equal(behind.seen.at(-1)?.headers.host, 'shop.test:81', start + lines)
    t.equal(behind.seen.at(-1)?.rawHeaders.filter((name) => name.toLowerCase() === 'host').length, 1)
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-prefix'], undefined)
    await send(start, `X-Forwarded-Host: www.test\r\n${lines}`, sent)
    t.equal(behind.seen.at(-1)?.headers.host, 'www.test', 'as the proxy in front tells it')
    const { length } = behind.seen
    t.match(await send(start, `X-Forwarded-Host: www.test/evil\r\n${lines}`, sent), /^HTTP\/1\.1 400 /)
    t.equal(behind.seen.length, length, 'if that is a host')
  }
})

t.test('a client is one to every limit, whatever port its proxy writes', async (t) => {
  const { behind, send, log } = await open(t, {}, { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_MAX: '4' })
  for (const [at, line] of Object.values(servers).entries()) {
    const statuses: string[] = []
    for (const from of [1, 2, 3, 4, 5].map((port) => `203.0.113.${at}:4000${port}`))
      statuses.push((await send('GET /', `X-Forwarded-For: ${from}\r\n${line}`)).slice(9, 12))
    t.strictSame(statuses, ['200', '200', '200', '200', '429'])
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-for'], `203.0.113.${at}, 127.0.0.1`, 'services see no port')
    t.strictSame([log.at(-1)?.code, log.at(-1)?.ip], ['RATE_LIMITED', `203.0.113.${at}`], 'nor does the log')
  }
})

t.test('what is refused before its route is known counts for its client', async (t) => {
  const preflight = 'Origin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n'
  for (const [name, start, lines, first] of [
    ['a path that is nobody’s', 'GET /nowhere', '', '404'],
    ['a path with two readings', 'GET /a//b', '', '400'],
    ['a broken escape', 'GET /%zz', '', '400'],
    ['a path without end', `GET /${'a'.repeat(9_000)}`, '', '414'],
    ['a method', 'TRACE /few', '', '405'],
    ['a method with a type', 'PROPFIND /few', 'Content-Type: no type\r\n', '405'],
    ['an ambiguous message', 'GET /few', 'Host: other\r\n', '400'],
    ['an upgrade', 'GET /few', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', '404'],
    ['a preflight', 'OPTIONS /few', preflight, '204'],
  ] as [string, string, string, string][])
    await t.test(name, async (t) => {
      const { send, behind } = await open(t, { prefix: '/few', rateLimit: 1 }, { RATE_LIMIT_MAX: '4' })
      const responses: string[] = []
      for (const line of [...Object.values(servers), ...Object.values(servers), ''])
        responses.push(await send(start, lines + line))
      t.strictSame(
        responses.map((response) => response.slice(9, 12)),
        [first, first, first, first, '429'],
      )
      t.match(headerOf('retry-after', responses[4] as string), /^\d+$/)
      t.match(headerOf('ratelimit', responses[4] as string), /^"client";r=0;/)
      const origin = name === 'a preflight' ? 'https://app.test' : undefined
      t.equal(headerOf('access-control-allow-origin', responses[4] as string), origin, 'a page can read why')
      t.equal(behind.seen.length, 0)
      t.match(await send('GET /few'), /^HTTP\/1\.1 200/, 'a route with a limit of its own has its own count')
    })
})

t.test('a path that cannot be read is rejected in the same words by either server, for a page too', async (t) => {
  const { send } = await open(t, {})
  for (const path of ['/%', '/%zz', '/a%', '/%c3%28', '//', '/%2f', '*', `/${'x'.repeat(9_000)}`])
    for (const origin of ['', 'Origin: https://app.test\r\n']) {
      const responses = await Promise.all(Object.values(servers).map((line) => send(`GET ${path}`, origin + line)))
      const [first, second] = responses.map((response) => response.slice(response.indexOf('\r\n\r\n')))
      t.match(first, /PATH_(INVALID|TOO_LONG)/, path.slice(0, 10))
      t.equal(first, second)
      for (const response of responses)
        t.equal(headerOf('access-control-allow-origin', response), origin === '' ? undefined : 'https://app.test')
    }
})

t.test('a preflight gets the same response from either server, and takes from the limit once', async (t) => {
  const asks = 'Access-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: x-own\r\n'
  const all: string[] = []
  for (const [server, line] of Object.entries(servers)) {
    const { send } = await open(t, {}, { RATE_LIMIT_MAX: '4' })
    const response = await send('OPTIONS /x', `Origin: https://app.test\r\n${asks}${line}`)
    all.push(response.replace(/^(date|keep-alive): .*\r\n/gim, '').toLowerCase())
    t.match(response, /^HTTP\/1\.1 204/, server)
    t.equal(headerOf('access-control-allow-origin', response), 'https://app.test')
    t.equal(headerOf('access-control-allow-credentials', response), 'true')
    t.equal(headerOf('access-control-allow-headers', response), 'x-own')
    t.match(headerOf('access-control-allow-methods', response), 'PATCH')
    t.match(headerOf('access-control-expose-headers', response), 'x-request-id')
    t.equal(headerOf('access-control-max-age', response), '600')
    t.equal(headerOf('vary', response), 'Origin, Access-Control-Request-Headers')
    const stranger = await send('OPTIONS /x', `Origin: https://evil.test\r\n${asks}${line}`)
    t.equal(headerOf('access-control-allow-origin', stranger), undefined)
    const bare = await send('OPTIONS /x', `Origin: \r\nAccess-Control-Request-Method: \r\n${line}`)
    t.match(bare, /^HTTP\/1\.1 204/, 'however empty')
    t.match(headerOf('ratelimit', await send('GET /x', 'Origin: https://app.test\r\n')), /r=0/)
  }
  t.equal(all[0], all[1])
})

t.test('a method that nobody needs is 405, whatever comes with it', async (t) => {
  const { send } = await open(t, {})
  const known = ['QUERY', 'PROPFIND', 'TRACE', 'LOCK', 'REPORT', 'MKCOL'].filter((name) => METHODS.includes(name))
  for (const method of known)
    for (const lines of ['', 'Content-Type: x\r\n', 'Content-Length: 0\r\n', 'Origin: https://app.test\r\n']) {
      const response = await send(`${method} /`, lines)
      t.match(response, /^HTTP\/1\.1 405 [\s\S]*METHOD_NOT_ALLOWED/, `${method} ${lines}`)
      t.match(headerOf('allow', response), 'GET, HEAD, POST')
    }
})

t.test('pages may read what is exposed to them', async (t) => {
  const own = 'retry-after, x-request-id, ratelimit, ratelimit-policy'
  const settings: [string | undefined, string][] = [
    [undefined, `${own}, etag, location, link, content-disposition, x-total-count`],
    ['X-Page, etag,RateLimit', `${own}, x-page, etag`],
  ]
  for (const [setting, expected] of settings) {
    const { send } = await open(t, {}, setting === undefined ? {} : { CORS_EXPOSED_HEADERS: setting })
    for (const [server, line] of Object.entries(servers)) {
      const response = await send('GET /', `Origin: https://app.test\r\n${line}`)
      t.equal(headerOf('access-control-expose-headers', response), expected, server)
      t.equal(headerOf('access-control-expose-headers', await send('GET /', line)), undefined)
    }
  }
})

t.test('the strict policy is for data, and a page keeps what it says', async (t) => {
  const { behind, send } = await open(t, {})
  const strict = "default-src 'none'; frame-ancestors 'none'"
  const policies: [status: number, headers: Record<string, string>, policy: string | undefined][] = [
    [200, {}, strict],
    [204, {}, strict],
    [200, { 'content-type': 'application/json; charset=utf-8' }, strict],
    [404, { 'content-type': 'application/problem+json' }, strict],
    [200, { 'content-type': 'text/html; charset=utf-8' }, undefined],
    [500, { 'content-type': 'text/html' }, undefined],
    [200, { 'content-type': 'application/xhtml+xml' }, undefined],
    [200, { 'content-type': 'text/javascript' }, undefined],
    [200, { 'content-type': 'application/jsonx' }, undefined],
    [304, {}, undefined],
    [200, { 'content-type': 'text/html', 'content-security-policy': "default-src 'self'" }, "default-src 'self'"],
    [200, { 'content-type': 'application/json', 'content-security-policy': 'sandbox' }, 'sandbox'],
  ]
  for (const [status, headers, policy] of policies) {
    behind.respond = (_request, response) => response.writeHead(status, headers).end()
    for (const line of Object.values(servers)) {
      const response = await send('GET /', line)
      t.equal(headerOf('content-security-policy', response), policy, `${status} ${headers['content-type']}`)
      t.equal(headerOf('x-content-type-options', response), 'nosniff', 'the others stay')
      t.equal(headerOf('referrer-policy', response), 'no-referrer')
    }
  }
  t.equal(headerOf('content-security-policy', await send('GET /a//b')), strict, 'what is our own has it')
})

t.test('a response has the headers of its route, unless its upstream says them', async (t) => {
  const policy = "default-src 'self'"
  const { behind, send } = await open(t, {
    prefix: '/app',
    websocket: true,
    responseHeaders: {
      'Cache-Control': 'public, max-age=60',
      'content-security-policy': policy,
      'referrer-policy': 'origin',
      'x-frame-options': 'DENY',
      vary: 'accept',
    },
  })
  const names = ['cache-control', 'content-security-policy', 'referrer-policy', 'x-frame-options']
  const html = { 'content-type': 'text/html' }
  const kept = 'public, max-age=60'
  const answers: [status: number, headers: Record<string, string>, ...expected: (string | undefined)[]][] = [
    [200, html, kept, policy, 'origin', 'DENY'],
    [200, {}, kept, policy, 'origin', 'DENY'],
    [302, { location: '/x' }, kept, policy, 'origin', 'DENY'],
    [
      200,
      { ...html, 'cache-control': 'private', 'X-Frame-Options': 'SAMEORIGIN' },
      'private',
      policy,
      'origin',
      'SAMEORIGIN',
    ],
    [200, { ...html, connection: 'x-frame-options', 'x-frame-options': 'ALLOW' }, kept, policy, 'origin', 'DENY'],
    [404, html, 'no-store', policy, 'origin', 'DENY'],
    [500, html, 'no-store', policy, 'origin', 'DENY'],
    [200, { ...html, 'set-cookie': 'a=b' }, 'no-store', policy, 'origin', 'DENY'],
    [304, { etag: '"a"' }, kept, undefined, undefined, undefined],
    [304, { etag: '"a"', 'set-cookie': 'a=b' }, 'no-store', undefined, undefined, undefined],
  ]
  for (const [status, headers, ...expected] of answers) {
    behind.respond = (_request, response) => response.writeHead(status, headers).end()
    for (const line of Object.values(servers)) {
      const response = await send('GET /app', line)
      t.strictSame(
        names.map((name) => headerOf(name, response)),
        expected,
        `${status} ${JSON.stringify(headers)}`,
      )
      t.equal(headerOf('x-content-type-options', response), 'nosniff')
    }
  }
  behind.respond = (_request, response) => response.end('ok')
  t.match(await send('GET /app'), /^vary: accept\r\n[\s\S]*^vary: Origin\r\n/im)
  for (const [start, line] of [
    ['GET /elsewhere', ''],
    ['GET /app//x', ''],
    ['GET /app', 'Expect: wonders\r\n'],
  ]) {
    const response = await send(start as string, line)
    t.equal(headerOf('x-frame-options', response), undefined, `what is the gateway's own has none: ${start}`)
    t.equal(headerOf('cache-control', response), 'no-store')
  }
})

t.test('a response to an upgrade that is refused has the headers of its route, a 101 has none', async (t) => {
  const { upstream, send } = await open(t, { websocket: true, responseHeaders: { 'x-frame-options': 'DENY' } })
  const lines = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  const opened = await send('GET /', lines)
  t.match(opened, /^HTTP\/1\.1 101/)
  t.equal(headerOf('x-frame-options', opened), undefined)
  upstream.removeAllListeners('upgrade')
  const refused = await send('GET /', lines)
  t.match(refused, /^HTTP\/1\.1 200/)
  t.equal(headerOf('x-frame-options', refused), 'DENY')
})

t.test('a method that no route of the path takes is 405 with those that one takes, and counts', async (t) => {
  const { behind, send } = await open(t, { prefix: '/notes', methods: ['GET', 'POST'] }, { RATE_LIMIT_MAX: '20' })
  for (const line of Object.values(servers)) {
    for (const method of ['DELETE', 'PUT', 'OPTIONS']) {
      const response = await send(`${method} /notes/1`, line)
      t.match(response, /^HTTP\/1\.1 405 [\s\S]*"code":"METHOD_NOT_ALLOWED"/)
      t.equal(headerOf('allow', response), 'GET, HEAD, POST')
      t.match(headerOf('ratelimit', response), /^"client";r=\d+/)
    }
    t.match(await send('HEAD /notes/1', line), /^HTTP\/1\.1 200/)
    t.equal(behind.seen.at(-1)?.method, 'HEAD')
  }
  t.equal(behind.seen.length, 2)
  const preflight = 'Origin: https://app.test\r\nAccess-Control-Request-Method: DELETE\r\n'
  t.match(await send('OPTIONS /notes', preflight), /^HTTP\/1\.1 204/, 'a preflight is none of its methods')
})

t.test('an upstream gets the method that the route was chosen by, and hears of no other', async (t) => {
  const { behind, send } = await open(t, { methods: ['POST'] })
  for (const line of Object.values(servers)) {
    for (const name of ['X-HTTP-Method-Override', 'x_http_method_override', 'X-HTTP-Method', 'X-Method-Override']) {
      t.match(await send('POST /', `${name}: DELETE\r\nContent-Length: 0\r\nX-Own: a\r\n${line}`), /^HTTP\/1\.1 200/)
      const { method, headers } = behind.seen.at(-1) as IncomingMessage
      t.strictSame(
        [method, headers['x-own'], Object.keys(headers).filter((key) => /method/.test(key))],
        ['POST', 'a', []],
      )
    }
  }
})

t.test('the host that a route is for is the client’s, as far as proxies are trusted', async (t) => {
  const route = { hosts: ['shop.test'] }
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  const direct = await open(t, { ...route, websocket: true })
  const behind = await open(t, { ...route, websocket: true }, { TRUSTED_PROXIES: '127.0.0.1' })
  const other = 'X-Forwarded-Host: other.test\r\n'
  for (const line of [...Object.values(servers), upgrade]) {
    const found = line === upgrade ? /^HTTP\/1\.1 101/ : /^HTTP\/1\.1 200/
    t.match(await direct.send('GET /', other + line), found, 'of a stranger it says nothing')
    t.match(await behind.send('GET /', other + line), /^HTTP\/1\.1 404/)
    t.match(await behind.send('GET /', `X-Forwarded-Host: evil.test, SHOP.test.:443\r\n${line}`), found)
  }
})

t.test('routes that share a prefix are counted apart, in limits and in metrics', async (t) => {
  const { send } = await open(
    t,
    [
      { prefix: '/counted', methods: ['GET'], rateLimit: 1 },
      { prefix: '/counted', rateLimit: 2 },
      { prefix: '/counted', hosts: ['shop.test'], methods: ['PUT'], rateLimit: 3 },
      { prefix: '/counted', hosts: ['shop.test'], rateLimit: 4 },
    ],
    { TRUSTED_PROXIES: '127.0.0.1' },
  )
  const statuses = async (start: string, line = '') => {
    const seen: string[] = []
    while (seen.at(-1) !== '429' && seen.length < 9) seen.push((await send(start, line)).split(' ', 2)[1] as string)
    return seen
  }
  const proxied = 'X-Forwarded-Host: other.test\r\n'
  t.strictSame(await statuses('GET /counted', proxied), ['200', '429'])
  t.strictSame(await statuses('PUT /counted', proxied), ['200', '200', '429'])
  t.strictSame(await statuses('PUT /counted'), ['200', '200', '200', '429'])
  t.strictSame(await statuses('GET /counted'), ['200', '200', '200', '200', '429'])
  const metrics = await register.metrics()
  for (const [route, method] of [
    ['GET /counted', 'GET'],
    ['/counted', 'PUT'],
    ['PUT shop.test/counted', 'PUT'],
    ['shop.test/counted', 'GET'],
  ])
    t.ok(metrics.includes(`sallyport_request_duration_seconds_count{route="${route}",method="${method}",status="2xx"}`))
})

t.test('an upstream cannot take a header of ours away', async (t) => {
  const { behind, send } = await open(t, {})
  const ours = [
    'content-security-policy',
    'x-content-type-options',
    'cache-control',
    'x-request-id',
    'ratelimit',
    'vary',
  ]
  for (const connection of [ours.join(', '), ['close', ...ours], ['x-own', ours.join(' ,')]]) {
    behind.respond = (_request, response) =>
      response.writeHead(200, { connection, 'x-content-type-options': 'none', 'x-own': '1', 'x-other': '2' }).end('ok')
    for (const line of Object.values(servers)) {
      const response = await send('GET /', `Origin: https://app.test\r\n${line}`)
      for (const name of ours) t.ok(headerOf(name, response), `${name} after ${connection}`)
      t.equal(headerOf('x-content-type-options', response), 'nosniff', 'what it named of its own is gone')
      t.equal(headerOf('x-other', response), '2')
    }
  }
  t.equal(headerOf('x-own', await send('GET /')), undefined)
})

t.test('a response of ours that cannot be written ends its connection, and not the process', async (t) => {
  const { send, log } = await open(t, { prefix: '/somewhere' })
  t.equal(await send('GET /fault-of-ours', servers["Node's server"]), '')
  t.ok(log.some(({ event }) => event === 'connection_ended'))
  t.match(await send('GET /somewhere'), /^HTTP\/1\.1 200 OK/)
})

t.test('a client that leaves before its upgrade is sent on costs the upstream nothing', async (t) => {
  const { behind, send, port, held, log } = await open(t, { websocket: true })
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /left-early HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    await once(held, 'upgrade')
    socket[leave]()
    await once(socket, 'close')
    t.match(await send('GET /stays'), /^HTTP\/1\.1 200 OK/)
  }
  t.strictSame(
    behind.seen.map(({ url }) => url),
    ['/stays', '/stays'],
  )
  t.strictSame(
    log.filter(({ level }) => level === 'error'),
    [],
  )
})

t.test('a WebSocket whose upstream is gone is gone, whatever its client had still to say', async (t) => {
  const { port, webSockets, upstream } = await open(t, { websocket: true })
  const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  const endings: Record<string, (socket: Duplex) => unknown> = {
    ends: (socket) => socket.end(head),
    'is reset': (socket) => socket.write(head, () => (socket as Socket).resetAndDestroy()),
    'says much and ends': (socket) => socket.end(head + 'x'.repeat(1_000_000)),
  }
  upstream
    .removeAllListeners('upgrade')
    .on('upgrade', ({ url = '' }, socket) => endings[decodeURI(url.slice(1))]?.(socket))
  const all = Object.keys(endings).flatMap((how) => ['', 'X\r\n', 'x'.repeat(500_000)].map((sent) => ({ how, sent })))
  await Promise.all(
    all.map(async ({ how, sent }) => {
      // It does not close by itself.
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
      t.teardown(() => socket.destroy())
      socket.write(
        `GET /${encodeURI(how)} HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${sent}`,
      )
      await new Promise<void>((resolve) => socket.once('data', () => resolve()))
    }),
  )
  const deadline = Date.now() + 10_000
  while (webSockets.open.size > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(webSockets.open.size, 0)
})
