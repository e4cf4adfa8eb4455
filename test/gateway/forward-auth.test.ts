import { identityHeaders } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { each, exchange, Issuer, openGateway, startGateway, talk, Upstream } from '../support/edge.ts'
import { guarded, pathTricks, readLeniently } from '../support/path-tricks.ts'
import { readExample } from '../support/proxies.ts'
import { eventually } from '../support/system.ts'

const audience = 'api'
const routes = [
  { prefix: '/', access: 'public' },
  { prefix: '/maybe', access: 'optional', audience },
  { prefix: '/signed-in', access: 'authenticated', audience },
  { prefix: '/admin', access: 'authenticated', roles: ['admin'], audience },
  { prefix: '/live', access: 'authenticated', audience, websocket: true },
  { prefix: '/limited', access: 'public', rateLimit: 1 },
]
const settings = { FORWARD_AUTH_PORT: '0', TRUSTED_PROXIES: '127.0.0.1', LOG_LEVEL: 'warn' }

async function open(t: Test, more: Record<string, string> = {}, table: object[] = routes) {
  const edge = await openGateway(t, table, { ...settings, ...more })
  const port = edge.forwardAuthPort as number
  const token = (claims = {}) => `Authorization: Bearer ${edge.issuer.token(claims)}`
  return { ...edge, port, ownPort: edge.port, token }
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: string
}

async function send(port: number, first: string, lines: string[], body = ''): Promise<Answer> {
  const text = [first, 'Host: proxy', ...lines, 'Connection: close', '', body].join('\r\n')
  const [head = '', ...rest] = (await exchange(port, Buffer.from(text, 'latin1'))).split('\r\n\r\n')
  const [line = '', ...fields] = head.split('\r\n')
  const headers = Object.fromEntries(
    fields.map((field) => field.split(/: (.*)/s, 2)).map(([name = '', value = '']) => [name.toLowerCase(), value]),
  )
  return { status: Number(line.split(' ')[1]), headers, body: rest.join('\r\n\r\n') }
}

/** How proxies ask about a request, by their documentation and by examples/. */
const forms: Record<string, (port: number, method: string, target: string, lines?: string[]) => Promise<Answer>> = {
  nginx: (port, method, target, lines = []) =>
    send(port, 'GET /forward-auth HTTP/1.1', [`X-Original-Method: ${method}`, `X-Original-URI: ${target}`, ...lines]),
  Traefik: (port, method, target, lines = []) =>
    send(port, 'GET /forward-auth HTTP/1.1', [
      ...lines,
      'X-Forwarded-For: 192.0.2.1',
      `X-Forwarded-Method: ${method}`,
      'X-Forwarded-Proto: http',
      'X-Forwarded-Host: app.test',
      `X-Forwarded-Uri: ${target}`,
      'Accept-Encoding: gzip',
    ]),
  Envoy: (port, method, target, lines = []) =>
    send(port, `${method} /ext-authz${target} HTTP/1.1`, [
      ...lines,
      'x-forwarded-proto: http',
      'x-forwarded-for: 192.0.2.1',
      'x-envoy-internal: true',
      'x-envoy-expected-rq-timeout-ms: 5000',
      'content-length: 0',
    ]),
}

for (const [form, ask] of Object.entries(forms))
  t.test(`a check as ${form} sends it is answered by the pipeline`, async (t) => {
    const { port, token } = await open(t)

    const passed = await ask(port, 'POST', '/signed-in/x?y=%20', [token()])
    t.match(passed, { status: 200, body: '' })
    t.match(passed.headers, { 'x-user-id': 'user-1', 'x-user-roles': 'doctor,patient', 'cache-control': 'no-store' })
    t.match(passed.headers[identityHeaders.assertion], /^[\w-]+\.[\w-]+\.[\w-]+$/)
    t.match(passed.headers[identityHeaders.requestId], /^[\da-f-]{36}$/)
    t.notOk(identityHeaders.actorId in passed.headers, 'what does not apply is not there')

    for (const [target, lines] of [
      ['/', []],
      ['/x', ['Authorization: Bearer not-looked-at']],
      ['/maybe', []],
    ] as const) {
      const { status, headers } = await ask(port, 'GET', target, [...lines])
      t.equal(status, 200, target)
      t.strictSame(
        Object.keys(headers).filter((name) => Object.values<string>(identityHeaders).includes(name)),
        ['x-request-id'],
      )
    }

    const missing = await ask(port, 'GET', '/signed-in')
    t.match(missing, { status: 401, headers: { 'www-authenticate': 'Bearer', 'x-sallyport-code': 'TOKEN_MISSING' } })
    t.match(JSON.parse(missing.body), { code: 'TOKEN_MISSING', status: 401 })
    t.match(await ask(port, 'GET', '/signed-in', ['Authorization: Bearer bad']), {
      status: 401,
      headers: { 'www-authenticate': 'Bearer error="invalid_token"', 'x-sallyport-code': 'TOKEN_INVALID' },
    })
    const forbidden = await ask(port, 'GET', '/admin', [token()])
    t.match(forbidden, { status: 403, headers: { 'x-sallyport-code': 'ROLE_REQUIRED', 'cache-control': 'no-store' } })
    t.match(JSON.parse(forbidden.body), { code: 'ROLE_REQUIRED', status: 403 })
    t.equal((await ask(port, 'GET', '/admin', [token({ roles: ['admin'], role: 'admin' })])).status, 200)

    for (const [method, target, code] of [
      ['GET', '/signed-in//x', 'PATH_INVALID'],
      ['GET', '/%61', 'PATH_INVALID'],
      ['GET', '/metrics', 'NOT_FOUND'],
      ['GET', '/Signed-In', 'NOT_FOUND'],
      ['GET', `/${'x'.repeat(9_000)}`, 'PATH_TOO_LONG'],
      ['PROPFIND', '/', 'METHOD_NOT_ALLOWED'],
    ] as const)
      t.match(
        await ask(port, method, target),
        { status: 403, headers: { 'x-sallyport-code': code } },
        target.slice(0, 20),
      )
  })

for (const [form, ask] of Object.entries(forms))
  t.test(`no way to write a path leads past the rule for it, asked as ${form} asks`, async (t) => {
    const { port } = await open(t)
    let passed = 0
    await each(Object.values(pathTricks).flat(), async (target) => {
      const { status } = await ask(port, 'GET', target)
      if (status !== 200) return
      passed += 1
      if (guarded.test(readLeniently(target.trim()))) t.fail(`past the rule: ${target}`)
    })
    t.ok(passed > 0, `${passed} passed`)
  })

t.test('a check that does not say its request in one way is refused', async (t) => {
  const { port } = await open(t)
  const uri = 'X-Original-URI: /'
  const method = 'X-Original-Method: GET'
  const other = ['X-Forwarded-Uri: /', 'X-Forwarded-Method: GET']
  const refused: Record<string, string[]> = {
    'no header': [],
    'no method': [uri],
    'no target': [method],
    'two targets': [method, uri, uri],
    'two targets in one': [method, 'X-Original-URI: /, /'],
    'both families': [method, uri, ...other],
    'an empty target': [method, 'X-Original-URI:'],
    'an absolute target': [method, 'X-Original-URI: http://app.test/'],
    'a target that is none': [method, 'X-Original-URI: *'],
    'a byte that is not ASCII': [method, 'X-Original-URI: /\xe9'],
  }
  for (const [what, lines] of Object.entries(refused))
    t.match(
      await send(port, 'GET /forward-auth HTTP/1.1', lines),
      { status: 403, headers: { 'x-sallyport-code': 'CHECK_INVALID' } },
      what,
    )
  for (const line of ['X-Original-URI: /\x01', 'X-Original-URI: /\ra', 'X-Original-URI: /\n\x00', 'X-A: \x7f'])
    t.match(
      await send(port, 'GET /forward-auth HTTP/1.1', [method, uri, line]),
      { status: 403, headers: { 'x-sallyport-code': 'MESSAGE_MALFORMED', connection: 'close' } },
      JSON.stringify(line),
    )
  for (const path of ['/', '/other', '/ext-authz', '/forward-auth/x', 'http://proxy/forward-auth'])
    t.equal((await send(port, `GET ${path} HTTP/1.1`, [method, uri])).status, 403, path)
  t.equal((await send(port, 'GET /forward-auth HTTP/1.1', [method, uri, 'Host: another'])).status, 403, 'two hosts')
  const lines = Array.from({ length: 201 }, (_, at) => `a${at}: b`)
  t.equal(
    (await send(port, 'GET /forward-auth HTTP/1.1', [method, uri, ...lines])).status,
    403,
    'more than is looked at',
  )
})

t.test('only trusted proxies are answered', async (t) => {
  const { port } = await open(t, { TRUSTED_PROXIES: '192.0.2.0/24' })
  const { status, headers } = await (forms.nginx as (typeof forms)[string])(port, 'GET', '/')
  t.match({ status, headers }, { status: 403, headers: { 'x-sallyport-code': 'PROXY_UNTRUSTED', connection: 'close' } })
})

t.test(
  'a header that could be read as one that proxies remove is refused; one that is spelled like one is not',
  async (t) => {
    const { port, token } = await open(t)
    for (const ask of Object.values(forms)) {
      for (const name of ['X_User_Id', 'x.user.id', 'x~identity-token', 'X_Original_URL', 'X-HTTP-Method-Override'])
        t.match(await ask(port, 'GET', '/', [`${name}: forged`]), {
          status: 403,
          headers: { 'x-sallyport-code': 'MESSAGE_AMBIGUOUS' },
        })
      const { status, headers } = await ask(port, 'GET', '/signed-in', [
        token(),
        'X-User-Id: forged',
        'X-Request-Id: forged',
      ])
      t.match(
        { status, headers },
        { status: 200, headers: { 'x-user-id': 'user-1', 'x-request-id': /^[\da-f-]{36}$/ } },
      )
    }
  },
)

t.test('a host that is none chooses no rules, of another host or of any', async (t) => {
  const { port } = await open(t, {}, [
    { prefix: '/', access: 'public' },
    { prefix: '/', hosts: ['b.test'], access: 'authenticated', audience },
  ])
  const ask = (host: string) =>
    send(port, 'GET /forward-auth HTTP/1.1', [
      ...['X-Forwarded-Method: GET', 'X-Forwarded-Uri: /'],
      `X-Forwarded-Host: ${host}`,
    ])
  for (const host of ['b.test', 'B.test.', 'b.test:80', 'a.test, b.test']) t.equal((await ask(host)).status, 401, host)
  for (const host of ['b.test:', 'b.test:x', 'b.test:123456', 'a@b.test', 'b.test/', 'b.test b', 'a.test,,b.test:'])
    t.match(await ask(host), { status: 403, headers: { 'x-sallyport-code': 'MESSAGE_AMBIGUOUS' } }, host)
  t.equal((await ask('a.test')).status, 200)
})

t.test('clients are counted by the address that the proxy saw, and 429 becomes 403', async (t) => {
  const { port } = await open(t)
  const ask = (address: string, target = '/limited') =>
    (forms.nginx as (typeof forms)[string])(port, 'GET', target, [`X-Forwarded-For: ${address}`])
  t.equal((await ask('192.0.2.1')).status, 200)
  const refused = await ask('192.0.2.1')
  t.match(refused, { status: 403, headers: { 'x-sallyport-code': 'RATE_LIMITED', 'retry-after': /^\d+$/ } })
  t.equal((await ask('192.0.2.2')).status, 200)
})

t.test('a WebSocket is checked as one, wherever it is asked for', async (t) => {
  const { port, token, issuer } = await open(t)
  const key = 'Sec-WebSocket-Key: x'
  const host = 'X-Forwarded-Host: app.example'
  const inProtocol = `Sec-WebSocket-Protocol: sallyport.bearer.${issuer.token()}, chat`
  for (const [form, ask] of Object.entries(forms)) {
    const code = async (target: string, lines: string[], method = 'GET') =>
      (await ask(port, method, target, lines)).headers['x-sallyport-code']
    t.equal(await code('/live', [key, token()]), undefined, form)
    t.equal(await code('/live', ['Connection: upgrade', 'Upgrade: websocket', token()]), undefined, form)
    t.equal(await code('/live', [key, inProtocol]), undefined, 'a browser’s token is in a subprotocol')
    t.equal(await code('/live', [inProtocol]), 'TOKEN_INVALID', 'on an upgrade alone')
    t.equal(await code('/signed-in', [key, token()]), 'NOT_FOUND', 'the route has to be for them')
    t.equal(await code('/live', [key, token()], 'POST'), 'MESSAGE_AMBIGUOUS')
    for (const other of ['Upgrade: h2c', 'Upgrade: websocket, h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'])
      t.equal(await code('/live', [key, token(), other]), 'MESSAGE_AMBIGUOUS', other)
    t.equal(await code('/live', [key, token(), 'Origin: https://app.test']), undefined)
    t.equal(await code('/live', [key, token(), 'Origin: https://evil.test']), 'ORIGIN_REFUSED')
    t.equal(await code('/signed-in', [token(), 'Origin: https://evil.test']), undefined)
  }
  const nginx = forms.nginx as (typeof forms)[string]
  t.equal(
    (await nginx(port, 'GET', '/live', [key, token(), host, 'Origin: https://app.example'])).status,
    200,
    'its own',
  )
})

t.test('what Sallyport cannot decide is no pass', async (t) => {
  const { port, token } = await open(t, {
    REVOCATIONS_URL: 'http://127.0.0.1:1/internal/revocations',
    REVOCATIONS_SECRET: 'secret of this test, long enough for it',
    REVOCATION_FAIL: 'closed',
  })
  for (const ask of Object.values(forms)) t.equal((await ask(port, 'GET', '/signed-in', [token()])).status, 503)
})

t.test('a check is answered without its body', async (t) => {
  const { port } = await open(t)
  const lines = ['X-Original-Method: POST', 'X-Original-URI: /', 'Content-Length: 1000000']
  t.equal((await send(port, 'POST /forward-auth HTTP/1.1', lines, 'begins')).status, 200)
})

t.test('the gateway itself forwards a route with upstreams, and has no other', async (t) => {
  const api = await new Upstream().serve(t)
  const { port, ownPort, gateway } = await open(t, {}, [
    ...routes,
    { prefix: '/own', access: 'public', upstreams: [api.url] },
  ])
  t.not(port, ownPort)
  t.equal((await fetch(`${gateway}/own`)).status, 200)
  for (const path of ['/', '/signed-in', '/forward-auth']) t.equal((await fetch(`${gateway}${path}`)).status, 404, path)
  t.equal((await (forms.nginx as (typeof forms)[string])(port, 'GET', '/own')).status, 200)
})

t.test('a port that is taken stops the boot, with a line that says what to set', async (t) => {
  const { forwardAuthPort } = await open(t)
  await t.rejects(openGateway(t, routes, { ...settings, FORWARD_AUTH_PORT: String(forwardAuthPort) }), {
    name: 'ConfigurationError',
    message: /^cannot listen on 127\.0\.0\.1 port \d+ \(.*EADDRINUSE.*\); correct HOST or FORWARD_AUTH_PORT$/,
  })
})

t.test('a process that ends answers the checks it has, and takes no others', async (t) => {
  const issuer = new Issuer()
  let release = () => {}
  const { log, process } = await startGateway(t, routes, { ...settings, LOG_LEVEL: 'info' }, issuer)
  const port = Number(/forward_auth_listening.*"port":(\d+)/.exec(log.join('\n'))?.[1])
  // A key that is not known yet is fetched.
  issuer.fault = (response) => {
    release = () => response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: issuer.keys }))
  }
  const known = issuer.fetches
  const check = (token: string) =>
    `GET /forward-auth HTTP/1.1\r\nHost: g\r\nX-Original-Method: GET\r\nX-Original-URI: /signed-in\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const idle = talk(t, port, [check('bad'), /^HTTP\/1\.1 401/], ['', /never/])
  const answer = exchange(port, check(issuer.token({}, { kid: 'another' })), 10_000)
  await eventually('the key is fetched', () => issuer.fetches > known)
  process.child.kill('SIGTERM')
  t.match(await idle, /^HTTP\/1\.1 401/, 'an idle connection is closed')
  release()
  t.match(await answer, /^HTTP\/1\.1 401 [\s\S]*\r\nconnection: close\r\n/i)
  await process.ended
  t.equal(process.child.exitCode, 0)
})

t.test('every example takes every identity header from Sallyport alone', async (t) => {
  const files = {
    nginx: 'nginx/sallyport-headers.conf',
    HAProxy: 'haproxy/sallyport.lua',
    Caddy: 'caddy/Caddyfile',
    Traefik: 'traefik/sallyport.yaml',
    Envoy: 'envoy/envoy.yaml',
  }
  for (const name of Object.values(identityHeaders)) {
    for (const [proxy, file] of Object.entries(files))
      t.ok(readExample(file).toLowerCase().includes(name), `${proxy}: ${name}`)
    const { middlewares } = parse(readExample(files.Traefik).toLowerCase()).http
    t.equal(middlewares['no-identity'].headers.customrequestheaders[name], '', 'Traefik removes it')
    t.ok(middlewares.sallyport.forwardauth.authresponseheaders.includes(name), 'Traefik sets it')
    const [listener] = parse(readExample(files.Envoy)).static_resources.listeners
    const manager = listener.filter_chains[0].filters[0].typed_config
    const [early] = manager.early_header_mutation_extensions
    t.ok(
      early.typed_config.mutations.some(({ remove }: { remove: string }) => remove === name),
      'Envoy removes it',
    )
    const { allowed_upstream_headers: allowed } =
      manager.http_filters[0].typed_config.http_service.authorization_response
    t.ok(
      allowed.patterns.some(({ exact }: { exact: string }) => exact === name),
      'Envoy sets it',
    )
  }
})
