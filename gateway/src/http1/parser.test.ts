import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { parseRequest } from './parser.ts'

const read = (text: string) => parseRequest(Buffer.from(text, 'latin1'))

t.test('an eligible request is parsed', async (t) => {
  t.strictSame(read('POST /a?b HTTP/1.1\r\nHost: g\r\nX-One:  a b  \r\nContent-Length: 3\r\n\r\nabcGET /'), {
    method: 'POST',
    url: '/a?b',
    rawHeaders: ['Host', 'g', 'X-One', 'a b', 'Content-Length', '3'],
    names: ['host', 'x-one', 'content-length'],
    body: 'abc',
    length: 68,
  })
  t.match(read('GET / HTTP/1.1\r\nhost: [::1]:80\r\nconnection: Keep-Alive\r\nempty:\r\n\r\n'), {
    rawHeaders: ['host', '[::1]:80', 'connection', 'Keep-Alive', 'empty', ''],
    body: '',
  })
})

t.test('any other is left to Node’s server', async (t) => {
  const lines = (...more: string[]) => `POST / HTTP/1.1\r\nHost: g\r\n${more.map((line) => `${line}\r\n`).join('')}\r\n`
  for (const text of [
    '',
    'GET / HTTP/1.0\r\nHost: g\r\n\r\n',
    'get / HTTP/1.1\r\nHost: g\r\n\r\n',
    'TRACE / HTTP/1.1\r\nHost: g\r\n\r\n',
    'GET  / HTTP/1.1\r\nHost: g\r\n\r\n',
    'GET a HTTP/1.1\r\nHost: g\r\n\r\n',
    'GET http://g/ HTTP/1.1\r\nHost: g\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n',
    'GET /\x80 HTTP/1.1\r\nHost: g\r\n\r\n',
    '\r\nGET / HTTP/1.1\r\nHost: g\r\n\r\n',
    'GET / HTTP/1.1\nHost: g\n\n',
    'GET / HTTP/1.1\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\na',
    lines('host: g'),
    lines('X-A: 1', 'x-a: 2'),
    lines('X-A : 1'),
    lines('X-A:\t1'),
    lines('Content-Length: 0\t'),
    lines(' X-A: 1'),
    lines('X-A: 1', ' 2'),
    lines('X-A: 1\n2'),
    lines('X-A: 1\r2'),
    lines('X-A: \x00'),
    lines('X-A'),
    lines(': a'),
    lines('Content-Length: 00'),
    lines('Content-Length: +0'),
    lines('Content-Length: 0x0'),
    lines('Content-Length: 99999'),
    lines('Transfer-Encoding: chunked'),
    lines('Expect: 100-continue'),
    lines('Connection: close'),
    lines('Connection: x-user-id'),
    lines('Upgrade: websocket'),
    lines(...Array.from({ length: 100 }, (_, at) => `x-${at}: y`)),
    lines(`x-long: ${'x'.repeat(17_000)}`),
  ])
    t.equal(read(text), 'ineligible', JSON.stringify(text.slice(0, 60)))
})

t.test('what begins an eligible request is told from what begins none', async (t) => {
  const whole = 'POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\nabc'
  const firstLine = whole.indexOf('\r\n') + 2
  for (let length = 0; length < whole.length; length++)
    t.equal(read(whole.slice(0, length)), length < firstLine ? 'ineligible' : 'incomplete', `${length} bytes`)
  t.match(read(whole), { body: 'abc' })
  for (const text of [
    'POST /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n',
    'POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 65537\r\n\r\n',
    'GET /a HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\n',
    `GET /a HTTP/1.1\r\nHost: g\r\na: ${'a'.repeat(17_000)}`,
  ])
    t.equal(read(text), 'ineligible')
})

t.test('whatever is read, Node’s server reads the same', async (t) => {
  const server = createServer({ requireHostHeader: false, connectionsCheckingInterval: 100 })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as { port: number }
  async function asNodeReads(bytes: Buffer) {
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume()
    try {
      const coming = once(server, 'request') as Promise<[IncomingMessage]>
      socket.write(bytes)
      const [request] = await Promise.race([coming, once(socket, 'close').then(() => [undefined])])
      if (!request) return undefined
      let body = ''
      for await (const chunk of request.setEncoding('latin1')) body += chunk
      return { method: request.method, url: request.url, rawHeaders: request.rawHeaders, body }
    } finally {
      socket.destroy()
    }
  }
  // What parsers differ in, sown into requests.
  const odd = fc.constantFrom(
    ...['\r', '\n', '\r\n', ' ', '\t', '\x00', '\x0b', '\x7f', '\x80', '\xff', ':', ',', ';', '_', '"', '0', '-', 'x'],
  )
  const base = fc.constantFrom(
    'GET /a HTTP/1.1\r\nHost: g\r\nX-User-Id: 1\r\nCookie: a=b\r\n\r\n',
    'POST /a?b=c HTTP/1.1\r\nHost: g:80\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc',
  )
  const sown = fc.tuple(base, fc.array(fc.tuple(fc.nat(), fc.nat(1), odd), { maxLength: 2 })).map(([text, changes]) => {
    let changed = text
    for (const [place, cut, what] of changes) {
      const at = place % changed.length
      changed = changed.slice(0, at) + what + changed.slice(at + cut)
    }
    return changed
  })
  let compared = 0
  await fc.assert(
    fc.asyncProperty(sown, async (text) => {
      const parsed = read(text)
      if (typeof parsed === 'string') return
      compared += 1
      const { method, url, rawHeaders, body, length } = parsed
      const node = await asNodeReads(Buffer.from(text.slice(0, length), 'latin1'))
      t.strictSame({ method, url, rawHeaders, body }, node)
    }),
    { numRuns: 2_000 },
  )
  t.ok(compared > 200, `${compared} were eligible`)
})
