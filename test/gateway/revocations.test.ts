import { endProcesses, type RunningProcess, startProcess } from '@sallyport/local'
import pg from 'pg'
import t, { type Test } from 'tap'
import { startFreezingWay } from '../support/freezing-way.ts'
import {
  Client,
  claimsOf,
  eventually,
  type System,
  shiftedClock,
  signIn,
  startServer,
  startSystem,
  startSystemOn,
} from '../support/system.ts'

/** Another process of a running system, with settings of its own. */
async function startAnother(
  t: Test,
  { environment, log }: System,
  name: 'auth' | 'gateway',
  settings: Record<string, string> = {},
): Promise<RunningProcess & { url: string }> {
  const AUTH_URL = settings.AUTH_URL ?? environment.AUTH_URL
  const addresses = {
    JWKS_URL: `${AUTH_URL}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${AUTH_URL}/internal/revocations`,
  }
  const started = await startProcess(name, { ...environment, ...addresses, ...settings }, (line) => log.push(line))
  t.teardown(() => endProcesses([started]))
  return Object.assign(started, { url: `http://127.0.0.1:${started.port}` })
}

/** How a gateway responds to a request with an access token. */
async function tryToken(gateway: string, accessToken: string | undefined) {
  const { status, body } = await Object.assign(new Client(gateway), { accessToken }).call('GET', '/api/auth/me')
  return { status, code: body.code as string | undefined }
}

const isRefused = async (gateway: string, token: string | undefined) =>
  (await tryToken(gateway, token)).code === 'SESSION_ENDED'

async function metric({ managementPort }: RunningProcess, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${managementPort}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
}

t.test('ended sessions and changed roles reach every gateway', async (t) => {
  const system = await startSystem(t)
  const { sql, gateway } = system

  await t.test('a connection to the database that died silently', async (t) => {
    const url = new URL(system.urls.auth)
    const way = await startFreezingWay(t, Number(url.port))
    url.port = String(way.port)
    const auth = await startAnother(t, system, 'auth', { DATABASE_URL: url.toString() })
    const [open, closed] = await Promise.all([
      startAnother(t, system, 'gateway', { AUTH_URL: auth.url }),
      startAnother(t, system, 'gateway', { AUTH_URL: auth.url, REVOCATION_FAIL: 'closed', REVOCATION_MAX_AGE: '2s' }),
    ])
    const isConnected = async (gateway: RunningProcess) =>
      (await metric(gateway, 'sallyport_revocation_stream_connected')) === 1
    const ageOf = (gateway: RunningProcess) => metric(gateway, 'sallyport_revocation_view_age_seconds')
    for (const one of [open, closed]) await eventually('it is connected', () => isConnected(one))

    await t.test('is replaced within seconds, and meanwhile the view grows old', async (t) => {
      const { accessToken: token } = await signIn(gateway)
      const { sid } = claimsOf(token as string)
      await eventually('its view is young enough', async () => (await tryToken(closed.url, token)).status === 200)
      way.freeze()
      // Over a connection that still works.
      await sql("UPDATE auth.sessions SET revoked_at = now(), revoked_reason = 'logout' WHERE id = $1", [sid])
      await eventually(
        'a gateway that is to refuse with an old view does so',
        async () => (await tryToken(closed.url, token)).status !== 200,
        3_000,
      )
      // They are disconnected for a moment only, until a new connection proves itself.
      const lost = () => system.log.filter((line) => /"service":"gateway".*"revocation_stream_lost"/.test(line))
      await eventually('both notice that nothing confirms their view any more', () => lost().length >= 2)
      for (const { url } of [open, closed]) await eventually('it is notified', () => isRefused(url, token))
      await eventually('it is connected again', async () => (await isConnected(open)) && (await ageOf(open)) < 2)
      t.ok(system.log.some((line) => /"revocation_channel_lost".*has fallen silent/.test(line)))
    })

    await t.test('and cannot be replaced: the view grows old, for as long as it takes', async (t) => {
      way.everything = true
      way.freeze()
      await eventually('it grows', async () => (await ageOf(open)) > 6)
      t.notOk(await isConnected(open))
      const { accessToken: token } = await signIn(gateway)
      t.match(await tryToken(closed.url, token), { status: 503 })
      t.equal((await tryToken(gateway, token)).status, 200, 'where nothing is wrong')
      way.everything = false
      await eventually('all is as it was', async () => (await isConnected(open)) && (await ageOf(open)) < 2, 15_000)
    })
  })

  await t.test('whatever ends them in the database', async (t) => {
    const patient = "email = 'patient@example.com'"
    const ways: [what: string, statement: string][] = [
      ['a session is ended by hand', 'UPDATE auth.sessions SET revoked_at = now()'],
      ['a session is deleted', 'DELETE FROM auth.sessions'],
      ['all sessions are dropped', 'TRUNCATE auth.sessions'],
      ['the user is disabled', `UPDATE auth.users SET disabled_at = now() WHERE ${patient}`],
      ['the user is deleted', `DELETE FROM auth.users WHERE ${patient}`],
    ]
    const tokens: (string | undefined)[] = []
    for (const [what, statement] of ways)
      await t.test(`${what}: the token is refused`, async (t) => {
        await sql('UPDATE auth.users SET disabled_at = NULL')
        const client = await signIn(gateway, 'patient@example.com')
        tokens.push(client.accessToken)
        t.equal((await tryToken(gateway, client.accessToken)).status, 200)
        await sql(statement)
        await eventually('it is refused', () => isRefused(gateway, client.accessToken))
        t.match((await client.refresh()).body, { code: 'SESSION_ENDED' })
      })

    const { accessToken } = await signIn(gateway)
    const isStale = async (url: string) => (await tryToken(url, accessToken)).code === 'TOKEN_STALE'
    await t.test('roles are changed: the token is stale', async () => {
      await sql("UPDATE auth.users SET roles = '{nurse}' WHERE email = 'doctor@example.com'")
      await eventually('it is stale', () => isStale(gateway))
    })

    await t.test('a gateway that starts later knows of it all', async () => {
      const { url } = await startAnother(t, system, 'gateway')
      for (const token of tokens) await eventually('it is refused', () => isRefused(url, token))
      await eventually('it is stale', () => isStale(url))
    })

    await t.test('no other change is announced', async (t) => {
      const events = async () =>
        (await sql("SELECT FROM auth.security_events WHERE event = 'session_deleted'")).rowCount
      const before = await events()
      t.not(before, 0)
      await sql(`INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at)
        SELECT gen_random_uuid(), id, now() - interval '25 hours', now() FROM auth.users`)
      await sql("DELETE FROM auth.sessions WHERE expires_at < now() - interval '1 day'")
      await sql('UPDATE auth.users SET name = name, roles = roles, disabled_at = disabled_at')
      t.equal(await events(), before)
    })

    await t.test('messages that make no sense end nothing', async (t) => {
      const { accessToken } = await signIn(gateway)
      for (const message of ['', 'x', 'null', '{}', '{"session":1,"reason":[]}', '{"user":"x","roles":"y"}'])
        await sql("SELECT pg_notify('sallyport_revocations', $1)", [message])
      await eventually('they are logged', () =>
        system.log.some((line) => /"revocation_channel_lost".*makes no sense/.test(line)),
      )
      t.equal((await tryToken(gateway, accessToken)).status, 200)
      await sql('DELETE FROM auth.sessions')
      await eventually('and all goes on', () => isRefused(gateway, accessToken))
    })
  })

  await t.test('clocks that are five minutes off keep no ended token alive', async (t) => {
    // Tokens hold for a minute; by the clock of a gateway, for six.
    const auth = await startAnother(t, system, 'auth', { ...shiftedClock(300), JWT_EXPIRES_IN: '1m' })
    const { accessToken } = await signIn(auth.url)
    const { sid } = claimsOf(accessToken as string)
    await sql("UPDATE auth.sessions SET revoked_at = now() - interval '4 minutes' WHERE id = $1", [sid])
    await Promise.all(
      [0, 300].map(async (seconds) => {
        const { url } = await startAnother(t, system, 'gateway', { ...shiftedClock(seconds), AUTH_URL: auth.url })
        await eventually(`a gateway by ${seconds} seconds refuses it`, () => isRefused(url, accessToken))
      }),
    )
  })

  await t.test('a gateway that disconnects before it received anything receives nothing', async (t) => {
    const { auth } = system.processes
    await endProcesses([system.processes.gateway])
    const client = new pg.Client(system.url)
    await client.connect()
    t.teardown(() => client.end())
    await client.query('BEGIN')
    await client.query('LOCK TABLE auth.security_events IN ACCESS EXCLUSIVE MODE')
    const headers = { authorization: `Bearer ${system.secrets.REVOCATIONS_SECRET}` }
    const subscribers = () => metric(auth, 'sallyport_revocation_subscribers')
    const leaving = new AbortController()
    const gone = t.rejects(
      fetch(`${system.environment.AUTH_URL}/internal/revocations`, { headers, signal: leaving.signal }),
    )
    await eventually('it reads what there is to send', async () => (await subscribers()) === 1)
    leaving.abort()
    await gone
    await client.query('COMMIT')
    await eventually('there is no subscriber left', async () => (await subscribers()) === 0)
  })
})

const faketime = process.env.FAKETIME_LIBRARY
const withFaketime = faketime ? {} : { skip: 'needs libfaketime: set FAKETIME_LIBRARY to libfaketime.so.1' }

for (const seconds of [-300, 300])
  t.test(`a database whose clock is off by ${seconds} seconds keeps no ended token alive`, withFaketime, async (t) => {
    // Of the server alone: for the processes that start later it is taken back.
    const faked = { LD_PRELOAD: faketime, FAKETIME: `${seconds > 0 ? '+' : ''}${seconds}`, DONT_FAKE_MONOTONIC: '1' }
    Object.assign(process.env, faked)
    const server = await startServer(t).finally(() => {
      for (const name of Object.keys(faked)) delete process.env[name]
    })
    const system = await startSystemOn(server, t)
    const { rows } = await system.sql('SELECT extract(epoch FROM now())::float8 AS now')
    t.ok(Math.abs(rows[0].now - Date.now() / 1000 - seconds) < 60, 'it is off')

    const auth = await startAnother(t, system, 'auth', shiftedClock(-seconds))
    const settings = { ...shiftedClock(seconds), AUTH_URL: auth.url }
    const gateways = await Promise.all(
      [settings, { AUTH_URL: auth.url }].map((one) => startAnother(t, system, 'gateway', one)),
    )
    const client = await signIn(auth.url)
    // What comes from the future by ten minutes is no token yet.
    for (const { url } of gateways) if (seconds > 0) t.equal((await tryToken(url, client.accessToken)).status, 200)
    t.equal((await client.call('POST', '/api/auth/logout')).status, 200)
    gateways.push(await startAnother(t, system, 'gateway', settings))
    for (const { url } of gateways)
      await eventually('it is refused', async () => (await tryToken(url, client.accessToken)).status === 401)
    if (seconds > 0)
      for (const { url } of gateways) await eventually('as ended', () => isRefused(url, client.accessToken))
  })
