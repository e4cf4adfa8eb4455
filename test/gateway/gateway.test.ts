import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { createAssertionVerifier, identityHeaders } from '@sallyport/identity'
import t from 'tap'
import { request } from 'undici'
import { exchange, Issuer, openGateway, startGateway, Upstream } from '../support/edge.ts'
import { eventually, freePort } from '../support/system.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
const json = async (response: Promise<Response>): Promise<any> => (await response).json()

t.test('routes and access', async (t) => {
  const api = await new Upstream().serve(t)
  const other = await new Upstream().serve(t)
  const { gateway, issuer, identityKey, log } = await openGateway(t, [
    { prefix: '/api', upstreams: [api.url], access: 'authenticated', audience: 'api' },
    { prefix: '/api/open', upstreams: [api.url], access: 'public' },
    { prefix: '/api/maybe', upstreams: [api.url], access: 'optional', forwardAuthorization: true },
    { prefix: '/api/doctors', upstreams: [other.url], access: 'authenticated', roles: ['doctor', 'admin'] },
    { prefix: '/api/admins/', upstreams: [other.url], access: 'authenticated', roles: ['admin'] },
    { prefix: '/api/auth', upstreams: [api.url], access: 'public', refreshCookie: true },
    { prefix: '/api/auth/status', upstreams: [api.url], access: 'public' },
  ])
  const get = (path: string, token?: string, headers: Record<string, string> = {}) =>
    fetch(gateway + path, { headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers } })

  t.test('a path that no route names is 404', async (t) => {
    const response = await get('/elsewhere')
    t.equal(response.status, 404)
    t.match(await response.json(), { code: 'NOT_FOUND', type: /^urn:/, title: String, status: 404, error: String })
    t.equal(response.headers.get('content-type'), 'application/problem+json')
  })

  t.test('the longest prefix decides, by whole segments', async (t) => {
    t.equal((await get('/api/open/x?y=1')).status, 200)
    t.equal(api.last.url, '/api/open/x?y=1')
    t.equal((await get('/api/openish')).status, 401, '/api/openish is not below /api/open')
    t.equal((await get('/api/doctors/1', issuer.token())).status, 200)
    t.equal(other.last.url, '/api/doctors/1')
  })

  t.test('without a token: 401 with a challenge that names no error (RFC 6750)', async (t) => {
    const response = await get('/api/x')
    t.equal(response.status, 401)
    t.equal(response.headers.get('www-authenticate'), 'Bearer')
    t.match(await response.json(), { code: 'TOKEN_MISSING' })
  })

  t.test('with a bad one: 401 invalid_token', async (t) => {
    const response = await get('/api/x', 'nonsense')
    t.equal(response.status, 401)
    t.equal(response.headers.get('www-authenticate'), 'Bearer error="invalid_token"')
    t.match(await response.json(), { code: 'TOKEN_INVALID' })
    t.match(await json(get('/api/x', undefined, { authorization: 'Basic dTpw' })), { code: 'TOKEN_INVALID' })
  })

  t.test('an expired one: TOKEN_EXPIRED', async (t) => {
    const now = Math.floor(Date.now() / 1000)
    t.match(await json(get('/api/x', issuer.token({ iat: now - 900, exp: now - 1 }))), { code: 'TOKEN_EXPIRED' })
  })

  t.test('a token that was seen before expires all the same', async (t) => {
    const token = issuer.token({ exp: Math.floor(Date.now() / 1000) + 3 })
    t.equal((await get('/api/x', token)).status, 200)
    await eventually('it expires', async () => (await json(get('/api/x', token))).code === 'TOKEN_EXPIRED')
  })

  t.test('the wrong role: 403 ROLE_REQUIRED', async (t) => {
    const response = await get('/api/admins/users', issuer.token())
    t.equal(response.status, 403)
    t.match(await response.json(), { code: 'ROLE_REQUIRED' })
    t.equal((await get('/api/admins', issuer.token({ role: 'admin', roles: ['admin'] }))).status, 200)
  })

  t.test('an optional route takes requests with and without a token, but no bad one', async (t) => {
    t.equal((await get('/api/maybe')).status, 200)
    t.equal(api.last.headers['x-user-id'], undefined)
    t.equal((await get('/api/maybe', issuer.token())).status, 200)
    t.equal(api.last.headers['x-user-id'], 'user-1')
    t.equal((await get('/api/maybe', 'bad')).status, 401)
  })

  t.test('a public route does not look at tokens', async (t) => {
    t.equal((await get('/api/open', 'bad')).status, 200)
    t.equal(api.last.headers.authorization, undefined)
  })

  t.test('identity goes upstream as headers and as a signed assertion for this service alone', async (t) => {
    const proof = { acr: 'aal2', auth_time: Math.floor(Date.now() / 1000), amr: ['pwd', 'otp', 'mfa'] }
    const token = issuer.token(proof)
    await get('/api/x', token)
    const { headers } = api.last
    t.match(headers, {
      'x-user-id': 'user-1',
      'x-user-email': 'someone@example.com',
      'x-user-role': 'doctor',
      'x-user-roles': 'doctor,patient',
      'x-session-id': 'session-1',
      'x-auth-acr': 'aal2',
      'x-auth-time': String(proof.auth_time),
      via: '1.1 sallyport',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': gateway.slice('http://'.length),
    })
    t.equal(headers.authorization, undefined, 'the access token stays here')
    const publicKey = createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString()
    const assertion = headers['x-identity-token'] as string
    t.match(await createAssertionVerifier([publicKey], 'api')(assertion), {
      userId: 'user-1',
      roles: ['doctor', 'patient'],
      acr: 'aal2',
      authTime: proof.auth_time,
      amr: proof.amr,
    })
    t.equal(await createAssertionVerifier([publicKey], 'other')(assertion), undefined)
    await get('/api/x', token)
    t.equal(api.last.headers['x-identity-token'], assertion, 'signed once, used again')
    await get('/api/doctors', token)
    t.match(await createAssertionVerifier([publicKey], '127.0.0.1')(other.last.headers['x-identity-token'] as string), {
      userId: 'user-1',
    })
    await get('/api/maybe', token)
    t.equal(api.last.headers.authorization, `Bearer ${token}`, 'unless the route says so')
  })

  t.test('what a client sends under these names never arrives, however it is spelt', async (t) => {
    const spellings = (name: string) => [name, name.toUpperCase(), name.replaceAll('-', '_'), name.replaceAll('-', '.')]
    for (const name of Object.values(identityHeaders).flatMap(spellings)) {
      for (const token of [undefined, issuer.token()]) {
        const path = token ? '/api/x' : '/api/open'
        const lines = [
          `GET ${path} HTTP/1.1`,
          'Host: gateway',
          `${name}: forged`,
          `${name}: forged`,
          `Connection: close, ${name}`,
          ...(token ? [`Authorization: Bearer ${token}`] : []),
        ]
        t.match(await exchange(Number(new URL(gateway).port), `${lines.join('\r\n')}\r\n\r\n`), /^HTTP\/1.1 200/)
        t.notOk(api.last.rawHeaders.includes('forged'), `${name}: forged`)
        if (token) t.equal(api.last.headers['x-user-id'], 'user-1', `Connection: ${name}`)
      }
    }
  })

  t.test('the cookies of the auth service go there and to nobody else', async (t) => {
    const cookie = 'a=1; refreshToken=secret; device=known; __Host-refreshToken=secret; __Host-device=known; b=2'
    await get('/api/open', undefined, { cookie })
    t.equal(api.last.headers.cookie, 'a=1; b=2')
    await get('/api/open', undefined, { cookie: 'refreshToken=secret; device=known' })
    t.equal(api.last.headers.cookie, undefined)
    await get('/api/auth', undefined, { cookie })
    t.equal(api.last.headers.cookie, cookie)
    await get('/api/auth/refresh', undefined, { cookie })
    t.equal(api.last.headers.cookie, cookie)
    await get('/api/auth/status', undefined, { cookie })
    t.equal(api.last.headers.cookie, 'a=1; b=2', 'a route has to say so')
  })

  t.test('two access tokens are refused: which one counts should be nobody’s guess', async (t) => {
    const token = issuer.token()
    const lines = [
      'GET /api/x HTTP/1.1',
      'Host: gateway',
      'Connection: close',
      ...Array(2).fill(`Authorization: Bearer ${token}`),
    ]
    t.match(await exchange(Number(new URL(gateway).port), `${lines.join('\r\n')}\r\n\r\n`), /401[\s\S]*TOKEN_INVALID/)
  })

  t.test('health, metrics and internal paths of the services are out of reach', async (t) => {
    for (const path of ['/metrics', '/healthz', '/readyz', '/internal/revocations', '/INTERNAL/x'])
      t.equal((await get(path, issuer.token())).status, 404, path)
  })

  t.test('methods that nobody needs are 405 with what is allowed', async (t) => {
    const response = await exchange(
      Number(new URL(gateway).port),
      'TRACE /api/open HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n',
    )
    t.match(
      response,
      /^HTTP\/1.1 405 [\s\S]*allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS[\s\S]*METHOD_NOT_ALLOWED/,
    )
  })

  t.test('the path that was matched is the path that is sent on', async (t) => {
    const { statusCode } = await request(`${gateway}/api/op%65n/%7ea%c3%a9`)
    t.equal(statusCode, 200)
    t.equal(api.last.url, '/api/open/~a%C3%A9')
    const refused = await exchange(
      Number(new URL(gateway).port),
      'GET /api/open/../x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n',
    )
    t.match(refused, /^HTTP\/1.1 400 [\s\S]*PATH_INVALID/)
    t.match(
      await exchange(Number(new URL(gateway).port), 'GET /api/%zz HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 400 /,
    )
  })

  t.test('security headers are on every response, and the upstream’s own stay', async (t) => {
    api.respond = (_request, response) => {
      response
        .writeHead(200, {
          'cache-control': 'private',
          server: 'secret/1.0',
          'x-powered-by': 'x',
          connection: 'keep-alive, x-hop',
          'x-hop': '1',
          'access-control-allow-origin': '*',
        })
        .end('ok')
    }
    const { headers } = await get('/api/open')
    t.equal(headers.get('x-content-type-options'), 'nosniff')
    t.equal(headers.get('cache-control'), 'private')
    for (const gone of ['server', 'x-powered-by', 'x-hop', 'access-control-allow-origin'])
      t.equal(headers.get(gone), null, gone)
    t.equal((await get('/elsewhere')).headers.get('cache-control'), 'no-store')
    api.respond = (_request, response) => response.end('ok')
  })

  t.test('listed origins may send requests with credentials, others may not', async (t) => {
    const preflight = (origin: string) =>
      fetch(`${gateway}/api/x`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'PATCH' } })
    const allowed = await preflight('https://app.test')
    t.equal(allowed.status, 204)
    t.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.test')
    t.equal(allowed.headers.get('access-control-allow-credentials'), 'true')
    for (const _ of ['once', 'again'])
      t.equal((await preflight('https://evil.test')).headers.get('access-control-allow-origin'), null)
    const named = () => log.filter((line) => line.includes('origin_refused')).map((line) => JSON.parse(line))
    await eventually('the log has it', () => named().length > 0)
    t.match(named(), [{ origin: 'https://evil.test', msg: /add its origin to CORS_ORIGINS/ }])
    t.equal(named().length, 1, 'once a minute')
    const refused = await get('/api/x', undefined, { origin: 'https://app.test' })
    t.equal(
      refused.headers.get('access-control-allow-origin'),
      'https://app.test',
      'so that a page can read the problem',
    )
    t.equal(
      (await fetch(`${gateway}/api/open`, { method: 'OPTIONS' })).status,
      200,
      'OPTIONS that is no preflight goes on',
    )
    t.equal(api.last.method, 'OPTIONS')
  })
})

t.test('bodies and responses', async (t) => {
  const api = await new Upstream().serve(t)
  const nobody = await freePort()
  const tersePort = await freePort()
  const {
    gateway,
    port,
    log,
    process: running,
  } = await startGateway(t, [
    { prefix: '/', upstreams: [api.url], access: 'public', timeout: 300, bodyLimit: 1000 },
    { prefix: '/large', upstreams: [api.url], access: 'public', bodyLimit: 64 * 1024 * 1024 },
    { prefix: '/down', upstreams: [`http://127.0.0.1:${nobody}`], access: 'public' },
    { prefix: '/terse', upstreams: [`http://127.0.0.1:${tersePort}`], access: 'public' },
    { prefix: '/few', upstreams: [api.url], access: 'public', rateLimit: 2 },
  ])

  t.test('an unreachable upstream is 502, a late one 504, both as problems', async (t) => {
    t.match(await json(fetch(`${gateway}/down`, { method: 'POST', body: 'x' })), {
      status: 502,
      code: 'UPSTREAM_UNREACHABLE',
    })
    api.respond = () => {}
    const streamed = { method: 'POST', body: new Blob(['streamed']).stream(), duplex: 'half' } as const
    for (const request of [{}, streamed])
      t.match(await json(fetch(`${gateway}/late`, request)), { status: 504, code: 'UPSTREAM_TIMEOUT' })
    api.respond = (_request, response) => response.end('ok')
  })

  t.test('a body over the limit is 413, announced or not', async (t) => {
    t.match(await json(fetch(gateway, { method: 'POST', body: 'x'.repeat(1001) })), { code: 'BODY_TOO_LARGE' })
    const chunked = new ReadableStream({
      start(controller) {
        for (let n = 0; n < 11; n++) controller.enqueue(new TextEncoder().encode('x'.repeat(100)))
        controller.close()
      },
    })
    t.match(await json(fetch(gateway, { method: 'POST', body: chunked, duplex: 'half' } as RequestInit)), {
      code: 'BODY_TOO_LARGE',
    })
    t.equal((await fetch(gateway, { method: 'POST', body: 'x'.repeat(1000) })).status, 200)
  })

  t.test('a chunked DELETE or OPTIONS is one request, whatever its body looks like', async (t) => {
    for (const method of ['DELETE', 'OPTIONS']) {
      const before = api.requests.length
      const inner = 'GET /smuggled HTTP/1.1\r\nHost: g\r\nx-user-id: admin\r\n\r\n'
      const chunk = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
      const response = await exchange(
        port,
        `${method} /one HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunk}`,
      )
      t.match(response, /^HTTP\/1.1 200/)
      t.equal(api.requests.length, before + 1)
      t.match(api.last, { method, url: '/one', body: inner })
    }
  })

  t.test('large bodies pass both ways, as they come', async (t) => {
    const megabytes = Buffer.alloc(16 * 1024 * 1024, 'sallyport')
    api.respond = (_request, response, body) => response.end(body)
    const response = await fetch(`${gateway}/large`, { method: 'PUT', body: megabytes })
    t.ok(megabytes.equals(Buffer.from(await response.arrayBuffer())))
  })

  t.test('HEAD, 204 and 304 have no body; several cookies stay several', async (t) => {
    api.respond = (request, response) => {
      const status = Number(request.url?.slice(1)) || 200
      response
        .writeHead(status, { 'set-cookie': ['a=1', 'b=2'], 'content-type': 'text/plain' })
        .end(status === 200 ? 'body' : undefined)
    }
    const head = await fetch(gateway, { method: 'HEAD' })
    t.equal(await head.text(), '')
    t.strictSame(head.headers.getSetCookie(), ['a=1', 'b=2'])
    for (const status of [204, 304]) t.equal((await fetch(`${gateway}/${status}`)).status, status)
  })

  t.test('early hints are not the response; what follows them is', async (t) => {
    api.respond = (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      response.end('ok')
    }
    t.equal(await (await fetch(gateway)).text(), 'ok')
    const streamed = { method: 'POST', body: new Blob(['streamed']).stream(), duplex: 'half' } as const
    t.equal(await (await fetch(gateway, streamed)).text(), 'ok')
  })

  t.test('a terse upstream is understood', async (t) => {
    const terse = createServer((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok'))
      socket.on('error', () => {})
    }).listen(tersePort, '127.0.0.1')
    t.teardown(() => terse.close())
    await once(terse, 'listening')
    t.equal(await (await fetch(`${gateway}/terse`)).text(), 'ok')
  })

  t.test('a response that breaks off upstream breaks off for the client', async (t) => {
    api.respond = (_request, response) => {
      response.write('half')
      setTimeout(() => response.destroy(), 20)
    }
    await t.rejects(fetch(gateway).then((response) => response.text()))
  })

  t.test('a client that goes away cancels its request', async (t) => {
    let gone = false
    api.respond = (_request, response) => {
      response.once('close', () => {
        gone = true
      })
      response.write('begins')
    }
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /long HTTP/1.1\r\nHost: g\r\n\r\n')
    await once(socket, 'data')
    socket.destroy()
    await eventually('the upstream is notified', () => gone)

    const upload = connect(port, '127.0.0.1')
    const before = api.requests.length
    upload.write('POST /upload HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\nfew')
    await new Promise((resolve) => setTimeout(resolve, 50))
    upload.destroy()
    api.respond = (_request, response) => response.end('ok')
    t.equal((await fetch(gateway)).status, 200)
    t.equal(api.requests.length, before + 1, 'half an upload is no request')
  })

  t.test('a slow reader slows the upstream down', async (t) => {
    let written = 0
    api.respond = (_request, response) => {
      const more = () => {
        while (written < 64 && response.write(Buffer.alloc(1024 * 1024))) written += 1
        written += 1
        if (written < 64) response.once('drain', more)
        else response.end()
      }
      more()
    }
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /much HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n')
    await once(socket, 'readable')
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.ok(written < 60, `${written} of 64 MiB were taken while nobody read`)
    let size = 0
    for await (const chunk of socket) size += chunk.length
    t.ok(size >= 64 * 1024 * 1024)
  })

  t.test('a client over its limit is 429 with Retry-After, on the route that has one', async (t) => {
    api.respond = (_request, response) => response.end('ok')
    const responses = await Promise.all([1, 2, 3].map(() => fetch(`${gateway}/few`)))
    const limited = responses.find(({ status }) => status === 429)
    t.ok(limited?.headers.get('retry-after'))
    t.match(await limited?.json(), { code: 'RATE_LIMITED' })
    t.equal((await fetch(gateway)).status, 200, 'other routes are not touched')
    const metrics = await (await fetch(`http://127.0.0.1:${running.managementPort}/metrics`)).text()
    t.match(metrics, /^sallyport_rate_limited_total\{limit="client"\} 1$/m)
  })

  t.test('the log names what went wrong upstream, and the response does not', async (t) => {
    t.ok(log.some((line) => line.includes('UPSTREAM_UNREACHABLE') && line.includes('ECONNREFUSED')))
  })
})

t.test('keys', async (t) => {
  const api = await new Upstream().serve(t)
  const routes = [{ prefix: '/', upstreams: [api.url], access: 'authenticated' }]

  t.test('without a key set a token can be neither accepted nor rejected: 503, never 401', async (t) => {
    const issuer = new Issuer()
    issuer.fault = (response) => response.writeHead(500).end()
    const { gateway, process } = await startGateway(t, routes, {}, issuer)
    const get = () => fetch(gateway, { headers: { authorization: `Bearer ${issuer.token()}` } })
    const response = await get()
    t.equal(response.status, 503)
    t.ok(response.headers.get('retry-after'))
    t.match(await response.json(), { code: 'UNAVAILABLE' })
    t.equal((await fetch(`http://127.0.0.1:${process.managementPort}/readyz`)).status, 503)
    issuer.fault = (response) => response.end('{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}')
    await eventually('it is asked again', async () => {
      t.equal((await get()).status, 503, 'a set without a public key is no set')
      return issuer.fetches > 2
    })
    issuer.fault = undefined
    await eventually('the set is there', async () => (await get()).status === 200)
    t.equal((await fetch(`http://127.0.0.1:${process.managementPort}/readyz`)).status, 200)
  })

  t.test('an unknown key id fetches the set at most once a minute, for all requests at once', async (t) => {
    const { gateway, issuer } = await openGateway(t, routes)
    const get = (token: string) => fetch(gateway, { headers: { authorization: `Bearer ${token}` } })
    t.equal((await get(issuer.token())).status, 200)
    const before = issuer.fetches
    const stranger = new Issuer()
    const forged = await Promise.all(Array.from({ length: 20 }, () => get(stranger.token())))
    t.ok(forged.every(({ status }) => status === 401))
    t.ok(issuer.fetches - before <= 1, `${issuer.fetches - before} fetches`)
  })
})

t.test('a gateway that receives SIGTERM is no longer ready, finishes what it began, and ends', async (t) => {
  const api = await new Upstream().serve(t)
  let finish = () => {}
  api.respond = (_request, response) => {
    finish = () => response.end('finished')
  }
  const { gateway, process: running } = await startGateway(t, [{ prefix: '/', upstreams: [api.url], access: 'public' }])
  const pending = fetch(gateway)
  await eventually('the request is under way', () => api.requests.length === 1)
  running.child.kill('SIGTERM')
  const ready = () => fetch(`http://127.0.0.1:${running.managementPort}/readyz`)
  await eventually('it is not ready', async () => (await ready()).status === 503)
  finish()
  t.equal(await (await pending).text(), 'finished')
  t.strictSame(await running.ended, [0, null])
})

for (const way of ['on', 'off'])
  t.test(`event streams and what no request came on keep no gateway from ending, fast path ${way}`, async (t) => {
    const api = await new Upstream().serve(t)
    api.respond = (_request, response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    const routes = [{ prefix: '/', upstreams: [api.url], access: 'public' }]
    const { gateway, port, process: running } = await startGateway(t, routes, { HTTP1_FAST_PATH: way })
    const stream = await fetch(gateway)
    for (const begun of ['', 'GET / HT', 'GET / HTTP/1.1\r\nHost: g\r\nTE: trailers\r\n']) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      t.teardown(() => socket.destroy())
      await once(socket, 'connect')
      if (begun) socket.write(begun)
    }
    running.child.kill('SIGTERM')
    t.equal(await stream.text(), 'data: 1\n\n', 'it ends in order')
    t.strictSame(await running.ended, [0, null])
  })

t.test('the route file can change while the gateway runs, and a bad one changes nothing', async (t) => {
  const api = await new Upstream().serve(t)
  const route = (prefix: string) => ({ prefix, upstreams: [api.url], access: 'public' })
  const { gateway, process: running, routesFile, log } = await startGateway(t, [route('/one')])
  t.equal((await fetch(`${gateway}/two`)).status, 404)
  writeFileSync(routesFile, JSON.stringify({ routes: [route('/two')] }))
  await eventually('the new table is in use', async () => (await fetch(`${gateway}/two`)).status === 200)
  t.equal((await fetch(`${gateway}/one`)).status, 404)
  writeFileSync(routesFile, 'routes: [')
  running.child.kill('SIGHUP')
  await eventually('the log says why', () => log.some((line) => line.includes('routes_refused')))
  t.equal((await fetch(`${gateway}/two`)).status, 200)
})
