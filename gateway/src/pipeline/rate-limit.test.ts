import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import { openRateLimitStore } from '@sallyport/chassis/rate-limit'
import Fastify from 'fastify'
import t from 'tap'
import { openRateLimit, rateLimitHeaders } from './rate-limit.ts'
import type { RequestContext } from './request-context.ts'

/**
 * A store that speaks as much of Redis' protocol as counting takes, so that these tests need no Redis: the test with
 * two gateways (test/gateway/shared-limits.test.ts) has a real one. It can be made to keep silent.
 */
function countingStore() {
  const state = { silent: false, odd: '', counts: new Map<string, number>() }
  const server = createServer((socket: Socket) => {
    socket.setEncoding('utf8').on('error', () => {})
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk
      for (let command = takeCommand(); command; command = takeCommand())
        if (!state.silent) socket.write(respond(command))
    })
    const takeCommand = (): string[] | undefined => {
      const parts = /^\*(\d+)\r\n/.exec(received)
      if (!parts) return undefined
      const lines = received.split('\r\n')
      const end = 1 + 2 * Number(parts[1])
      if (lines.length <= end) return undefined
      received = lines.slice(end).join('\r\n')
      return lines.slice(1, end).filter((_, at) => at % 2 === 1)
    }
  })
  const respond = ([name, ...rest]: string[]): string => {
    if (name?.toLowerCase() === 'info') return '$11\r\nloading:0\r\n\r\n'
    if (!name?.toLowerCase().startsWith('eval')) return '+OK\r\n'
    if (state.odd !== '') return state.odd
    const key = rest[2] as string
    state.counts.set(key, (state.counts.get(key) ?? 0) + 1)
    return `*2\r\n:${state.counts.get(key)}\r\n:30000\r\n`
  }
  return { state, server }
}

async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

t.test('what others have counted counts here, and without the store a gateway counts alone', async (t) => {
  const { state, server } = countingStore()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
  const shared = await openRateLimitStore(`redis://127.0.0.1:${port}`, logger)
  const app = Fastify()
  const limit = await openRateLimit(app, { requestsPerMinute: 3, userRequestsPerMinute: 3 }, shared)
  t.teardown(async () => {
    shared.close()
    server.close()
    await app.close()
  })
  const from = (ip: string) => ({ ip, route: { prefix: '/' }, routeOptions: {} }) as unknown as RequestContext
  await eventually('the store is there', () => shared.isConnected)

  state.counts.set('sallyport:client:192.0.2.1', 1)
  const request = from('192.0.2.1')
  await limit.client(request)
  t.match(
    request.limit,
    { name: 'client', max: 3, remaining: 1, ttlInSeconds: 30 },
    'one of them was counted elsewhere',
  )
  state.counts.set('sallyport:client:192.0.2.1', 3)
  await t.rejects(limit.client(from('192.0.2.1')), { code: 'RATE_LIMITED' })

  for (const [at, odd] of ['$-1\r\n', '+OK\r\n', '*2\r\n:1\r\n$-1\r\n'].entries()) {
    state.odd = odd
    const alone = from(`192.0.2.1${at}`)
    await limit.client(alone)
    t.match(alone.limit, { remaining: 2, ttlInSeconds: 60 }, `what is no count counts for none: ${odd}`)
    t.equal(shared.isConnected, false)
    state.odd = ''
    await eventually('it is there again', () => shared.isConnected)
  }

  state.silent = true
  const alone = from('192.0.2.1')
  await Promise.all([limit.client(alone), limit.client(from('192.0.2.2'))])
  t.match(alone.limit, { remaining: 0 }, 'here it was the third')
  await t.rejects(limit.client(from('192.0.2.1')), { code: 'RATE_LIMITED' })
  t.equal(shared.isConnected, false, 'nobody waits for a store that hangs')
  await eventually('the log says so', () => lines.some((line) => line.includes('"rate_limit_local"')))

  state.silent = false
  await eventually('it is there again', () => shared.isConnected)
  t.match(lines.at(-1), /"rate_limit_shared"/)
})

t.test('a request that was not counted says nothing of limits', async (t) => {
  t.strictSame(rateLimitHeaders(undefined), [])
})
