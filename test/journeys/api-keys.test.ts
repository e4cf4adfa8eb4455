import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { routesFile } from '@sallyport/bench/settings'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { Upstream } from '../support/edge.ts'
import { openMachines } from '../support/machines.ts'
import { eventually, freePort, temporaryFolder } from '../support/system.ts'

/** The way from the gateway to the auth service, on which calls about API keys are counted, and which can be cut. */
class Way {
  calls = 0
  isCut = false
  url = ''
  readonly #sockets = new Set<Socket>()

  async open(t: Test, authPort: number): Promise<this> {
    const server = createServer((near) => {
      const far = connect(authPort, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => {}).on('close', () => other.destroy())
        socket.pipe(other)
      }
      near.on('data', (chunk) => {
        this.calls += chunk.toString('latin1').split('POST /internal/api-keys ').length - 1
      })
      if (this.isCut) near.destroy()
    })
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    t.teardown(() => {
      this.cut()
      server.close()
    })
    this.url = `http://127.0.0.1:${port}`
    return this
  }

  cut(): void {
    this.isCut = true
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  mend(): void {
    this.isCut = false
  }
}

t.test('an API key at a gateway', async (t) => {
  const api = await new Upstream().serve(t)
  const { routes } = parse(readFileSync(routesFile, 'utf8'))
  const own = { prefix: '/reports', upstreams: [api.url], access: 'authenticated', audience: 'reports' }
  const file = join(temporaryFolder(t), 'routes.json')
  writeFileSync(file, JSON.stringify({ routes: [...routes, { ...own, callers: ['client'] }] }))
  const authPort = await freePort()
  const way = await new Way().open(t, authPort)
  const { gateway, log, makeMachine, administer, bearing } = await openMachines(t, {
    AUTH_PORT: String(authPort),
    GATEWAY_ROUTES: file,
    JWKS_URL: `${way.url}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${way.url}/internal/revocations`,
    API_KEYS_URL: `${way.url}/internal/api-keys`,
    LOG_LEVEL: 'trace',
  })
  const machine = await makeMachine({ roles: ['doctor'], scopes: ['reports:read', 'reports:write'] })
  const keys: string[] = [machine.apiKey]
  async function addKey(more: object = {}): Promise<{ id: string; key: string }> {
    const body = { kind: 'api_key', name: 'another', ...more }
    const { body: made } = await administer('POST', `clients/${machine.id}/credentials`, body)
    keys.push(made.apiKey)
    return { id: made.id, key: made.apiKey }
  }
  const ask = (key: string) => bearing(key).call('GET', '/reports')

  await t.test('is looked up once for a hundred first requests at once, and says who calls', async (t) => {
    const calls = way.calls
    const found = await Promise.all(Array.from({ length: 100 }, () => ask(machine.apiKey)))
    t.ok(found.every(({ status }) => status === 200))
    t.equal((await ask(machine.apiKey)).status, 200)
    t.equal(way.calls, calls + 1)
    t.match(api.last.headers, {
      'x-caller': 'client',
      'x-client-id': machine.id,
      'x-user-roles': 'doctor',
      'x-scopes': 'reports:read reports:write',
    })
  })

  await t.test('goes on while auth is away, if it was seen before, and is taken once auth is back', async (t) => {
    const { key } = await addKey()
    way.cut()
    t.equal((await ask(machine.apiKey)).status, 200)
    t.match(await ask(key), { status: 503, body: { code: 'UNAVAILABLE' } })
    way.mend()
    await eventually('auth is reached again', async () => (await ask(key)).status === 200)
  })

  await t.test('gets what its service account has, and its caller notices nothing', async (t) => {
    let isOver = false
    const statuses = new Set<number>()
    const asking = (async () => {
      while (!isOver) statuses.add((await ask(machine.apiKey)).status)
    })()
    await administer('PATCH', `clients/${machine.id}`, { roles: ['nurse'], scopes: ['reports:read'] })
    await eventually('the service is told', () => {
      const { 'x-user-roles': roles, 'x-scopes': scopes } = api.last.headers
      return roles === 'nurse' && scopes === 'reports:read'
    })
    isOver = true
    await asking
    t.strictSame([...statuses], [200])
  })

  await t.test('is refused once it is revoked, and the others of its account are not', async (t) => {
    const { id, key } = await addKey()
    t.equal((await ask(key)).status, 200)
    t.equal((await administer('DELETE', `clients/${machine.id}/credentials/${id}`)).status, 200)
    await eventually('the gateway knows', async () => (await ask(key)).status !== 200)
    t.match(await ask(key), { status: 401, body: { code: 'SESSION_ENDED', reason: 'credential_revoked' } })
    t.equal((await ask(machine.apiKey)).status, 200)
  })

  await t.test('ends when it expires', async (t) => {
    const expiresAt = Math.ceil(Date.now() / 1000) * 1000 + 2_000
    const { key } = await addKey({ expiresAt: new Date(expiresAt).toISOString() })
    t.equal((await ask(key)).status, 200)
    await eventually('it is refused', async () => {
      const { status, body } = await ask(key)
      if (status === 200) return false
      t.ok(Date.now() >= expiresAt, 'not before')
      t.match([status, body.code], [401, 'TOKEN_INVALID'])
      return true
    })
  })

  await t.test('is in no line of a log and in no header of an upstream', async (t) => {
    await fetch(`${gateway}/reports`, { headers: { authorization: `Basic ${machine.apiKey}` } })
    t.ok(log.length > 0 && api.requests.length > 0)
    const texts = [...log, ...api.requests.map(({ rawHeaders }) => rawHeaders.join('\n'))]
    const secrets = keys.map((key) => key.slice('sp_'.length + 33))
    for (const secret of secrets) t.notOk(texts.some((text) => text.includes(secret)))
  })
})
