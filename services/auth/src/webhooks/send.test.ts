import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { createOutbound } from '../outbound.ts'
import { createSender } from './send.ts'

const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD']
const message = { id: 'msg', type: 'user.created', at: new Date('2026-11-30T12:00:00Z'), data: { name: 'Zoë 🤖' } }

/** A receiver, and what sends to it. */
async function serve(t: Test, respond: RequestListener) {
  const state = { requests: 0, closed: 0 }
  const server = http.createServer((request, response) => {
    state.requests++
    response.on('close', () => state.closed++)
    respond(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const sender = createSender(createOutbound([origin], 'WEBHOOK_ORIGINS'))
  const send = (within?: number, some = secrets) =>
    sender.send({ url: `${origin}/hook`, secrets: some }, message, within)
  return Object.assign(state, { origin, sender, send })
}

t.test('a delivery is what Standard Webhooks verifies, by each of its secrets', async (t) => {
  let seen: { body: string; headers: Record<string, string>; method: string | undefined } | undefined
  const { send } = await serve(t, async (request, response) => {
    seen = { body: await text(request), headers: request.headers as Record<string, string>, method: request.method }
    response.end()
  })
  t.strictSame(await send(), { status: 200, error: null })
  const { body, headers, method } = seen as NonNullable<typeof seen>
  t.equal(method, 'POST')
  const content = { type: 'user.created', timestamp: '2026-11-30T12:00:00.000Z', data: { name: 'Zoë 🤖' } }
  for (const secret of secrets) t.strictSame(new Webhook(secret).verify(body, headers), content)
  t.equal(headers['webhook-id'], 'msg')
  t.match(headers['webhook-signature'], /^v1,[\w+/]{43}= v1,[\w+/]{43}=$/)
  t.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000) < 10, 'the time of the attempt')
  t.equal(headers['content-type'], 'application/json')
  t.throws(() => new Webhook('whsec_AAAA').verify(body, headers))
  t.throws(() => new Webhook(secrets[0] as string).verify(`${body} `, headers))
})

t.test('2xx is a delivery, and nothing else', async (t) => {
  let status = 0
  const { send, requests, origin } = await serve(t, (_, response) =>
    response.writeHead(status, { location: `${origin}/other`, 'retry-after': '7' }).end(),
  )
  t.equal(requests, 0)
  for (status of [200, 201, 202, 204, 299]) t.strictSame(await send(), { status, error: null })
  for (status of [300, 400, 401, 404, 410, 500, 502])
    t.strictSame(await send(), { status, error: 'STATUS', pause: undefined }, String(status))
  for (status of [429, 503]) t.strictSame(await send(), { status, error: 'STATUS', pause: 7 })
})

t.test('a redirect is not followed', async (t) => {
  let status = 0
  const receiver = await serve(t, (_, response) => response.writeHead(status, { location: '/other' }).end())
  for (status of [301, 302, 303, 307, 308]) t.match(await receiver.send(), { status, error: 'STATUS' })
  t.equal(receiver.requests, 5)
})

t.test('of a response as much is read as may be, and its status counts', async (t) => {
  const receiver = await serve(t, (_, response) => {
    response.writeHead(200)
    const more = () => response.write('x'.repeat(60_000)) && setImmediate(more)
    response.on('drain', more).on('error', () => {})
    more()
  })
  t.strictSame(await receiver.send(), { status: 200, error: null })
  t.equal(receiver.requests, 1)
})

t.test('a receiver that is slow, or goes on and on, has so much time in all', async (t) => {
  const silent = await serve(t, () => {})
  t.strictSame(await silent.send(50), { status: null, error: 'TIMEOUT' })
  const drips = await serve(t, (_, response) => {
    const more = setInterval(() => response.write('.'), 5)
    response.on('close', () => clearInterval(more))
  })
  const begun = performance.now()
  t.match(await drips.send(300), { status: 200, error: null }, 'it has said that it has it')
  t.ok(performance.now() - begun >= 290)
})

t.test('what cannot be reached says why', async (t) => {
  const sender = createSender(createOutbound([], 'WEBHOOK_ORIGINS'))
  const send = (url: string) => sender.send({ url, secrets }, message)
  t.match(await send('https://127.0.0.1:1024/'), { status: null, error: /its address is one inside/ })
  t.match(await send('http://example.com/'), { status: null, error: /over https/ })
  const gone = await serve(t, (request) => request.socket.destroy())
  t.match(await gone.send(), { status: null, error: 'ECONNRESET' })
  t.strictSame(await gone.send(50, []), { status: null, error: 'SECRET_UNREADABLE' })
  t.equal(gone.requests, 1, 'without a secret nothing is sent')
})

t.test('attempts end when the process does', async (t) => {
  const { send, sender } = await serve(t, () => sender.stop())
  t.strictSame(await send(), { status: null, error: 'STOPPED' })
})
