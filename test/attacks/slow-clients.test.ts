import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { exchange, openGateway, Upstream } from '../support/edge.ts'
import { eventually } from '../support/system.ts'

t.test('slow clients', async (t) => {
  t.jobs = 8
  const together = { buffered: true }
  const api = await new Upstream().serve(t)
  // More than all buffers on the way hold, for a service that takes nothing for five seconds.
  const much = 'x'.repeat(8 * 1024 * 1024)
  const busy = createServer((socket) => {
    let size = 0
    socket.on('error', () => {})
    setTimeout(() => {
      socket.on('data', (chunk) => {
        size += chunk.length
        if (size > much.length) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
      })
    }, 5_000)
  }).listen(0, '127.0.0.1')
  t.teardown(() => busy.close())
  await once(busy, 'listening')
  const { gateway, port } = await openGateway(
    t,
    [
      { prefix: '/', upstreams: [api.url], access: 'public' },
      {
        prefix: '/busy',
        upstreams: [`http://127.0.0.1:${(busy.address() as AddressInfo).port}`],
        access: 'public',
      },
      { prefix: '/closed', upstreams: [api.url], access: 'authenticated' },
    ],
    // Shorter than by default, for nothing else is waited for here.
    { LOG_LEVEL: 'warn', HEADERS_TIMEOUT: '2s', BODY_TIMEOUT: '4s' },
  )
  /** What comes back, and after how many seconds the gateway closes the connection. */
  async function timed(bytes: string) {
    const begun = performance.now()
    const response = await exchange(port, bytes, 30_000)
    return { response, seconds: (performance.now() - begun) / 1000 }
  }
  const post = (path: string, body: string) => `POST ${path} HTTP/1.1\r\nHost: g\r\n${body}`
  const isTimeout = (t: Test, response: string) => {
    for (const part of [/^HTTP\/1\.1 408 /, /content-type: application\/problem\+json/, /connection: close/i])
      t.match(response, part)
    t.match(JSON.parse(response.slice(response.indexOf('\r\n\r\n'))), { code: 'REQUEST_TIMEOUT', status: 408 })
  }

  // They wait side by side.
  await Promise.all([
    t.test('a header has HEADERS_TIMEOUT', together, async (t) => {
      for (const { response, seconds } of await Promise.all([
        timed('GET / HTTP/1.1\r\nHost: g\r\nX-Slow'),
        timed('G'),
        timed('GET / HTTP/1.1\r\nHost: g\r\n\r\nGET / HTTP/1.1\r\n'),
      ])) {
        isTimeout(t, response.slice(response.lastIndexOf('HTTP/1.1 ')))
        t.ok(seconds >= 1.9 && seconds < 7, `${seconds} s`)
      }
    }),

    t.test(
      'a connection on which nothing comes ends after HEADERS_TIMEOUT, without a response',
      together,
      async (t) => {
        const { response, seconds } = await timed('')
        t.equal(response, '')
        t.ok(seconds >= 1.9 && seconds < 7, `${seconds} s`)
      },
    ),

    t.test('a header that comes byte by byte has no more', together, async (t) => {
      const socket = connect(port, '127.0.0.1')
      let response = ''
      socket
        .on('error', () => {})
        .on('data', (chunk) => {
          response += chunk
        })
      const begun = performance.now()
      const drip = setInterval(() => socket.write('x'), 200)
      socket.write('GET /slow HTTP/1.1\r\nHost: g\r\nX-Slow: ')
      await once(socket, 'close')
      clearInterval(drip)
      isTimeout(t, response)
      t.ok(performance.now() - begun < 7_000)
    }),

    t.test('a body that stops coming is 408 after BODY_TIMEOUT', together, async (t) => {
      for (const { response, seconds } of await Promise.all([
        timed(post('/silent', 'Content-Length: 100\r\n\r\n')),
        timed(post('/begun', 'Content-Length: 100\r\n\r\nfew')),
        timed(post('/chunked', 'Transfer-Encoding: chunked\r\n\r\n3\r\nfew\r\n')),
      ])) {
        isTimeout(t, response)
        t.ok(seconds >= 3.9 && seconds < 9, `${seconds} s`)
      }
      t.strictSame(
        api.requests.filter(({ url }) => /silent|begun|chunked/.test(url)),
        [],
        'half a body is no request',
      )
    }),

    t.test('a body that goes on slowly is waited for', together, async (t) => {
      const socket = connect(port, '127.0.0.1')
      const response = once(socket, 'data')
      socket.write(post('/steady', 'Content-Length: 4\r\n\r\n'))
      for (const byte of 'slow') {
        await sleep(1_500)
        socket.write(byte)
      }
      t.match(String((await response)[0]), /^HTTP\/1\.1 200/)
      t.equal(api.of('/steady')[0]?.body, 'slow')
      socket.destroy()
    }),

    t.test('a body that waits because the upstream is slow is no slow client’s', together, async (t) => {
      const { response, seconds } = await timed(
        post('/busy', `Content-Length: ${much.length}\r\nConnection: close\r\n\r\n${much}`),
      )
      t.match(response, /^HTTP\/1\.1 200/)
      t.ok(seconds > 4)
    }),

    t.test('a body that nobody wants is not waited for either', together, async (t) => {
      const { response, seconds } = await timed(post('/closed', 'Content-Length: 100\r\n\r\nfew'))
      t.match(response, /^HTTP\/1\.1 401 /)
      t.equal(response.match(/HTTP\/1\.1/g)?.length, 1)
      t.ok(seconds >= 4 && seconds < 9, `${seconds} s`)
    }),
  ])

  await t.test('a thousand idle sockets and half requests leave an honest client its responses', async (t) => {
    const idle: Socket[] = Array.from({ length: 1_000 }, (_, at) => {
      const socket = connect(port, '127.0.0.1')
        .on('error', () => {})
        .resume()
      if (at % 2) socket.write('GET / HTTP/1.1\r\nHost: g\r\n')
      return socket
    })
    t.teardown(() => {
      for (const socket of idle) socket.destroy()
    })
    await Promise.all(idle.map((socket) => once(socket, 'connect')))
    const responses = await Promise.all(Array.from({ length: 50 }, () => fetch(`${gateway}/honest`)))
    t.ok(responses.every(({ status }) => status === 200))
    await eventually('they are gone', () => idle.every(({ closed }) => closed), 15_000)
  })
})
