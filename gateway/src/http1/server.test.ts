import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { createLogger, Problem } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { ownConnections } from '../connections/client-connections.ts'
import type { RateLimit } from '../pipeline/rate-limit.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import type { Route } from '../pipeline/route-file.ts'
import { openPreflights } from '../proxy/cors.ts'
import { createRequestHandler } from '../proxy/request-handler.ts'
import { roundRobin, Upstreams } from '../proxy/upstreams.ts'
import type { WebSockets } from '../proxy/websocket.ts'
import { OpenCounts } from '../workers/open-counts.ts'
import { FastPathResponseWriter } from './response-writer.ts'
import { FastPath } from './server.ts'

interface Options {
  /** Milliseconds a response takes. */
  takes?: number
  run?: (context: RequestContext) => Promise<string[]>
  ownHeaders?: () => string[]
}

/** The fast path before a server of Node's, and a service behind it. */
async function build(t: Test, { takes = 0, run = async () => [], ownHeaders = () => [] }: Options = {}) {
  const service = createServer((_request, response) => setTimeout(() => response.end('service'), takes))
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  const logger = createLogger('test', 'silent')
  const upstreams = new Upstreams(logger)
  const behind = [upstreams.at(`http://127.0.0.1:${(service.address() as AddressInfo).port}`)]
  const route = { prefix: '/', timeout: 5_000, pick: roundRobin(behind) } as Route
  const server = createServer((_request, response) => response.end('node'))
  const isTrusted = () => false
  const { serveByNode, begin } = ownConnections(server, {
    connectionsPerClient: 100,
    counts: new OpenCounts(),
    isTrusted,
    logger,
  })
  const rateLimit = { refused: async (_context, error) => error } as RateLimit
  const handler = createRequestHandler({
    run: (context) => {
      Object.assign(context, { route, target: { path: context.url, query: '' }, upstreamTarget: context.url })
      return run(context)
    },
    rateLimit,
    preflights: await openPreflights({ origins: [], exposedHeaders: [] }, { rateLimit, logger }),
    webSockets: {} as WebSockets,
    tokenMonitor: { onInvalid: () => () => {} },
    ownHeaders,
    logger,
  })
  const times = { headersTimeout: 0.2, idleTimeout: 0.4 }
  const refuse = (socket: Socket, { code }: { code: string }) => socket.end(code)
  const owner = { handOver: serveByNode, refuse }
  const fastPath = new FastPath({ handle: handler.handle, ...owner, ...times, isTrusted, logger })
  begin(fastPath.serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    fastPath.close()
    for (const each of [server, service]) {
      each.closeAllConnections()
      each.close()
    }
    await upstreams.close()
  })
  const open = async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1')
    const heard = { all: '' }
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        heard.all += chunk
      })
    await once(socket, 'connect')
    return { socket, heard }
  }
  return { fastPath, server, open }
}

const get = 'GET / HTTP/1.1\r\nHost: g\r\n\r\n'
const closed = (socket: Socket) => once(socket, 'close')

t.test('a silent connection is closed, without a response', async (t) => {
  const { open } = await build(t)
  const silent = await open()
  await closed(silent.socket)
  t.equal(silent.heard.all, '')

  const idle = await open()
  idle.socket.write(get)
  await closed(idle.socket)
  t.match(idle.heard.all, /^HTTP\/1\.1 200 OK\r\n.*service$/s)
})

t.test('a response may take longer than a connection may be idle', async (t) => {
  const { open } = await build(t, { takes: 700 })
  const { socket, heard } = await open()
  socket.write(get)
  await closed(socket)
  t.match(heard.all, /service$/)
})

t.test('a pipelined request waits for the response to the one before it', async (t) => {
  const { open } = await build(t, { takes: 50 })
  const { socket, heard } = await open()
  socket.write(get)
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.write(get)
  await closed(socket)
  t.equal(heard.all.match(/service/g)?.length, 2)
})

t.test('a client that leaves before its request is forwarded costs the upstream nothing that lasts', async (t) => {
  let leave = () => {}
  const { open, fastPath } = await build(t, {
    async run() {
      leave()
      await new Promise((resolve) => setTimeout(resolve, 50))
      return []
    },
  })
  const { socket } = await open()
  leave = () => socket.resetAndDestroy()
  socket.write(get)
  await closed(socket)
  const { socket: half } = await open()
  leave = () => {}
  half.end(get)
  await closed(half)
  t.notOk(fastPath.isClosed())
})

t.test(
  'a client that leaves before its request is refused gets nothing, and one whose response fails is disconnected',
  async (t) => {
    let leave = () => {}
    const { open } = await build(t, {
      async run() {
        leave()
        await new Promise((resolve) => setTimeout(resolve, 20))
        throw new Problem(403, 'REFUSED', 'Refused')
      },
      ownHeaders() {
        throw new Error('of ours')
      },
    })
    const { socket } = await open()
    leave = () => socket.resetAndDestroy()
    socket.write(get)
    await closed(socket)
    leave = () => {}
    const { socket: next, heard } = await open()
    next.write(get)
    await closed(next)
    t.equal(heard.all, '')
  },
)

t.test('a listener for the end of a response that is complete is called at once', (t) => {
  const writer = new FastPathResponseWriter(new Socket(), 'GET', 1, () => false)
  writer.close()
  writer.onClose(() => t.end())
})

t.test('while draining, every response says that its connection closes, and idle connections are closed', async (t) => {
  const { open, fastPath } = await build(t, { takes: 50 })
  const [idle, busy, next] = await Promise.all([open(), open(), open()])
  for (const { socket } of [idle, busy]) socket.write(get)
  await Promise.all([once(idle.socket, 'data'), once(busy.socket, 'data')])
  fastPath.beginClosing()
  next.socket.write(get + get)
  await closed(next.socket)
  t.match(next.heard.all, /connection: close\r\n\r\nservice$/)
  t.equal(next.heard.all.split('HTTP/1.1').length, 2, 'no other request is begun')

  const { socket, heard } = await open()
  t.notMatch(busy.heard.all, 'connection: close')
  socket.write(get)
  await new Promise((resolve) => setTimeout(resolve, 20))
  fastPath.close()
  await Promise.all([closed(idle.socket), closed(busy.socket), closed(socket)])
  t.match(heard.all, /service$/, 'a request that is being served gets its response')
})

t.test('what is not eligible is handed over to Node’s server, with all that follows', async (t) => {
  const { open } = await build(t)
  const { socket, heard } = await open()
  socket.write(`${get}GET / HTTP/1.1\r\nHost: g\r\nConnection: Close\r\n\r\n`)
  await closed(socket)
  t.match(heard.all, /service.*HTTP\/1\.1 200 OK.*node$/s)
})

t.test('a request that comes in several pieces is one, wherever it is split', async (t) => {
  const { open } = await build(t)
  const post = 'POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\nabc'
  const { socket, heard } = await open()
  socket.setNoDelay()
  let requests = 0
  for (const text of [get, post, post + get.slice(0, -20)])
    for (let at = text.indexOf('\r\n') + 2; at < post.length && at < text.length; at++) {
      const answered = text === get || text === post ? 1 : 2
      socket.write(text.slice(0, at))
      await new Promise(setImmediate)
      socket.write(text.slice(at) + (answered === 2 ? get.slice(-20) : ''))
      requests += answered
      while ((heard.all.match(/service/g)?.length ?? 0) < requests) await once(socket, 'data')
    }
  t.notMatch(heard.all, 'node')
  socket.destroy()
})

t.test('what comes in many pieces, slowly, or is a lot, is read by Node’s server', async (t) => {
  const { open } = await build(t)
  const line = (at: number) => `x-${at}: y\r\n`
  const many = await open()
  many.socket.setNoDelay().write(get.slice(0, -2))
  const lines = Array.from({ length: 40 }, (_, at) => line(at))
  for (const each of lines) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    many.socket.write(each)
  }
  many.socket.write('\r\n')
  const slow = await open()
  slow.socket.write(get.slice(0, -2))
  const large = await open()
  const head = 'POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 60000\r\n\r\n'
  large.socket.write(head + 'x'.repeat(40_000))
  await new Promise((resolve) => setTimeout(resolve, 150))
  slow.socket.write('\r\n')
  large.socket.write('x'.repeat(20_000))
  for (const { socket, heard } of [many, slow, large]) {
    while (!/(node|service)$/.test(heard.all)) await once(socket, 'data')
    t.match(heard.all, /node$/)
    socket.destroy()
  }
})

t.test('a client that leaves within a request costs nothing, and one that says no more is told', async (t) => {
  const { open } = await build(t)
  const gone = await open()
  gone.socket.write(get.slice(0, -2))
  await new Promise(setImmediate)
  gone.socket.destroy()
  const half = await open()
  half.socket.write(get.slice(0, -2))
  await new Promise((resolve) => setTimeout(resolve, 20))
  half.socket.end()
  await closed(half.socket)
  t.equal(half.heard.all, 'HPE_INVALID_EOF_STATE')
})
