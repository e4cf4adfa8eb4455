import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { endProcesses } from '@sallyport/local'
import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { eventually, signIn, startSystem } from '../support/system.ts'

interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  attributes: { key: string; value: Record<string, unknown> }[]
  links?: { traceId: string; spanId: string }[]
  status: { code?: number }
  service: string
}

/** What OTLP/HTTP posts, as far as it is looked at here. */
interface Posted {
  resourceSpans: {
    resource: { attributes: { key: string; value: { stringValue: string } }[] }
    scopeSpans: { spans: Omit<Span, 'service'>[] }[]
  }[]
}

/** A collector on a port of its own, and the spans it got. */
async function startCollector(t: Test) {
  const spans: Span[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as Posted
    for (const { resource, scopeSpans } of request.url === '/v1/traces' ? resourceSpans : []) {
      const service = String(resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue)
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) spans.push({ ...span, service })
    }
    response.setHeader('content-type', 'application/json').end('{}')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return { spans, server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const attribute = (span: Span | undefined, name: string) =>
  Object.values(span?.attributes.find(({ key }) => key === name)?.value ?? {})[0]

t.test('a request is one trace, from the gateway through the service', async (t) => {
  const { spans, server, url } = await startCollector(t)
  const { gateway, processes, log } = await startSystem(
    t,
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    },
    ['appointments', 'notifications'],
  )
  const client = await signIn(gateway)
  const came = { trace: '4bf92f3577b34da6a3ce929d0e0e4736', span: '00f067aa0ba902b7' }
  const tracedGet = async (path: string, headers: Record<string, string> = {}) => {
    const response = await client.call('GET', path, { headers })
    const id = response.headers.get('x-request-id')
    return () => spans.filter((span) => attribute(span, 'sallyport.request.id') === id)
  }
  const both = async (spansOf: () => Span[]) => {
    await eventually('both spans arrive', () => spansOf().length === 2)
    const at = (name: string) => spansOf().find(({ service }) => service === `sallyport-${name}`)
    return { gateway: at('gateway') as Span, service: spansOf().find((span) => span !== at('gateway')) as Span }
  }

  t.test('the span of the service is the child of the gateway’s', async (t) => {
    for (const [path, prefix, route, name] of [
      ['/api/auth/me?access=secret-in-query', '/api/auth', '/api/auth/me', 'auth'],
      ['/api/doctor/appointments', '/api/doctor', '/api/doctor/appointments', 'appointments'],
    ] as const) {
      const pair = await both(await tracedGet(path))
      t.match(pair.gateway, { name: `GET ${prefix}`, kind: 2 })
      t.match(pair.service, { name: `GET ${route}`, kind: 2, service: `sallyport-${name}` })
      t.equal(pair.service.traceId, pair.gateway.traceId)
      t.equal(pair.service.parentSpanId, pair.gateway.spanId)
      t.equal(attribute(pair.gateway, 'http.response.status_code'), 200)
      t.equal(attribute(pair.gateway, 'http.route'), prefix)
    }
  })

  t.test('the trace of a trusted proxy goes on', async (t) => {
    const pair = await both(await tracedGet('/api/auth/me', { traceparent: `00-${came.trace}-${came.span}-01` }))
    t.match(pair.gateway, { traceId: came.trace, parentSpanId: came.span })
    t.match(pair.service, { traceId: came.trace, parentSpanId: pair.gateway.spanId })
  })

  t.test('what a trusted proxy does not record is not recorded', async (t) => {
    const unrecorded = await tracedGet('/api/auth/me', { traceparent: `00-${came.trace}-${came.span}-00` })
    await both(await tracedGet('/api/auth/me'))
    t.equal(unrecorded().length, 0)
  })

  t.test('cross-origin requests are traced too, and an unknown path has no route', async (t) => {
    await both(await tracedGet('/api/auth/me', { origin: 'https://app.test' }))
    const lost = await tracedGet('/nowhere/customer-4711')
    await eventually('the span arrives', () => lost().length === 1)
    t.match(lost()[0], { name: /^GET( \*)?$/ })
    t.equal(attribute(lost()[0], 'http.response.status_code'), 404)
  })

  t.test('a preflight is one request, with one span', async (t) => {
    const headers = { origin: 'https://app.test', 'access-control-request-method': 'PUT' }
    t.equal((await fetch(`${gateway}/api/auth/me`, { method: 'OPTIONS', headers })).status, 204)
    await both(await tracedGet('/api/auth/me'))
    const preflights = spans.filter(({ name }) => name.startsWith('OPTIONS'))
    t.strictSame(
      preflights.map((span) => [span.service, attribute(span, 'http.response.status_code')]),
      [['sallyport-gateway', 204]],
    )
  })

  t.test('a WebSocket opens as ever, and is not traced', async (t) => {
    const socket = new WebSocket(`${gateway.replace('http', 'ws')}/api/notifications/ws`, {
      headers: { authorization: `Bearer ${client.accessToken}` },
    })
    await once(socket, 'open')
    socket.terminate()
    await both(await tracedGet('/api/auth/me'))
    t.notOk(spans.some((span) => span.name.includes('/ws')))
  })

  t.test('a failure is marked as one, and a collector outage harms nothing', async (t) => {
    await endProcesses([processes.appointments])
    const failed = await tracedGet('/api/doctor/appointments')
    await eventually('the span arrives', () => failed().length === 1)
    t.match(failed()[0], { status: { code: 2 } })
    t.equal(attribute(failed()[0], 'error.type'), '502')

    t.notMatch(JSON.stringify(spans), /secret-in-query|customer-4711|eyJ|Bearer|refreshToken|@example\.com/)

    server.closeAllConnections()
    server.close()
    t.equal((await client.call('GET', '/api/auth/me')).status, 200)
    await eventually('the log says so', () => log.some((line) => line.includes('"traces_lost"')))
    await client.call('GET', '/api/auth/me')
    const started = Date.now()
    await endProcesses([processes.gateway])
    t.ok(Date.now() - started < 4_000, 'it ends in time')
    t.ok(log.some((line) => line.includes('"stopped"')))
  })
})

t.test('the trace of any other client is a link, and does not decide what is recorded', async (t) => {
  const { spans, url } = await startCollector(t)
  const { gateway } = await startSystem(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/`,
    OTEL_BSP_SCHEDULE_DELAY: '50',
    TRUSTED_PROXIES: '192.0.2.1',
  })
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  await fetch(`${gateway}/api/auth/me`, { headers: { traceparent: `00-${trace}-00f067aa0ba902b7-00` } })
  await eventually('the span arrives', () => spans.some(({ name }) => name === 'GET /api/auth'))
  const span = spans.find(({ name }) => name === 'GET /api/auth')
  t.not(span?.traceId, trace)
  t.match(span?.links, [{ traceId: trace }])
})
