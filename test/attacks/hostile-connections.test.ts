import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type EdgeProcess, exchange, listen, startGateway, Upstream } from '../support/edge.ts'
import { eventually } from '../support/system.ts'

const get = (path: string, ...lines: string[]) => `GET ${path} HTTP/1.1\r\nHost: g\r\n${lines.join('')}\r\n`
const upgradeTo = (protocol: string, path = '/', method = 'GET', body = '') =>
  `${method} ${path} HTTP/1.1\r\nHost: g\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n${body === '' ? '' : `Content-Length: ${body.length}\r\n`}\r\n${body}`
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))

/** A service that responds late under /slow, and never ends under /events. */
async function serve(t: Test) {
  const api = await new Upstream().serve(t)
  const open = new Set<IncomingMessage>()
  api.respond = (request: IncomingMessage, response: ServerResponse) => {
    open.add(request)
    response.on('close', () => open.delete(request))
    const { url = '' } = request
    if (url.startsWith('/events')) response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    else if (url.startsWith('/large')) response.end('x'.repeat(4_000_000))
    else setTimeout(() => response.end(url), url.startsWith('/slow') ? 300 : 0)
  }
  return { api, open }
}

function residentMemory({ process: { child } }: EdgeProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024
}

for (const path of ['on', 'off'])
  t.test(`no connection harms another (HTTP1_FAST_PATH=${path})`, async (t) => {
    const { api, open } = await serve(t)
    const late: string[] = []
    /** Begins to respond at once, and to read after a while. */
    const lateReader = createServer((request, response) => {
      late.push(request.url as string)
      open.add(request)
      response.on('close', () => open.delete(request))
      if (request.url === '/late/events')
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      else request.on('end', () => response.end('read'))
      setTimeout(() => request.resume(), 100)
    })
    const edge = await startGateway(
      t,
      [
        { prefix: '/', upstreams: [api.url], access: 'public' },
        { prefix: '/live', upstreams: [api.url], access: 'public', websocket: true },
        { prefix: '/late', upstreams: [await listen(t, lateReader)], access: 'public' },
      ],
      { HTTP1_FAST_PATH: path, IDLE_TIMEOUT: '1s', BODY_TIMEOUT: '1s', BODIES_PER_CLIENT: '20' },
    )
    const { port, gateway } = edge
    const lives = async (t: Test) => t.equal((await fetch(`${gateway}/lives`)).status, 200, 'the gateway lives')
    const opened = (t: Test) => {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      t.teardown(() => socket.destroy())
      return socket
    }

    await t.test('an upgrade behind a pending request waits, or closes the connection', async (t) => {
      const before = {
        'two that are malformed': 'X\r\n\r\nX\r\n\r\n',
        'one that is malformed': 'X',
        'a request': get('/slow'),
        'an HTTP/1.0 request': 'GET /slow HTTP/1.0\r\nHost: g\r\nConnection: keep-alive\r\n\r\n',
        'a preflight':
          'OPTIONS / HTTP/1.1\r\nHost: g\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n\r\n',
        'a refused path': get('/a//b'),
        'an unfinished body': 'POST /slow HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\n1',
        'an upgrade': upgradeTo('h2c', '/slow'),
      }
      const after = {
        h2c: upgradeTo('h2c'),
        'a WebSocket': upgradeTo('websocket', '/live'),
        'a WebSocket that has no route': upgradeTo('websocket'),
        CONNECT: 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
      }
      await Promise.all(
        Object.entries(before).flatMap(([first, sent]) =>
          Object.entries(after).map(async ([then, following]) => {
            const response = await exchange(port, sent + following, 1_500)
            const all = statuses(response)
            if (sent.includes('/slow') && !first.includes('unfinished'))
              t.equal(all[0], 200, `${first}, then ${then}: ${all}`)
            // In the same packet, and in a second one that comes while the first is being served.
            const socket = opened(t)
            socket.write(sent)
            await sleep(20)
            socket.write(following)
            await sleep(20)
            socket.resetAndDestroy()
          }),
        ),
      )
      await lives(t)
    })

    await t.test('a connection that is reset while its response is written ends alone', async (t) => {
      for (const bytes of [`${get('/large')}x`, get('/large'), `${get('/large')}CONNECT a:1 HTTP/1.1\r\n\r\n`]) {
        const socket = opened(t)
        socket.write(bytes)
        await once(socket, 'data')
        socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')
        await sleep(10)
        socket.resetAndDestroy()
      }
      for (let at = 0; at < 20; at++)
        opened(t).on('connect', function reset(this: Socket) {
          this.resetAndDestroy()
        })
      await lives(t)
    })

    await t.test('an upgrade that is not taken is ignored', async (t) => {
      const response = await exchange(port, upgradeTo('h2c', '/h2c', 'POST', 'a body') + get('/next'), 500)
      t.strictSame(statuses(response), [200, 200])
      t.equal(api.of('/h2c')[0]?.body, 'a body')
      t.notOk(api.of('/h2c')[0]?.headers.upgrade)
      t.notOk(api.of('/h2c')[0]?.headers['http2-settings'])
      t.match(await exchange(port, upgradeTo('TLS/1.0, h2c', '/tls'), 500), /200 OK[\s\S]*\/tls/)
    })

    await t.test('CONNECT is refused', async (t) => {
      t.strictSame(statuses(await exchange(port, 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 3_000)), [405])
    })

    await t.test('requests of one connection reach the service one after another', async (t) => {
      const post = (at: number) => `POST /slow/${at} HTTP/1.1\r\nHost: g\r\nTE: trailers\r\nContent-Length: 1\r\n\r\n1`
      let most = 0
      const watch = setInterval(() => {
        most = Math.max(most, open.size)
      }, 5)
      const response = await exchange(
        port,
        [get('/first'), post(1), post(2), get('/slow/3'), post(4)].join(''),
        900 * 2,
      )
      clearInterval(watch)
      t.equal(most, 1)
      t.strictSame(response.match(/\/(first|slow\/\d)/g), ['/first', '/slow/1', '/slow/2', '/slow/3', '/slow/4'])
    })

    await t.test('what has not begun ends with its connection', async (t) => {
      for (const [name, end] of Object.entries({
        reset: (socket: Socket) => socket.resetAndDestroy(),
        fin: (socket: Socket) => socket.end(),
      })) {
        const socket = opened(t)
        socket.write(get(`/slow/before/${name}`) + get(`/events/${name}`))
        await eventually('the first is under way', () => api.of(`/slow/before/${name}`).length === 1)
        end(socket)
        await eventually('nothing is open', () => open.size === 0)
        await sleep(50)
        t.strictSame(api.of(`/events/${name}`), [], name)
      }
    })

    await t.test('a stream ends also where more waits behind it than is read', async (t) => {
      for (const [name, more] of Object.entries({
        body: `POST /behind-stream HTTP/1.1\r\nHost: g\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`,
        requests: get('/behind-stream', `x: ${'y'.repeat(8_000)}\r\n`).repeat(20),
        upgrade: upgradeTo('websocket', '/live') + 'x'.repeat(200_000),
        'what is not read': get('/more'),
        'what is malformed': 'X\r\n\r\n',
        'half a head': 'GET /half HTTP/1.1\r\n',
        'half a body': 'POST /half HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\nxx',
      })) {
        const socket = opened(t)
        socket.write(
          get(`/events/${encodeURIComponent(name)}`, name === 'what is not read' ? 'Connection: close\r\n' : '') + more,
        )
        await eventually('the stream is open', () => open.size === 1)
        socket.end()
        await eventually(`nothing is open behind ${name}`, () => open.size === 0)
      }
    })

    await t.test('an upgrade waits for a slow reader of what comes before it', async (t) => {
      for (const [kind, upgrade] of Object.entries({
        taken: upgradeTo('h2c', '/taken'),
        opened: upgradeTo('websocket', '/live'),
      })) {
        const socket = opened(t)
        let heard = ''
        const before = api.of('/large').length
        socket.pause().write(get('/large') + upgrade)
        await eventually('the service responds', () => api.of('/large').length > before)
        await sleep(100)
        socket.on('data', (chunk) => {
          heard += chunk
        })
        socket.resume()
        await eventually(`${kind}: all of it comes`, () => statuses(heard).length === 2)
        t.ok(heard.length > 4_000_000)
      }
    })

    await t.test('what waits behind a body for which reading had stopped is read, and its end seen', async (t) => {
      const post = (path: string, chunks: number) =>
        `POST ${path} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n${`4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(chunks)}0\r\n\r\n`
      for (const chunks of [3, 7, 11, 30]) {
        const socket = opened(t)
        late.length = 0
        socket.write(post('/late/events', chunks) + upgradeTo('websocket', '/live'))
        await eventually('the stream is open', () => late.length === 1)
        socket.end()
        await eventually(`nothing is open behind ${chunks} chunks`, () => open.size === 0)
      }
      for (const [name, following] of Object.entries({
        h2c: upgradeTo('h2c', '/taken'),
        request: get('/taken'),
      })) {
        const socket = opened(t)
        let heard = ''
        socket.on('data', (chunk) => {
          heard += chunk
        })
        socket.write(post(`/late/${name}`, 7) + following)
        await eventually(`${name}: both have a response`, () => statuses(heard).length === 2)
        socket.write(get('/later'))
        await eventually(`${name}: so is what comes later`, () => heard.includes('/later'))
        t.strictSame(statuses(heard), [200, 200, 200], name)
      }
    })

    await t.test('nothing after a refused message is read', async (t) => {
      const refused = {
        'two hosts': 'GET /a HTTP/1.1\r\nHost: g\r\nHost: h\r\n\r\n',
        'no version': 'GET /a\r\nHost: g\r\n\r\n',
        'no host': 'GET /a HTTP/1.1\r\n\r\n',
        'two codings': 'POST /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
        'chunks before HTTP/1.1': 'POST /a HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        '201 header lines': get('/a', ...Array.from({ length: 200 }, (_, at) => `x-${at}: 1\r\n`)),
        'an expectation': get('/a', 'Expect: x\r\n'),
        'no message': 'X\r\n\r\n',
      }
      for (const [what, bytes] of Object.entries(refused))
        for (const before of ['', get('/before'), get('/slow')]) {
          const response = await exchange(
            port,
            `${before}${bytes}POST /behind/${encodeURIComponent(what)}/${before.length} HTTP/1.1\r\nHost: g\r\n\r\n`,
            3_000,
          )
          const all = statuses(response)
          t.equal(all.length, before === '' ? 1 : 2, `${what}: ${all}`)
          t.match(String(all.at(-1)), what === 'an expectation' ? /417/ : /4(00|31)/, what)
        }
      const forms = {
        'as a preflight': (bytes: string) =>
          bytes
            .replace(/^(GET|POST) /, 'OPTIONS ')
            .replace('\r\n', '\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n'),
        'for a path that cannot be read': (bytes: string) => bytes.replace('/a', '/%zz'),
        'by a method that is not allowed': (bytes: string) => bytes.replace(/^(GET|POST) /, 'PURGE '),
      }
      for (const [form, of] of Object.entries(forms))
        for (const [what, bytes] of Object.entries(refused)) {
          const all = statuses(
            await exchange(
              port,
              `${of(bytes)}GET /behind/${encodeURIComponent(what)} HTTP/1.1\r\nHost: g\r\n\r\n`,
              3_000,
            ),
          )
          t.equal(all.length, 1, `${what}, ${form}: ${all}`)
          t.match(String(all[0]), what === 'an expectation' ? /417/ : /4(00|31)/, `${what}, ${form}`)
        }
      t.strictSame(
        api.requests.map(({ url }) => url).filter((url) => url.startsWith('/behind')),
        [],
      )
    })

    await t.test('a body that turns out to be malformed is refused in its turn', async (t) => {
      const bad = 'POST /bad HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n'
      t.strictSame(statuses(await exchange(port, get('/slow/first', 'TE: trailers\r\n') + bad, 3_000)), [200, 400])
      t.strictSame(api.of('/bad'), [])
      const head = await exchange(port, bad.replace('POST', 'HEAD'), 3_000)
      t.match(head, /^HTTP\/1.1 400 [\s\S]*\r\n\r\n$/, 'of a HEAD without a body')
      // Rejected before its body was seen, to a client that has not read what came before.
      const socket = opened(t)
      let heard = ''
      const before = api.of('/large').length
      socket.pause().write(`${get('/large')}${bad.replace('chunked', 'gzip, chunked')}`)
      await eventually('the service responds', () => api.of('/large').length > before)
      await sleep(100)
      socket.on('data', (chunk) => {
        heard += chunk
      })
      socket.resume()
      await once(socket, 'end')
      t.strictSame(statuses(heard), [200, 400])
      t.match(heard, /"code":"MESSAGE_(AMBIGUOUS|MALFORMED)".*\}$/, 'the problem comes whole')
    })

    await t.test('what follows a request that was to be the last takes nothing from its response', async (t) => {
      const response = await exchange(port, get('/slow/last', 'Connection: close\r\n') + get('/more'), 3_000)
      t.match(response, /^HTTP\/1\.1 200 OK[\s\S]*\/slow\/last$/)
      t.strictSame(api.of('/more'), [])
    })

    await t.test('a body that stops in the middle of a chunk line is 408', async (t) => {
      for (const rest of ['5', '5\r\nab', ''])
        t.match(
          await exchange(port, `POST /chunk HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n${rest}`, 8_000),
          /^HTTP\/1\.1 408 /,
        )
    })

    await t.test('a body that comes too slowly in all is 408, and nobody waits for it', async (t) => {
      const socket = opened(t)
      socket.write('POST /slowly HTTP/1.1\r\nHost: g\r\nContent-Length: 1000\r\n\r\n')
      const drip = setInterval(() => socket.write('x'), 300)
      const [response] = await once(socket, 'data')
      clearInterval(drip)
      t.match(String(response), /^HTTP\/1\.1 408 /)
      t.strictSame(api.of('/slowly'), [])
    })

    await t.test('a client sends so many bodies at once, and others wait for none of them', async (t) => {
      const bodies = await Promise.all(
        Array.from({ length: 30 }, () =>
          exchange(port, 'POST /many HTTP/1.1\r\nHost: g\r\nContent-Length: 100000\r\n\r\nx', 8_000),
        ),
      )
      const all = bodies.flatMap(statuses)
      t.equal(all.filter((status) => status === 429).length, 10, String(all))
      t.equal((await fetch(`${gateway}/after`, { method: 'POST', body: 'x' })).status, 200)
    })

    await t.test('responses that nobody reads take no memory, and end', async (t) => {
      const before = residentMemory(edge)
      const many = get('/large').repeat(200)
      const sockets = Array.from({ length: 20 }, () => {
        const socket = opened(t)
        socket.pause()
        socket.write(many)
        return socket
      })
      await sleep(1_000)
      const grown = residentMemory(edge) - before
      t.ok(grown < 150, `${grown} MiB more`)
      await eventually('the gateway ends them', () => open.size === 0, 10_000)
      for (const socket of sockets) socket.destroy()
      await lives(t)
    })

    await t.test('a flood of requests on one connection ends that connection', async (t) => {
      const socket = opened(t)
      socket.resume()
      socket.write(get('/slow') + get('/x', 'TE: trailers\r\n').repeat(2_000))
      await eventually('it is closed', () => socket.closed)
      await lives(t)
    })
  })
