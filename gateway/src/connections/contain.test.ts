import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import { register } from 'prom-client'
import t from 'tap'
import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'
import { environmentWith } from '../test-environment.ts'
import { contain } from './contain.ts'

t.test('what is thrown in an event ends what it was about, once all listeners were notified', (t) => {
  const emitter = new EventEmitter()
  const ended: unknown[] = []
  contain(emitter, (error) => ended.push(error))
  const fault = new Error('thrown')
  emitter.on('event', () => {
    throw fault
  })
  let notified = 0
  emitter.once('event', () => {
    notified += 1
  })
  t.equal(emitter.emit('event'), true)
  t.equal(notified, 1)
  t.equal(emitter.emit('another'), false)
  t.strictSame(ended, [fault])
  t.end()
})

const socketEvents = ['data', 'end', 'close', 'drain', 'finish', 'timeout', 'pause', 'resume', 'readable', 'error']
const messageEvents = ['data', 'end', 'close', 'drain', 'finish', 'prefinish', 'pipe', 'error', 'resume', 'pause']

for (const path of ['on', 'off'])
  t.test(`what is thrown in whatever event of a connection ends it alone (HTTP1_FAST_PATH=${path})`, async (t) => {
    const upstream = createServer((_request, response) => response.end('x'.repeat(2_000_000)))
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const origin = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
    const routes = [{ prefix: '/', access: 'public', upstreams: [origin] }]
    const environment = environmentWith(t, routes, { HTTP1_FAST_PATH: path, IDLE_TIMEOUT: '1s' })
    const log: string[] = []
    const logger = createLogger('gateway', 'error', { write: (line) => log.push(line) })
    const { app } = await buildApp(readConfig(environment), environment, logger)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    t.teardown(async () => {
      upstream.closeAllConnections()
      upstream.close()
      await app.close()
    })

    const thrower = () => {
      throw new Error('thrown')
    }
    /** Something that throws in an event of the next connection. */
    let next: { of: 'socket' | 'message'; event: string } | undefined
    let thrown = 0
    const arm = (emitter: EventEmitter, event: string) =>
      emitter.on(event, () => {
        thrown += 1
        thrower()
      })
    app.server.on('connection', (socket: Socket) => {
      if (next?.of === 'socket') arm(socket, next.event)
    })
    app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      if (next?.of !== 'message') return
      arm(request, next.event)
      arm(response, next.event)
    })

    const requests = [
      'GET / HTTP/1.1\r\nHost: g\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
      'X\r\n\r\n',
      '',
    ]
    const ends: ((socket: Socket) => void)[] = [
      (socket) => socket.resume(),
      (socket) => socket.once('data', () => socket.resetAndDestroy()).resume(),
      (socket) => socket.end(),
    ]
    for (const of of ['socket', 'message'] as const)
      for (const event of of === 'socket' ? socketEvents : messageEvents) {
        next = { of, event }
        await Promise.all(
          requests.flatMap((bytes) =>
            ends.map(async (end) => {
              const socket = connect(port, '127.0.0.1').on('error', () => {})
              await once(socket, 'connect')
              socket.write(bytes)
              end(socket)
              const late = setTimeout(() => socket.resetAndDestroy(), 250)
              await new Promise((resolve) => socket.once('close', resolve))
              clearTimeout(late)
            }),
          ),
        )
        next = undefined
        const response = await fetch(`http://127.0.0.1:${port}/`)
        t.equal((await response.arrayBuffer()).byteLength, 2_000_000, `after ${event} of a ${of} others are served`)
      }
    t.ok(thrown > 30, `${thrown} were thrown`)
    const metrics = await register.metrics()
    t.ok(Number(/^sallyport_contained_errors_total (\d+)$/m.exec(metrics)?.[1]) >= thrown)
    t.match(log.join(), /"event":"connection_ended".*thrown/)
  })
