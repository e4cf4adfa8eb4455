import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { Agent, request } from 'undici'
import { exchange, listen, openGateway, startGateway, talk, Upstream } from '../support/edge.ts'
import { eventually, freePort, temporaryFolder } from '../support/system.ts'

/** Bytes of a large body; `npm test` makes do with less than CI. */
const large = Number(process.env.STREAM_BYTES ?? 128 * 1024 * 1024)
const addedMemory = 64 * 1024 * 1024

const skipMemory = existsSync('/proc/self/status') ? {} : { skip: 'memory is read from /proc, which only Linux has' }

/** The most memory a process ever had resident, in bytes. */
function peakMemory(pid: number): number {
  const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) as RegExpExecArray
  return Number(kilobytes) * 1024
}

t.test('bodies and responses pass as they are', async (t) => {
  const api = await new Upstream().serve(t)
  const streams = createServer(async (incoming, response) => {
    if (incoming.method === 'GET') return void Readable.from(megabytes(large)).pipe(response)
    const hash = createHash('sha256')
    for await (const chunk of incoming) hash.update(chunk)
    response.end(hash.digest('hex'))
  })
  const hasty = createTcpServer((socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 413 Payload Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmuch'),
    )
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  t.teardown(() => hasty.close())
  await once(hasty, 'listening')
  const {
    gateway,
    port,
    log,
    process: running,
  } = await startGateway(t, [
    { prefix: '/', upstreams: [api.url], access: 'public' },
    { prefix: '/streams', upstreams: [await listen(t, streams)], access: 'public', bodyLimit: 2 ** 40 },
    {
      prefix: '/hasty',
      upstreams: [`http://127.0.0.1:${(hasty.address() as { port: number }).port}`],
      access: 'public',
    },
    { prefix: '/closed', upstreams: [api.url], access: 'authenticated' },
  ])

  t.test(`${large / 1024 / 1024} MiB pass both ways with less than 64 MiB of memory`, skipMemory, async (t) => {
    const pid = running.child.pid as number
    const hash = createHash('sha256')
    for (const chunk of megabytes(large)) hash.update(chunk)
    const digest = hash.digest('hex')
    // What any request needs is there before: code, connections, room for short-lived objects.
    for (let count = 0; count < 2_000; count++) await (await request(`${gateway}/small`)).body.dump()
    const before = peakMemory(pid)
    const up = await request(`${gateway}/streams`, { method: 'PUT', body: Readable.from(megabytes(large)) })
    t.equal(await up.body.text(), digest)
    const down = await request(`${gateway}/streams`)
    const received = createHash('sha256')
    for await (const chunk of down.body) received.update(chunk)
    t.equal(received.digest('hex'), digest)
    const added = peakMemory(pid) - before
    t.ok(added < addedMemory, `${Math.round(added / 1024 / 1024)} MiB more`)
  })

  t.test('Expect: 100-continue gets its 100 once the body is wanted, and not for a rejected request', async (t) => {
    const head = (path: string) =>
      `PUT ${path} HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`
    api.respond = (_request, response, body) => response.end(body)
    const response = await talk(t, port, [head('/x'), /^HTTP\/1.1 100 Continue\r\n\r\n$/], ['hello', /hello$/])
    t.match(response, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/)
    t.match(await talk(t, port, [head('/closed'), /TOKEN_MISSING/]), /^HTTP\/1.1 401/)
    t.match(
      await exchange(port, 'PUT /x HTTP/1.1\r\nHost: g\r\nExpect: miracles\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 417/,
    )
    t.match(
      await exchange(port, 'PUT /x HTTP/1.0\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello'),
      /^HTTP\/1.1 200 OK/,
      'nor for a client of HTTP/1.0, which knows nothing of it',
    )
  })

  t.test('what is compressed stays compressed', async (t) => {
    const packed = gzipSync('sallyport'.repeat(1000))
    api.respond = (_request, response) => response.setHeader('content-encoding', 'gzip').end(packed)
    const { headers, body } = await request(gateway, { headers: { 'accept-encoding': 'gzip' } })
    t.equal(api.last.headers['accept-encoding'], 'gzip')
    t.equal(headers['content-encoding'], 'gzip')
    t.ok(packed.equals(Buffer.from(await body.arrayBuffer())))
  })

  t.test('bytes of any value pass in a small body', async (t) => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value))
    api.respond = (_request, response) => response.setHeader('content-length', bytes.length).end(bytes)
    t.ok(bytes.equals(Buffer.from(await (await fetch(gateway)).arrayBuffer())))
  })

  t.test(
    'trailers of a response pass, but none that a gateway is responsible for; trailers of a request end here',
    async (t) => {
      api.respond = (_request, response) => {
        response.setHeader('trailer', 'x-checksum')
        response.write('body')
        response.addTrailers({ 'x-checksum': 'abc', 'access-control-allow-origin': '*' })
        response.end()
      }
      const response = await exchange(
        port,
        'POST /x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-user-id, x-more\r\n\r\n2\r\nhi\r\n0\r\nx-user-id: forged\r\nx-more: 1\r\n\r\n',
      )
      t.match(response, /0\r\nx-checksum: abc\r\n\r\n$/)
      t.equal(api.last.body, 'hi')
      for (const name of ['trailer', 'x-user-id', 'x-more']) t.equal(api.last.headers[name], undefined, name)
      api.respond = (_request, response) => response.end('ok')
    },
  )

  t.test('a response that comes before the body has ended reaches the client, and the connection is cut', async (t) => {
    const post = 'POST /hasty HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\nbeginning'
    t.match(await talk(t, port, [post, /much$/]), /^HTTP\/1.1 413 Payload Too Large/)
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(post)
    socket.resume()
    await once(socket, 'close')
  })

  t.test('a client that goes away with its body half sent is no failure of the upstream', async (t) => {
    for (const sent of ['', 'beginning']) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      socket.write(`POST /gone HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n${sent}`, () => socket.destroy())
    }
    await eventually('the log says so', () => log.some((line) => line.includes('"REQUEST_ABORTED"')))
    t.notOk(log.some((line) => line.includes('"level":"error"')))
  })

  t.test('an upgrade to anything but WebSocket is left alone', async (t) => {
    const response = await exchange(
      port,
      'GET /h2 HTTP/1.1\r\nHost: g\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
    )
    t.match(response, /^HTTP\/1.1 200 OK/)
    t.equal(api.last.url, '/h2')
    t.equal(api.last.headers['http2-settings'], undefined)
  })

  t.test('a request that is malformed or ambiguous is rejected, with a code of its own', async (t) => {
    const refused: [string, string, RegExp][] = [
      ['MESSAGE_MALFORMED', 'GET\r\n\r\n', /^HTTP\/1.1 400 /],
      ['MESSAGE_AMBIGUOUS', 'GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', /^HTTP\/1.1 400 /],
      ['HEADER_TOO_LARGE', `GET /x HTTP/1.1\r\nHost: g\r\n${'X-A: 1\r\n'.repeat(201)}\r\n`, /^HTTP\/1.1 431 /],
      ['HEADER_TOO_LARGE', `GET /x HTTP/1.1\r\nHost: g\r\nX-A: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1.1 431 /],
    ]
    for (const [code, bytes, status] of refused) {
      const response = await exchange(port, bytes)
      t.match(response, status, code)
      t.match(response, `"code":"${code}"`)
    }
  })

  t.test('a request of HTTP/1.0 is served, and goes upstream as one', async (t) => {
    t.match(await exchange(port, 'GET /old HTTP/1.0\r\nHost: g\r\n\r\n'), /^HTTP\/1.1 200 OK[\s\S]*ok$/)
    t.equal(api.last.headers.via, '1.0 sallyport')
  })

  t.test('a token in a subprotocol goes no further, upgrade or not', async (t) => {
    await fetch(gateway, { headers: { 'sec-websocket-protocol': 'app, sallyport.bearer.x.y.z, other' } })
    t.equal(api.last.headers['sec-websocket-protocol'], 'app, other')
    await fetch(gateway, { headers: { 'sec-websocket-protocol': 'sallyport.bearer.x.y.z' } })
    t.equal(api.last.headers['sec-websocket-protocol'], undefined)
  })

  t.test('headers go ahead of a body that is not there yet', async (t) => {
    let release = () => {}
    api.respond = (_request, response) => {
      response.flushHeaders()
      release = () => response.end('late')
    }
    const response = await fetch(gateway)
    t.equal(response.status, 200)
    release()
    t.equal(await response.text(), 'late')
    api.respond = (_request, response) => response.end('ok')
  })
})

t.test('several upstreams', async (t) => {
  const [one, two] = [await new Upstream().serve(t), await new Upstream().serve(t)]
  const [gone, back] = [await freePort(), await freePort()]
  let dropped = 0
  const dropping = createTcpServer((socket) => {
    socket.once('data', () => {
      dropped += 1
      socket.destroy()
    })
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  t.teardown(() => dropping.close())
  await once(dropping, 'listening')
  const {
    gateway,
    log,
    process: running,
  } = await startGateway(t, [
    { prefix: '/both', upstreams: [one.url, two.url], access: 'public' },
    { prefix: '/half', upstreams: [one.url, `http://127.0.0.1:${gone}`], access: 'public' },
    { prefix: '/returning', upstreams: [one.url, `http://127.0.0.1:${back}`], access: 'public' },
    {
      prefix: '/dropping',
      upstreams: [`http://127.0.0.1:${(dropping.address() as { port: number }).port}`, two.url],
      access: 'public',
    },
  ])
  const statuses = async (path: string, method: string, times: number) => {
    const seen: number[] = []
    for (let time = 0; time < times; time++) {
      const response = await request(gateway + path, {
        method: method as 'GET',
        ...(method === 'PUT' ? { body: 'body' } : {}),
      })
      await response.body.dump()
      seen.push(response.statusCode)
    }
    return seen
  }

  t.test('requests are shared out', async (t) => {
    await statuses('/both', 'GET', 10)
    t.equal(one.requests.length, 5)
    t.equal(two.requests.length, 5)
  })

  t.test('what may be sent twice and reached no upstream is sent to another, body and all', async (t) => {
    t.strictSame(await statuses('/half', 'PUT', 4), [200, 200, 200, 200])
    t.equal(one.last.body, 'body')
  })

  t.test('what reached an upstream is not sent again', async (t) => {
    t.strictSame((await statuses('/dropping', 'GET', 2)).toSorted(), [200, 502])
    t.equal(dropped, 1)
  })

  t.test('an upstream that keeps failing gets no requests until it is back', async (t) => {
    // What may not be sent twice shows each failure.
    t.strictSame((await statuses('/returning', 'POST', 6)).toSorted(), [200, 200, 200, 502, 502, 502])
    await eventually('it is ejected', () => log.some((line) => line.includes('upstream_ejected')))
    t.strictSame(await statuses('/returning', 'POST', 4), [200, 200, 200, 200])
    const metrics = async () => (await fetch(`http://127.0.0.1:${running.managementPort}/metrics`)).text()
    t.match(await metrics(), new RegExp(`sallyport_upstream_up\\{upstream="http://127.0.0.1:${back}"\\} 0`))
    let served = 0
    const returned = createServer((_request, response) => {
      served += 1
      response.end('back')
    }).listen(back, '127.0.0.1')
    t.teardown(() => {
      returned.closeAllConnections()
      returned.close()
    })
    await eventually('it is taken back', () => log.some((line) => line.includes('upstream_back')))
    const probes = served
    await statuses('/returning', 'POST', 4)
    t.equal(served - probes, 2)
    t.match(await metrics(), new RegExp(`sallyport_upstream_up\\{upstream="http://127.0.0.1:${back}"\\} 1`))
  })
})

t.test('a route file that changes under load loses no request', async (t) => {
  const [one, two] = [await new Upstream().serve(t), await new Upstream().serve(t)]
  const routes = (upstream: string) => [{ prefix: '/', upstreams: [upstream], access: 'public' }]
  const { gateway, log, routesFile, process: running } = await startGateway(t, routes(one.url))
  const dispatcher = new Agent({ connections: 8 })
  t.teardown(() => dispatcher.close())
  let ongoing = true
  const statuses: number[] = []
  const load = Array.from({ length: 8 }, async () => {
    while (ongoing) {
      const { statusCode, body } = await request(gateway, { dispatcher })
      await body.dump()
      statuses.push(statusCode)
    }
  })
  const reloads = () => log.filter((line) => line.includes('routes_reloaded')).length
  for (let change = 1; change <= 10; change++) {
    writeFileSync(routesFile, JSON.stringify({ routes: routes(change % 2 === 0 ? one.url : two.url) }))
    running.child.kill('SIGHUP')
    await eventually('the file is read', () => reloads() >= change)
  }
  ongoing = false
  await Promise.all(load)
  t.strictSame([...new Set(statuses)], [200])
  t.ok(one.requests.length > 0 && two.requests.length > 0)
})

t.test('behind a proxy that is trusted', async (t) => {
  const api = await new Upstream().serve(t)
  const { gateway, issuer } = await openGateway(t, [{ prefix: '/', upstreams: [api.url], access: 'optional' }], {
    TRUSTED_PROXIES: '127.0.0.1,10.0.0.0/8',
    RATE_LIMIT_MAX: '3',
    USER_RATE_LIMIT_MAX: '3',
  })
  const get = (headers: Record<string, string>) => fetch(gateway, { headers })
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

  t.test('what it says of the client address, the request id and the trace is passed on', async (t) => {
    await get({
      'x-forwarded-for': '198.51.100.66, 203.0.113.9, 10.1.2.3',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'api.example.com',
      via: '1.1 edge',
      'x-request-id': 'edge-42',
      traceparent: trace,
    })
    t.match(api.last.headers, {
      'x-forwarded-for': '203.0.113.9, 10.1.2.3, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'api.example.com',
      via: '1.1 edge, 1.1 sallyport',
      'x-request-id': 'edge-42',
      traceparent: trace,
    })
  })

  t.test('an invalid id or trace is replaced', async (t) => {
    await get({ 'x-forwarded-for': '203.0.113.10', 'x-request-id': 'a b', traceparent: trace.replace('4bf9', '4BF9') })
    t.match(api.last.headers, {
      'x-request-id': /^[0-9a-f]{8}-[0-9a-f-]{27}$/,
      traceparent: /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/,
    })
    t.equal(
      api.last.headers.traceparent?.toString().split('-')[1],
      api.last.headers['x-request-id']?.toString().replaceAll('-', ''),
      'one id finds both',
    )
    await get({ 'x-forwarded-for': '203.0.113.11', 'x-request-id': 'edge-43' })
    t.match(api.last.headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  })

  t.test('a limit is on every response, and holds for a client whatever X-Forwarded-For it sends', async (t) => {
    const from = (address: string) => get({ 'x-forwarded-for': address })
    const first = await from('203.0.113.77')
    t.equal(first.headers.get('ratelimit-policy'), '"client";q=3;w=60')
    t.match(first.headers.get('ratelimit'), /^"client";r=2;t=60$/)
    await from('198.51.100.1, 203.0.113.77')
    await from('198.51.100.2, 203.0.113.77')
    const over = await from('198.51.100.3, 203.0.113.77')
    t.equal(over.status, 429)
    t.match(over.headers.get('ratelimit'), /^"client";r=0;t=\d+$/)
    t.match(over.headers.get('retry-after'), /^\d+$/)
    t.match(await over.json(), { code: 'RATE_LIMITED' })
    t.equal((await from('203.0.113.78')).status, 200)
    for (const last of ['1', 'ffff', '2:3:4']) t.equal((await from(`2001:db8:1:2::${last}`)).status, 200)
    t.equal((await from('2001:0DB8:0001:0002:0:0:0:9')).status, 429, 'one /64 is one client, however it is written')
    t.equal((await from('2001:db8:1:3::1')).status, 200)
    for (const name of ['unknown', 'fe80::1%eth0', '203.0.113.9:4711', '::ffff:203.0.113.99'])
      t.equal((await from(name)).status, 200, name)
  })

  t.test('a limit holds for a user from whatever addresses', async (t) => {
    const authorization = `Bearer ${issuer.token()}`
    const from = (address: string) => get({ authorization, 'x-forwarded-for': address })
    for (let last = 1; last <= 3; last++) t.equal((await from(`192.0.2.${last}`)).status, 200)
    const over = await from('192.0.2.4')
    t.equal(over.status, 429)
    t.match(over.headers.get('ratelimit'), /^"user";r=0/)
  })
})

t.test('nobody is trusted unless named: rotating X-Forwarded-For does not evade a limit', async (t) => {
  const api = await new Upstream().serve(t)
  const { gateway } = await openGateway(t, [{ prefix: '/', upstreams: [api.url], access: 'public' }], {
    RATE_LIMIT_MAX: '5',
  })
  const responses = await Promise.all(
    Array.from({ length: 10 }, (_, last) =>
      fetch(gateway, { headers: { 'x-forwarded-for': `192.0.2.${last}`, via: '1.1 x', 'x-request-id': 'mine' } }),
    ),
  )
  t.equal(responses.filter(({ status }) => status === 429).length, 5)
  t.equal(api.last.headers.via, '1.1 sallyport')
  t.not(api.last.headers['x-request-id'], 'mine')
  t.equal(api.last.headers['x-forwarded-for'], '127.0.0.1')
})

t.test(
  'an upstream over TLS must have the certificate it is known by',
  { skip: spawnSync('openssl', ['version']).error ? 'install openssl to run this' : false },
  async (t) => {
    const folder = temporaryFolder(t)
    const certify = (name: string) => {
      const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
      const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost'.split(
        ' ',
      )
      const more = ['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate]
      execFileSync('openssl', [...words, ...more], { stdio: 'ignore' })
      return { key: readFileSync(key), cert: readFileSync(certificate), certificate }
    }
    const [known, stranger] = [certify('known'), certify('stranger')]
    const serve = async (identity: { key: Buffer; cert: Buffer }) => {
      const server = createTlsServer(identity, async (incoming, response) => {
        let body = ''
        for await (const chunk of incoming) body += chunk
        response.end(`${incoming.method} ${incoming.headers.host?.split(':')[0]} ${body}`)
      })
      return (await listen(t, server as never)).replace('http://127.0.0.1', 'https://localhost')
    }
    const { gateway } = await startGateway(
      t,
      [
        { prefix: '/', upstreams: [await serve(known)], access: 'public' },
        { prefix: '/stranger', upstreams: [await serve(stranger)], access: 'public' },
      ],
      { NODE_EXTRA_CA_CERTS: known.certificate },
    )
    t.equal(await (await fetch(gateway)).text(), 'GET localhost ')
    t.equal(await (await fetch(gateway, { method: 'POST', body: 'sized' })).text(), 'POST localhost sized')
    const body = new Blob(['streamed']).stream()
    t.equal(
      await (await fetch(gateway, { method: 'PUT', body, duplex: 'half' } as never)).text(),
      'PUT localhost streamed',
    )
    const refused = await fetch(`${gateway}/stranger`)
    t.equal(refused.status, 502)
    t.match(await refused.json(), { code: 'UPSTREAM_UNREACHABLE' })
  },
)

/** Bytes in pieces of a mebibyte, the same each time. */
function* megabytes(total: number): Generator<Buffer> {
  const piece = Buffer.alloc(1024 * 1024, 'sallyport')
  for (let left = total; left > 0; left -= piece.length) yield piece
}
