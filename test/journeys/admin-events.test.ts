import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import pg from 'pg'
import t from 'tap'
import { type Client, claimsOf, eventually, openSystem, signIn } from '../support/system.ts'

const idOf = (client: Client) => claimsOf(client.accessToken as string).sub as string

t.test('security events', async (t) => {
  const { gateway, sql, url } = await openSystem(t)
  const admin = await signIn(gateway, 'admin@example.com')
  const { rows } = await sql("SELECT id FROM auth.users WHERE email = 'doctor@example.com'")
  const doctor = rows[0].id as string
  const list = async (query: string) => (await admin.call('GET', `/api/admin/events?${query}`)).body
  const many = 50_000
  // Some at one time, as those of one statement are.
  await sql(
    `INSERT INTO auth.security_events (at, event, user_id, ip)
     SELECT timestamptz '2020-01-01' + (n / 3) * interval '1 second', 'login_failed', $1, '192.0.2.1'
     FROM generate_series(1, ${many}) n`,
    [doctor],
  )
  const stream = (query: string) =>
    fetch(`${gateway}/api/admin/events?${query}`, {
      headers: { accept: 'application/x-ndjson', authorization: `Bearer ${admin.accessToken}` },
    })

  await t.test('come newest first, page by page, and by user, event and time', async (t) => {
    const { body, headers } = await admin.call('GET', '/api/admin/events')
    t.match(headers.get('vary'), /\bAccept\b/)
    t.equal(body.events.length, 20)
    t.match(body.events[0], { event: 'login_succeeded', user: idOf(admin), session: String, ip: '127.0.0.1' })
    const { rows } = await sql('SELECT id FROM auth.security_events ORDER BY at DESC, id DESC LIMIT 250')
    const seen: string[] = []
    let cursor: string | null = ''
    while (seen.length < 250) {
      const page = await list(`limit=50${cursor && `&cursor=${cursor}`}`)
      seen.push(...page.events.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
    }
    t.strictSame(
      seen,
      rows.map(({ id }) => String(id)),
    )

    await eventually('they are chained', async () => (await list('limit=1')).events[0].position !== null)
    const [newest] = (await list('limit=1')).events
    t.match(newest, { hash: /^[0-9a-f]{64}$/, commitments: { ip: { salt: /^[0-9a-f]{32}$/ } } })
    const chained = await sql('SELECT encode(hash, $$hex$$) AS hash FROM auth.event_chain WHERE event_id = $1', [
      newest.id,
    ])
    t.equal(newest.hash, chained.rows[0].hash)

    t.match((await list(`user=${idOf(admin)}`)).events, [{ event: 'login_succeeded' }])
    t.strictSame((await list('event=nothing_like_it')).events, [])
    const between = await list('from=2020-01-01T01:00:00Z&to=2020-01-01T01:00:02%2B00:00&limit=100')
    t.equal(between.events.length, 6)
    t.equal(between.nextCursor, null)
    const [plain] = (await once(
      get(`${gateway}/api/admin/events`, { headers: { authorization: `Bearer ${admin.accessToken}` } }),
      'response',
    )) as [IncomingMessage]
    t.match(plain.resume().headers['content-type'], 'application/json', 'also for who does not say what it takes')

    const path = `/api/admin/users/${doctor}/events`
    const own = await admin.call('GET', `${path}?limit=3`)
    t.match(own.body.events, [{ user: doctor }, { user: doctor }, { user: doctor }])
    t.match((await admin.call('GET', `${path}?cursor=${own.body.nextCursor}`)).body.events.length, 20)
    t.strictSame((await list('cursor=999999999999')).events, [], 'after one that is forgotten there is nothing')
  })

  await t.test('a stream has all of them, once and in order, a line each', async (t) => {
    const response = await stream(`user=${doctor}&event=login_failed`)
    t.equal(response.headers.get('content-type'), 'application/x-ndjson')
    t.match(response.headers.get('vary'), /\bAccept\b/)
    const lines = (await response.text()).trimEnd().split('\n')
    const found = lines.map((line) => JSON.parse(line) as { id: string; at: string })
    t.equal(found.length, many)
    t.equal(new Set(found.map(({ id }) => id)).size, many)
    const key = ({ at, id }: { at: string; id: string }) => `${at} ${id.padStart(12, '0')}`
    t.ok(found.every((event, index) => index === 0 || key(found[index - 1] as typeof event) > key(event)))

    const rest = await stream(`user=${doctor}&cursor=${found[many - 3]?.id}`)
    t.equal((await rest.text()).split('\n').length, 3, 'it goes on after a cursor')
    t.equal(await (await stream('event=nothing_like_it')).text(), '')
    t.equal((await admin.call('HEAD', '/api/admin/events')).status, 405)
  })

  await t.test('are read no faster than a client receives them, and no longer', async (t) => {
    const user = idOf(admin)
    await sql(
      `INSERT INTO auth.security_events (event, user_id, reason)
       SELECT 'login_failed', $1, repeat('x', 2000) FROM generate_series(1, 12000)`,
      [user],
    )
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    const lock = () => other.query('BEGIN; LOCK auth.security_events')
    const unlock = () => other.query('COMMIT')
    // Not whoever waits for the table: events are chained beside requests.
    const isReading = async () => {
      const { rows } = await sql(
        `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE NOT granted AND relation = $1::regclass AND query LIKE 'SELECT "auth"."security_events"%'`,
        ['auth.security_events'],
      )
      return rows.length > 0
    }
    /** While the table is locked, who reads on waits. */
    const hasStopped = async () => {
      await lock()
      for (let time = 0; time < 20; time++) {
        if (await isReading()) return false
        await admin.call('GET', '/api/admin/users')
      }
      return true
    }
    const headers = { accept: 'application/x-ndjson', authorization: `Bearer ${admin.accessToken}` }
    const sent = get(`${gateway}/api/admin/events?user=${user}&event=login_failed`, { headers })
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const waits = async () => {
      const stopped = await hasStopped()
      if (!stopped) await unlock()
      return stopped
    }
    await eventually('reading waits for the client', waits, 60_000)
    response.on('error', () => {}).resume()
    await eventually('it goes on once the client receives more', isReading)
    response.destroy()
    // By then the news has come through the gateway.
    for (let time = 0; time < 20; time++) await admin.call('GET', '/api/admin/users')
    await unlock()
    t.ok(await hasStopped(), 'after the client has gone nothing more is read')
    await other.end()
  })
})
