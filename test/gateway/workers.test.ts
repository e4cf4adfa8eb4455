import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { type Bound, OpenCounts } from '@sallyport/gateway/workers/open-counts'
import { spawnProcess } from '@sallyport/local'
import t, { type Test } from 'tap'
import { Client as Connection, request } from 'undici'
import WebSocket, { WebSocketServer } from 'ws'
import { type EdgeProcess, Issuer, openGateway, prepareEdge, startGateway, Upstream } from '../support/edge.ts'
import { Client, eventually, signIn, startSystem } from '../support/system.ts'

const skip = existsSync('/proc/self/task') ? {} : { skip: 'workers are found by /proc, which only Linux has' }

/** The processes that a process has started. */
const workersOf = (pid: number | undefined): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

const metricsOf = async ({ process }: EdgeProcess) =>
  (await fetch(`http://127.0.0.1:${process.managementPort}/metrics`)).text()

/** A request on a connection of its own, so that each goes to another worker. */
async function send(url: string, headers: Record<string, string> = {}): Promise<number> {
  const { origin, pathname: path } = new URL(url)
  const client = new Connection(origin)
  const response = await client.request({ method: 'GET', path, headers })
  await response.body.dump()
  await client.close()
  return response.statusCode
}
const passed = (statuses: number[]) => statuses.filter((status) => status === 200).length
const times = <Of>(count: number, make: (at: number) => Promise<Of>) =>
  Promise.all(Array.from({ length: count }, (_, at) => make(at)))

t.test('several workers are one gateway', skip, async (t) => {
  const api = await new Upstream().serve(t)
  const held: ServerResponse[] = []
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(sockets, 'listening')
  t.teardown(() => sockets.close())
  const socketsAt = `http://127.0.0.1:${(sockets.address() as { port: number }).port}`
  api.respond = ({ url }, response) => {
    if (url?.startsWith('/held')) held.push(response)
    else if (url?.startsWith('/stream')) response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    else response.end('ok')
  }
  const upstreams = [api.url]
  const gateway = await startGateway(
    t,
    [
      { prefix: '/', upstreams, access: 'optional' },
      { prefix: '/few', upstreams, access: 'public', rateLimit: 5 },
      { prefix: '/ws', upstreams: [socketsAt], access: 'optional', websocket: true },
    ],
    {
      GATEWAY_WORKERS: '2',
      TRUSTED_PROXIES: '127.0.0.1/32',
      RATE_LIMIT_MAX: '20',
      USER_RATE_LIMIT_MAX: '6',
      CONNECTIONS_PER_CLIENT: '5',
      BODIES_PER_CLIENT: '3',
      STREAMS_PER_USER: '3',
      STREAMS_MAX: '4',
      HEADERS_TIMEOUT: '60s',
    },
  )
  const { gateway: url, log, process: running } = gateway
  const pid = running.child.pid as number
  const from = (address: string, more: Record<string, string> = {}) => ({ 'x-forwarded-for': address, ...more })

  await t.test('they say once that they listen, and each serves', async (t) => {
    t.equal(workersOf(pid).length, 2)
    t.equal(log.filter((line) => line.includes('"event":"listening"')).length, 1)
    let sent = 0
    await eventually('each has served', async () => {
      t.equal(await send(url, from(`203.0.113.${150 + (sent++ % 50)}`)), 200)
      const metrics = await metricsOf(gateway)
      return [1, 2].every((worker) =>
        new RegExp(`sallyport_http1_requests_total\\{reader="fast_path",worker="${worker}"\\} [1-9]`).test(metrics),
      )
    })
    const metrics = await metricsOf(gateway)
    t.match(metrics, /^sallyport_workers 2$/m)
    t.match(metrics, /^sallyport_ready 1$/m)
    t.match(metrics, /^process_resident_memory_bytes \d+$/m, 'what the first process counts is there too')
    t.match(metrics, /^process_resident_memory_bytes\{worker="1"\} \d+$/m)
  })

  await t.test('requests of a client, of a user and of a route are counted together', async (t) => {
    t.equal(passed(await times(40, () => send(url, from('203.0.113.2')))), 20)
    t.equal(passed(await times(20, () => send(`${url}/few`, from('203.0.113.3')))), 5)
    const user = { authorization: `Bearer ${gateway.issuer.token()}` }
    t.equal(passed(await times(20, (at) => send(url, from(`203.0.113.${100 + at}`, user)))), 6)
  })

  await t.test('so are the connections of a client', async (t) => {
    const clients = Array.from({ length: 12 }, () =>
      connect({ port: gateway.port, host: '127.0.0.1', localAddress: '127.0.0.2' }),
    )
    t.teardown(() => clients.map((client) => client.destroy()))
    const isOpen = (client: Socket) => !client.closed
    for (const client of clients) client.on('error', () => {})
    await eventually('the others are closed', () => clients.filter(isOpen).length === 5)
    for (const client of clients.filter(isOpen).slice(0, 2)) client.destroy()
    await eventually('one that goes makes room', async () => {
      const again = connect({ port: gateway.port, host: '127.0.0.1', localAddress: '127.0.0.2' })
      again.on('error', () => {}).write('GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n')
      const response = (await once(again.setEncoding('latin1'), 'data').catch(() => [''])) as [string]
      again.destroy()
      return response[0].startsWith('HTTP/1.1 200')
    })
    t.ok(clients.filter(isOpen).length <= 5)
  })

  await t.test('and bodies that a client sends at once', async (t) => {
    const slow = () => {
      const client = connect(gateway.port, '127.0.0.1').setEncoding('latin1')
      client.on('error', () => {})
      client.write(`POST / HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: 203.0.113.4\r\nContent-Length: 10\r\n\r\na`)
      t.teardown(() => client.destroy())
      const state = { status: '' }
      client.on('data', (text) => {
        state.status ||= String(text).slice(9, 12)
      })
      return state
    }
    const bodies = Array.from({ length: 8 }, slow)
    await eventually('the others are refused', () => bodies.filter(({ status }) => status === '429').length === 5)
    t.equal(bodies.filter(({ status }) => status === '').length, 3)
  })

  await t.test('and what stays open', async (t) => {
    const abort = new AbortController()
    t.teardown(() => abort.abort())
    const stream = async (address: string) =>
      (await request(`${url}/stream`, { headers: from(address), signal: abort.signal })).statusCode
    const statuses = await times(8, () => stream('203.0.113.5'))
    t.equal(passed(statuses), 3)
    t.equal(statuses.filter((status) => status === 429).length, 5)

    const ws = (address: string) =>
      new Promise<number>((resolve) => {
        const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: from(address) })
        t.teardown(() => socket.terminate())
        socket.on('open', () => resolve(200)).on('error', () => {})
        socket.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode as number))
      })
    t.equal(await ws('203.0.113.5'), 429, 'a WebSocket counts with them')
    const opened = await times(6, (at) => ws(`203.0.113.${20 + at}`))
    t.equal(passed(opened), 1, 'all together')
    t.equal(opened.filter((status) => status === 503).length, 5)
  })

  await t.test('one that ends is replaced, and what it had open counts no more', async (t) => {
    const open = (count: number) =>
      Array.from({ length: count }, () => {
        const client = connect({ port: gateway.port, host: '127.0.0.1', localAddress: '127.0.0.3' })
        client.on('error', () => {}).write('GET / HTTP/1.1\r\nHost: g\r\n\r\n')
        t.teardown(() => client.destroy())
        return client
      })
    const clients = open(5)
    await Promise.all(clients.map((client) => once(client, 'data')))
    const [one] = workersOf(pid) as [number]
    process.kill(one, 'SIGKILL')
    await eventually('its connections are gone', () => clients.some(({ closed }) => closed))
    t.equal(await send(url, from('203.0.113.90')), 200, 'the other serves meanwhile')
    await eventually('another one serves', async () => /^sallyport_workers 2$/m.test(await metricsOf(gateway)))
    t.notOk(workersOf(pid).includes(one))
    t.match(await metricsOf(gateway), /^sallyport_workers_ended_total 1$/m)
    t.ok(log.some((line) => line.includes('"event":"worker_ended"') && line.includes('"signal":"SIGKILL"')))
    const gone = clients.filter(({ closed }) => closed).length
    const more = open(5)
    await eventually('there is room for as many', () => more.filter(({ closed }) => !closed).length === gone)
  })

  await t.test('SIGHUP has each of them read the routes again', async (t) => {
    const routes = [{ prefix: '/new', upstreams, access: 'public' }]
    writeFileSync(gateway.routesFile, JSON.stringify({ routes }))
    running.child.kill('SIGHUP')
    await eventually('both have', () => {
      const reloaded = log.filter((line) => line.includes('"event":"routes_reloaded"'))
      return [1, 2].every((worker) => reloaded.some((line) => JSON.parse(line).worker === worker))
    })
    t.equal(passed(await times(6, () => send(`${url}/new`, from('203.0.113.91')))), 6)
  })

  await t.test('they end together, and complete what they began', async (t) => {
    writeFileSync(gateway.routesFile, JSON.stringify({ routes: [{ prefix: '/', upstreams, access: 'public' }] }))
    running.child.kill('SIGHUP')
    await eventually('the route is there', async () => (await send(url, from('203.0.113.92'))) === 200)
    const pending = times(3, (at) => send(`${url}/held`, from(`203.0.113.${93 + at}`)))
    await eventually('they are being served', () => held.length === 3)
    const workers = workersOf(pid)
    running.child.kill('SIGTERM')
    await eventually('it is not ready', async () => {
      const response = await fetch(`http://127.0.0.1:${running.managementPort}/readyz`)
      return response.status === 503
    })
    for (const response of held.splice(0)) response.end('ok')
    t.strictSame(await pending, [200, 200, 200])
    t.strictSame(await running.ended, [0, null])
    for (const worker of workers) t.notOk(existsSync(`/proc/${worker}`))
  })
})

t.test('an upstream gets no more at once from all workers than it may, nor does it from a route', async (t) => {
  const api = await new Upstream().serve(t)
  const held: ServerResponse[] = []
  api.respond = (_request, response) => held.push(response)
  const upstreams = [api.url]
  const { gateway: url } = await startGateway(
    t,
    [
      { prefix: '/', upstreams, access: 'public' },
      { prefix: '/two', upstreams, access: 'public', connections: 2, queue: 2 },
    ],
    {
      GATEWAY_WORKERS: '2',
      UPSTREAM_CONNECTIONS: '4',
      UPSTREAM_CONNECTIONS_PER_CLIENT: '4',
      UPSTREAM_QUEUE: '4',
      UPSTREAM_QUEUE_TIMEOUT: '60s',
    },
  )
  for (const [path, atOnce, waiting] of [
    ['/', 4, 2],
    ['/two', 2, 2],
  ] as const) {
    // Which worker a connection goes to is not even while they are busy: some may be refused before all is in use.
    const statuses: number[] = []
    let sent = 0
    await eventually('it has what it may', () => {
      for (; sent - statuses.length < atOnce + waiting && held.length < atOnce; sent++)
        send(url + path).then((status) => statuses.push(status))
      return held.length === atOnce
    })
    for (let more = 0; more < 16; more++, sent++) send(url + path).then((status) => statuses.push(status))
    await eventually('all but those that wait are refused', () => sent - statuses.length <= atOnce + waiting)
    t.ok(statuses.every((status) => status === 503))
    t.equal(held.length, atOnce)
    await eventually('the others follow', () => {
      for (const response of held.splice(0)) response.end('ok')
      return statuses.length === sent
    })
    t.ok(passed(statuses) >= atOnce && passed(statuses) <= atOnce + waiting)
  }
})

t.test('a session that ends is refused by every worker', async (t) => {
  const { gateway } = await startSystem(t, { GATEWAY_WORKERS: '3' })
  const user = await signIn(gateway)
  const me = () => times(12, () => send(`${gateway}/api/auth/me`, { authorization: `Bearer ${user.accessToken}` }))
  t.equal(passed(await me()), 12)
  t.equal((await user.call('POST', '/api/auth/logout')).status, 200)
  await eventually('each refuses', async () => (await me()).every((status) => status === 401))
  t.equal((await new Client(gateway).login('admin@example.com')).status, 200)
})

t.test('a signal to all of them at once ends them as it should, also while one is replaced', skip, async (t) => {
  for (const moment of ['before', 'as it starts']) {
    const gateway = await startGateway(t, [], { GATEWAY_WORKERS: '2' })
    const pid = gateway.process.child.pid as number
    process.kill(workersOf(pid)[0] as number, 'SIGKILL')
    await eventually('it is gone', () => gateway.log.some((line) => line.includes('"event":"worker_ended"')))
    if (moment !== 'before') await eventually('another one is started', () => workersOf(pid).length === 2)
    process.kill(-pid, 'SIGINT')
    t.strictSame(await gateway.process.ended, [0, null], moment)
  }

  const { environment } = await prepareEdge(t, [], { GATEWAY_WORKERS: '2' })
  const starting = spawnProcess('gateway', environment, () => {})
  starting.listening.catch(() => {})
  await eventually('the first one starts', () => workersOf(starting.child.pid).length > 0)
  starting.child.kill('SIGTERM')
  t.strictSame(await starting.ended, [0, null])
})

t.test('one that hangs makes the gateway unready, and hides no metrics of the others', skip, async (t) => {
  const gateway = await startGateway(t, [], { GATEWAY_WORKERS: '2' })
  const [one] = workersOf(gateway.process.child.pid) as [number]
  process.kill(one, 'SIGSTOP')
  t.equal((await fetch(`http://127.0.0.1:${gateway.process.managementPort}/readyz`)).status, 503)
  t.match(await metricsOf(gateway), /^process_resident_memory_bytes\{worker="\d"\} \d+$/m)
  t.ok(gateway.log.some((line) => /worker \d+ does not answer/.test(line)))
  process.kill(one, 'SIGCONT')
  const isReady = async () => (await fetch(`http://127.0.0.1:${gateway.process.managementPort}/readyz`)).status === 200
  await eventually('it is ready again', isReady)
  await eventually('without any it is not', async () => {
    for (const worker of workersOf(gateway.process.child.pid)) process.kill(worker, 'SIGKILL')
    return !(await isReady()) && gateway.log.some((line) => line.includes('no worker serves'))
  })
  await eventually('until others have taken their place', isReady)
})

t.test('requests are counted on when one that may still let some through hangs or ends', skip, async (t) => {
  const api = await new Upstream().serve(t)
  const gateway = await startGateway(t, [{ prefix: '/', upstreams: [api.url], access: 'public' }], {
    GATEWAY_WORKERS: '2',
    TRUSTED_PROXIES: '127.0.0.1/32',
    RATE_LIMIT_MAX: '12',
  })
  const connections = [new Connection(gateway.gateway), new Connection(gateway.gateway)]
  t.teardown(() => Promise.all(connections.map((connection) => connection.destroy())))
  const ask = async (connection: Connection, client: string) => {
    const { statusCode, body } = await connection.request({
      method: 'GET',
      path: '/',
      headers: { 'x-forwarded-for': client },
    })
    await body.dump()
    return statusCode
  }
  const clients = ['203.0.113.1', '203.0.113.2', '203.0.113.3'] as const
  for (const client of clients) for (const connection of connections) t.equal(await ask(connection, client), 200)

  const [one] = workersOf(gateway.process.child.pid) as [number]
  process.kill(one, 'SIGSTOP')
  const other = await Promise.any(connections.map(async (each) => ask(each, '203.0.113.9').then(() => each)))
  /** Asks until it is refused. */
  const exhaust = async (client: string) => {
    let sent = 0
    while ((await ask(other, client)) === 200) sent += 1
    return sent
  }
  // Of the 12 that each client has, each connection sent one, and the one that hangs had been granted up to three.
  const isWhatIsLeft = (sent: number) => sent >= 8 && sent <= 10
  t.ok(isWhatIsLeft(await exhaust(clients[0])))
  const exhausting = exhaust(clients[1])
  let seen = 0
  let polls = 0
  await eventually('it waits for the one that hangs', () => {
    polls = api.requests.length === seen ? polls + 1 : 0
    seen = api.requests.length
    return polls === 5
  })
  process.kill(one, 'SIGKILL')
  t.ok(isWhatIsLeft(await exhausting))
  t.ok(isWhatIsLeft(await exhaust(clients[2])))
})

t.test('who leaves while the first process is asked has nothing open', async (t) => {
  const api = await new Upstream().serve(t)
  const held: ServerResponse[] = []
  api.respond = ({ url }, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (url?.startsWith('/short')) response.end('data: 1\n\n')
    else response.flushHeaders()
    held.push(response)
  }
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(sockets, 'listening')
  t.teardown(() => sockets.close())

  // It counts as the first process does, once it is let.
  const counts = new OpenCounts()
  const open: string[] = []
  const waiting = new Map<string, () => void>()
  let slow = ''
  const together = {
    async open(bounds: Bound[]) {
      const [{ key }] = bounds as [Bound]
      if (slow !== '' && key.startsWith(slow)) await new Promise<void>((resolve) => waiting.set(key, resolve))
      const reached = counts.open(bounds)
      if (reached === -1) open.push(key)
      return reached
    },
    close(bounds: Bound[]) {
      counts.close(bounds)
      open.splice(open.indexOf((bounds[0] as Bound).key), 1)
    },
    storeOf: () => undefined as never,
  }
  const isAsked = (what: string) =>
    eventually('it is asked', () => [...waiting.keys()].some((key) => key.startsWith(what)))
  const letGo = () => {
    for (const go of waiting.values()) go()
    waiting.clear()
    slow = ''
  }
  const upstreams = [api.url]
  const { gateway: url, port } = await openGateway(
    t,
    [
      { prefix: '/', upstreams, access: 'public' },
      {
        prefix: '/ws',
        upstreams: [`http://127.0.0.1:${(sockets.address() as { port: number }).port}`],
        access: 'public',
        websocket: true,
      },
    ],
    { STREAMS_PER_USER: '1' },
    new Issuer(),
    together,
  )
  const say = (lines: string) => {
    const client = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => client.destroy())
    client.write(lines)
    return client
  }
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n'

  for (const [what, lines] of [
    ['connection', ''],
    ['body', 'POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n'],
    ['stream', 'GET / HTTP/1.1\r\nHost: g\r\n\r\n'],
    ['stream', 'GET / HTTP/1.1\r\nHost: g\r\nTE: trailers\r\n\r\n'],
    ['stream', `GET /ws HTTP/1.1\r\nHost: g\r\n${upgrade}\r\n`],
  ] as const) {
    slow = what
    const client = say(lines)
    await isAsked(what)
    client.resetAndDestroy()
    if (what !== 'connection')
      await eventually('it is noticed', () => !open.some((key) => key.startsWith('connection')))
    else await new Promise((resolve) => setImmediate(resolve))
    letGo()
    await eventually(`nothing is open after ${JSON.stringify(lines)}`, () => open.length === 0)
  }

  slow = 'stream'
  const broken = fetch(url)
  await isAsked('stream')
  held.at(-1)?.destroy()
  t.equal((await broken).status, 502, 'its service has gone meanwhile')
  letGo()

  slow = 'stream'
  const short = fetch(`${url}/short`)
  await isAsked('stream')
  await eventually('its service is done', () => held.at(-1)?.writableFinished === true)
  letGo()
  t.equal(await (await short).text(), 'data: 1\n\n', 'what came meanwhile is there')

  const lasting = await request(url)
  slow = 'stream'
  const second = fetch(`${url}/short`)
  await isAsked('stream')
  await eventually('its service is done', () => held.at(-1)?.writableFinished === true)
  letGo()
  t.equal((await second).status, 429, 'one too many is refused, though it is over')
  lasting.body.destroy()
  await eventually('nothing of a client is open but connections', () =>
    open.every((key) => key.startsWith('connection')),
  )
})

t.test('without the first process the others end', skip, async (t) => {
  const gateway = await startGateway(t, [], { GATEWAY_WORKERS: '2' })
  const workers = workersOf(gateway.process.child.pid)
  gateway.process.child.kill('SIGKILL')
  await eventually('they are gone', () => workers.every((worker) => !existsSync(`/proc/${worker}`)))
})

t.test('is ready when each worker is', async (t) => {
  const issuer = new Issuer()
  issuer.fault = (response) => response.writeHead(503).end()
  const { process: running } = await startGateway(t, [], { GATEWAY_WORKERS: '2' }, issuer)
  const ready = async () => (await fetch(`http://127.0.0.1:${running.managementPort}/readyz`)).status
  t.equal(await ready(), 503)
  issuer.fault = undefined
  await eventually('with the keys it is', async () => (await ready()) === 200)
})

t.test('what keeps them from starting is said once', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  await refuses(t, { GATEWAY_PORT: String(port) }, [
    `sallyport gateway: port ${port} is taken; set GATEWAY_PORT to a free one, or stop what listens there`,
    'sallyport gateway: a worker did not start, and says why above',
  ])
  await refuses(t, { UPSTREAM_CONNECTIONS: '1' }, [
    'sallyport gateway: UPSTREAM_CONNECTIONS is 1, less than GATEWAY_WORKERS (2), which share it; raise the one or lower the other',
  ])
})

async function refuses(t: Test, settings: Record<string, string>, lines: string[]): Promise<void> {
  const starting = startGateway(t, [], { GATEWAY_WORKERS: '2', ...settings })
  await t.rejects(starting, { message: lines.join('\n') })
}
