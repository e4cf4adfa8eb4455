import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { createAssertionVerifier, type Identity, identityHeaders } from '@sallyport/identity'
import { freePort } from '@sallyport/local'
import t, { type Test } from 'tap'
import { each, exchange, listen, openGateway, type Recorded, talk, Upstream } from '../support/edge.ts'
import { headerSpoofs, identityFaults, names } from '../support/header-spoofs.ts'
import { decodeOnce, guarded, pathTricks, readLeniently } from '../support/path-tricks.ts'
import { isMissing, type ProxyName, proxyNames, startProxy } from '../support/proxies.ts'

const audience = 'api'
const routes = [
  { prefix: '/', access: 'public' },
  { prefix: '/open', access: 'public' },
  { prefix: '/signed-in', access: 'authenticated', audience },
  { prefix: '/live', access: 'authenticated', audience, websocket: true },
  { prefix: '/admin', access: 'authenticated', roles: ['admin'], audience },
]

const settings = { LOG_LEVEL: 'warn', FORWARD_AUTH_PORT: '0', TRUSTED_PROXIES: '127.0.0.1' }

/** A service behind another proxy, which asks Sallyport. */
async function open(t: Test, proxy: ProxyName, table: object[] = routes) {
  const api = await new Upstream().serve(t)
  const { forwardAuthPort, issuer, identityKey } = await openGateway(t, table, settings)
  const service = Number(new URL(api.url).port)
  const port = await startProxy(t, proxy, { sallyport: forwardAuthPort as number, service })
  const publicKey = createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString()
  return { api, port, issuer, identityOf: createAssertionVerifier([publicKey], audience) }
}

const folder = process.env.VECTORS_DIR

const statusOf = (response: string) => Number(/^HTTP\/1\.[01] (\d{3})/.exec(response)?.[1])

for (const proxy of proxyNames) {
  const skip = isMissing(proxy)

  t.test(`no way to write a path leads past the rule for it through ${proxy}`, { skip }, async (t) => {
    const { api, port, issuer } = await open(t, proxy)
    const clients = {
      nobody: undefined,
      'a doctor': issuer.token(),
      'an admin': issuer.token({ role: 'admin', roles: ['admin'] }),
    }
    let count = 0
    async function ask(target: string, token: string | undefined, method = 'GET') {
      const id = `case-${count++}`
      const authorization = token ? [`Authorization: Bearer ${token}`] : []
      const lines = [`${method} ${target} HTTP/1.1`, 'Host: gateway', `X-Case: ${id}`, ...authorization]
      const head = [...lines, 'Connection: close'].join('\r\n')
      const response = await exchange(port, Buffer.from(`${head}\r\n\r\n`, 'latin1'))
      const seen = api.requests.filter(({ headers }) => headers['x-case'] === id).map(({ url }) => url)
      return { status: statusOf(response), seen }
    }

    let arrived = 0
    const all = Object.entries(pathTricks).flatMap(([how, targets]) => targets.map((target) => ({ how, target })))
    await each(all, async ({ how, target }) => {
      for (const [who, token] of Object.entries(clients)) {
        const { status, seen } = await ask(target, token)
        const what = `${how}: ${JSON.stringify(target.slice(0, 80))} by ${who}: ${status} ${seen.join(' ').slice(0, 80)}`
        if (seen.length !== (status === 200 ? 1 : 0)) t.fail(`not what the client was told: ${what}`)
        const [found] = seen
        if (found === undefined) continue
        arrived += 1
        const read = readLeniently(found)
        const isAdmins = who === 'an admin' && /^\/admin(\/|\?|$)/.test(found)
        if (guarded.test(read) && !isAdmins) t.fail(`past the rule: ${what}`)
        const path = found.split('?', 1)[0] as string
        if (path.replace(/%../g, (encoded) => encoded.toUpperCase()) !== decodeOnce(path))
          t.fail(`a path with two readings: ${what}`)
      }
    })
    t.ok(arrived > 20, `${arrived} arrived`)

    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      t.match(await ask('/admin/users', clients['a doctor'], method), { status: 403, seen: [] }, method)
      t.match(await ask('/signed-in', clients['a doctor'], method), { status: 200, seen: ['/signed-in'] }, method)
    }
    for (const method of ['TRACE', 'CONNECT', 'PROPFIND', 'get', 'G\tET', 'PRI', 'QUERY', ''])
      for (const target of ['/admin', '/open', '*', 'gateway:80'])
        t.strictSame((await ask(target, clients['an admin'], method)).seen, [], `${method} ${target}`)
  })

  t.test(`no header of a client’s arrives as identity through ${proxy}`, { skip }, async (t) => {
    const { api, port, issuer, identityOf } = await open(t, proxy)
    const user: Identity = {
      caller: 'user',
      userId: 'user-1',
      email: 'someone@example.com',
      role: 'doctor',
      roles: ['doctor', 'patient'],
      sessionId: 'session-1',
    }
    const signedIn = [`Authorization: Bearer ${issuer.token()}`]
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: x']
    const clients = [
      { path: '/signed-in', authorization: signedIn, user, of: names },
      { path: '/open', authorization: [], user: undefined, of: names },
      { path: '/live', authorization: [...signedIn, ...upgrade], user, of: [identityHeaders.userId] },
    ]
    const attempts = clients.flatMap(({ of, ...client }) =>
      headerSpoofs.filter(({ name }) => of.includes(name)).map((attack) => ({ ...attack, ...client })),
    )
    let passed = 0
    let count = 0
    await each(attempts, async ({ name, how, lines, body, path, authorization, user }) => {
      const target = `${path}/${count++}`
      const isFirst = how.includes('first line')
      const head = [
        `${body === '' ? 'GET' : 'POST'} ${target} HTTP/1.1`,
        ...(isFirst ? lines : []),
        'Host: gateway',
        ...authorization,
        ...(isFirst ? [] : lines),
        'X-End: end',
        'Connection: close',
      ]
      const response = await exchange(port, Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
      const status = statusOf(response)
      const seen = api.of(target)
      if (status === 200) passed += 1
      const wrong =
        status === 200 && seen.length === 1
          ? identityFaults(seen[0] as Recorded, user, identityOf, undefined)
          : seen.length === 0 && status !== 200
            ? []
            : [`${status} and ${seen.length} requests at the service`]
      // Go keeps them apart from the header all the way.
      const faults = proxy === 'caddy' ? wrong.filter((fault) => fault !== 'trailers') : wrong
      if (seen[0]?.headers.authorization) faults.push('the token reached the service')
      if (faults.length > 0) t.fail(`${how}: ${name} at ${path}`, { faults, seen: seen[0]?.rawHeaders })
    })
    t.ok(passed > 100, `${passed} of ${attempts.length} arrived, with our identity`)
  })

  t.test(`no header of a client’s names another path, host, address or method behind ${proxy}`, { skip }, async (t) => {
    const { api, port } = await open(t, proxy)
    let count = 0
    async function ask(line: string) {
      const target = `/open/${count++}`
      const head = [`POST ${target} HTTP/1.1`, 'Host: gateway', 'Content-Length: 0', line, 'Connection: close']
      const response = await exchange(port, `${head.join('\r\n')}\r\n\r\n`)
      return { status: statusOf(response), seen: api.of(target).map(({ rawHeaders }) => rawHeaders.join()) }
    }
    const forwarded = ['For', 'Host', 'Proto', 'Method', 'Uri', 'Prefix', 'Port', 'Server', 'Scheme', 'Ssl']
    for (const name of [
      ...forwarded.map((what) => `X-Forwarded-${what}`),
      ...['Forwarded', 'X-Real-IP', 'X-Original-URI', 'X-Original-URL', 'X-Original-Method', 'X-Rewrite-URL', 'Proxy'],
    ]) {
      const { status, seen } = await ask(`${name}: forged`)
      t.equal(status, 200, name)
      t.notMatch(seen.join(), /forged/, name)
    }
    // nginx drops names with _ and . itself.
    for (const name of ['X_Original_URL', 'X.Rewrite.URL', 'X_HTTP_Method_Override', 'X_Real_IP'])
      t.notMatch((await ask(`${name}: forged`)).seen.join(), /forged/, name)
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'])
      t.strictSame(await ask(`${name}: DELETE`), { status: 403, seen: [] }, name)
    for (const byte of ['\x01', '\x0b', '\x7f']) {
      const { status, seen } = await ask(`X-Other: a${byte}b`)
      t.ok(status === 400 || status === 403, `${JSON.stringify(byte)} is the client’s fault: ${status}`)
      t.strictSame(seen, [])
    }
  })

  const noCorpus = folder === undefined && 'set VECTORS_DIR to the folder of the corpora (http_desync.json)'
  t.test(`no request hides in another, or in a check, through ${proxy}`, { skip: skip || noCorpus }, async (t) => {
    const { api, port, issuer } = await open(t, proxy, [
      { prefix: '/api', access: 'public' },
      { prefix: '/signed-in', access: 'authenticated', audience },
    ])
    const { cases } = JSON.parse(readFileSync(`${folder}/http_desync.json`, 'utf8')) as {
      cases: { id: string; raw_b64: string }[]
    }
    const signedIn = `GET /signed-in HTTP/1.1\r\nHost: g\r\nConnection: close\r\n`
    const authorization = `Authorization: Bearer ${issuer.token()}\r\n`
    await each(cases, async ({ id, raw_b64: encoded }) => {
      await exchange(port, Buffer.from(encoded, 'base64'), 500)
      // Answers stay with their checks: a connection that is out of step would mix them up.
      if (statusOf(await exchange(port, `${signedIn}\r\n`)) !== 401) t.fail(`${id}: a refusal got lost`)
      if (statusOf(await exchange(port, `${signedIn}${authorization}\r\n`)) !== 200) t.fail(`${id}: a pass got lost`)
    })
    const arrived = api.requests.filter(({ url }) => url === '/api/echo')
    t.ok(arrived.length > 0, `${arrived.length} of ${cases.length} arrived`)
    t.strictSame(
      api.requests.filter(({ url, headers }) => !/^\/(api\/echo|signed-in)$/.test(url) || 'x-canary' in headers),
      [],
    )
    t.equal(api.requests.length, arrived.length + cases.length, 'and those that were signed in, once each')
  })

  t.test(`a refusal reaches the client with its code through ${proxy}`, { skip }, async (t) => {
    const { api, port, issuer } = await open(t, proxy)
    const ask = async (path: string, token?: string) => {
      const authorization = token ? `Authorization: Bearer ${token}\r\n` : ''
      return exchange(port, `GET ${path} HTTP/1.1\r\nHost: g\r\n${authorization}Connection: close\r\n\r\n`)
    }
    const refusals: [response: string, status: number, code: string, challenge?: RegExp][] = [
      [await ask('/signed-in'), 401, 'TOKEN_MISSING', /\r\nwww-authenticate: Bearer\r\n/i],
      [await ask('/signed-in', 'bad'), 401, 'TOKEN_INVALID', /\r\nwww-authenticate: Bearer error="invalid_token"\r\n/i],
      [await ask('/admin', issuer.token()), 403, 'ROLE_REQUIRED'],
      [await ask('/metrics'), 403, 'NOT_FOUND'],
    ]
    for (const [response, status, code, challenge] of refusals) {
      t.equal(statusOf(response), status, code)
      t.match(response, /\r\ncontent-type: application\/problem\+json\r\n/i)
      t.ok(response.includes(`"code":"${code}"`), response)
      if (challenge) t.match(response, challenge)
    }
    t.strictSame(api.requests, [])
  })

  t.test(`nothing passes through ${proxy} while Sallyport does not answer`, { skip }, async (t) => {
    const api = await new Upstream().serve(t)
    const silent = createServer((socket) => socket.on('error', () => {}).destroy()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => silent.close())
    const service = Number(new URL(api.url).port)
    for (const sallyport of [await freePort(), (silent.address() as AddressInfo).port]) {
      const port = await startProxy(t, proxy, { sallyport, service })
      const status = statusOf(await exchange(port, 'GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n', 10_000))
      t.ok(status >= 500, String(status))
    }
    t.strictSame(api.requests, [])
  })

  t.test(`a WebSocket opens through ${proxy} where it may`, { skip }, async (t) => {
    const opened: string[] = []
    const protocols: string[] = []
    const note = ({ headers }: IncomingMessage) => {
      for (const name of ['upgrade', 'http2-settings']) if (headers[name]) protocols.push(String(headers[name]))
    }
    const server = createHttpServer((request, response) => {
      note(request)
      response.end()
    }).on('upgrade', (request, socket) => {
      note(request)
      opened.push(`${request.url} ${request.headers['x-user-id']}`)
      const accept = 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${accept}\r\n\r\n`)
      socket.on('error', () => {}).pipe(socket)
    })
    const service = Number(new URL(await listen(t, server)).port)
    const { forwardAuthPort, issuer } = await openGateway(t, routes, settings)
    const port = await startProxy(t, proxy, { sallyport: forwardAuthPort as number, service })
    const handshake = (path: string, ...lines: string[]) =>
      [
        `GET ${path} HTTP/1.1`,
        'Host: app.test:8443',
        `Authorization: Bearer ${issuer.token()}`,
        ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
        ...['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...lines, '', ''],
      ].join('\r\n')
    const heard = await talk(
      t,
      port,
      [handshake('/live', 'Origin: https://app.test:8443'), / 101 /],
      ['there', /there$/],
    )
    t.match(heard, /^HTTP\/1\.1 101 [\s\S]*there$/)
    for (const refused of [
      handshake('/live', 'Origin: https://evil.test'),
      handshake('/signed-in'),
      handshake('/live')
        .replace(/Sec-WebSocket-Key.*\r\n/, '')
        .replace('/live', '/signed-in'),
    ])
      t.match(await talk(t, port, [refused, /^HTTP/]), /^HTTP\/1\.1 40[03] /)
    t.strictSame(opened, ['/live user-1'])

    for (const lines of [
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
      ['Connection: Upgrade', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: websocket, h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
      ['Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: websocket', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
      ['Connection: Upgrade', 'Upgrade: websocket', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    ])
      for (const path of ['/open', '/live']) {
        const authorization = `Authorization: Bearer ${issuer.token()}`
        const request = [`GET ${path} HTTP/1.1`, 'Host: g', authorization, ...lines, '', ''].join('\r\n')
        t.match(await talk(t, port, [request, /^HTTP/]), /^HTTP\/1\.1 [1-5]/, `${path} ${lines.join()}`)
      }
    t.strictSame(
      protocols.filter((upgrade) => upgrade !== 'websocket'),
      [],
      'no other protocol is asked for',
    )
  })
}
