import { createApplication, createLogger } from '@sallyport/chassis'
import { type ServiceClient, ServiceClientError } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { upcomingRoute } from './upcoming.ts'

/** The route, with what the service client does in the place of a gateway. */
async function ask(t: Test, call: () => Promise<Response>) {
  const logger = createLogger('test', 'silent')
  const app = createApplication({ logger, production: false, trustedProxies: [], bodyLimit: 1000 })
  t.teardown(() => app.close())
  const client = { onBehalfOf: () => ({ fetch: call }) } as unknown as ServiceClient
  upcomingRoute(app, { client, signedIn: async () => {} })
  const response = await app.inject('/api/notifications/upcoming')
  return { status: response.statusCode, ...response.json() }
}

t.test('ten reminders are given, of appointments that are to be', async (t) => {
  const appointments = Array.from({ length: 30 }, (_, n) => ({
    id: `appointment-${n}`,
    startsAt: '2027-01-01T09:00:00.000Z',
    reason: 'a check',
    status: n % 2 ? 'scheduled' : 'cancelled',
  }))
  const { status, reminders } = await ask(t, async () => Response.json({ appointments }))
  t.equal(status, 200)
  t.equal(reminders.length, 10)
  t.strictSame(reminders[1], { appointment: 'appointment-3', startsAt: '2027-01-01T09:00:00.000Z', reason: 'a check' })
})

t.test('what keeps them away is told as far as the caller can do something', async (t) => {
  const refusedWith = (code: string) => async () => {
    throw new ServiceClientError(code, code)
  }
  const unavailable = { status: 503, code: 'UNAVAILABLE' }
  const refused = { status: 403, code: 'EXCHANGE_REFUSED' }
  t.match(await ask(t, async () => new Response('', { status: 502 })), unavailable, 'appointments is away')
  t.match(await ask(t, async () => Promise.reject(new TypeError('fetch failed'))), unavailable, 'the gateway is away')
  t.match(await ask(t, refusedWith('unreachable')), unavailable, 'nobody issues tokens')
  for (const code of ['invalid_request', 'invalid_target', 'invalid_scope'])
    t.match(await ask(t, refusedWith(code)), refused, code)
  t.match(await ask(t, refusedWith('invalid_client')), { status: 500, code: 'INTERNAL' }, 'for the operator')
})
