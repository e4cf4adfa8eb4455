import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { type Listener, type OutgoingRequest, UpstreamTimeout } from './upstream-connection.ts'
import { type PoolSettings, UpstreamConnections } from './upstream-connections.ts'

const logger = createLogger('test', 'silent')

interface Told {
  status: number
  statusText: string
  headers: string[]
  body: string
  trailers: string[]
  error: Error | undefined
}

/** A server that answers every request as it is told. */
async function startUpstream(
  t: Test,
  answer: (socket: Socket, request: string) => void,
  settings: Partial<PoolSettings> = {},
) {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    socket.on('data', (bytes) => answer(socket, bytes.toString('latin1')))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connections = new UpstreamConnections(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    logger,
    settings,
  )
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await connections.close()
  })
  return { connections, server, sockets }
}

/** Sends a request and waits for what becomes of it. */
function send(connections: UpstreamConnections, request: Partial<OutgoingRequest> = {}, own: Partial<Listener> = {}) {
  const told: Told = { status: 0, statusText: '', headers: [], body: '', trailers: [], error: undefined }
  return new Promise<Told>((resolve) =>
    connections.send(
      { method: 'GET', path: '/', headers: [], body: '', timeout: 5_000, client: 'one', ...request },
      {
        onWait() {},
        onSent() {},
        onInformation() {},
        onHead: (status, statusText, headers) => Object.assign(told, { status, statusText, headers }),
        onPause() {},
        onData(chunk) {
          told.body += chunk
          return true
        },
        onEnd: (trailers) => resolve({ ...told, trailers }),
        onFailure: (error) => resolve({ ...told, error }),
        ...own,
      },
    ),
  )
}

/** Answers with the same bytes, whole or one after the other. */
const always =
  (bytes: string, inPieces = false) =>
  (socket: Socket) => {
    if (!inPieces) return void socket.write(bytes, 'latin1')
    const next = (at: number) =>
      socket.write(bytes.slice(at, at + 1), 'latin1', () => at + 1 < bytes.length && setImmediate(next, at + 1))
    next(0)
  }

t.test('an answer is read, whole or byte by byte', async (t) => {
  const cases: [name: string, bytes: string, expected: Partial<Told>, method?: string][] = [
    ['of a length', 'HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc', { status: 200, body: 'abc' }],
    ['empty', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', { status: 200, statusText: '', body: '' }],
    [
      'in chunks, with a trailer',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: u\r\n\r\n',
      { body: 'abcde', trailers: ['X-T', 'u'] },
    ],
    [
      'without a body by its status',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
      { status: 304, body: '' },
    ],
    ['to HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n', { status: 200, body: '' }, 'HEAD'],
    [
      'after hints',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx',
      { status: 201, statusText: 'Created', body: 'x' },
    ],
  ]
  for (const [name, bytes, expected, method = 'GET'] of cases)
    for (const inPieces of [false, true]) {
      const { connections, sockets } = await startUpstream(t, always(bytes, inPieces))
      t.match(await send(connections, { method }), { ...expected, error: undefined }, name)
      t.match(await send(connections, { method }), expected, `${name}, once more`)
      t.equal(sockets.size, 1, 'on the same connection')
    }
})

t.test('a connection ends an answer where nothing else does, and is not used again where it may not', async (t) => {
  for (const [bytes, ends] of [
    ['HTTP/1.1 200 OK\r\n\r\nabc', true],
    ['HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc', false],
    ['HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 3\r\n\r\nabc', false],
    ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK', false],
  ] as const) {
    let opened = 0
    const { connections, server } = await startUpstream(t, (socket) => {
      if (ends) socket.end(bytes)
      else socket.write(bytes)
    })
    server.on('connection', () => {
      opened += 1
    })
    for (let turn = 1; turn <= 2; turn++) {
      t.match(await send(connections), { status: 200, body: 'abc', error: undefined }, JSON.stringify(bytes))
      t.equal(opened, turn)
    }
  }
})

t.test('an answer that can be read in two ways is none', async (t) => {
  for (const bytes of [
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(20_000)}\r\n\r\n`,
    `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(20_000)}`,
  ]) {
    const { connections } = await startUpstream(t, always(bytes))
    t.match(await send(connections), { status: 0, error: /not valid HTTP/ }, JSON.stringify(bytes.slice(0, 80)))
  }
  const { connections } = await startUpstream(t, always('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n'))
  t.match(await send(connections), { status: 200, error: /chunked coding/ }, 'broken chunks')

  const unended = await startUpstream(t, always('HTTP/1.1 200 OK\nContent-Length: 0\n\n'))
  t.match(await send(unended.connections, { timeout: 100 }), { error: /no answer in time/ }, 'lines that do not end')
})

t.test('an answer that breaks off is told from one that is whole', async (t) => {
  for (const bytes of [
    '',
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n',
  ]) {
    const { connections } = await startUpstream(t, (socket) => socket.end(bytes))
    t.match(await send(connections), { error: Error }, JSON.stringify(bytes))
  }
})

t.test('bytes that nobody asked for are never the answer to what is asked next', async (t) => {
  let answers = 0
  const { connections, sockets } = await startUpstream(t, (socket) => {
    answers += 1
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${answers}`)
  })
  t.match(await send(connections), { body: '1' })
  const [first] = sockets
  first?.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged')
  await once(first as Socket, 'close')
  t.match(await send(connections), { body: '2' })
})

t.test('what is sent is one request, and says where a usual body is missing', async (t) => {
  const requests: string[] = []
  const { connections } = await startUpstream(t, (socket, request) => {
    requests.push(request)
    socket.write('HTTP/1.1 204 No Content\r\n\r\n')
  })
  await send(connections, {
    method: 'PUT',
    path: '/a?b',
    headers: ['content-length', '2', 'x-a', 'b'],
    body: '\xff\x00',
  })
  await send(connections, { method: 'POST' })
  await send(connections, { method: 'DELETE' })
  const authority = `host: ${connections.authority}\r\nconnection: keep-alive\r\n`
  t.strictSame(requests, [
    `PUT /a?b HTTP/1.1\r\n${authority}content-length: 2\r\nx-a: b\r\n\r\n\xff\x00`,
    `POST / HTTP/1.1\r\n${authority}content-length: 0\r\n\r\n`,
    `DELETE / HTTP/1.1\r\n${authority}\r\n`,
  ])
})

t.test('an upstream has its time, and who gives up is not waited for', async (t) => {
  const silent = await startUpstream(t, () => {})
  const late = await send(silent.connections, { timeout: 50 })
  t.ok(late.error instanceof UpstreamTimeout)

  let reached = false
  const given = await send(
    silent.connections,
    {},
    {
      onSent(connection) {
        reached = true
        connection.abort(this as Listener)
      },
    },
  )
  t.ok(reached)
  t.match(given.error, Error)

  t.match(new UpstreamConnections('http://upstream.test', logger), { hostname: 'upstream.test', port: 80 })
  const nobody = new UpstreamConnections('http://[::1]:1', logger)
  t.match((await send(nobody)).error, { code: 'ECONNREFUSED' })
  await nobody.close()
})

t.test('a slow reader stops the upstream, whose time does not run meanwhile', async (t) => {
  const much = 'x'.repeat(4 * 1024 * 1024)
  const { connections } = await startUpstream(
    t,
    always(`HTTP/1.1 200 OK\r\nContent-Length: ${much.length}\r\n\r\n${much}`),
  )
  let goOn = () => {}
  let size = 0
  let stops = 0
  const whole = await send(
    connections,
    {},
    {
      onSent(connection) {
        goOn = () => connection.resume(this as Listener)
      },
      onData(chunk) {
        size += chunk.length
        stops += 1
        setTimeout(goOn, 1)
        return false
      },
    },
  )
  t.equal(whole.error, undefined)
  t.equal(size, much.length)
  t.ok(stops > 10, `${stops} stops`)
})

t.test('more requests than connections wait for their turn', async (t) => {
  let open = 0
  let most = 0
  const { connections, server } = await startUpstream(t, (socket) =>
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 20),
  )
  server.on('connection', (socket) => {
    most = Math.max(most, ++open)
    socket.on('close', () => open--)
  })
  const answers = await Promise.all(
    Array.from({ length: 600 }, (_, at) => send(connections, { client: String(at % 3) })),
  )
  t.ok(answers.every(({ body }) => body === 'ok'))
  t.equal(most, 256)

  const refusing = await startUpstream(t, (socket) => socket.destroy())
  const failures = await Promise.all(Array.from({ length: 300 }, () => send(refusing.connections)))
  t.ok(
    failures.every(({ error }) => error),
    'also when connections are lost',
  )
})

t.test('connections that nobody uses are closed after a while', async (t) => {
  const timing = { idleFor: 200 }
  const { connections, sockets } = await startUpstream(
    t,
    always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    timing,
  )
  await send(connections)
  const [idle] = sockets
  const begun = performance.now()
  await once(idle as Socket, 'close')
  t.ok(performance.now() - begun > 150)
  t.match(await send(connections), { body: 'ok' }, 'and others take their place')
})

t.test('an answer that has begun must go on, unless it is its reader who is slow', async (t) => {
  const timing = { goOnWithin: 50 }
  const { connections } = await startUpstream(t, always('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab'), timing)
  t.ok((await send(connections)).error instanceof UpstreamTimeout)

  const slow = await startUpstream(
    t,
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab')
      setTimeout(() => socket.write('c'), 60)
    },
    timing,
  )
  let goOn = () => {}
  let body = ''
  const { error } = await send(
    slow.connections,
    {},
    {
      onSent(connection) {
        goOn = () => connection.resume(this as Listener)
      },
      onData(chunk) {
        body += chunk
        if (body === 'ab') setTimeout(goOn, 200)
        return body !== 'ab'
      },
    },
  )
  t.equal(error, undefined)
  t.equal(body, 'abc')
})

t.test('closing lets the request under way come to its end', async (t) => {
  const { connections, sockets } = await startUpstream(t, (socket) =>
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 100),
  )
  await send(connections)
  const last = send(connections)
  const closed = connections.close()
  t.match(await last, { body: 'ok', error: undefined })
  await closed
  for (const socket of sockets) await once(socket, 'close')
})
