import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Gateway, type Memory } from './gateway.ts'
import type { Fault, Program } from './harness.ts'
import type { Random } from './random.ts'

/** What a client does, one after the other. */
export type Action =
  | { do: 'send'; bytes: string }
  | { do: 'send slowly'; bytes: string }
  /** For so many milliseconds, as fast as the connection takes it. */
  | { do: 'flood'; bytes: string; for: number }
  | { do: 'wait'; for: number }
  /** Until something comes, or half a second is over. */
  | { do: 'listen' }
  | { do: 'stop reading' }
  | { do: 'read on' }
  | { do: 'end' }
  | { do: 'reset' }

/** Clients that act side by side. Each leaves when it has done all. */
export interface Input {
  clients: Action[][]
}

/** Bytes by which the process may be larger while clients do their worst than when it was quiet. */
const mostAtOnce = 160 * 1024 * 1024

/** Bytes of the heap, beyond those at its start, that may be in use when a flood is over and its clients are gone. */
const mostAfterwards = 40 * 1024 * 1024

/** Bytes by which the heap may have grown from the first third of a run to the last: caches fill up, once. */
const mostGrowth = 8 * 1024 * 1024

/** Milliseconds for what clients left to be over: an upstream that does not respond has one second. */
const overWithin = 4_000

/** Sockets that a quiet process may have more than at its start, such as one to fetch keys by. */
const spare = 2

/** Milliseconds of quiet in which all connections close: idle ones are kept for some seconds. */
const quietFor = 15_000

/**
 * Clients and upstreams that stall, break off, never read, upgrade and pipeline, at random and many at once. The process
 * must live, stay as small as it was, and leave nothing open.
 */
export async function openChaos(): Promise<Program<Input>> {
  const upstream = new Restless()
  const url = await upstream.listen()
  const gateway = new Gateway([
    { prefix: '/', upstreams: [url], access: 'public', timeout: 1_000 },
    { prefix: '/ws', upstreams: [url], access: 'public', timeout: 1_000, websocket: true },
  ])
  const memories: Memory[] = []
  const counts = { clients: 0, largest: 0 }
  let quietest = 0
  let sockets = 0
  let atStart = 0
  let rounds = 0
  const inUse = ({ heapUsed, external }: Memory) => heapUsed + external

  async function start(): Promise<void> {
    await gateway.start()
    const memory = await gateway.memory()
    atStart = memory ? inUse(memory) : 0
    quietest = gateway.residentSize
    sockets = gateway.sockets
  }
  await start()

  async function run({ clients }: Input, _worker: number, waitFactor: number): Promise<Fault[]> {
    const faults: Fault[] = []
    let largest = 0
    const sampling = setInterval(() => {
      largest = Math.max(largest, gateway.residentSize)
    }, 100)
    await Promise.all(clients.map((actions) => act(gateway.port, actions)))
    clearInterval(sampling)
    counts.clients += clients.length
    counts.largest = Math.max(counts.largest, largest - quietest)
    const isAlive = async () => {
      faults.push(...(await gateway.faults()))
      return !gateway.isDown
    }
    if (!(await isAlive())) return faults
    if (largest - quietest > mostAtOnce) {
      const detail = `${(largest - quietest) >> 20} MiB more than when it was quiet`
      faults.push({ kind: 'the process grows while clients do not read', detail })
    }
    // Nobody is there any more, so nobody may be served.
    const deadline = performance.now() + overWithin * waitFactor
    while (upstream.open.size > 0 && performance.now() < deadline) await sleep(20)
    if (upstream.open.size > 0)
      faults.push({
        kind: 'requests of clients that left stay open upstream',
        detail: [...upstream.open.values()].join(),
      })
    upstream.cut()
    const memory =
      clients.some((actions) => actions.some((action) => action.do === 'flood')) && (await gateway.memory())
    if (memory && inUse(memory) - atStart > mostAfterwards) {
      const detail = `${(inUse(memory) - atStart) >> 20} MiB more in use than at the start`
      faults.push({ kind: 'memory stays in use when clients are gone', detail })
    }
    // Some of what ends it comes later.
    if ((await isAlive()) && ++rounds % 40 === 0) faults.push(...(await restUntilQuiet()))
    return faults
  }

  /** Waits until nothing is open, and notes how large the process is then. */
  async function restUntilQuiet(): Promise<Fault[]> {
    const deadline = performance.now() + quietFor
    const isQuiet = () => gateway.sockets <= sockets + spare
    while (!isQuiet() && performance.now() < deadline) await sleep(100)
    const memory = await gateway.memory()
    if (!memory) return gateway.faults()
    memories.push(memory)
    if (isQuiet()) return []
    const detail = `${gateway.sockets} sockets, at the start ${sockets}`
    return [{ kind: 'something stays open', detail }]
  }

  return {
    workers: 1,
    shrinkFor: 60_000,
    generate,
    isDown: () => gateway.isDown,
    start,
    run,
    *smaller({ clients }) {
      for (let size = clients.length >> 1; size >= 1; size >>= 1)
        for (let at = 0; at < clients.length; at += size)
          yield { clients: [...clients.slice(0, at), ...clients.slice(at + size)] }
      for (const [at, actions] of clients.entries())
        for (let step = 0; step < actions.length; step++)
          yield { clients: clients.with(at, [...actions.slice(0, step), ...actions.slice(step + 1)]) }
    },
    async conclude() {
      const faults = [...(await gateway.faults()), ...(await restUntilQuiet())]
      // Once started it has to fill its caches first.
      const third = Math.floor(memories.length / 3)
      if (third < 2) return faults
      const middle = (part: Memory[]) => part.map(inUse).sort((one, other) => one - other)[part.length >> 1] as number
      const [first, last] = [middle(memories.slice(0, third)), middle(memories.slice(-third))]
      if (last - first > mostGrowth)
        faults.push({ kind: 'the heap grows', detail: memories.map((memory) => inUse(memory) >> 10).join(' KiB, ') })
      return faults
    },
    summary: () =>
      `${counts.clients} clients, at most ${counts.largest >> 20} MiB more in use, ` +
      `heap at rest ${memories.map(({ heapUsed }) => (heapUsed / 2 ** 20).toFixed(1)).join(', ')} MiB`,
    async close() {
      await gateway.stop()
      upstream.close()
    },
  }
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

async function act(port: number, actions: Action[]): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }).on('error', () => {})
  let gotSomething = () => {}
  socket.on('data', () => gotSomething())
  const gone = once(socket, 'close').catch(() => {})
  await Promise.race([once(socket, 'connect').catch(() => {}), gone])
  /** Or not, in a while. */
  const drained = () =>
    new Promise<void>((resolve) => {
      const goOn = () => {
        clearTimeout(timer)
        socket.off('drain', goOn)
        resolve()
      }
      const timer = setTimeout(goOn, 200)
      socket.on('drain', goOn)
    })
  for (const action of actions) {
    if (socket.destroyed) return
    await Promise.race([perform(action), gone])
  }
  socket.destroy()
  await gone

  async function perform(action: Action): Promise<void> {
    switch (action.do) {
      case 'send':
        socket.write(action.bytes, 'latin1')
        return
      case 'send slowly':
        for (const byte of action.bytes) {
          if (!socket.writable) return
          socket.write(byte, 'latin1')
          await new Promise(setImmediate)
        }
        return
      case 'flood': {
        const many = action.bytes.repeat(Math.ceil(65_536 / action.bytes.length))
        const until = performance.now() + action.for
        while (performance.now() < until && socket.writable) if (!socket.write(many, 'latin1')) await drained()
        return
      }
      case 'wait':
        return sleep(action.for)
      case 'listen':
        return Promise.race([sleep(500), new Promise<void>((resolve) => (gotSomething = resolve))])
      case 'stop reading':
        socket.pause()
        return
      case 'read on':
        socket.resume()
        return
      case 'end':
        socket.end()
        return
      default:
        // libuv resets nothing that it is about to shut down, and leaves it open.
        if (socket.writableEnded) socket.destroy()
        else socket.resetAndDestroy()
    }
  }
}

/** An upstream that does what the path says, which is mostly not what one hopes for. */
class Restless {
  /** The requests without a complete response. */
  readonly open = new Map<ServerResponse, string>()
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      this.open.set(response, request.url as string)
      response.on('close', () => this.open.delete(response)).on('error', () => {})
      request.on('error', () => {})
      respond(request, response)
    })
    this.#server.on('connection', (socket) => socket.on('error', () => {}))
    this.#server.on('upgrade', ({ url = '' }, socket: Socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      if (url.includes('reset')) socket.resetAndDestroy()
      else if (url.includes('close')) socket.end('\x88\x00', 'latin1')
      else socket.pipe(socket)
    })
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Ends what is still open, so that the next input begins afresh. */
  cut(): void {
    for (const response of this.open.keys()) response.destroy()
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const piece = Buffer.alloc(65_536, 'x')

function respond(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request
  // If nobody read the connection, its end would never be seen.
  setTimeout(() => request.resume(), 30)
  const kind = /^\/(\w+)/.exec(request.url as string)?.[1]
  switch (kind) {
    case 'stall':
      return
    case 'slow':
      setTimeout(() => response.end('slow'), 150)
      return
    case 'reset':
      socket.resetAndDestroy()
      return
    case 'half':
      response.setHeader('content-length', 1_000).write('half')
      setTimeout(() => socket.resetAndDestroy(), 5)
      return
    case 'early':
      response.writeHead(413, { connection: 'close' }).end('too large')
      return
    case 'large':
      for (let at = 0; at < 64; at++) response.write(piece)
      response.end()
      return
    // Its end is that of the connection.
    case 'unmeasured':
      response.useChunkedEncodingByDefault = false
      for (let at = 0; at < 64; at++) response.write(piece)
      response.end()
      return
    case 'events':
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: begins\n\n')
      return
    case 'drip': {
      const drip = setInterval(() => response.write('x'), 10)
      response.on('close', () => clearInterval(drip))
      return
    }
    case 'small':
      response.end('small')
      return
    default:
      request.on('end', () => response.end('ok')).resume()
  }
}

const paths = ['slow', 'stall', 'reset', 'half', 'early', 'large', 'unmeasured', 'events', 'drip', 'small', 'echo']
const upgradeLines =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

function requestOf(random: Random): string {
  const path = random.pick(paths)
  const get = (lines = '', to = `/${path}`) => `GET ${to} HTTP/1.1\r\nHost: g\r\n${lines}\r\n`
  const post = (lines: string, body: string) => `POST /${path} HTTP/1.1\r\nHost: g\r\n${lines}\r\n${body}`
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  return random.pick([
    ...[get(), get(), get(), get('TE: trailers\r\n'), get('Connection: close\r\n'), get('Expect: x\r\n')],
    ...[
      get(upgradeLines, '/ws/echo'),
      get(upgradeLines, '/ws/reset'),
      get(upgradeLines, '/ws/close'),
      get(upgradeLines),
    ],
    get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n'),
    get('', '/none//').replace('GET', 'HEAD'),
    ...[post('Content-Length: 3\r\n', 'abc'), post('Content-Length: 99999\r\n', 'begins')],
    post('Transfer-Encoding: chunked\r\n', `${chunk.repeat(1 + random.upTo(30))}0\r\n\r\n`),
    ...[post('Transfer-Encoding: chunked\r\n', `${chunk}40`), post('Transfer-Encoding: chunked\r\n', `${chunk}zz\r\n`)],
    post('Content-Length: 3\r\nExpect: 100-continue\r\n', ''),
    ...['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\n\r\n'],
    ...['X', 'X\r\n\r\n', 'G', '\r\n', 'GET /echo HTTP/1.0\r\nHost: g\r\n\r\n', 'BREW / HTTP/1.1\r\nHost: g\r\n\r\n'],
    'OPTIONS / HTTP/1.1\r\nHost: g\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n',
  ])
}

function action(random: Random): Action {
  const pipeline = () => Array.from({ length: random.upTo(7) }, () => requestOf(random)).join('')
  return random.pick<() => Action>([
    () => ({ do: 'send', bytes: pipeline() }),
    () => ({ do: 'send', bytes: pipeline() }),
    () => ({ do: 'send', bytes: pipeline() }),
    () => ({ do: 'send slowly', bytes: requestOf(random).slice(0, 300) }),
    () => ({ do: 'wait', for: random.upTo(60) }),
    () => ({ do: 'wait', for: random.upTo(300) }),
    () => ({ do: 'listen' }),
    () => ({ do: 'listen' }),
    () => ({ do: 'stop reading' }),
    () => ({ do: 'read on' }),
    () => ({ do: 'end' }),
    () => ({ do: 'reset' }),
  ])()
}

function generate(random: Random): Input {
  const clients = Array.from({ length: 1 + random.upTo(40) }, () => [
    { do: 'send' as const, bytes: requestOf(random) },
    ...Array.from({ length: random.upTo(9) }, () => action(random)),
  ])
  // What goes wrong in the moment between a request and the next one, when the client goes in it.
  if (random.chance(0.3))
    for (let count = 1 + random.upTo(20); count > 0; count--)
      clients.push([
        { do: 'send', bytes: requestOf(random) + random.pick(['', 'G', 'X', '\r\n', 'GET / HTTP/1.1\r\n']) },
        { do: 'wait', for: random.upTo(20) },
        { do: 'send', bytes: random.pick([requestOf(random), 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n']) },
        random.pick<Action>([{ do: 'listen' }, { do: 'wait', for: random.upTo(160) }]),
        random.pick<Action>([{ do: 'reset' }, { do: 'end' }]),
      ])
  // A few never read, and ask on and on.
  if (random.chance(0.08)) {
    const path = random.pick(paths)
    const lines = random.pick(['', 'TE: trailers\r\n'])
    const bytes = random.pick([
      `GET /${path} HTTP/1.1\r\nHost: g\r\n${lines}\r\n`,
      'GET /none//path HTTP/1.1\r\nHost: g\r\n\r\n',
    ])
    const flood: Action = { do: 'flood', bytes, for: 2_500 }
    for (let count = 1 + random.below(4); count > 0; count--) clients.push([{ do: 'stop reading' }, flood])
  }
  return { clients }
}
