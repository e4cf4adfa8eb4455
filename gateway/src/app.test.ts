import { createLogger } from '@sallyport/chassis'
import t from 'tap'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { environmentWith } from './test-environment.ts'

t.test('every response carries the security headers and an id, whatever became of the request', async (t) => {
  const routes = [
    { prefix: '/down', upstreams: ['http://127.0.0.1:1'], access: 'public' },
    { prefix: '/down/securely', upstreams: ['https://127.0.0.1:1'], access: 'public' },
  ]
  const environment = environmentWith(t, routes, { NODE_ENV: 'production' })
  const { app } = await buildApp(readConfig(environment), environment, createLogger('gateway', 'silent'))
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  for (const [url, status] of Object.entries({
    '/nowhere': 404,
    '/a;b': 400,
    '/%zz': 400,
    [`/${'a'.repeat(9_000)}`]: 414,
    [`${'/a'.repeat(200)}?x`]: 414,
    '/down': 502,
    '/down/securely': 502,
  })) {
    const response = await fetch(origin + url)
    t.equal(response.status, status, url)
    t.match(Object.fromEntries(response.headers), {
      'content-type': 'application/problem+json',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'strict-transport-security': /^max-age=/,
      'x-request-id': /^[0-9a-f-]{36}$/,
    })
  }
})
