import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { endProcesses, type RunningProcess, startProcess } from '@sallyport/local'
import t, { type Test } from 'tap'
import {
  Client,
  eventually,
  openSystem,
  patience,
  signIn,
  startServer,
  startSystem,
  startSystemOn,
} from '../support/system.ts'

/** A plain TCP proxy that delays every piece. */
async function startSlowWay(t: Test, port: number) {
  const way = { port: 0, delay: 0 }
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (piece) => setTimeout(() => to.write(piece), way.delay))
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  way.port = (server.address() as AddressInfo).port
  t.teardown(() => server.close())
  return way
}

/** Lets a process's clock step by so many seconds when it gets SIGWINCH. */
function steppingClock(seconds: number): { NODE_OPTIONS: string } {
  const code = `
    const Real = Date
    let step = 0
    globalThis.Date = class extends Real {
      constructor(...parts) { parts.length > 0 ? super(...parts) : super(Real.now() + step) }
      static now() { return Real.now() + step }
    }
    process.on('SIGWINCH', () => { step = ${seconds * 1000}; console.log('stepped') })`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }
}

t.test('a database in trouble', async (t) => {
  const system = await startSystemOn(await startServer(t), t, {}, ['appointments'])
  const { gateway, sql } = system
  const client = await signIn(gateway)

  /** What a user sees while the database is in trouble. */
  async function expectOutage(t: Test, ways = ['login', 'refresh', 'me', 'appointments']): Promise<void> {
    const requests: Record<string, () => Promise<{ status: number; body: unknown }>> = {
      login: () => new Client(gateway).login(),
      refresh: () => client.refresh(),
      me: () => client.call('GET', '/api/auth/me'),
      appointments: () => client.call('GET', '/api/doctor/appointments'),
    }
    await Promise.all(
      ways.map(async (way) => {
        const begun = Date.now()
        const { status, body } = await (requests[way] as (typeof requests)[string])()
        t.match({ status, body }, { status: 503, body: { code: 'UNAVAILABLE' } }, way)
        t.ok(Date.now() - begun < patience, `${way} is not left waiting`)
      }),
    )
    t.equal((await client.call('GET', '/api/whoami')).status, 200, 'a valid token is served meanwhile')
  }

  async function expectRecovery(): Promise<void> {
    await eventually('a refresh succeeds', async () => (await client.refresh()).status === 200, 5_000)
    await eventually('a login too', async () => (await new Client(gateway).login()).status === 200, 5_000)
  }

  await t.test('stopped: rejected in time, and goes on where it was', async (t) => {
    const { rows } = await sql('SELECT pid FROM pg_stat_activity')
    const pids = [system.postgres.pid, ...rows.map(({ pid }) => pid)]
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    await expectOutage(t)
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    await expectRecovery()
  })

  await t.test('out of connections', async (t) => {
    await sql('ALTER ROLE sallyport_auth CONNECTION LIMIT 0')
    await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sallyport_auth'")
    await expectOutage(t, ['login', 'refresh', 'me'])
    await sql('ALTER ROLE sallyport_auth CONNECTION LIMIT -1')
    await expectRecovery()
  })

  await t.test('its disk full', async (t) => {
    // The server says so by SQLSTATE 53100 whichever file it cannot extend; here a trigger says it. A disk that is
    // full is in full-disk.test.ts.
    await sql(`CREATE FUNCTION auth.full() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`)
    await sql(
      'CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION auth.full()',
    )
    await expectOutage(t, ['login', 'refresh'])
    await sql('DROP TRIGGER full_disk ON auth.sessions')
    await expectRecovery()
  })

  await t.test('far away', async (t) => {
    const url = new URL(system.urls.auth)
    const way = await startSlowWay(t, Number(url.port))
    url.port = String(way.port)
    const slow = await startProcess('auth', { ...system.environment, DATABASE_URL: url.toString() }, () => {})
    t.teardown(() => endProcesses([slow]))
    const user = await signIn(`http://127.0.0.1:${slow.port}`)

    way.delay = 500
    t.equal((await user.refresh()).status, 200, 'half a second each way is slow, and good')
    way.delay = 6_000
    const begun = Date.now()
    t.match(await user.refresh(), { status: 503, body: { code: 'UNAVAILABLE' } })
    t.ok(Date.now() - begun < patience)
    way.delay = 0
    await eventually('it recovers', async () => (await user.refresh()).status === 200, 10_000)
  })
})

t.test('a clock that steps five minutes signs nobody out', async (t) => {
  const system = await startSystem(t, {}, ['appointments'])
  const { AUTH_URL } = system.environment
  const stepped = new Set<string>()
  for (const seconds of [300, -300]) {
    const environment = {
      ...system.environment,
      ...steppingClock(seconds),
      JWKS_URL: `${AUTH_URL}/.well-known/jwks.json`,
      REVOCATIONS_URL: `${AUTH_URL}/internal/revocations`,
    }
    const [auth, gateway] = await Promise.all(
      (['auth', 'gateway'] as const).map((name) =>
        startProcess(name, environment, (line) => line === 'stepped' && stepped.add(name)),
      ),
    )
    t.teardown(() => endProcesses([auth, gateway] as RunningProcess[]))
    for (const { name, port, child } of [auth, gateway] as RunningProcess[])
      await t.test(`${name} by ${seconds} seconds`, async (t) => {
        const user = await signIn(`http://127.0.0.1:${port}`)
        child.kill('SIGWINCH')
        await eventually('the clock has stepped', () => stepped.delete(name))
        t.equal((await user.refresh()).status, 200)
        t.equal((await user.refresh()).status, 200, 'and again')
        const { accessToken } = user
        const whoamiAt = (base: string) => Object.assign(new Client(base), { accessToken }).call('GET', '/api/whoami')
        t.equal((await whoamiAt(system.gateway)).status, 200, 'a fresh token is good at every gateway')
        const there = await whoamiAt(`http://127.0.0.1:${gateway?.port}`)
        // What a gateway vouches for holds a minute, by the clocks of the services.
        if (name === 'gateway' && seconds < 0) t.match(there, { status: 401, body: { code: 'TOKEN_INVALID' } })
        else t.equal(there.status, 200)
        t.equal((await new Client(user.base).login()).status, 200)
      })
  }
})

t.test('names that cannot be resolved', async (t) => {
  const system = await openSystem(t, {
    APPOINTMENTS_URL: 'http://appointments.invalid',
    REDIS_URL: 'redis://valkey.invalid:6379',
  })
  const client = await signIn(system.gateway)
  const begun = Date.now()
  t.match(await client.call('GET', '/api/doctor/appointments'), { status: 502, body: { code: 'UPSTREAM_UNREACHABLE' } })
  t.ok(Date.now() - begun < patience)
  t.equal((await client.refresh()).status, 200, 'what needs none of them goes on, limits are counted here')
})
