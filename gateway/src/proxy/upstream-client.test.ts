import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import {
  type Connection,
  type Listener,
  StaleConnection,
  type UpstreamRequest,
  UpstreamTimeout,
} from '../http1/upstream-request.ts'
import { type PoolSettings, UpstreamBusy, UpstreamClient } from './upstream-client.ts'

const logger = createLogger('test', 'silent')

interface Outcome {
  status: number
  statusText: string
  headers: string[]
  body: string
  trailers: string[]
  error: Error | undefined
}

/** A server that responds to every request as the test wants. */
async function startUpstream(
  t: Test,
  respond: (socket: Socket, request: string) => void,
  settings: Partial<PoolSettings> = {},
) {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    socket.on('data', (bytes) => respond(socket, bytes.toString('latin1')))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connections = new UpstreamClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, logger, settings)
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await connections.close()
  })
  return { connections, server, sockets }
}

/** Sends a request and waits for what becomes of it. */
function send(connections: UpstreamClient, request: Partial<UpstreamRequest> = {}, own: Partial<Listener> = {}) {
  const outcome: Outcome = { status: 0, statusText: '', headers: [], body: '', trailers: [], error: undefined }
  return new Promise<Outcome>((resolve) =>
    connections.send(
      {
        method: 'GET',
        path: '/',
        headers: [],
        body: '',
        timeout: 5_000,
        client: 'one',
        route: { name: '/' },
        ...request,
      },
      {
        onWait() {},
        onSent() {},
        onInformation() {},
        onHead: (status, statusText, headers) => Object.assign(outcome, { status, statusText, headers }),
        onPause() {},
        onData(chunk) {
          outcome.body += chunk
          return true
        },
        onEnd: (trailers) => resolve({ ...outcome, trailers }),
        onFailure: (error) => resolve({ ...outcome, error }),
        ...own,
      },
    ),
  )
}

/** Responds with the same bytes, whole or one after the other. */
const always =
  (bytes: string, inPieces = false) =>
  (socket: Socket) => {
    if (!inPieces) return void socket.write(bytes, 'latin1')
    const next = (at: number) =>
      socket.write(bytes.slice(at, at + 1), 'latin1', () => at + 1 < bytes.length && setImmediate(next, at + 1))
    next(0)
  }

t.test('a response is read, at once or byte by byte', async (t) => {
  const cases: [name: string, bytes: string, expected: Partial<Outcome>, method?: string][] = [
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

t.test(
  'a connection’s end ends a response where nothing else does, and it is not reused where it may not be',
  async (t) => {
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
  },
)

t.test('a response with two readings is refused', async (t) => {
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
    // Their end would be waited for in vain.
    'HTTP/1.1 200 OK\r\r\r\nX-A: b\r\n',
    'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
    '\nHTTP/1.1 200 OK\r\n',
  ]) {
    const { connections } = await startUpstream(t, always(bytes))
    t.match(await send(connections), { status: 0, error: /not valid HTTP/ }, JSON.stringify(bytes.slice(0, 80)))
  }
  const { connections } = await startUpstream(t, always('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n'))
  t.match(await send(connections), { status: 200, error: /chunked coding/ }, 'broken chunks')

  const inPieces = await startUpstream(t, (socket) => {
    socket.setNoDelay().write('HTTP/1.1 200 OK\r', () => setImmediate(() => socket.write('\r\n')))
  })
  t.match(await send(inPieces.connections), { error: /not valid HTTP/ }, 'a line that does not end, in pieces')
})

t.test('a response that breaks off is distinguished from a complete one', async (t) => {
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

t.test('unsolicited bytes are never the response to the next request', async (t) => {
  let responses = 0
  const { connections, sockets } = await startUpstream(t, (socket) => {
    responses += 1
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${responses}`)
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

t.test('an upstream has its timeout, and an aborted request is not waited for', async (t) => {
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

  t.match(new UpstreamClient('http://upstream.test', logger), { hostname: 'upstream.test', port: 80 })
  const nobody = new UpstreamClient('http://[::1]:1', logger)
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

t.test('more requests than connections wait in the queue', async (t) => {
  let open = 0
  let most = 0
  const { connections, server } = await startUpstream(t, (socket) =>
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 20),
  )
  server.on('connection', (socket) => {
    most = Math.max(most, ++open)
    socket.on('close', () => open--)
  })
  const responses = await Promise.all(
    Array.from({ length: 600 }, (_, at) => send(connections, { client: String(at % 3) })),
  )
  t.ok(responses.every(({ body }) => body === 'ok'))
  t.equal(most, 256)

  const refusing = await startUpstream(t, (socket) => socket.destroy())
  const failures = await Promise.all(Array.from({ length: 300 }, () => send(refusing.connections)))
  t.ok(
    failures.every(({ error }) => error),
    'also when connections are lost',
  )
})

t.test('connections that nobody uses are closed after a while', async (t) => {
  const timing = { keepAliveTimeout: 200 }
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

t.test('a response that has begun must go on, unless its reader is slow', async (t) => {
  const timing = { idleTimeout: 50 }
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

t.test('closing completes the request that is being sent', async (t) => {
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

/** Sends what is on its way when it is given back. */
function dispatch(connections: UpstreamClient, request: Partial<UpstreamRequest> = {}) {
  let leave = () => {}
  const response = send(connections, request, {
    onWait(out) {
      leave = out
    },
  })
  return { response, leave: () => leave() }
}

const ok = always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')

async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A body that comes in pieces. */
async function* pieces(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) {
    await new Promise(setImmediate)
    yield Buffer.from(text)
  }
}

t.test('a response that a proxy may correct is corrected', async (t) => {
  const cases: [name: string, bytes: string, headers: string[]][] = [
    ['space before a colon', 'Content-Length : 2\r\nX-A\t: b', ['Content-Length', '2', 'X-A', 'b']],
    ['a length twice', 'Content-Length: 2\r\nX-A: b\r\ncontent-length: 2', ['Content-Length', '2', 'X-A', 'b']],
    ['a list of one length', 'Content-Length: 2, 2 ,2', ['Content-Length', '2']],
    ['space around a value', 'X-A: \t b\xa0 c \t\r\nContent-Length:2', ['X-A', 'b\xa0 c', 'Content-Length', '2']],
    ['an empty value', 'X-A:\r\nX-B:  \r\nContent-Length: 2', ['X-A', '', 'X-B', '', 'Content-Length', '2']],
  ]
  for (const [name, lines, headers] of cases)
    for (const inPieces of [false, true]) {
      const { connections } = await startUpstream(t, always(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nok`, inPieces))
      t.match(await send(connections), { status: 200, headers, body: 'ok', error: undefined }, name)
    }
})

t.test('one that has more than one reading is none', async (t) => {
  for (const lines of [
    'Content-Length: 2, 3',
    'Content-Length: 2,',
    'Content-Length: 2,,2',
    'Content-Length: 2\r\nContent-Length: 2, 3',
    'Content-Length: 2;2',
    ' X-A: b\r\nContent-Length: 2',
    'X-A: b\r\n \t c\r\nContent-Length: 2',
    'Content-Length: 2\t',
    'Transfer-Encoding:\tchunked',
    'Content-Length: 2\r\nTransfer-Encoding : chunked',
    'X-A\xa0: b',
    ': b',
    `X: ${' '.repeat(15_900)}\x01`,
    'X: 1\r\n'.repeat(201).trimEnd(),
  ]) {
    const { connections } = await startUpstream(t, always(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nok`))
    t.match(await send(connections), { status: 0, error: /not valid HTTP/ }, JSON.stringify(lines.slice(0, 60)))
  }
  const before = await startUpstream(t, always('HTTP/1.0 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\nok'))
  t.match(await send(before.connections), { status: 0, error: /not valid HTTP/ }, 'a hint before HTTP/1.1')
  for (const status of ['000', '099', '0200', '1000', '1', '-10', ' 20']) {
    const { connections } = await startUpstream(t, always(`HTTP/1.1 ${status} X\r\nContent-Length: 2\r\n\r\nok`))
    t.match(await send(connections), { status: 0, error: /not valid HTTP/ }, `status ${status}`)
  }
})

t.test('a response that has no body has no length, and what follows it is no response', async (t) => {
  let requests = 0
  const { connections } = await startUpstream(t, (socket) => {
    requests += 1
    socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n')
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged'), 20)
  })
  for (let turn = 1; turn <= 3; turn++)
    t.match(await send(connections), { status: 204, headers: [], body: '', error: undefined })
  t.equal(requests, 3)
  const chunked = await startUpstream(t, always('HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n'))
  t.match(await send(chunked.connections), { status: 204, body: '', error: undefined })
})

t.test('informational responses are passed on, up to a number, and never 100', async (t) => {
  const hint = (number: number) => `HTTP/1.1 103 Early Hints\r\nLink: </${number}>\r\nContent-Length: 9\r\n\r\n`
  const hints = Array.from({ length: 5_000 }, (_, at) => hint(at)).join('')
  const { connections } = await startUpstream(t, (socket) =>
    socket.write(`HTTP/1.1 100 Continue\r\n\r\n${hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`),
  )
  const informed: unknown[][] = []
  const response = await send(
    connections,
    {},
    { onInformation: (status, text, headers) => informed.push([status, text, headers]) },
  )
  t.match(response, { status: 200, body: 'ok', error: undefined })
  t.strictSame(
    informed,
    Array.from({ length: 8 }, (_, at) => [103, 'Early Hints', ['Link', `</${at}>`]]),
  )
})

t.test('a body that is still to come is sent as it comes', async (t) => {
  const requests: string[] = []
  const { connections, sockets } = await startUpstream(t, (socket, bytes) => {
    const request = (requests.pop() ?? '') + bytes
    requests.push(request)
    if (/(hello|0\r\n\r\n)$/.test(request)) {
      requests.push('')
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
  })
  const head = `host: ${connections.authority}\r\nconnection: keep-alive\r\n`
  // A value that reads like the name of a header makes no difference.
  const headers = ['x-a', 'content-length']
  t.match(await send(connections, { method: 'PUT', headers, body: pieces('hel', '', 'lo') }), { body: 'ok' })
  t.match(await send(connections, { method: 'PUT', headers: ['content-length', '5'], body: pieces('hel', 'lo') }), {
    body: 'ok',
  })
  t.match(await send(connections, { method: 'PUT', body: pieces() }), { body: 'ok' })
  t.strictSame(requests, [
    `PUT / HTTP/1.1\r\n${head}x-a: content-length\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n`,
    `PUT / HTTP/1.1\r\n${head}content-length: 5\r\n\r\nhello`,
    `PUT / HTTP/1.1\r\n${head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    '',
  ])
  t.equal(sockets.size, 1, 'on one connection')
})

t.test('a body of another length than it was said to have never becomes another request', async (t) => {
  const received: string[] = []
  const { connections } = await startUpstream(t, (_socket, bytes) => received.push(bytes))
  for (const body of [pieces('much too long'), pieces('abc', 'de'), pieces('a')]) {
    const outcome = await send(connections, { method: 'PUT', headers: ['content-length', '4'], body })
    t.match(outcome.error, /not of the length/)
  }
  t.notMatch(received.join(), /much|de/)
})

t.test('a body that breaks off, or fails, fails the request with its own error', async (t) => {
  const { connections } = await startUpstream(t, () => {})
  async function* failing() {
    yield Buffer.from('a')
    throw new Error('too slow')
  }
  t.match(await send(connections, { method: 'PUT', body: failing() }), { error: { message: 'too slow' } })
})

t.test('the time of an upstream does not run while it waits for the rest of a body', async (t) => {
  const { connections } = await startUpstream(t, (socket, bytes) => {
    if (bytes.includes('0\r\n\r\n')) ok(socket)
  })
  async function* slow() {
    yield Buffer.from('a')
    await new Promise((resolve) => setTimeout(resolve, 300))
    yield Buffer.from('b')
  }
  t.match(await send(connections, { method: 'PUT', body: slow(), timeout: 100 }), { body: 'ok', error: undefined })
  // Here it takes nothing.
  const full = await startUpstream(t, (socket) => socket.pause())
  const much = pieces(...Array.from({ length: 64 }, () => 'x'.repeat(256 * 1024)))
  const late = await send(full.connections, { method: 'PUT', body: much, timeout: 200 })
  t.ok(late.error instanceof UpstreamTimeout)
})

t.test('a large body goes up while a large response without a length comes down', async (t) => {
  const much = 'x'.repeat(4 * 1024 * 1024)
  const { connections } = await startUpstream(t, (socket, bytes) => {
    if (bytes.startsWith('PUT')) socket.end(`HTTP/1.1 200 OK\r\n\r\n${much}`)
  })
  let goOn = () => {}
  let size = 0
  const body = pieces(...Array.from({ length: 64 }, () => 'y'.repeat(64 * 1024)))
  const { error } = await send(
    connections,
    { method: 'PUT', body },
    {
      onSent(connection) {
        goOn = () => connection.resume(this as Listener)
      },
      onData(chunk) {
        size += chunk.length
        setImmediate(goOn)
        return false
      },
    },
  )
  t.equal(error, undefined)
  t.equal(size, much.length)
})

t.test(
  'a response that comes before the end of a body is the response, though the upstream closes at once',
  async (t) => {
    const refusal = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch'
    for (const close of [
      (socket: Socket) => socket.end(refusal, () => socket.destroy()),
      (socket: Socket) => socket.write(refusal, () => socket.resetAndDestroy()),
    ])
      for (let turn = 0; turn < 20; turn++) {
        const { connections } = await startUpstream(t, (socket) => socket.pause() && close(socket))
        const much = pieces(...Array.from({ length: 480 }, () => 'x'.repeat(64 * 1024)))
        const outcome = await send(connections, { method: 'PUT', body: much })
        t.match(outcome, { status: 413, body: 'much', error: undefined })
      }
  },
)

t.test('an upstream that closes on a body without a response has given none', async (t) => {
  const { connections } = await startUpstream(t, (socket) => socket.destroy())
  const much = pieces(...Array.from({ length: 480 }, () => 'x'.repeat(64 * 1024)))
  t.ok((await send(connections, { method: 'PUT', body: much })).error)
})

t.test('a connection that was idle and turns out to be closed is distinguished from one that was not', async (t) => {
  let requests = 0
  const { connections, sockets } = await startUpstream(t, (socket) => {
    requests += 1
    if (requests === 3) socket.destroy()
    else ok(socket)
  })
  const [one, two] = [send(connections), send(connections)]
  await Promise.all([one, two])
  t.ok((await send(connections)).error instanceof StaleConnection)
  await eventually('the one that was idle for longer is closed too', () => sockets.size === 0)
  t.match(await send(connections), { body: 'ok' })

  const fresh = await startUpstream(t, (socket) => socket.destroy())
  t.notOk((await send(fresh.connections)).error instanceof StaleConnection, 'not the first request')
  let turn = 0
  const begun = await startUpstream(t, (socket) => (turn++ ? socket.end('HTTP/1.1 2') : ok(socket)))
  await send(begun.connections)
  t.notOk((await send(begun.connections)).error instanceof StaleConnection, 'nor once something came')
  const mute = await startUpstream(t, (socket, request) => request.includes('GET') && ok(socket))
  await send(mute.connections)
  const late = await send(mute.connections, { method: 'PUT', timeout: 50 })
  t.ok(late.error instanceof UpstreamTimeout, 'nor one that is late')
})

t.test('an idle connection is kept for less time than the upstream says', async (t) => {
  for (const [line, kept] of [
    ['Keep-Alive: timeout=1', false],
    ['Keep-Alive: max=5, timeout=9', true],
    ['Keep-Alive: forever', true],
  ] as const) {
    const { connections, sockets } = await startUpstream(
      t,
      always(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${line}\r\n\r\nok`),
      { keepAliveTimeout: 1_500 },
    )
    await send(connections)
    const [first] = sockets
    await new Promise((resolve) => setTimeout(resolve, 700))
    await send(connections)
    t.equal(first?.destroyed === false && sockets.has(first), kept, line)
  }
})

t.test('a connection takes no more requests once it is old, so that a name is looked up again', async (t) => {
  let opened = 0
  const { connections, server } = await startUpstream(t, ok, { maxAge: 200 })
  server.on('connection', () => {
    opened += 1
  })
  const begun = performance.now()
  while (performance.now() - begun < 500) t.match(await send(connections), { body: 'ok' }) || t.bailout()
  t.ok(opened >= 3 && opened <= 6, `${opened} connections`)
})

t.test('requests wait for a time and up to a number, and none after they were given up', async (t) => {
  const held: Socket[] = []
  const settings = { connections: 2, perClient: 2, queue: 4, queueTimeout: 200 }
  const { connections } = await startUpstream(t, (socket) => held.push(socket), settings)
  const [first] = [send(connections), send(connections)]
  await eventually('both are there', () => held.length === 2)

  const waiting = Array.from({ length: 4 }, (_, at) => dispatch(connections, { client: `${at % 2}` }))
  t.match(connections.state, { active: 2, idle: 0, waiting: 4, most: 2 })
  t.ok((await send(connections, { client: 'other' })).error instanceof UpstreamBusy, 'the queue is full')
  waiting[0]?.leave()
  waiting[0]?.leave()
  t.match((await waiting[0]?.response)?.error, /aborted/)
  t.equal(connections.state.waiting, 3)
  const begun = performance.now()
  t.ok((await waiting[1]?.response)?.error instanceof UpstreamBusy, 'it has waited for long enough')
  t.ok(performance.now() - begun < 1_000)
  await Promise.all(waiting.map(({ response }) => response))

  // The wait is part of the time that a request has.
  const late = send(connections, { timeout: 100 })
  t.ok((await late).error instanceof UpstreamBusy)
  const next = dispatch(connections, { timeout: 300 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  ok(held[0] as Socket)
  t.match(await first, { body: 'ok' })
  const sent = performance.now()
  t.ok((await next.response).error instanceof UpstreamTimeout)
  t.ok(performance.now() - sent < 280, 'it has no more than what is left')
})

t.test('no client has more than its share of connections and of the queue', async (t) => {
  const held: Socket[] = []
  const settings = { connections: 4, perClient: 2, queue: 4, queueTimeout: 5_000 }
  const { connections } = await startUpstream(t, (socket) => held.push(socket), settings)
  const greedy = Array.from({ length: 4 }, () => send(connections, { client: 'greedy' }))
  await eventually('it has its share', () => held.length === 2)
  const others = [send(connections, { client: 'one' }), send(connections, { client: 'two' })]
  await eventually('others have theirs', () => held.length === 4)
  t.ok((await send(connections, { client: 'greedy' })).error instanceof UpstreamBusy, 'its part of the queue is full')
  for (const socket of held.slice(2)) ok(socket)
  await Promise.all(others)
  t.match(connections.state, { active: 2, idle: 2, waiting: 2 }, 'it waits though there are idle ones')
  t.match(dispatch(connections, { client: 'one' }).response, Promise)
  await eventually('which are there for others', () => held.length === 5)
  for (const socket of held.slice(0, 2)) ok(socket)
  await eventually('its next ones come', () => held.length === 7)
  for (const socket of held.slice(5)) ok(socket)
  for (const outcome of await Promise.all(greedy)) t.match(outcome, { body: 'ok', error: undefined })
})

t.test(
  'a client may have as many waiting as connections are still to be opened, and its part of the queue',
  async (t) => {
    const { connections } = await startUpstream(t, ok, { connections: 2, perClient: 1, queue: 2 })
    const outcome = await Promise.all(Array.from({ length: 4 }, () => send(connections)))
    t.strictSame(
      outcome.map(({ error }) => error instanceof UpstreamBusy),
      [false, false, false, true],
    )
  },
)

t.test('no route has more connections and places than it may, and others go on beside it', async (t) => {
  const held: Socket[] = []
  const settings = { connections: 6, perClient: 6, queue: 8, queueTimeout: 60_000 }
  const { connections } = await startUpstream(t, (socket) => held.push(socket), settings)
  const route = { name: '/slow', connections: 2, queue: 3, queueTimeout: 1_500 }
  const slow = Array.from({ length: 5 }, () => dispatch(connections, { route }))
  await eventually('it has its connections', () => held.length === 2)
  t.match(connections.state, { active: 2, waiting: 3 })
  t.ok((await send(connections, { route })).error instanceof UpstreamBusy, 'its places are taken')
  const other = send(connections)
  await eventually('another route is served', () => held.length === 3)
  ok(held[2] as Socket)
  t.match(await other, { body: 'ok' })
  t.match(connections.state, { active: 2, idle: 1, waiting: 3 }, 'what it left is not for this one')

  slow[4]?.leave()
  t.match((await slow[4]?.response)?.error, /aborted/)
  ok(held[0] as Socket)
  await eventually('the next of its own follows', () => held.length === 4)
  const begun = performance.now()
  t.ok((await slow[3]?.response)?.error instanceof UpstreamBusy, 'none waits for longer than it may')
  t.ok(performance.now() - begun < 30_000, 'which is less than what all may')
  t.equal(connections.state.waiting, 0)

  const wider = { ...route, connections: 3 }
  const more = send(connections, { route: wider })
  await eventually('its bounds may change', () => held.length === 5)
  for (const socket of held.slice(3)) ok(socket)
  ok(held[1] as Socket)
  for (const response of [more, ...slow.slice(0, 3).map(({ response }) => response)])
    t.match(await response, { body: 'ok', error: undefined })
})

t.test('a route whose requests may not wait is refused once its connections are in use', async (t) => {
  const held: Socket[] = []
  const { connections } = await startUpstream(t, (socket) => held.push(socket), { connections: 4 })
  const route = { name: '/now', connections: 1, queue: 0 }
  const first = send(connections, { route })
  t.ok((await send(connections, { route })).error instanceof UpstreamBusy, 'also while its connection is being opened')
  await eventually('the first one is served', () => held.length === 1)
  ok(held[0] as Socket)
  t.match(await first, { body: 'ok' })
  const again = send(connections, { route })
  await eventually('and the next one then', () => held.length === 2)
  ok(held[1] as Socket)
  t.match(await again, { body: 'ok' })
})

t.test('a long-lived stream takes no ordinary request’s place', async (t) => {
  const settings = { connections: 1, queue: 1, queueTimeout: 5_000 }
  let stream: Socket | undefined
  const { connections } = await startUpstream(
    t,
    (socket, request) => {
      if (!request.includes('/stream')) return ok(socket)
      stream = socket
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    },
    settings,
  )
  let connection: Connection | undefined
  const lasting = send(
    connections,
    { path: '/stream' },
    {
      onSent(sent) {
        connection = sent
      },
      onHead() {
        connection?.release(this as Listener)
        connection?.release({} as Listener)
      },
    },
  )
  t.match(await send(connections), { body: 'ok' })
  t.match(connections.state, { active: 0, idle: 1, stream: 1 })
  stream?.write('2\r\nok\r\n0\r\n\r\n')
  t.match(await lasting, { body: 'ok', error: undefined })
  await eventually('it is gone', () => connections.state.stream === 0)
})

t.test('a client that takes nothing is not waited for without end', async (t) => {
  const much = 'x'.repeat(8 * 1024 * 1024)
  const { connections } = await startUpstream(
    t,
    always(`HTTP/1.1 200 OK\r\nContent-Length: ${much.length}\r\n\r\n${much}`),
    { clientIdleTimeout: 100 },
  )
  const outcome = await send(connections, {}, { onData: () => false })
  t.match(outcome.error, { code: 'REQUEST_TIMEOUT' })
})

t.test('what is thrown in an event of a connection ends that one alone', async (t) => {
  const { connections } = await startUpstream(t, ok)
  const oops = () => {
    throw new Error('oops')
  }
  t.match(await send(connections, {}, { onHead: oops }), { error: { message: 'oops' } })
  t.match(await send(connections, {}, { onSent: oops }), { error: { message: 'oops' } })
  let failures = 0
  send(
    connections,
    {},
    {
      onHead: oops,
      onFailure() {
        failures += 1
        oops()
      },
    },
  )
  await eventually('it is over', () => failures === 1 && connections.state.active === 0)
  t.match(await send(connections), { body: 'ok' })
})

t.test('an upstream over TLS that does not shake hands is late', async (t) => {
  const { server } = await startUpstream(t, () => {})
  const { port } = server.address() as AddressInfo
  const connections = new UpstreamClient(`https://localhost:${port}`, logger, { connectTimeout: 100 })
  t.ok((await send(connections)).error instanceof UpstreamTimeout)
  t.match(new UpstreamClient('https://upstream.test', logger), { port: 443, isSecure: true })
  await connections.close()

  const slow = new UpstreamClient(`https://127.0.0.1:${port}`, logger, { queueTimeout: 50 })
  t.ok((await send(slow)).error instanceof UpstreamTimeout, 'also where a request waits for less than a connection may')
})

t.test('who aborts at the head of a response gets nothing of it', async (t) => {
  const { connections, sockets } = await startUpstream(t, always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
  let used: Connection | undefined
  const seen: string[] = []
  const { error } = await send(
    connections,
    {},
    {
      onSent(connection) {
        used = connection
      },
      onHead() {
        seen.push('head')
        used?.abort(this as Listener)
      },
      onData: () => seen.push('data') > 0,
      onPause: () => seen.push('pause'),
      onEnd: () => seen.push('end'),
    },
  )
  t.match(error, /aborted/)
  await eventually('the connection is gone', () => sockets.size === 0)
  t.strictSame(seen, ['head'])
})

t.test('aborting what is complete aborts nothing', async (t) => {
  const { connections } = await startUpstream(t, always('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
  let used: Connection | undefined
  const onSent = (connection: Connection) => {
    used ??= connection
  }
  t.match(await send(connections, {}, { onSent }), { body: 'ok' })
  used?.abort({} as Listener)
  t.equal(connections.state.idle, 1)
})
