import { randomUUID } from 'node:crypto'
import { forgetReplicas, startReporting } from '@sallyport/auth/replicas/replicas'
import { createLogger } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import t from 'tap'
import { openAuthHere, openGatewayHere } from '../support/in-process.ts'
import { eventually, openSystem, openSystemOn, signIn, startDatabase } from '../support/system.ts'

t.test(
  'every process of auth and of the gateway is listed with what it knows, and is no longer once it has ended',
  async (t) => {
    const database = await startDatabase(t)
    const { sql } = database
    const system = await openSystemOn(database, t)
    const rowsOf = async (kind: string) =>
      (await sql('SELECT *, now() - started_at AS age FROM auth.replicas WHERE kind = $1 ORDER BY started_at', [kind]))
        .rows
    await eventually(
      'both have a row',
      async () => {
        const [gateway] = await rowsOf('gateway')
        return (await rowsOf('auth')).length === 1 && gateway?.state.keys.length === 1
      },
      25_000,
    )
    const [auth] = await rowsOf('auth')
    const [gateway] = await rowsOf('gateway')
    const { accessToken } = await signIn(system.gateway)
    const { kid } = JSON.parse(Buffer.from((accessToken as string).split('.')[0] as string, 'base64url').toString())
    t.match(auth.version, /^\d+\.\d+\.\d+/)
    t.match(auth.state, { signingKeys: [kid], activeKey: kid, mail: false, clockSkewMs: Number })
    t.match(gateway.state, { keys: [kid], streamAge: Number, routesDigest: /^[0-9a-f]{16}$/, clockSkewMs: Number })
    for (const { state } of [auth, gateway]) t.ok(Math.abs(state.clockSkewMs) < 5_000, `${state.clockSkewMs} ms apart`)

    await t.test('a process that ends takes its row along', async (t) => {
      const { environment } = system
      const settings = { ...environment, REPLICAS_URL: `${system.auth}/internal/replicas` }
      const [otherAuth, otherGateway] = [
        await openAuthHere(environment, () => {}),
        await openGatewayHere({ ...settings, JWKS_URL: `${system.auth}/.well-known/jwks.json` }, () => {}),
      ]
      await eventually(
        'they are listed',
        async () => (await rowsOf('auth')).length === 2 && (await rowsOf('gateway')).length === 2,
      )
      await Promise.all([otherAuth.close(), otherGateway.close()])
      t.equal((await rowsOf('auth')).length, 1)
      t.equal((await rowsOf('gateway')).length, 1)
    })
  },
)

t.test('a process of which nothing was heard for a day is forgotten', async (t) => {
  const { database, sql } = await startDatabase(t)
  await sql(`INSERT INTO auth.replicas (id, kind, version, started_at, seen_at, state)
    SELECT gen_random_uuid(), 'auth', hours::text, now(), now() - hours * interval '1 hour', '{}' FROM unnest(ARRAY[0, 23, 25]) hours`)
  await forgetReplicas(database)
  t.strictSame((await sql('SELECT version FROM auth.replicas ORDER BY version')).rows, [
    { version: '0' },
    { version: '23' },
  ])
})

t.test('a database that refuses keeps no process from ending, and is noted for debugging alone', async (t) => {
  const away = { run: () => Promise.reject(new Error('away')) } as unknown as Database
  const lines: string[] = []
  const logger = createLogger('auth', 'trace', { write: (line) => lines.push(line) })
  const stop = startReporting(away, logger, { version: '1', state: () => ({}) })
  await eventually('it has tried', () => lines.length > 0)
  await stop()
  t.match(JSON.parse(lines[0] as string), { level: 'debug', event: 'replica_not_noted' })
  t.equal(lines.length, 1)
})

t.test('only gateways report, and what they say is checked and bounded', async (t) => {
  const { auth, sql, secrets } = await openSystem(t, { REPLICAS_URL: '' })
  const good = {
    ...{ id: randomUUID(), version: '0.1.0+b240573', uptime: 12.5, time: Date.now(), streamAge: 0.5 },
    ...{ keys: ['a'], routesDigest: '0123456789abcdef' },
  }
  const secret = (secrets.REVOCATIONS_SECRET as string).split(/[\n,]/)[0]
  const call = (method: string, path: string, body?: unknown, authorization = `Bearer ${secret}`) =>
    fetch(`${auth}/internal/replicas${path}`, {
      method,
      headers: { authorization, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  const count = async (kind: string) =>
    Number((await sql('SELECT count(*) FROM auth.replicas WHERE kind = $1', [kind])).rows[0].count)
  await eventually('auth is listed', async () => (await count('auth')) === 1)
  const [{ id: ownId }] = (await sql(`SELECT id FROM auth.replicas WHERE kind = 'auth'`)).rows

  await t.test('without the secret nothing is taken', async (t) => {
    for (const authorization of ['', 'Bearer', 'Bearer x', `Basic ${secret}`, `Bearer ${secret}x`])
      for (const response of [
        await call('POST', '', good, authorization),
        await call('DELETE', `/${ownId}`, undefined, authorization),
      ]) {
        t.equal(response.status, 401, authorization)
        t.match(await response.json(), { code: 'GATEWAY_ONLY' })
      }
    t.equal(await count('gateway'), 0)
  })

  await t.test('nor is what is no report', async (t) => {
    const bent = [
      ...[{}, [], null, 'x', 7],
      ...[{ id: 'x' }, { id: 7 }, { id: null }, { id: `${good.id}'` }],
      ...['', 'x'.repeat(65), '<b>', '0.1\n', 7].map((version) => ({ version })),
      ...[-1, 1e10, '1', null].map((uptime) => ({ uptime })),
      ...[-1, 1e15, 'now'].map((time) => ({ time })),
      ...[-1, 1e10, 'x'].map((streamAge) => ({ streamAge })),
      ...['a', [7], ['x'.repeat(201)], ['a\0'], Array(51).fill('a')].map((keys) => ({ keys })),
      ...['', '0123456789ABCDEF', '0'.repeat(17), 7].map((routesDigest) => ({ routesDigest })),
    ].map((bend) => (bend && typeof bend === 'object' && Object.keys(bend).length > 0 ? { ...good, ...bend } : bend))
    for (const body of bent) t.equal((await call('POST', '', body)).status, 400, JSON.stringify(body))
    t.equal((await call('POST', '', { ...good, padding: 'x'.repeat(20_000) })).status, 413)
    t.equal((await call('DELETE', '/x')).status, 400)
    t.equal(await count('gateway'), 0)
  })

  await t.test('what it does not ask for is not kept', async (t) => {
    t.equal((await call('POST', '', { ...good, secret: 'hush', kind: 'auth' })).status, 204)
    const [row] = (await sql('SELECT * FROM auth.replicas WHERE id = $1', [good.id])).rows
    t.match(row, { kind: 'gateway', version: good.version })
    t.strictSame(Object.keys(row.state).sort(), ['clockSkewMs', 'keys', 'routesDigest', 'streamAge'])
  })

  await t.test('it changes its own row alone', async (t) => {
    const [before] = (await sql('SELECT * FROM auth.replicas WHERE id = $1', [ownId])).rows
    t.equal((await call('POST', '', { ...good, id: ownId, version: '9' })).status, 204)
    t.equal((await call('DELETE', `/${ownId}`)).status, 204)
    const [{ kind, version }] = (await sql('SELECT * FROM auth.replicas WHERE id = $1', [ownId])).rows
    t.strictSame({ kind, version }, { kind: 'auth', version: before.version })
  })

  await t.test('a later report takes the place of the earlier one, and a goodbye takes it away', async (t) => {
    t.equal((await call('POST', '', { ...good, streamAge: null, keys: [] })).status, 204)
    t.equal(await count('gateway'), 1)
    t.match((await sql('SELECT state FROM auth.replicas WHERE id = $1', [good.id])).rows[0].state, {
      streamAge: null,
      keys: [],
    })
    for (const _again of [1, 2]) t.equal((await call('DELETE', `/${good.id}`)).status, 204)
    t.equal(await count('gateway'), 0)
  })

  await t.test('there are never more than 200 of a kind: the one heard of least lately makes room', async (t) => {
    await sql(`INSERT INTO auth.replicas (id, kind, version, started_at, seen_at, state)
      SELECT gen_random_uuid(), 'gateway', n::text, now(), now() - n * interval '1 second', '{}' FROM generate_series(1, 250) n`)
    t.equal((await call('POST', '', good)).status, 204)
    t.equal(await count('gateway'), 200)
    t.equal(
      (
        await sql('SELECT max(version::int) AS max FROM auth.replicas WHERE kind = $1 AND id <> $2', [
          'gateway',
          good.id,
        ])
      ).rows[0].max,
      199,
    )
    t.equal((await call('POST', '', good)).status, 204, "one that is known takes nobody's place")
    t.equal(await count('gateway'), 200)
    t.equal(await count('auth'), 1)
  })
})
