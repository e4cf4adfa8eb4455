import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { type Edge, exchange, listen, openGateway, talk, Upstream } from '../support/edge.ts'
import { eventually } from '../support/system.ts'

/** A line that takes a request off the fast path, and that no service gets to see. */
const slowPath = 'TE: trailers\r\n'

/** Without what differs from one request to the next, or is another way to write the same. */
function comparable(response: string): string[] {
  const [head = '', ...body] = response.split('\r\n\r\n')
  const lines = head
    .split('\r\n')
    .map((line) => line.replace(/^[^:]+:/, (name) => name.toLowerCase()))
    .map((line) => line.replace(/^(date|x-request-id|ratelimit): .*/, '$1'))
  return [...lines.sort(), body.join('\r\n\r\n')]
}

const seen = ({ rawHeaders }: { rawHeaders: string[] }) =>
  rawHeaders.flatMap((name, at) =>
    at % 2 === 0
      ? [`${name}: ${/^(x-request-id|traceparent|x-identity-token)$/.test(name) ? '' : rawHeaders[at + 1]}`]
      : [],
  )

const handlers: Record<string, (response: ServerResponse, request: IncomingMessage) => void> = {
  json: (response) => response.setHeader('content-type', 'application/json').end('{"ok":true}'),
  empty: (response) => response.end(),
  none: (response) => response.writeHead(204).end(),
  unchanged: (response) => response.writeHead(304, { etag: '"a"' }).end(),
  odd: (response) =>
    response.writeHead(299, 'Something Else', { 'x-powered-by': 'y', connection: 'x-hop', 'x-hop': 'z' }).end('odd'),
  undated: (response) => {
    response.sendDate = false
    response.end('undated')
  },
  chunks: (response) => {
    response.write('one')
    response.write('two')
    response.end('three')
  },
  trailers: (response, { method }) => {
    if (method === 'HEAD') return void response.end()
    response.setHeader('trailer', 'x-sum')
    response.write('body')
    response.addTrailers({ 'x-sum': '42', connection: 'x' })
    response.end()
  },
  large: (response) => response.setHeader('content-length', 300_000).end('x'.repeat(300_000)),
  events: (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    setTimeout(() => response.end('data: late\n\n'), 50)
  },
  error: (response) => response.writeHead(500).end('oh'),
  limited: (response) => response.end(),
  bytes: (response) => {
    response.setHeader('content-disposition', 'filename="é"').flushHeaders()
    setTimeout(() => response.end('late'), 50)
  },
  cookies: (response) => response.setHeader('set-cookie', ['a=1', 'b=2']).end('c'),
}

t.test('both paths through the gateway do the same', async (t) => {
  const api = await new Upstream().serve(t)
  api.respond = (request, response) => handlers[(request.url as string).slice(1)]?.(response, request)
  const routes = [
    { prefix: '/', upstreams: [api.url], access: 'optional' },
    { prefix: '/doctors', upstreams: [api.url], access: 'authenticated', roles: ['doctor'] },
    { prefix: '/admins', upstreams: [api.url], access: 'authenticated', roles: ['admin'] },
    { prefix: '/payouts', upstreams: [api.url], access: 'authenticated', acr: 'aal2', maxAge: '5m' },
    { prefix: '/nobody', upstreams: ['http://127.0.0.1:1'], access: 'public' },
    { prefix: '/limited-body', upstreams: [api.url], access: 'public', bodyLimit: 7 },
    { prefix: '/limited', upstreams: [api.url], access: 'public', rateLimit: 1 },
  ]
  const edges = {
    'to a client': await openGateway(t, routes, { HTTP1_FAST_PATH: 'on' }),
    'behind a proxy': await openGateway(t, routes, { HTTP1_FAST_PATH: 'on', TRUSTED_PROXIES: '127.0.0.1' }),
  }
  async function compare(t: Test, { port }: Edge, start: string, lines: string, body = '') {
    const length = body ? `Content-Length: ${body.length}\r\n` : ''
    const marker = 'GET /json HTTP/1.1\r\nHost: last\r\n\r\n'
    const [fast, slow] = await Promise.all(
      ['', slowPath].map((line) =>
        // One more request on the same connection shows where the response before it ended.
        talk(t, port, [
          `${start} HTTP/1.1\r\nHost: g\r\n${lines}${length}${line}\r\n${body}${marker}`,
          /HTTP\/1\.1 [\s\S]*HTTP\/1\.1 [\s\S]*\{"ok":true\}/,
        ]),
      ),
    )
    const [first, second] = [fast, slow].map((heard) => (heard as string).split(/(?=HTTP\/1\.1 )/))
    t.equal(first?.length, 2)
    t.strictSame(comparable(first?.[0] as string), comparable(second?.[0] as string))
  }

  for (const [name, edge] of Object.entries(edges)) {
    const token = `Authorization: Bearer ${edge.issuer.token()}\r\n`
    t.test(`responses ${name}`, async (t) => {
      for (const path of Object.keys(handlers))
        if (path !== 'json' && path !== 'limited')
          for (const method of ['GET', 'HEAD', 'POST'])
            await t.test(`${method} ${path}`, (t) => compare(t, edge, `${method} /${path}`, ''))
    })

    t.test(`what goes upstream, ${name}`, async (t) => {
      const odd = `${token}Cookie: a=b; refreshToken=c\r\nX-User-Id: 1\r\nx_user_id: 2\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: https\r\nVia: 1.1 p\r\nX-Request-Id: mine\r\nX-Own:  v \r\n`
      for (const [start, lines, body] of [
        ['GET /empty', '', ''],
        ['GET /empty', odd, ''],
        ['DELETE /empty', token, ''],
        ['PUT /empty', odd, '{"a":"\xff"}'],
        ['POST /empty', '', 'x'.repeat(20_000)],
        ['OPTIONS /empty', 'Origin: https://app.test\r\n', ''],
      ] as [string, string, string][]) {
        api.requests.length = 0
        await compare(t, edge, start, lines, body)
        const [first, second] = api.requests.filter(({ url }) => url === '/empty')
        t.strictSame(seen(first as never).sort(), seen(second as never).sort(), `${start} ${lines.slice(0, 20)}`)
        t.equal(first?.body, second?.body)
        t.equal(first?.method, second?.method)
      }
    })

    t.test(`rejections ${name}`, async (t) => {
      for (const [start, lines, body] of [
        ['GET /doctors', ''],
        ['HEAD /doctors', ''],
        ['GET /doctors', 'Authorization: Basic x\r\n'],
        ['GET /doctors', 'Authorization: Bearer x\r\n'],
        ['GET /doctors', 'Authorization: Bearer a b\r\n'],
        ['GET /doctors', 'Authorization: Bearer \r\n'],
        ['GET /doctors?access_token=x', ''],
        ['GET /admins', token],
        ['GET /payouts', token],
        ['POST /payouts', token, 'body'],
        ['GET /nobody', ''],
        ['POST /nobody', ''],
        ['GET /metrics', ''],
        ['POST /limited-body', '', 'too much'],
        ['GET /a//b', ''],
        ['GET /a%2Fb', ''],
      ] as [string, string, string?][])
        await t.test(`${start} ${lines.slice(0, 30)}`, (t) => compare(t, edge, start, lines, body))
    })

    t.test(`origins ${name}`, async (t) => {
      for (const origin of ['https://app.test', 'https://evil.test', 'null'])
        for (const start of ['GET /chunks', 'POST /error', 'GET /admins', 'OPTIONS /empty'])
          await t.test(`${start} of ${origin}`, (t) => compare(t, edge, start, `Origin: ${origin}\r\n${token}`))
    })
  }

  t.test('a client that says no more within a request is told, whichever path has begun to read it', async (t) => {
    const half = async (text: string) => {
      const socket = connect({ port: edges['to a client'].port, allowHalfOpen: true }).setEncoding('latin1')
      socket.write(text)
      // So that it is not read at once with the end.
      await new Promise((resolve) => setTimeout(resolve, 20))
      socket.end()
      let heard = ''
      for await (const chunk of socket) heard += chunk
      return comparable(heard)
    }
    const line = 'GET /json HTTP/1.1'
    const byNode = await half(line)
    t.match(byNode.at(-1), '"code":"MESSAGE_MALFORMED"')
    t.strictSame(await half(`${line}\r\nHost: g\r\nX-A`), byNode)
    t.strictSame(await half('POST /json HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\na'), byNode)
  })

  t.test('a request that fails after it was counted is counted once', async (t) => {
    const { port } = edges['to a client']
    const get = 'GET /limited HTTP/1.1\r\nHost: g\r\n'
    const heard = await talk(t, port, [`${get}\r\n${get}\r\n${get}${slowPath}\r\n`, /RATE_LIMITED[\s\S]*RATE_LIMITED/])
    const statuses = [...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status)
    t.strictSame(statuses, ['200', '429', '429'])
  })

  t.test('a response that breaks off upstream breaks off for the client', async (t) => {
    api.respond = (request, response) => {
      if (request.url === '/known') response.setHeader('content-length', 100)
      response.write('half')
      setTimeout(() => response.destroy(), 20)
    }
    for (const path of ['/known', '/unknown'])
      for (const lines of ['', slowPath]) {
        const get = `GET ${path} HTTP/1.1\r\nHost: g\r\n${lines}\r\n`
        t.match(await exchange(edges['to a client'].port, get), /\r\n\r\n(4\r\n)?half(\r\n)?$/)
      }
  })
})

t.test('requests on one connection get their responses in order, whichever path each of them takes', async (t) => {
  const slow = createServer((request, response) =>
    setTimeout(() => response.end(`<${request.url}>`), request.url === '/1' ? 150 : 0),
  )
  const { port } = await openGateway(t, [{ prefix: '/', upstreams: [await listen(t, slow)], access: 'public' }])
  const get = (path: string, lines = '') => `GET ${path} HTTP/1.1\r\nHost: g\r\n${lines}\r\n`
  const bytes = get('/1') + get('/2') + get('/3') + get('/4', slowPath) + get('/5') + get('/6')
  const heard = await talk(t, port, [bytes, /<\/6>/])
  t.strictSame(heard.match(/<\/\d>/g), ['</1>', '</2>', '</3>', '</4>', '</5>', '</6>'])

  // The same, byte by byte.
  const socket = connect(port, '127.0.0.1').setEncoding('latin1').setNoDelay()
  t.teardown(() => socket.destroy())
  let slowly = ''
  socket.on('data', (chunk) => {
    slowly += chunk
  })
  for (const byte of get('/2') + get('/3')) {
    socket.write(byte)
    await new Promise(setImmediate)
  }
  await eventually('both have a response', () => slowly.includes('</3>'))
  t.strictSame(slowly.match(/<\/\d>/g), ['</2>', '</3>'])
})
