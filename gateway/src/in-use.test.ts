import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

const { privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})

/** A line that only Node's server reads, so that both ways through the gateway are taken. */
const ways: Record<string, string> = { 'the fast path': '', "Node's server": 'TE: trailers\r\n' }

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** A gateway on a port of its own, before an upstream that answers as it is told to. */
async function open(t: Test, route: object, settings: Record<string, string> = {}) {
  const behind = { answer: ((_request, response) => response.end('ok')) as Answer, seen: [] as IncomingMessage[] }
  const upstream = createServer((request, response) => {
    behind.seen.push(request)
    behind.answer(request, response)
  })
  upstream.on('upgrade', (request, socket) => {
    behind.seen.push(request)
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const authority = `127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const routes = [{ prefix: '/', access: 'public', upstreams: [`http://${authority}`], ...route }]
  const environment = {
    GATEWAY_ROUTES: join(t.testdir({ 'routes.json': JSON.stringify({ routes }) }), 'routes.json'),
    JWKS_URL: 'http://127.0.0.1:1/jwks.json',
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    IDENTITY_PRIVATE_KEY: privateKey,
    CORS_ORIGINS: 'https://app.test',
    ...settings,
  }
  const log: Record<string, unknown>[] = []
  const logger = createLogger('gateway', 'info', { write: (line) => log.push(JSON.parse(line)) })
  const { app } = await buildApp(readConfig(environment), environment, logger)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => {
    upstream.closeAllConnections()
    upstream.close()
    await app.close()
  })
  const { port } = app.server.address() as AddressInfo
  /** Sends a request and what comes of it up to the end of its connection. */
  const send = async (start: string, lines = '', body = '') => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    socket.on('error', () => {})
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk
      // Kept open by whoever answers: what has come is looked at, not waited for.
      if (/\r\n\r\n/.test(heard) && isWhole(heard, start)) socket.destroy()
    })
    socket.write(`${start} HTTP/1.1\r\nHost: shop.test:81\r\n${lines}\r\n${body}`, 'latin1')
    await once(socket, 'close')
    return heard
  }
  return { behind, send, log, authority }
}

/** Whether an answer has come to its end, as far as its head tells. */
function isWhole(heard: string, start: string): boolean {
  const [head = '', ...rest] = heard.split('\r\n\r\n')
  const length = /content-length: (\d+)/i.exec(head)?.[1]
  if (start.startsWith('HEAD') || /^HTTP\/1\.1 (101|204|304)/.test(head)) return true
  if (length !== undefined) return rest.join('\r\n\r\n').length >= Number(length)
  return heard.endsWith('0\r\n\r\n')
}

t.test('a route that rewrites sends on another path than the one it was matched by', async (t) => {
  const { behind, send, authority } = await open(t, { prefix: '/api/billing', stripPrefix: true, websocket: true })
  for (const [way, line] of Object.entries(ways)) {
    for (const [path, expected] of Object.entries({
      '/api/billing': '/',
      '/api/billing/': '/',
      '/api/billing/%75sers?a=/../b': '/users?a=/../b',
    })) {
      t.match(await send(`GET ${path}`, line), /^HTTP\/1\.1 200/, `${path} by ${way}`)
      t.equal(behind.seen.at(-1)?.url, expected)
      t.match(behind.seen.at(-1)?.headers, { 'x-forwarded-prefix': '/api/billing', host: authority })
    }
    const before = behind.seen.length
    t.match(await send('GET /api/billing/metrics', line), /^HTTP\/1\.1 404/, `what is internal stays so by ${way}`)
    t.match(await send('GET /api/billingx', line), /^HTTP\/1\.1 404/)
    t.equal(behind.seen.length, before)
    await send('GET /api/billing/x', `X-Forwarded-Prefix: /evil\r\n${line}`)
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-prefix'], '/api/billing', 'whatever the client says')
  }
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  t.match(await send('GET /api/billing/live?a', upgrade), /^HTTP\/1\.1 101/)
  t.match(behind.seen.at(-1), { url: '/live?a', headers: { host: authority, 'x-forwarded-prefix': '/api/billing' } })
})

t.test('a route that preserves the host sends on the client’s, whatever way the request takes', async (t) => {
  const { behind, send } = await open(t, { preserveHost: true, websocket: true }, { TRUSTED_PROXIES: '127.0.0.1' })
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'
  const chunked = 'Transfer-Encoding: chunked\r\n'
  const body = '2\r\nhi\r\n0\r\n\r\n'
  for (const [start, lines, sent] of [
    ['GET /', '', ''],
    ['GET /', ways["Node's server"], ''],
    ['PUT /', chunked, body],
    ['GET /', upgrade, ''],
  ] as [string, string, string][]) {
    await send(start, lines, sent)
    t.equal(behind.seen.at(-1)?.headers.host, 'shop.test:81', start + lines)
    t.equal(behind.seen.at(-1)?.rawHeaders.filter((name) => name.toLowerCase() === 'host').length, 1)
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-prefix'], undefined)
    await send(start, `X-Forwarded-Host: www.test\r\n${lines}`, sent)
    t.equal(behind.seen.at(-1)?.headers.host, 'www.test', 'as the proxy in front tells it')
    await send(start, `X-Forwarded-Host: www.test/evil\r\n${lines}`, sent)
    t.equal(behind.seen.at(-1)?.headers.host, 'shop.test:81', 'if that is a host')
  }
})

t.test('a client is one to every limit, whatever port its proxy writes', async (t) => {
  const { behind, send, log } = await open(t, {}, { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_MAX: '4' })
  for (const [at, line] of Object.values(ways).entries()) {
    const statuses: string[] = []
    for (const from of [1, 2, 3, 4, 5].map((port) => `203.0.113.${at}:4000${port}`))
      statuses.push((await send('GET /', `X-Forwarded-For: ${from}\r\n${line}`)).slice(9, 12))
    t.strictSame(statuses, ['200', '200', '200', '200', '429'])
    t.equal(behind.seen.at(-1)?.headers['x-forwarded-for'], `203.0.113.${at}, 127.0.0.1`, 'services see no port')
    t.strictSame([log.at(-1)?.code, log.at(-1)?.ip], ['RATE_LIMITED', `203.0.113.${at}`], 'nor does the log')
  }
})
