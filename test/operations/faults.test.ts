import t from 'tap'
import {
  Client,
  children,
  eventually,
  isAlive,
  signIn,
  startServer,
  startSystem,
  startSystemOn,
} from '../support/system.ts'

t.test('Postgres is killed while everything runs', async (t) => {
  const system = await startSystemOn(await startServer(t), t, {}, ['appointments', 'notifications'])
  const { gateway, postgres, sql } = system

  await t.test('before that: fifty logins of one user, ten at once, give fifty sessions', async (t) => {
    const clients = Array.from({ length: 50 }, () => new Client(gateway))
    // Ten at a time: beyond that logins may be shed, and are tried again.
    for (let next = 0; next < 50; next += 10)
      await Promise.all(
        clients.slice(next, next + 10).map((client) =>
          eventually('a login succeeds', async () => {
            const { status, headers } = await client.login()
            if (status !== 200) t.match({ status, wait: headers.get('retry-after') }, { status: 503, wait: /^[1-5]$/ })
            return status === 200
          }),
        ),
      )
    t.equal((await sql('SELECT FROM auth.sessions')).rowCount, 50)
    const refreshed = await Promise.all(clients.map((client) => client.refresh()))
    t.ok(
      refreshed.every(({ status }) => status === 200),
      'and each of them lives',
    )
  })

  const [client, other, ended] = [await signIn(gateway), await signIn(gateway), await signIn(gateway)]
  const { cookie: endedCookie } = ended
  await ended.call('POST', '/api/auth/logout')
  process.kill(-postgres.pid, 'SIGKILL')
  // Its children end by themselves when they notice, and until then they serve.
  const { managementPort } = system.processes.auth
  await eventually(
    'the database is gone',
    async () => (await fetch(`http://127.0.0.1:${managementPort}/readyz`)).status === 503,
  )

  await t.test('requests that need it are 503 with Retry-After, and no cookie is touched', async (t) => {
    const requests: [string, string, unknown?][] = [
      ['POST', '/api/auth/refresh'],
      ['POST', '/api/auth/logout'],
      ['POST', '/api/auth/login', { email: 'doctor@example.com', password: 'x' }],
      ['GET', '/api/auth/me'],
      ['GET', '/api/doctor/appointments'],
    ]
    for (const [method, path, body] of requests) {
      const response = await client.call(method, path, { body })
      t.match(response, { status: 503, body: { code: 'UNAVAILABLE' } }, `${method} ${path}`)
      t.ok(response.headers.get('retry-after'))
      t.equal(response.headers.get('set-cookie'), null)
    }
  })

  await t.test('requests that do not need it are served', async (t) => {
    t.equal((await client.call('GET', '/api/whoami')).status, 200)
  })

  await t.test('the process says that it is alive, and that it is not ready', async (t) => {
    const management = `http://127.0.0.1:${system.processes.auth.managementPort}`
    t.equal((await fetch(`${management}/healthz`)).status, 200)
    t.equal((await fetch(`${management}/readyz`)).status, 503)
    t.match(await (await fetch(`${management}/metrics`)).text(), /process_cpu_seconds_total/)
    const appointments = `http://127.0.0.1:${system.processes.appointments.managementPort}`
    t.equal((await fetch(`${appointments}/readyz`)).status, 503)
    const notifications = `http://127.0.0.1:${system.processes.notifications.managementPort}`
    await eventually('the sample too', async () => (await fetch(`${notifications}/readyz`)).status === 503)
  })

  await t.test('no gateway is notified that its view of ended sessions is current', async () => {
    await eventually('the auth service says that it cannot tell', () =>
      system.log.some((line) => line.includes('revocation_stream_lost') && line.includes('answered 503')),
    )
  })

  await t.test('within five seconds of its return everything works again, with the same sessions', async (t) => {
    await system.restart()
    await eventually('a refresh succeeds', async () => (await client.refresh()).status === 200, 5_000)
    t.equal((await other.refresh()).status, 200)
    t.equal((await client.call('GET', '/api/doctor/appointments')).status, 200)
    t.equal((await fetch(`http://127.0.0.1:${system.processes.auth.managementPort}/readyz`)).status, 200)
  })

  await t.test('a session that was ended before is still ended', async (t) => {
    ended.cookie = endedCookie
    t.match((await ended.refresh()).body, { code: 'SESSION_ENDED', reason: 'logout' })
  })

  await t.test('and gateways are notified of ended sessions again', async (_t) => {
    await eventually('a logout reaches the gateway', async () => {
      const one = await signIn(gateway)
      const token = one.accessToken
      await one.call('POST', '/api/auth/logout')
      one.accessToken = token
      await new Promise((resolve) => setTimeout(resolve, 100))
      return (await one.call('GET', '/api/whoami')).status === 401
    })
  })
})

t.test('a gateway that is not notified of ended sessions', async (t) => {
  t.test('goes on verifying, and says how old its view is', async (t) => {
    const { gateway, processes } = await startSystem(t, {}, ['appointments'])
    const client = await signIn(gateway)
    const hashing = children(processes.auth)
    processes.auth.child.kill('SIGKILL')
    await processes.auth.ended
    await eventually('the process that hashes for it has ended too', () => !hashing.some(isAlive))
    t.equal((await client.call('GET', '/api/whoami')).status, 200)
    t.match(await client.refresh(), { status: 502, body: { code: 'UPSTREAM_UNREACHABLE' } })
    const metrics = await (await fetch(`http://127.0.0.1:${processes.gateway.managementPort}/metrics`)).text()
    t.match(metrics, /sallyport_revocation_view_age_seconds [\d.]+/)
  })

  t.test('responds with 503 when configured to (REVOCATION_FAIL=closed)', async (t) => {
    const { gateway, processes } = await startSystem(t, { REVOCATION_FAIL: 'closed', REVOCATION_MAX_AGE: '3s' }, [
      'appointments',
    ])
    const client = await signIn(gateway)
    await eventually('the view is there', async () => (await client.call('GET', '/api/whoami')).status === 200)
    processes.auth.child.kill('SIGKILL')
    await eventually('it is refused', async () => (await client.call('GET', '/api/whoami')).status === 503)
    t.match(await client.call('GET', '/api/whoami'), { body: { code: 'UNAVAILABLE' } })
  })
})
