import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createSilentServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger, noteProblem, Problem } from '@sallyport/chassis'
import { buildApp } from '@sallyport/gateway/app'
import { type Config, readConfig } from '@sallyport/gateway/config'
import { showState } from '@sallyport/gateway/metrics'
import { openApiKeys } from '@sallyport/gateway/pipeline/api-keys'
import type { Route } from '@sallyport/gateway/pipeline/route-file'
import { defaultSettings } from '@sallyport/gateway/proxy/upstream-client'
import { makeApiKey, publicJwk } from '@sallyport/identity'
import { createSigner } from 'fast-jwt'
import { register } from 'prom-client'
import t, { type Test } from 'tap'
import { eventually } from '../support/system.ts'

/** A row of docs/limits.md. */
interface Limit {
  name: string
  setting: string
  fallback: string
  outcome: string
  metric: string
}

const read = (name: string) => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8')
const [, ...limits] = [...read('docs/limits.md').matchAll(/^\| (.*?) *\|(.*)\|(.*)\|(.*)\|(.*)\|$/gm)]
  .map((cells) => cells.slice(1).map((cell) => cell.replaceAll('`', '').trim()))
  .filter(([name]) => !/^-+$/.test(name as string))
  .map(([name, setting, fallback, outcome, metric]) => ({ name, setting, fallback, outcome, metric }) as Limit)

const { privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const key = publicJwk(privateKey)

function accessToken(): string {
  const sign = createSigner({
    key: privateKey,
    algorithm: 'ES256',
    kid: key.kid,
    header: { alg: 'ES256', typ: 'at+jwt' },
  })
  const iat = Math.floor(Date.now() / 1_000)
  const who = { sub: 'user-1', sid: 'session-1', email: 'a@example.com', role: 'doctor', roles: ['doctor'] }
  const iss = 'https://issuer.test'
  return sign({ iss, aud: 'https://api.test', client_id: 'web', iat, exp: iat + 60, jti: randomUUID(), ...who })
}

const required = {
  GATEWAY_ROUTES: 'routes.json',
  JWKS_URL: 'http://127.0.0.1:1/jwks.json',
  JWT_ISSUER: 'https://issuer.test',
  JWT_AUDIENCE: 'https://api.test',
  IDENTITY_PRIVATE_KEY: privateKey,
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

interface Options {
  route?: object
  settings?: Record<string, string>
  /** What no setting is for. */
  pool?: Partial<typeof defaultSettings>
  /** In place of the one that responds. */
  upstream?: string
}

const ownMetrics = new Set(register.getMetricsAsArray().map(({ name }) => name))

/** Opens gateways that read HTTP/1.1 in one of two ways, each with an upstream of its own. */
const openerFor = (t: Test, fastPath: string) =>
  async function open({ route, settings, pool, upstream }: Options = {}) {
    const behind = { respond: ((_request, response) => response.end('ok')) as Handler, held: [] as ServerResponse[] }
    const hold: Handler = (_request, response) => behind.held.push(response)
    const server = createServer({ maxHeaderSize: 65_536 }, (request, response) => {
      if (request.url === '/jwks.json') response.end(JSON.stringify({ keys: [{ ...key, use: 'sig' }] }))
      else behind.respond(request, response)
    })
    const origin = `http://127.0.0.1:${await listen(server)}`
    const routes = [{ prefix: '/', access: 'public', upstreams: [upstream ?? origin], ...route }]
    const environment = {
      ...required,
      GATEWAY_ROUTES: join(t.testdir({ 'routes.json': JSON.stringify({ routes }) }), 'routes.json'),
      JWKS_URL: `${origin}/jwks.json`,
      HTTP1_FAST_PATH: fastPath,
      ...settings,
    }
    const config = readConfig(environment)
    const connections = { ...config.connections, ...pool }
    const gateway = await buildApp({ ...config, connections }, environment, createLogger('gateway', 'silent'))
    for (const { name } of register.getMetricsAsArray())
      if (!ownMetrics.has(name) && /upstream_(up|co|wa|fu)|open_conn|revocation|token_cache|api_key/.test(name))
        register.removeSingleMetric(name)
    showState(gateway)
    await gateway.issuers.ready()
    await gateway.app.listen({ port: 0, host: '127.0.0.1' })
    const clients: Client[] = []
    t.teardown(async () => {
      for (const { socket } of clients) socket.destroy()
      server.closeAllConnections()
      server.close()
      await gateway.app.close()
    })
    const { port } = gateway.app.server.address() as AddressInfo
    /** A connection, from an address of its own if it is given one. */
    const client = (localAddress = '127.0.0.1') => {
      const opened = new Client(connect({ port, host: '127.0.0.1', localAddress }))
      clients.push(opened)
      return opened
    }
    return {
      behind,
      hold,
      client,
      config,
      route: gateway.routes.match('/', 'GET', '') as Route,
      /** The outcome of one request on a connection of its own. */
      send: (start: string, lines = '', body = '', from?: string) => client(from).send(start, lines, body).outcome(),
    }
  }

type Open = ReturnType<typeof openerFor>

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

class Client {
  readonly socket: Socket
  heard = ''
  isClosed = false

  constructor(socket: Socket) {
    this.socket = socket.setEncoding('latin1').on('error', () => {})
    socket.on('data', (chunk) => {
      this.heard += chunk
    })
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  write(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  send(start: string, lines = '', body = ''): this {
    return this.write(`${start} HTTP/1.1\r\nHost: shop.test\r\n${lines}\r\n${body}`)
  }

  /** In the words of the document: `200`, `431 HEADER_TOO_LARGE, closed`, `closed`, `cut`. */
  async outcome(): Promise<string> {
    const isComplete = () => {
      const [head, body] = this.#last()
      return body !== undefined && body.length >= Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN)
    }
    await eventually('a response, or the end', () => isComplete() || this.isClosed)
    if (!isComplete()) return this.heard === '' ? 'closed' : 'cut'
    const [head, body] = this.#last()
    const code = /"code":"(\w+)"/.exec(body as string)?.[1]
    const said = [head.slice(9, 12), code].filter(Boolean).join(' ')
    if (!/^connection: close/im.test(head)) return said
    await eventually('the end', () => this.isClosed)
    return `${said}, closed`
  }

  get statuses(): number[] {
    return [...this.heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
  }

  #last(): [head: string, body?: string] {
    const [head = '', ...body] = this.heard.slice(this.heard.lastIndexOf('HTTP/1.1 ')).split('\r\n\r\n')
    return body.length === 0 ? [head] : [head, body.join('\r\n\r\n')]
  }
}

/**
 * Tries a limit: asserts that what is within it passes, calls `reached` and goes over it.
 *
 * @returns what became of that, in the words of the document
 */
type Trial = (t: Test, open: Open, limit: Limit, reached: () => Promise<void>) => Promise<string>

const numberOf = ({ fallback }: Limit) => Number(/^\d+/.exec(fallback)?.[0])

/** Sends a request of a given size: one at the limit, and one over it. */
const byNumber =
  (send: (gateway: Awaited<ReturnType<Open>>, number: number) => Promise<string>, options?: Options): Trial =>
  async (t, open, limit, reached) => {
    const gateway = await open(options)
    t.match(await send(gateway, numberOf(limit)), /^200/, 'within it')
    await reached()
    return send(gateway, numberOf(limit) + 1)
  }

/** A limit of three requests. */
const byCount =
  (options: Options, lines = () => ''): Trial =>
  async (t, open, _limit, reached) => {
    const { send } = await open(options)
    for (const _ of [1, 2, 3]) t.equal(await send('GET /', lines()), '200')
    await reached()
    return send('GET /', lines())
  }

/** A raw response of an upstream. */
const respond =
  (text: (number: number) => string) =>
  async ({ behind, send }: Awaited<ReturnType<Open>>, number: number) => {
    behind.respond = (request) => void request.socket.end(text(number), 'latin1')
    return send('GET /')
  }

/** A response that never ends. */
const endless: Handler = (_request, response) => {
  const piece = Buffer.alloc(65_536)
  const more = () => {
    while (response.write(piece));
  }
  response.on('drain', more)
  more()
}

const eventStream: Handler = (_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
}

const padded = (start: string, length: number, end = '\r\n\r\n') =>
  `${start}${'a'.repeat(length - start.length - end.length)}${end}`

/** Sends requests that the upstream leaves without a response, and waits until each of them is there. */
const occupy = async ({ behind, hold, client }: Awaited<ReturnType<Open>>, requests: number) => {
  behind.respond = hold
  for (let at = 1; at <= requests; at++) {
    client().send('GET /')
    await eventually('it is there', () => behind.held.length === at)
  }
}

const takesNothing: (options: Options) => Trial = (options) => async (_t, open, _limit, reached) => {
  const { behind, client } = await open(options)
  behind.respond = endless
  const slow = client().send('GET /')
  await once(slow.socket, 'data')
  slow.socket.pause()
  await reached()
  const count = await readMetric('send_time')
  await eventually('it was noticed', async () => (await readMetric('send_time')) > count)
  slow.socket.resume()
  return slow.outcome()
}

const logLines: (status: number) => Trial = (status) => async (t, _open, limit, reached) => {
  const lines: unknown[] = []
  const log = { error: (line: unknown) => lines.push(line), info: (line: unknown) => lines.push(line), warn() {} }
  const request = { id: '', method: 'GET', url: '/', ip: '' }
  const code = `OF_ITS_OWN_${randomUUID()}`
  const refuse = () => noteProblem(new Problem(status, code, ''), request, log as never)
  for (let at = 0; at < numberOf(limit); at++) refuse()
  t.equal(lines.length, numberOf(limit))
  await reached()
  refuse()
  return lines.length === numberOf(limit) ? 'left out' : 'logged'
}

/** API keys that an auth service is asked about which never answers. */
async function openApiKeysOf(t: Test) {
  const auth = createServer(() => {})
  const url = `http://127.0.0.1:${await listen(auth)}/internal/api-keys`
  t.teardown(() => {
    auth.closeAllConnections()
    auth.close()
  })
  const logger = createLogger('gateway', 'silent')
  const apiKeys = openApiKeys({ url, secret: 'hush' }, { logger } as Parameters<typeof openApiKeys>[1])
  return async () => {
    try {
      await apiKeys.find(makeApiKey(randomUUID()))
      return '200'
    } catch (error) {
      const { statusCode, code } = error as Problem
      return `${statusCode} ${code}`
    }
  }
}

const trials: Record<string, Trial> = {
  'connections of one client at once': async (t, open, _limit, reached) => {
    const { client } = await open({ settings: { CONNECTIONS_PER_CLIENT: '2' } })
    for (const _ of [1, 2]) t.equal(await client().send('GET /').outcome(), '200')
    t.equal(await client('127.0.0.2').send('GET /').outcome(), '200', 'of another client')
    await reached()
    return client().outcome()
  },
  'time for a header to be whole, from its first byte': async (t, open, limit, reached) => {
    const { client } = await open()
    await reached()
    const began = performance.now()
    const outcome = await client().write('GET / HTTP/1.1\r\nHost: shop.test\r\n').outcome()
    t.ok(performance.now() - began > 990 * numberOf(limit))
    return outcome
  },
  'time for the first byte of a connection': async (t, open, limit, reached) => {
    const { client } = await open()
    await reached()
    const began = performance.now()
    const outcome = await client().outcome()
    t.ok(performance.now() - began > 990 * numberOf(limit))
    return outcome
  },
  'bytes of a header': async (t, open, limit, reached) => {
    const { client } = await open()
    const start = 'GET / HTTP/1.1\r\nHost: shop.test\r\nx: '
    t.equal(
      await client()
        .write(padded(start, numberOf(limit)))
        .outcome(),
      '200',
    )
    await reached()
    // As Node's parser counts: without what stands between names and values.
    return client()
      .send('GET /', `x: ${'a'.repeat(numberOf(limit) - '/Hostshop.testx'.length + 1)}\r\n`)
      .outcome()
  },
  'lines of a header': byNumber(({ send }, lines) => send('GET /', 'x: 1\r\n'.repeat(lines - 1))),
  'requests of one connection that wait behind one under way': async (t, open, limit, reached) => {
    const gateway = await open()
    const lines = 'TE: trailers\r\n'
    await occupy(gateway, 0)
    const sending = (waiting: number) => {
      const client = gateway.client()
      for (let at = 0; at <= waiting; at++) client.send('GET /', lines)
      return client
    }
    const within = sending(numberOf(limit))
    await eventually('one is under way', () => gateway.behind.held.length === 1)
    gateway.behind.respond = (_request, response) => response.end('ok')
    gateway.behind.held[0]?.end('ok')
    await eventually('all have a response', () => within.statuses.length === numberOf(limit) + 1)
    t.ok(within.statuses.every((status) => status === 200))
    gateway.behind.respond = gateway.hold
    await reached()
    const over = sending(numberOf(limit) + 1)
    await eventually('the end', () => over.isClosed)
    return over.heard === '' ? 'cut' : over.heard
  },
  'time in which nothing comes on a connection between two requests': async (t, open, _limit, reached) => {
    const { client } = await open({ settings: { IDLE_TIMEOUT: '500ms' } })
    const idle = client().send('GET /')
    t.equal(await idle.outcome(), '200')
    await reached()
    idle.heard = ''
    return idle.outcome()
  },
  'time in which a client takes nothing of a response that waits for it': takesNothing({
    settings: { IDLE_TIMEOUT: '500ms' },
  }),
  'time for which an upstream waits until its client can take more of a response': takesNothing({
    pool: { clientIdleTimeout: 500 },
  }),
  'characters of a path': byNumber(({ send }, length) => send(`GET /${'a'.repeat(length - 1)}`)),
  'segments of a path': byNumber(({ send }, segments) => send(`GET ${'/a'.repeat(segments)}`)),
  'combining marks on one character of a path': byNumber(({ send }, marks) => send(`GET /e${'%CC%81'.repeat(marks)}`)),
  'characters of an access token': async (t, open, limit, reached) => {
    const { send } = await open({ route: { access: 'authenticated' } })
    const withToken = (length: number) => send('GET /', `Authorization: Bearer ${'a'.repeat(length)}\r\n`)
    t.equal(await withToken(numberOf(limit)), '401 TOKEN_INVALID', 'for another reason')
    await reached()
    return withToken(numberOf(limit) + 1)
  },
  'API keys that wait to be looked up, while 32 are': async (t, _open, limit, reached) => {
    const find = await openApiKeysOf(t)
    const waiting = Array.from({ length: 32 + numberOf(limit) }, find)
    await reached()
    const began = performance.now()
    const outcome = await find()
    t.ok(performance.now() - began < 2_900, 'at once')
    await Promise.all(waiting)
    return outcome
  },
  'time for an API key to be looked up, waiting included': async (t, _open, limit, reached) => {
    const find = await openApiKeysOf(t)
    await reached()
    const began = performance.now()
    const outcome = await find()
    t.ok(performance.now() - began > 990 * numberOf(limit))
    return outcome
  },
  'requests of one client in a minute': byCount({ settings: { RATE_LIMIT_MAX: '3' } }),
  'requests of one client in a minute to a route with a limit of its own': byCount({ route: { rateLimit: 3 } }),
  'requests of one user in a minute, and of each who acts for the user': byCount(
    { route: { access: 'authenticated' }, settings: { USER_RATE_LIMIT_MAX: '3' } },
    () => `Authorization: Bearer ${accessToken()}\r\n`,
  ),
  'bytes of a body': byNumber(({ send }, length) =>
    send('POST /', `Content-Length: ${length}\r\n`, 'a'.repeat(length)),
  ),
  'bodies of one client on their way at once': async (t, open, _limit, reached) => {
    const { client } = await open({ settings: { BODIES_PER_CLIENT: '2' } })
    const begin = (from?: string) => client(from).send('POST /', 'Content-Length: 2\r\n', 'a')
    const [first, second] = [begin(), begin()]
    t.equal(await begin('127.0.0.2').write('b').outcome(), '200', 'of another client')
    await reached()
    const outcome = await begin().outcome()
    for (const slow of [first, second]) t.equal(await slow.write('b').outcome(), '200')
    t.equal(await begin().write('b').outcome(), '200', 'as soon as they are over')
    return outcome
  },
  'time for a body to go on': async (t, open, _limit, reached) => {
    const { behind, hold, client } = await open({ settings: { BODY_TIMEOUT: '500ms' } })
    behind.respond = hold
    await reached()
    const began = performance.now()
    const outcome = await client().send('POST /', 'Content-Length: 2\r\n', 'a').outcome()
    t.ok(performance.now() - began > 490)
    for (const [lines, body] of [
      ['Content-Length: 100000\r\n', ''],
      ['Content-Length: 100000\r\n', 'a'],
      ['Transfer-Encoding: chunked\r\n', '5'],
      ['Transfer-Encoding: chunked\r\n', '5\r\nab'],
      ['Transfer-Encoding: chunked\r\n', '1\r\na\r\n'],
    ] as const)
      t.equal(await client().send('POST /', lines, body).outcome(), outcome, `${lines}${body}`)
    return outcome
  },
  'time for a whole body: twice as long, and a second for each KiB': async (t, open, _limit, reached) => {
    const { client } = await open({ settings: { BODY_TIMEOUT: '500ms' } })
    await reached()
    const began = performance.now()
    const slow = client().send('POST /', 'Content-Length: 1000\r\n', 'a')
    const trickle = setInterval(() => slow.write('a'), 50)
    const outcome = await slow.outcome()
    clearInterval(trickle)
    t.ok(performance.now() - began > 990)
    return outcome
  },
  'connections to an upstream': async (_t, open, _limit, reached) => {
    const gateway = await open({ settings: { UPSTREAM_CONNECTIONS: '2' } })
    await occupy(gateway, 2)
    await reached()
    return waits(gateway, '127.0.0.2')
  },
  'connections to an upstream for the requests of one user or client': async (t, open, _limit, reached) => {
    const gateway = await open({ settings: { UPSTREAM_CONNECTIONS: '2', UPSTREAM_CONNECTIONS_PER_CLIENT: '1' } })
    await occupy(gateway, 1)
    gateway.behind.respond = (_request, response) => response.end('ok')
    t.equal(await gateway.send('GET /', '', '', '127.0.0.2'), '200', 'of another client')
    await reached()
    return waits(gateway, '127.0.0.1')
  },
  'requests that wait for a connection to an upstream; of one user or client half of it': async (
    t,
    open,
    _limit,
    reached,
  ) => {
    const gateway = await open({ settings: { UPSTREAM_CONNECTIONS: '1', UPSTREAM_QUEUE: '4' } })
    await occupy(gateway, 1)
    for (const [at, from] of ['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.2'].entries()) {
      gateway.client(from).send('GET /')
      await eventually('it waits', async () => (await readMetric('sallyport_upstream_waiting')) === at + 1)
      if (at === 1) t.equal(await gateway.send('GET /'), '503 UPSTREAM_BUSY', 'one client has half')
    }
    await reached()
    return gateway.send('GET /', '', '', '127.0.0.3')
  },
  'time for which a request waits for a connection': async (t, open, _limit, reached) => {
    const gateway = await open({ settings: { UPSTREAM_CONNECTIONS: '1', UPSTREAM_QUEUE_TIMEOUT: '500ms' } })
    await occupy(gateway, 1)
    await reached()
    const began = performance.now()
    const outcome = await gateway.send('GET /')
    const took = performance.now() - began
    t.ok(took > 490)
    t.equal(gateway.behind.held.length, 1)
    return outcome
  },
  'connections to an upstream for one route': async (_t, open, _limit, reached) => {
    const gateway = await open({ route: { connections: 1 } })
    await occupy(gateway, 1)
    await reached()
    return waits(gateway, '127.0.0.2')
  },
  'requests of one route that wait for a connection to an upstream': async (_t, open, _limit, reached) => {
    const gateway = await open({ route: { connections: 1, queue: 1 } })
    await occupy(gateway, 1)
    gateway.client().send('GET /')
    await eventually('it waits', async () => (await readMetric('sallyport_upstream_waiting')) === 1)
    await reached()
    return gateway.send('GET /', '', '', '127.0.0.3')
  },
  'milliseconds for which a request of one route waits for a connection': async (t, open, _limit, reached) => {
    const gateway = await open({ settings: { UPSTREAM_CONNECTIONS: '1' }, route: { queueTimeout: 500 } })
    await occupy(gateway, 1)
    await reached()
    const began = performance.now()
    const outcome = await gateway.send('GET /')
    t.ok(performance.now() - began > 490)
    return outcome
  },
  'time to connect to an upstream': async (t, open, _limit, reached) => {
    // It takes connections, and says nothing that TLS begins with.
    const sockets: Socket[] = []
    const silent = createSilentServer((socket) => sockets.push(socket.on('error', () => {})))
    const upstream = `https://127.0.0.1:${await listen(silent)}`
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
    const { send } = await open({ upstream, pool: { connectTimeout: 300 } })
    await reached()
    return send('POST /')
  },
  'milliseconds for an upstream to begin its response, waiting included': async (_t, open, _limit, reached) => {
    const { behind, hold, send } = await open({ route: { timeout: 300 } })
    behind.respond = hold
    await reached()
    return send('GET /')
  },
  'time for an upstream to go on with its response': async (_t, open, _limit, reached) => {
    const { behind, send } = await open({ pool: { idleTimeout: 300 } })
    behind.respond = (_request, response) => void response.writeHead(200, { 'content-length': 2 }).write('a')
    await reached()
    return send('GET /')
  },
  "bytes of the header of an upstream's response": byNumber(
    respond((bytes) => padded('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx: ', bytes)),
  ),
  "lines of the header of an upstream's response": byNumber(
    respond((lines) => `HTTP/1.1 200 OK\r\nContent-Length: 0\r\n${'x: 1\r\n'.repeat(lines - 1)}\r\n`),
  ),
  "bytes of the trailers of an upstream's response": async (t, open, limit, reached) => {
    const gateway = await open()
    const sending = (bytes: number) => {
      const trailers = padded('x: ', bytes)
      gateway.behind.respond = (request) =>
        void request.socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}`)
      return gateway.client().send('GET /')
    }
    const within = sending(numberOf(limit))
    await eventually('it is complete', () => /\r\n0\r\n(x: a+\r\n)?\r\n$/.test(within.heard))
    t.notOk(within.isClosed)
    await reached()
    return sending(numberOf(limit) + 1).outcome()
  },
  'informational responses (1xx) to one request': async (t, open, limit, reached) => {
    const { behind, client } = await open()
    const sending = async (count: number) => {
      behind.respond = (request) =>
        void request.socket.end(
          `${'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'.repeat(count)}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`,
        )
      const asking = client().send('GET /')
      t.equal(await asking.outcome(), '200')
      return asking.statuses.filter((status) => status === 103).length
    }
    t.equal(await sending(numberOf(limit)), numberOf(limit))
    await reached()
    return (await sending(numberOf(limit) + 1)) === numberOf(limit) ? 'left out' : 'passed on'
  },
  'WebSockets and event streams of one user, or of one client that is not signed in': async (
    t,
    open,
    _limit,
    reached,
  ) => {
    const { behind, client, send } = await open({ settings: { STREAMS_PER_USER: '1' }, route: { websocket: true } })
    behind.respond = eventStream
    const streams = ['127.0.0.1', '127.0.0.2'].map((from) => client(from).send('GET /'))
    await eventually('both are open', () => streams.every(({ heard }) => heard.includes('data: 1')))
    t.notOk(streams.some(({ isClosed }) => isClosed))
    await reached()
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
    t.match(await send('GET /', upgrade), /^429 STREAMS_EXCEEDED/, 'a WebSocket counts as one')
    return send('GET /')
  },
  'WebSockets and event streams in all': async (_t, open, _limit, reached) => {
    const { behind, client, send } = await open({ settings: { STREAMS_MAX: '1' } })
    behind.respond = eventStream
    const stream = client().send('GET /')
    await eventually('it is open', () => stream.heard.includes('data: 1'))
    await reached()
    return send('GET /', '', '', '127.0.0.2')
  },
  'lines of the log in a second for refusals (4xx) of one code': logLines(404),
  'lines of the log in a second for failures (5xx) of one code': logLines(502),
}

/** Sends a request, and checks that it waits and is served later. */
async function waits({ client, behind }: Awaited<ReturnType<Open>>, from: string): Promise<string> {
  const waiting = client(from).send('GET /')
  await eventually('it waits', async () => (await readMetric('sallyport_upstream_waiting')) === 1)
  behind.respond = (_request, response) => response.end('ok')
  const [first] = behind.held.splice(0, 1)
  await sleep(0)
  later.push(async () => {
    first?.end('ok')
    return waiting.outcome()
  })
  return 'waits'
}
/** What is checked once a metric was read. */
const later: (() => Promise<string>)[] = []

/** How often a limit was reached, or what its metric says. */
async function readMetric(metric: string): Promise<number> {
  const isName = metric.startsWith('sallyport_')
  const found = register.getSingleMetric(isName ? metric : 'sallyport_limit_reached_total')
  const { values } = (await found?.get()) ?? { values: [] }
  return values.filter(({ labels }) => isName || labels.limit === metric).reduce((sum, { value }) => sum + value, 0)
}

/** The number or the time that a variable of the environment is by default. */
function checkDefault(t: Test, { setting, fallback }: Limit): void {
  const configWith = (value: string | undefined): Config => readConfig({ ...required, [setting]: value })
  t.strictSame(configWith(fallback), configWith(undefined), 'the default is the one that is documented')
  t.notSame(configWith('7'), configWith(undefined), 'the setting is one')
  t.match(read('.env.example'), new RegExp(`^${setting}=${fallback}$`, 'm'))
  const [, gateway] = read('docs/configuration.md').split(/^## (?:Gateway|Auth service)$/m)
  t.match(gateway, new RegExp(`^\\| \`${setting}\` +\\| ${fallback} +\\|`, 'm'))
  t.match(read('docker-compose.yml'), `  ${setting}: \${${setting}:-`)
}

/** What has no setting, and is not tried with the number itself. */
const fixed: Record<string, number> = {
  'time to connect to an upstream': defaultSettings.connectTimeout,
  'time for an upstream to go on with its response': defaultSettings.idleTimeout,
  'time for which an upstream waits until its client can take more of a response': defaultSettings.clientIdleTimeout,
}

t.test('every limit is there, as docs/limits.md says it', async (t) => {
  t.strictSame(
    limits.map(({ name }) => name),
    Object.keys(trials),
  )
  const counted = await register.getSingleMetric('sallyport_limit_reached_total')?.get()
  const documented = new Set(limits.map(({ metric }) => metric).filter((metric) => !metric.startsWith('sallyport_')))
  t.strictSame(
    counted?.values.map(({ labels }) => labels.limit).sort(),
    [...documented].sort(),
    'and no other is counted',
  )

  const tryIt = (limit: Limit, fastPath: string) =>
    t.test(`${limit.name}, fast path ${fastPath}`, { buffered: isSlow(limit) }, async (t) => {
      const open = openerFor(t, fastPath)
      if (/^[A-Z]/.test(limit.setting)) checkDefault(t, limit)
      else if (limit.setting !== '') {
        const { route } = await open()
        t.equal(String(route[limit.setting as 'timeout'] ?? ''), limit.fallback)
      } else if (limit.name in fixed) t.equal(fixed[limit.name], 1_000 * numberOf(limit))
      let count = Number.NaN
      const outcome = await (trials[limit.name] as Trial)(t, open, limit, async () => {
        count = await readMetric(limit.metric)
      })
      t.equal(outcome, limit.outcome)
      t.ok((await readMetric(limit.metric)) > count, 'it was counted')
      for (const check of later.splice(0)) t.equal(await check(), '200')
    })
  const ways = ['on', 'off']
  // Side by side, as each takes all of its seconds.
  const isSlow = ({ metric }: Limit) => metric === 'header_time'
  t.jobs = 4
  await Promise.all(limits.filter(isSlow).flatMap((limit) => ways.map((way) => tryIt(limit, way))))
  for (const limit of limits.filter((limit) => !isSlow(limit))) for (const way of ways) await tryIt(limit, way)
})
