import type { KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { readRouteFile } from '@sallyport/gateway/pipeline/route-file'
import { NoRoute } from '@sallyport/gateway/pipeline/route-lookup'
import type { Upstream as GatewayUpstream } from '@sallyport/gateway/proxy/upstreams'
import type { Issuer } from '@sallyport/verify'
import t from 'tap'
import { request } from 'undici'
import WebSocket, { WebSocketServer } from 'ws'
import { parse } from 'yaml'
import { listen, openGateway, Upstream } from '../support/edge.ts'

/** Of an issuer in a file that lists none. */
const unexpected = () => {
  throw new Error('the file has no issuers')
}

const file = fileURLToPath(new URL('../../../examples/routes/platform.yaml', import.meta.url))

/** Method, host and path of a request; where it is sent, or why to nowhere. */
const table: Record<string, string> = {
  'POST api.example.com /api/auth/login': 'http://auth:5001/api/auth/login',
  'GET hooks.example.com /api/auth/me': 'http://auth:5001/api/auth/me',
  'POST app.example.com /api/auth/login': 'http://auth:5001/api/auth/login',
  'GET app.example.com /api/auth/login': 'method POST',
  'GET www.example.com /api/auth/sessions': 'http://auth:5001/api/auth/sessions',
  'HEAD api.example.com /.well-known/jwks.json': 'http://auth:5001/.well-known/jwks.json',
  'POST api.example.com /.well-known/jwks.json': 'method GET HEAD',
  'GET anything.test /status/page': 'http://status:8080/page',
  'GET api.example.com /rest/v1/rows': 'http://rest-1:3000/rows',
  'GET API.example.com.:443 /rest/v1/rows': 'http://rest-1:3000/rows',
  'PATCH api.example.com /rest/v1/rows': 'http://rest-1:3000/rows',
  'OPTIONS api.example.com /rest/v1/rows': 'method GET HEAD POST PUT PATCH DELETE',
  'GET api.example.com /rest/v1/rpc/public/feed': 'http://rest-1:3000/rpc/feed',
  'DELETE api.example.com /rest/v1/rpc/public/feed': 'method GET HEAD POST',
  'GET api.example.com /rest/V1/rows': 'ambiguous',
  'GET other.example.com /rest/v1/rows': 'none',
  'POST api.example.com /graphql/v1': 'http://rest-1:3000/rpc/graphql',
  'GET cdn.example.com /storage/v1/object/public/a/b.png': 'http://storage:5000/object/public/a/b.png',
  'PUT cdn.example.com /storage/v1/object/public/a/b.png': 'method GET HEAD',
  'GET cdn.example.com /storage/v1/object/private': 'none',
  'DELETE api.example.com /storage/v1/object/a': 'http://storage:5000/object/a',
  'GET api.example.com /storage/v1/internal/x': 'rewritten',
  'PATCH api.example.com /storage/v1/upload/1': 'http://storage:5000/upload/1',
  'GET api.example.com /realtime/v1/websocket': 'http://realtime:4000/socket/websocket',
  'POST api.example.com /realtime/v1/broadcast': 'http://realtime:4000/api/broadcast',
  'GET api.example.com /realtime/v1/broadcast': 'method POST',
  'GET api.example.com /functions/v1/hello': 'http://functions:9000/hello',
  'GET api.example.com /functions/v1/metrics': 'rewritten',
  'POST api.example.com /functions/v1/mine': 'http://functions:9000/mine',
  'GET api.example.com /pg/tables': 'http://meta:8080/tables',
  'GET app.example.com /pg/tables': 'http://web:3000/pg/tables',
  'GET app.example.com /': 'http://web:3000/',
  'GET www.example.com /assets/a.js': 'http://web:3000/assets/a.js',
  'POST app.example.com /assets/a.js': 'method GET HEAD',
  'GET console.example.com /settings': 'http://console:3000/settings',
  'PUT console.example.com /api/settings': 'http://console:3000/api/settings',
  'GET console.example.com /live': 'http://console:3000/live',
  'POST errors.example.com /api/envelope': 'http://relay-1:3000/api/envelope',
  'GET errors.example.com /api/envelope': 'method POST',
  'POST errors.example.com /api/sourcemaps': 'http://tracker:9000/api/sourcemaps',
  'GET errors.example.com /api/issues': 'http://tracker:9000/api/issues',
  'POST hooks.example.com /payments': 'http://billing:5010/webhooks/payments',
  'GET hooks.example.com /payments': 'method POST',
  'GET api.example.com /Metrics': 'internal',
}

t.test('the example of a route file is sound, and each request goes where it should', async (t) => {
  const environment = { AUTH_URL: 'http://auth:5001', STATUS_URL: 'http://status:8080' }
  const upstreams = { at: (origin: string) => ({ origin }) as GatewayUpstream }
  const issuers = { own: { name: 'https://issuer.test' } as Issuer<KeyObject>, at: unexpected }
  const { routes, match } = readRouteFile(file, environment, { upstreams, issuers, forwardAuth: false }).lookup
  const reached = new Set<string>()
  for (const [sent, expected] of Object.entries(table)) {
    const [method, host, path] = sent.split(' ') as [string, string, string]
    const found = match(path, method, host)
    if (found instanceof NoRoute) t.equal([found.reason, ...found.allowed].join(' '), expected, sent)
    else {
      reached.add(found.name)
      t.equal(`${found.upstreams[0]?.origin}${found.upstreamPath(path)}`, expected, sent)
    }
  }
  const missed = routes.filter(({ name }) => !reached.has(name)).map(({ name }) => name)
  t.ok(missed.length <= 8, `most routes are reached: ${missed.join('; ')}`)
})

t.test('the gateway does with it what it says', async (t) => {
  const api = await new Upstream().serve(t)
  const sockets = new WebSocketServer({ noServer: true })
  const realtime = createServer()
  realtime.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (opened) => opened.send(request.url as string)),
  )
  const realtimeUrl = await listen(t, realtime)
  const { routes } = parse(readFileSync(file, 'utf8')) as { routes: { upstreams: string[] }[] }
  const here = routes.map((route) => ({
    ...route,
    upstreams: [route.upstreams.includes('http://realtime:4000') ? realtimeUrl : api.url],
  }))
  const { gateway, issuer } = await openGateway(t, here)
  const bearer = (claims: object) => ({ authorization: `Bearer ${issuer.token({ ...claims })}` })
  const ofClient = { sub: 'client:1', client_id: '1', email: undefined, role: undefined, roles: [] }
  const reader = { ...ofClient, scope: 'rows:read' }

  const send = async (start: string, headers: Record<string, string> = {}) => {
    const [method, host, path] = start.split(' ') as ['GET', string, string]
    const before = api.requests.length
    const {
      statusCode: status,
      headers: received,
      body,
    } = await request(gateway + path, { method, headers: { host, ...headers } })
    const text = await body.text()
    const code = status >= 400 ? (JSON.parse(text).code as string) : undefined
    return { status, code, headers: received, seen: api.requests.length > before ? api.last : undefined }
  }

  api.respond = (_request, response) => response.setHeader('content-type', 'text/html').end('<p>')
  const page = await send('GET app.example.com /settings')
  t.match(page, { status: 200, seen: { url: '/settings', headers: { host: 'app.example.com' } } })
  t.match(page.headers, { 'cache-control': 'no-cache', 'content-security-policy': /^default-src 'self'; connect-src/ })
  t.match((await send('GET app.example.com /assets/a.js')).headers, { 'cache-control': /immutable$/ })
  t.match((await send('GET console.example.com /')).headers, { 'x-frame-options': 'DENY', 'cache-control': 'no-store' })
  const published = await send('GET cdn.example.com /storage/v1/object/public/a.svg')
  t.match(published, { status: 200, seen: { url: '/object/public/a.svg' } })
  t.match(published.headers, {
    'cache-control': 'public, max-age=3600',
    'cross-origin-resource-policy': 'cross-origin',
  })

  api.respond = (_request, response) => response.setHeader('content-type', 'application/json').end('{}')
  t.match(await send('GET api.example.com /rest/v1/rows'), { status: 401, code: 'TOKEN_MISSING', seen: undefined })
  t.match(await send('GET api.example.com /rest/v1/rows', bearer(reader)), { status: 200, seen: { url: '/rows' } })
  t.match(await send('POST api.example.com /rest/v1/rows', bearer(reader)), { status: 403, code: 'SCOPE_REQUIRED' })
  t.match(await send('POST api.example.com /rest/v1/rows', bearer({})), { status: 200, seen: { method: 'POST' } })
  t.match(await send('OPTIONS api.example.com /rest/v1/rows', bearer({})), {
    status: 405,
    headers: { allow: 'GET, HEAD, POST, PUT, PATCH, DELETE' },
  })
  t.match(await send('GET api.example.com /rest/v1/rpc/public/feed'), { status: 200, seen: { url: '/rpc/feed' } })
  t.match(await send('GET api.example.com /pg/x', bearer({ role: 'admin', roles: ['admin'] })), {
    code: 'STEP_UP_REQUIRED',
  })
  t.match(await send('POST errors.example.com /api/sourcemaps', bearer({})), { status: 403, code: 'CALLER_REFUSED' })
  t.match(await send('POST errors.example.com /api/envelope'), { status: 200, seen: { url: '/api/envelope' } })
  t.match(await send('GET other.example.com /rest/v1/rows', bearer({})), { status: 404, seen: undefined })
  t.match(await send('GET api.example.com /Rest/v1/rows', bearer({})), { status: 404, seen: undefined })

  const socket = new WebSocket(`${gateway.replace('http', 'ws')}/realtime/v1/websocket?v=1`, {
    headers: { host: 'api.example.com', ...bearer({}) },
  })
  t.teardown(() => socket.terminate())
  const [message] = await once(socket, 'message')
  t.equal(String(message), '/socket/websocket?v=1')
})
