import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StepUpNeed } from '@sallyport/client'
import t from 'tap'
import { parse } from 'yaml'
import { Browser } from '../support/browser.ts'
import { exchange, Upstream } from '../support/edge.ts'
import { openGatewayHere } from '../support/in-process.ts'
import { isMissing, startProxy } from '../support/proxies.ts'
import { Client, demoPassword, eventually, openSystem, signIn, temporaryFolder } from '../support/system.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const routesOf = (file: string): { upstreams: string[] }[] => parse(readFileSync(join(root, file), 'utf8')).routes

t.test('the routes to copy are those of the auth service in the route file of this repository', async (t) => {
  const own = routesOf('gateway/routes.yaml').filter(({ upstreams }) => upstreams.includes('${AUTH_URL}'))
  t.ok(own.length > 10, 'they are found')
  for (const file of ['examples/routes/auth.yaml', 'gateway/routes/auth.yaml']) t.strictSame(routesOf(file), own, file)
})

t.test('users sign in through nginx in the place of the gateway', { skip: isMissing('nginx') }, async (t) => {
  const system = await openSystem(t)
  const file = join(temporaryFolder(t), 'routes.yaml')
  const mine = { access: 'authenticated', audience: 'api' }
  const routes = [
    ...routesOf('examples/routes/auth.yaml'),
    { ...mine, prefix: '/mine' },
    { ...mine, prefix: '/high', acr: 'aal2', maxAge: '5m' },
  ]
  writeFileSync(file, JSON.stringify({ routes }))
  const environment = {
    ...system.environment,
    GATEWAY_ROUTES: file,
    FORWARD_AUTH_PORT: '0',
    JWKS_URL: `${system.auth}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${system.auth}/internal/revocations`,
  }
  const gateway = await openGatewayHere(environment, () => {})
  t.teardown(gateway.close)
  const service = await new Upstream().serve(t)
  service.respond = (_request, response) => response.end('{}')
  const port = await startProxy(t, 'nginx', {
    sallyport: gateway.forwardAuthPort as number,
    service: Number(new URL(service.url).port),
    auth: Number(new URL(system.auth).port),
  })
  const nginx = `http://127.0.0.1:${port}`

  t.test('sign-in, refresh by the cookie, sessions and sign-out', async (t) => {
    const client = await signIn(nginx)
    t.equal((await client.refresh()).status, 200)
    const { status, body } = await client.call('GET', '/api/auth/sessions')
    t.equal(status, 200)
    t.ok(JSON.stringify(body).includes('current'), 'the auth service knows whose they are')
    t.equal((await client.call('GET', '/api/admin/users')).body.code, 'ROLE_REQUIRED')
    t.equal(
      (await signIn(nginx, 'admin@example.com').then((admin) => admin.call('GET', '/api/admin/users'))).status,
      200,
    )
    t.equal((await client.call('GET', '/.well-known/jwks.json')).status, 200)
    t.equal((await client.call('GET', '/internal/revocations')).status, 403)
    t.equal((await client.call('POST', '/api/auth/logout')).status, 200)
    t.equal((await client.refresh()).status, 401)
  })

  t.test('identity headers of a client are nobody’s at the auth service', async (t) => {
    const { accessToken } = await signIn(nginx, 'admin@example.com')
    await new Client(nginx).call('GET', '/mine', { headers: { authorization: `Bearer ${accessToken}` } })
    const { 'x-identity-token': stolen, ...seen } = service.last.headers as Record<string, string>
    const forged = Object.fromEntries(Object.entries(seen).filter(([name]) => /^x-(caller|user|session)/.test(name)))
    const nobody = new Client(nginx)
    for (const headers of [forged, { ...forged, 'x-identity-token': stolen as string }])
      t.equal((await nobody.call('GET', '/api/auth/me', { headers })).status, 401)
    // One that is for another service is none at the auth service, even for whoever reaches it.
    const past = await new Client(system.auth).call('GET', '/api/auth/me', {
      headers: { 'x-identity-token': stolen as string },
    })
    t.equal(past.status, 401)
  })

  t.test('other services get the client’s cookies without those of the auth service', async (t) => {
    const client = await signIn(nginx)
    const secret = 'refreshToken=a.b-c; '
    const cases: [sent: string, seen: string | undefined][] = [
      ['a=1; b=2', 'a=1; b=2'],
      [`a=1; ${secret}b=2`, 'a=1; b=2'],
      [`__Host-${secret}__Host-device=x; b=2`, 'b=2'],
      ['b=2; device=x', 'b=2; '],
      ['refreshToken=a', undefined],
      [`myrefreshToken=1; ${secret}mydevice=2`, 'myrefreshToken=1; mydevice=2'],
    ]
    for (const [sent, seen] of cases) {
      const { accessToken } = client
      await new Client(nginx).call('GET', '/mine', {
        headers: { cookie: sent, authorization: `Bearer ${accessToken}` },
      })
      t.equal(service.last.headers.cookie, seen?.trim(), sent)
    }
  })

  t.test('the client learns what a step-up needs, and why a session has ended', async (t) => {
    const asked: StepUpNeed[] = []
    const browser = new Browser(nginx)
    t.teardown(() => browser.close())
    const { client } = browser.open({
      async onStepUp(need) {
        asked.push(need)
        return false
      },
    })
    await client.login({ email: 'doctor@example.com', password: demoPassword })
    t.equal((await client.fetch('/mine')).status, 200)
    t.equal((await client.fetch('/high')).status, 401)
    t.strictSame(asked, [{ acr: 'aal2', maxAge: 300 }])

    await (await signIn(nginx)).call('POST', '/api/auth/logout-all')
    await eventually('the session has ended', async () => (await client.fetch('/mine')).status === 401)
    t.match(client.getSnapshot(), { status: 'signed-out', signOut: { code: 'SESSION_ENDED', reason: 'logout' } })
  })

  t.test('a refusal has one challenge', async (t) => {
    const response = await exchange(port, 'GET /mine HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n')
    t.match(response, /^HTTP\/1\.1 401 [\s\S]*"code":"TOKEN_MISSING"}$/)
    t.equal(response.match(/www-authenticate/gi)?.length, 1)
  })
})
