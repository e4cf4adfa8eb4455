import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { exchange, startGateway, talk, Upstream } from '../support/edge.ts'
import { eventually } from '../support/system.ts'

/** A server that responds with whatever bytes a test chooses. */
async function serveRaw(t: Test, respond: (socket: Socket, bytes: string) => void) {
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', (bytes) => respond(socket, bytes.toString('latin1')))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('upstreams that do as they like', async (t) => {
  let respond = (_socket: Socket, _bytes: string) => {}
  const raw = await serveRaw(t, (socket, bytes) => respond(socket, bytes))
  const api = await new Upstream().serve(t)
  const {
    gateway,
    port,
    log,
    issuer,
    process: running,
  } = await startGateway(
    t,
    [
      { prefix: '/raw', upstreams: [raw], access: 'optional', timeout: 5_000 },
      { prefix: '/put', upstreams: [raw], access: 'public', bodyLimit: 2 ** 30 },
      { prefix: '/api', upstreams: [api.url], access: 'public' },
      { prefix: '/ws', upstreams: [raw], access: 'public', websocket: true },
      { prefix: '/ws/soon', upstreams: [raw], access: 'public', websocket: true, timeout: 500 },
    ],
    {
      IDLE_TIMEOUT: '2s',
      UPSTREAM_CONNECTIONS: '4',
      UPSTREAM_CONNECTIONS_PER_CLIENT: '4',
      UPSTREAM_QUEUE: '4',
      UPSTREAM_QUEUE_TIMEOUT: '1s',
      STREAMS_PER_USER: '2',
      STREAMS_MAX: '5',
    },
  )
  /** A request by either way in. */
  const ways = { 'the fast path': '', 'Node’s server': 'TE: trailers\r\n' }
  const get = (path: string, lines = '') => `GET ${path} HTTP/1.1\r\nHost: g\r\n${lines}\r\n`
  const metrics = async () => (await fetch(`http://127.0.0.1:${running.managementPort}/metrics`)).text()

  t.test('one that rejects a large body and closes has responded, and is not ejected', async (t) => {
    respond = (socket) => {
      socket.pause()
      socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch', () =>
        socket.destroy(),
      )
    }
    for (let turn = 0; turn < 12; turn++) {
      const { statusCode, body } = await request(`${gateway}/put`, {
        method: 'PUT',
        body: Readable.from(megabytes(30 * 1024 * 1024)),
        headers: turn % 2 ? { 'content-length': String(30 * 1024 * 1024) } : {},
      })
      t.equal(statusCode, 413)
      t.equal(await body.text(), 'much')
    }
    // A client that reads nothing before all of its body has gone out.
    for (const lines of ['Content-Length: 31457280\r\n', 'Transfer-Encoding: chunked\r\n']) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      socket.write(`PUT /put HTTP/1.1\r\nHost: g\r\n${lines}\r\n`)
      const piece = lines.startsWith('C') ? 'x'.repeat(1024 * 1024) : `100000\r\n${'x'.repeat(1024 * 1024)}\r\n`
      for (let count = 0; count < 30; count++)
        await new Promise<unknown>((resolve) => socket.write(piece, 'latin1', resolve))
      if (lines.startsWith('T')) socket.write('0\r\n\r\n')
      let heard = ''
      socket.on('data', (chunk) => {
        heard += chunk
      })
      await eventually('it reads the response', () => heard.endsWith('much'))
      t.match(heard, /^HTTP\/1.1 413 /)
      socket.destroy()
    }
    t.notOk(log.some((line) => line.includes('upstream_ejected')))
  })

  t.test('any Content-Type passes, whatever the way and the size', async (t) => {
    for (const type of ['binary', 'a/b; c', 'text', '/', 'application/json', 'a b', '\xff', 'x;y=z', 'undefined'])
      for (const size of [2, 70_000])
        for (const method of ['PUT', 'POST', 'PATCH', 'DELETE']) {
          const heard = await exchange(
            port,
            Buffer.from(
              `${method} /api HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`,
              'latin1',
            ),
          )
          t.match(heard, /^HTTP\/1.1 200 /, `${method} ${type}`)
          t.equal(api.last.headers['content-type'], type)
          t.equal(api.last.body.length, size)
        }
    const untyped = `PUT /api HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`
    t.match(await exchange(port, untyped), /^HTTP\/1.1 200 /)
  })

  for (const [way, lines] of Object.entries(ways)) {
    t.test(`hints go ahead of a response to clients of HTTP/1.1, by ${way}`, async (t) => {
      respond = (socket) =>
        socket.write(
          'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nServer: x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
        )
      const heard = await talk(t, port, [get('/raw', lines), /ok$/])
      t.match(heard, /^HTTP\/1.1 103 Early Hints\r\nlink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1.1 200 OK\r\n/)
      t.match(await exchange(port, 'GET /raw HTTP/1.0\r\nHost: g\r\n\r\n'), /^HTTP\/1.1 200 OK\r\n/)
    })

    t.test(`trailers that decide over a message do not pass, by ${way}`, async (t) => {
      const names = ['Content-Length', 'Host', 'Set-Cookie', 'Authorization', 'Transfer-Encoding', 'Cache-Control']
      names.push('Content-Type', 'Content-Encoding', 'Location', 'X-User-Id', 'x_user_id', 'X-Forwarded-For', 'Vary')
      names.push(
        'Content-Security-Policy',
        'X-Frame-Options',
        'RateLimit',
        'Connection',
        'Server',
        'Sec-WebSocket-Accept',
      )
      const trailers = [...names, 'X-Checksum', 'Content-Digest', 'Server-Timing', 'ETag']
      respond = (socket) =>
        socket.write(
          `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers.map((name) => `${name}: 1\r\n`).join('')}\r\n`,
        )
      const heard = await talk(t, port, [get('/raw', lines), /\r\n0\r\n[\s\S]*\r\n\r\n$/])
      t.match(heard, /\r\n0\r\nx-checksum: 1\r\ncontent-digest: 1\r\nserver-timing: 1\r\netag: 1\r\n\r\n$/)
    })

    t.test(`what is no status is none, and what has no body has no length, by ${way}`, async (t) => {
      respond = (socket) => socket.write('HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n')
      t.match(await talk(t, port, [get('/raw', lines), /\}$/]), /^HTTP\/1.1 502 [\s\S]*UPSTREAM_UNREACHABLE/)
      respond = (socket) => socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n')
      const heard = await talk(t, port, [get('/raw', lines), /\r\n\r\n$/])
      t.match(heard, /^HTTP\/1.1 204 No Content\r\n/)
      t.notMatch(heard, /content-length|transfer-encoding/)
    })
  }

  t.test('a connection that was closed while idle costs a request that may be sent twice nothing', async (t) => {
    const fresh = new WeakSet<Socket>()
    const seen: string[] = []
    respond = (socket, bytes) => {
      seen.push(bytes.slice(0, bytes.indexOf(' ')))
      if (fresh.has(socket)) return void socket.destroy()
      fresh.add(socket)
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
    const status = async (method: string, body?: string) => {
      const response = await request(`${gateway}/raw`, { method: method as 'GET', ...(body ? { body } : {}) })
      await response.body.dump()
      return response.statusCode
    }
    // However many are left of the tests before.
    while ((await status('GET')) && seen.length < 8);
    seen.length = 0
    for (const [method, body] of [['GET'], ['PUT', 'x'], ['DELETE'], ['HEAD'], ['OPTIONS']] as [string, string?][])
      t.equal(await status(method, body), 200, method)
    t.notOk(log.some((line) => line.includes('upstream_ejected')))
    await status('GET')
    t.equal(await status('POST', 'x'), 502, 'what may not is not sent again')
    t.equal(seen.filter((method) => method === 'POST').length, 1)
    respond = () => {}
  })

  t.test('a full pool is 503, also for the requests that wait, and leaves the rest alone', async (t) => {
    const held: Socket[] = []
    respond = (socket) => held.push(socket)
    const clients = Array.from({ length: 4 }, () => fetch(`${gateway}/raw`))
    await eventually('every connection is in use', () => held.length === 4)
    const waiting = [fetch(`${gateway}/raw`), fetch(`${gateway}/raw`)]
    await eventually('two wait', async () => /sallyport_upstream_waiting\{[^}]+\} 2/.test(await metrics()))
    t.match(await metrics(), new RegExp(`sallyport_upstream_full\\{upstream="${raw}"\\} 1`))
    t.match(await metrics(), new RegExp(`sallyport_upstream_connections\\{upstream="${raw}",state="active"\\} 4`))
    const refused = await fetch(`${gateway}/raw`)
    t.equal(refused.status, 503)
    t.equal(refused.headers.get('retry-after'), '1')
    t.match(await refused.json(), { code: 'UPSTREAM_BUSY' })
    for (const late of await Promise.all(waiting))
      t.match([late.status, await late.json()], [503, { code: 'UPSTREAM_BUSY' }])
    t.equal((await fetch(`${gateway}/api`)).status, 200)
    t.equal(log.filter((line) => line.includes('upstream_pool_full')).length, 1, 'one line')

    // A request whose client leaves the queue is not sent.
    const gone = connect(port, '127.0.0.1').on('error', () => {})
    gone.write(get('/raw/gone'))
    await eventually('it waits', async () => /sallyport_upstream_waiting\{[^}]+\} 1/.test(await metrics()))
    gone.resetAndDestroy()
    await eventually('it waits no more', async () => !/sallyport_upstream_waiting\{[^}]+\} 1/.test(await metrics()))
    for (const socket of held.splice(0)) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    for (const client of clients) t.equal(await (await client).text(), 'ok')
    t.equal(held.length, 0)
  })

  t.test('event streams take no capacity from requests, and each user may have so many', async (t) => {
    respond = (socket, bytes) =>
      bytes.includes('/stream')
        ? socket.write('HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n\r\ndata: 1\n\n')
        : socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    const clients: Response[] = []
    const open = async (user?: string) => {
      const token = user && { authorization: `Bearer ${issuer.token({ sub: user, sid: user })}` }
      const stream = await fetch(`${gateway}/raw/stream`, { headers: token || {} })
      if (stream.status === 200) clients.push(stream)
      return stream
    }
    for (const user of ['one', 'one', 'two', 'two', undefined]) t.equal((await open(user)).status, 200)
    const fifth = await open('three')
    t.match([fifth.status, await fifth.json()], [503, { code: 'STREAMS_FULL' }])
    const third = await open('one')
    t.match([third.status, await third.json()], [429, { code: 'STREAMS_EXCEEDED' }])
    t.equal(third.headers.get('retry-after'), '10')
    t.equal(await (await fetch(`${gateway}/raw`)).text(), 'ok', 'requests pass beside them')
    t.match(await metrics(), /sallyport_open_connections\{kind="event_stream"\} 5/)
    t.match(await metrics(), /sallyport_upstream_connections\{[^}]+state="stream"\} 5/)
    for (const { body } of clients.splice(0)) await body?.cancel()
    await eventually('they are over', async () =>
      /sallyport_open_connections\{kind="event_stream"\} 0/.test(await metrics()),
    )
    t.equal((await open('one')).status, 200, 'and make room')
    for (const { body } of clients) await body?.cancel()
  })

  for (const [way, line] of Object.entries(ways))
    t.test(`an event stream with a length is broken off once its token no longer holds, by ${way}`, async (t) => {
      respond = (socket) =>
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 900\r\n\r\ndata: 1\n\n')
      const now = Math.floor(Date.now() / 1000)
      const token = `Authorization: Bearer ${issuer.token({ exp: now + 2 })}\r\n`
      // The last turn is over when the connection is closed.
      t.match(await talk(t, port, [get('/raw/1', token + line), /data: 1\n\n$/], ['', /never/]), /data: 1\n\n$/)
    })

  const upgrade = (path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

  t.test('a rejection of an upgrade that stalls, or that nobody reads, ends', async (t) => {
    const reached = async (limit: string) =>
      Number(new RegExp(`limit_reached_total\\{limit="${limit}"\\} (\\d+)`).exec(await metrics())?.[1])
    respond = (socket) => socket.write('HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nn')
    const before = { upstream_time: await reached('upstream_time'), send_time: await reached('send_time') }
    t.match(await talk(t, port, [upgrade('/ws/soon'), /\r\n\r\nn$/], ['', /never/]), /\r\n\r\nn$/)
    t.equal(await reached('upstream_time'), before.upstream_time + 1)

    respond = (socket) => {
      socket.write('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nn')
      setTimeout(() => socket.write('o'), 2_500)
    }
    t.match(await exchange(port, upgrade('/ws')), /\r\n\r\nno$/, 'what is only slow arrives complete')
    t.equal(await reached('send_time'), before.send_time)

    let behind: Socket | undefined
    respond = (socket) => {
      behind = socket
      const flood = new Readable({ read: () => flood.push(Buffer.alloc(65_536)) && undefined })
      socket.write('HTTP/1.1 403 No\r\n\r\n')
      flood.pipe(socket).once('close', () => flood.destroy())
    }
    const client = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => client.destroy())
    client.pause().write(upgrade('/ws/soon'))
    await eventually('the upstream is left', () => behind?.closed === true)
    t.equal(await reached('send_time'), before.send_time + 1)
  })

  t.test('a rejected upgrade gets a response like any request', async (t) => {
    let received = ''
    respond = (socket, bytes) => {
      received = bytes
      socket.write(
        'HTTP/1.1 403 No\r\nServer: secret/1\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n2\r\nno\r\n0\r\nX-Sum: 1\r\nHost: x\r\n\r\n',
      )
    }
    const heard = await exchange(port, upgrade('/ws/http:/x?a=http:/b'))
    t.match(heard, /^HTTP\/1.1 403 No\r\n[\s\S]*\r\n\r\n2\r\nno\r\n0\r\nx-sum: 1\r\n\r\n$/)
    for (const part of [
      /x-request-id/,
      /x-content-type-options: nosniff/,
      /connection: close/i,
      /content-type: text\/plain/,
    ])
      t.match(heard, part)
    t.notMatch(heard, /secret/)
    t.match(received, /^GET \/ws\/http:\/x\?a=http:\/b HTTP\/1.1\r\n/, 'the path is the one that was matched')

    respond = (socket) => socket.write('HTTP/1.1 204 None\r\nContent-Length: 3\r\n\r\n')
    t.notMatch(await exchange(port, upgrade('/ws')), /content-length/)
    respond = (socket) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n${'x'.repeat(4_000_000)}`)
    t.equal((await exchange(port, upgrade('/ws'))).replace(/^[\s\S]*?\r\n\r\n/, '').length, 4_000_000)
    respond = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha')
    t.match(await exchange(port, upgrade('/ws')), /\r\n\r\nha$/, 'one that breaks off breaks off')
    respond = (socket) => socket.write('HTTP/1.1 403 é\r\nX-Name: é\r\nContent-Length: 0\r\n\r\n')
    t.match(await exchange(port, upgrade('/ws')), /^HTTP\/1.1 403 Ã©\r\nx-name: Ã©\r\n/, 'in the bytes that it has')
    for (const nonsense of [
      'HTTP/1.1 000 X\r\n\r\n',
      'HTTP/1.1 99 X\r\n\r\n',
      'nonsense\r\n\r\n',
      'HTTP/1.1 403 X\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      `HTTP/1.1 403 X\r\n${'A: b\r\n'.repeat(201)}\r\n`,
    ]) {
      respond = (socket) => socket.end(nonsense)
      t.match(await exchange(port, upgrade('/ws')), /^HTTP\/1.1 502 [\s\S]*UPSTREAM_UNREACHABLE/)
    }
    respond = (socket) =>
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nServer: secret/1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\nX-Name: é\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
      )
    const upgraded = await talk(t, port, [upgrade('/ws'), /\r\n\r\n$/])
    t.match(
      upgraded,
      /^HTTP\/1.1 101 [\s\S]*x-name: Ã©\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n[\s\S]*upgrade: websocket/,
    )
    t.notMatch(upgraded, /secret|content-length/)
    t.match(await metrics(), /sallyport_request_duration_seconds_count\{route="\/ws",method="GET",status="1xx"\} 1/)
  })
})

t.test('a client that resets its connection before it is accepted is no fault', async (t) => {
  const api = await new Upstream().serve(t)
  for (const settings of [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }]) {
    const edge = await startGateway(t, [{ prefix: '/', upstreams: [api.url], access: 'public' }], settings)
    const { gateway, port, log, process: running } = edge
    running.child.kill('SIGSTOP')
    const sockets = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    for (const socket of sockets) {
      await once(socket, 'connect')
      await new Promise<unknown>((resolve) => socket.write('GET / HTTP/1.1\r\nHost: g\r\n\r\n', resolve))
      socket.resetAndDestroy()
    }
    running.child.kill('SIGCONT')
    t.equal((await fetch(gateway)).status, 200)
    t.notOk(log.some((line) => line.includes('"level":"error"')))
  }
})

/** Bytes in pieces of a mebibyte, the same each time. */
function* megabytes(total: number): Generator<Buffer> {
  const piece = Buffer.alloc(1024 * 1024, 'sallyport')
  for (let left = total; left > 0; left -= piece.length) yield piece
}
