import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createSigner } from '@sallyport/identity'
import t from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { claimsOf, eventually, openSystem, signIn, temporaryFolder } from '../support/system.ts'

const now = () => Math.floor(Date.now() / 1000)

t.test('a route may want its callers to have proved who they are lately, and by two factors', async (t) => {
  const live = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => live.close())
  await once(live, 'listening')
  const file = join(temporaryFolder(t), 'routes.json')
  const whoami = { rewrite: '/api/whoami', upstreams: ['${APPOINTMENTS_URL}'], access: 'authenticated' }
  const own = { audience: 'appointments', ...whoami }
  const routes = [
    { prefix: '/api/auth/login', upstreams: ['${AUTH_URL}'], access: 'public', audience: 'auth', refreshCookie: true },
    { ...own, prefix: '/api/whoami' },
    { ...own, prefix: '/api/payouts', acr: 'aal2', maxAge: '5m' },
    { ...own, prefix: '/api/reports', roles: ['doctor'], acr: 'aal1' },
    { ...own, prefix: '/api/addresses', maxAge: 60 },
    {
      prefix: '/live',
      upstreams: [`http://127.0.0.1:${(live.address() as AddressInfo).port}`],
      access: 'authenticated',
      websocket: true,
      acr: 'aal2',
      maxAge: '5m',
    },
  ]
  writeFileSync(file, JSON.stringify({ routes }))
  const { gateway, secrets } = await openSystem(t, { GATEWAY_ROUTES: file }, ['appointments'])

  const { auth_time: _time, acr: _acr, amr: _amr, ...claims } = claimsOf((await signIn(gateway)).accessToken as string)
  const sign = createSigner(secrets.JWT_PRIVATE_KEY as string, 'at+jwt')
  /** The doctor's own token, of a session that has proved this and no more. */
  const tokenWith = (proof: object) => sign({ ...claims, ...proof })
  const get = async (path: string, proof: object, headers: Record<string, string> = {}) => {
    const authorization = `Bearer ${tokenWith(proof)}`
    const response = await fetch(gateway + path, { headers: { ...headers, authorization } })
    // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
    const body: any = await response.json()
    return { status: response.status, challenge: response.headers.get('www-authenticate'), body }
  }
  const needed = (parameters: string) => `Bearer error="insufficient_user_authentication", ${parameters}`

  await t.test('who has proved it passes, and the service hears of it', async (t) => {
    const time = now() - 10
    const { status, body } = await get('/api/payouts', { acr: 'aal2', auth_time: time, amr: ['pwd', 'otp', 'mfa'] })
    t.equal(status, 200)
    t.match(body, { 'x-user-email': 'doctor@example.com', 'x-auth-acr': 'aal2', 'x-auth-time': String(time) })
  })

  await t.test('who has not is told what is missing', async (t) => {
    const both = { challenge: needed('acr_values="aal2", max_age="300"'), body: { acr: 'aal2', maxAge: 300 } }
    for (const proof of [
      {},
      { acr: 'aal1', auth_time: now() },
      { acr: 'aal2' },
      { acr: 'aal2', auth_time: now() - 310 },
      { acr: 'other', auth_time: now() },
    ])
      t.match(await get('/api/payouts', proof), { status: 401, ...both }, JSON.stringify(proof))
    const { body } = await get('/api/payouts', {})
    t.match(body, { code: 'STEP_UP_REQUIRED', type: 'urn:sallyport:problem:step-up-required', detail: /step-up/ })
  })

  await t.test('a route that wants one of the two does not ask for the other', async (t) => {
    const reports = await get('/api/reports', { auth_time: now() })
    t.match(reports, { status: 401, challenge: needed('acr_values="aal1"'), body: { acr: 'aal1' } })
    t.notOk('maxAge' in reports.body)
    t.match(await get('/api/reports', { acr: 'aal2' }), { status: 200 })
    const addresses = await get('/api/addresses', { acr: 'aal2', auth_time: now() - 70 })
    t.match(addresses, { status: 401, challenge: needed('max_age="60"'), body: { maxAge: 60 } })
    t.notOk('acr' in addresses.body)
    t.match(await get('/api/addresses', { auth_time: now() }), { status: 200 })
  })

  await t.test('what a client says of itself under these names counts for nothing', async (t) => {
    const forged = {
      'x-auth-acr': 'aal2',
      'x-auth-time': String(now()),
      X_Auth_Acr: 'aal2',
      x_auth_time: String(now()),
    }
    t.match(await get('/api/payouts', {}, forged), { status: 401, body: { code: 'STEP_UP_REQUIRED' } })
    const { status, body } = await get('/api/whoami', {}, forged)
    t.equal(status, 200)
    t.notOk('x-auth-acr' in body || 'x-auth-time' in body)
  })

  await t.test('a WebSocket is opened for who has proved it, and for nobody else', async (t) => {
    const open = (proof: object) =>
      new WebSocket(`${gateway.replace('http', 'ws')}/live`, ['app', `sallyport.bearer.${tokenWith(proof)}`])
    const accepted = once(live, 'connection')
    const socket = open({ acr: 'aal2', auth_time: now() })
    await once(socket, 'open')
    const [, { headers }] = await accepted
    t.match(headers, { 'x-auth-acr': 'aal2', 'x-auth-time': /^\d+$/ })
    socket.terminate()
    for (const proof of [{}, { acr: 'aal1', auth_time: now() }, { acr: 'aal2', auth_time: now() - 310 }]) {
      const refused = open(proof)
      refused.on('error', () => {})
      const [, response] = await once(refused, 'unexpected-response')
      t.match(response, {
        statusCode: 401,
        headers: { 'www-authenticate': needed('acr_values="aal2", max_age="300"') },
      })
      refused.terminate()
    }
  })

  await t.test('the rule of a file that changes counts from then on', async (t) => {
    t.match(await get('/api/whoami', { acr: 'aal1' }), { status: 200 })
    writeFileSync(file, JSON.stringify({ routes: [{ ...own, prefix: '/api/whoami', acr: 'aal2' }] }))
    await eventually('the rule counts', async () => (await get('/api/whoami', { acr: 'aal1' })).status === 401)
    t.match(await get('/api/whoami', { acr: 'aal2' }), { status: 200 })
  })
})
