import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { startReports } from './reports.ts'

const state = {
  version: '1.2.3',
  streamAge: () => 0 as number | null,
  keys: () => ['a', 'x'.repeat(201), ...Array.from({ length: 60 }, (_, at) => `k${at}`)],
  routesDigest: () => '0123456789abcdef',
}

/** An auth service that answers as it is told, and what it is sent. */
async function listen(t: Test, answer: (response: ServerResponse) => void) {
  const requests: { method: string; path: string; authorization: string | undefined; body: unknown }[] = []
  const server = createServer(async (request: IncomingMessage, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', url: path = '', headers } = request
    requests.push({ method, path, authorization: headers.authorization, body: body && JSON.parse(body) })
    answer(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/internal/replicas`, requests }
}

const timing = { first: 0, every: 10, timeout: 1_000, goodbye: 100 }

/** Starts, and has what it logs. */
function start(url: string | undefined, changes = {}) {
  const log: { level: string; event: string }[] = []
  const logger = createLogger('gateway', 'trace', { write: (line) => log.push(JSON.parse(line)) })
  return { log, stop: startReports({ url, secret: 'hush' }, { ...state, ...changes }, logger, timing) }
}

const until = async (check: () => boolean) => {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test('it reports again and again as one and the same, and says goodbye', async (t) => {
  const { url, requests } = await listen(t, (response) => response.writeHead(204).end())
  const { stop, log } = start(url)
  await until(() => requests.length >= 3)
  await stop()
  const last = requests.at(-1)
  const posts = requests.slice(0, -1)
  const [{ id }] = posts.map(({ body }) => body as { id: string }) as [{ id: string }]
  for (const request of posts)
    t.match(request, {
      method: 'POST',
      path: '/internal/replicas',
      authorization: 'Bearer hush',
      body: { id, version: '1.2.3', uptime: Number, time: Number, streamAge: 0, routesDigest: '0123456789abcdef' },
    })
  const [{ keys }] = posts.map(({ body }) => body as { keys: string[] }) as [{ keys: string[] }]
  t.strictSame(
    [keys.length, keys[0], keys[1]],
    [50, 'a', 'k0'],
    'no more keys than are taken, and none that is too long',
  )
  t.match(last, { method: 'DELETE', path: `/internal/replicas/${id}`, authorization: 'Bearer hush' })
  t.strictSame(log, [])
})

t.test('a stream that was never current is as old as the process, and one that there is not has no age', async (t) => {
  const { url, requests } = await listen(t, (response) => response.writeHead(204).end())
  for (const age of [Number.POSITIVE_INFINITY, null]) {
    const before = requests.length
    const { stop } = start(url, { streamAge: () => age })
    await until(() => requests.length > before)
    const { body } = requests[before] as (typeof requests)[0]
    const { streamAge, uptime } = body as { streamAge: unknown; uptime: number }
    t.equal(streamAge, age && uptime)
    await stop()
  }
})

t.test('while the auth service is away or refuses, it goes on and says so for debugging alone', async (t) => {
  for (const [name, answer] of [
    ['refuses', (response: ServerResponse) => response.writeHead(401).end('{}')],
    ['breaks off', (response: ServerResponse) => response.destroy()],
    [
      'leads elsewhere',
      (response: ServerResponse) => response.writeHead(302, { location: 'http://127.0.0.1:1' }).end(),
    ],
  ] as const) {
    const { url, requests } = await listen(t, answer)
    const { stop, log } = start(url)
    await until(() => requests.length >= 2)
    await stop()
    t.ok(log.length >= 2, name)
    for (const { level, event } of log) t.strictSame({ level, event }, { level: 'debug', event: 'report_failed' }, name)
  }
})

t.test('an auth service that hangs does not keep it from ending', async (t) => {
  const { url, requests } = await listen(t, () => {})
  const { stop } = start(url)
  await until(() => requests.length > 0)
  const begun = performance.now()
  await stop()
  t.ok(performance.now() - begun < 900, 'sooner than a report may take')
})

t.test('without an address nobody is told', async (t) => {
  const { stop, log } = start(undefined)
  await stop()
  t.strictSame(log, [])
})
