import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ChainedEvent, type Head, writeHead } from '@sallyport/auth/events/chain'
import { readChain, readChainState } from '@sallyport/auth/events/read-chain'
import { sealEvents, startSealing } from '@sallyport/auth/events/seal'
import type { Fault } from '@sallyport/auth/events/verify'
import { verifyDatabase } from '@sallyport/auth/events/verify-database'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { forget, startHousekeeping } from '@sallyport/auth/sessions/housekeeping'
import { createLogger } from '@sallyport/chassis'
import { createDatabase, type Database } from '@sallyport/database'
import pg from 'pg'
import { register } from 'prom-client'
import t, { type Test } from 'tap'
import { eventually, startDatabase, type TestDatabase } from '../support/system.ts'

/** Events of every shape. */
const many = (count: number) => `
  INSERT INTO auth.security_events (event, user_id, session_id, client_id, ip, reason, act)
  SELECT CASE n % 5 WHEN 0 THEN 'impersonation_started' ELSE 'login_failed' END,
    CASE WHEN n % 2 = 0 THEN gen_random_uuid() END, CASE WHEN n % 3 = 0 THEN gen_random_uuid() END,
    CASE WHEN n % 7 = 0 THEN gen_random_uuid() END, CASE WHEN n % 4 > 0 THEN '192.0.2.' || n % 256 END,
    CASE n % 5 WHEN 0 THEN 'Grüße 🗝 "\\' || chr(10) || chr(127) || chr(8232) || ', by ' || gen_random_uuid()
      WHEN 1 THEN 'on the command line' END,
    CASE WHEN n % 6 = 0 THEN jsonb_build_object('sub', 'a"\\' || chr(9), 'grant', n::text, 'é', false, 'act',
      jsonb_build_object('sid', gen_random_uuid(), 'sub', null, 'x', jsonb_build_array(true, 'é'))) END
  FROM generate_series(1, ${count}) n`

async function verify(database: Database, heads: Head[] = []) {
  const faults: Fault[] = []
  const verified = await verifyDatabase(database, heads, (fault) => faults.push(fault))
  return { ...verified, faults, count: faults.length }
}

/** A connection of somebody who adds events. */
async function connect(t: Test, { urls }: Pick<TestDatabase, 'urls'>) {
  const client = new pg.Client({ connectionString: urls.auth })
  await client.connect()
  t.teardown(() => client.end())
  return (text: string) => client.query(text)
}

const add = (reason: string) => `INSERT INTO auth.security_events (event, reason) VALUES ('login_failed', '${reason}')`

const reasonsOf = async (database: Database) =>
  (await readChain(database, 0, 10_000)).map((entry) => (entry as ChainedEvent).reason)

t.test('every event is chained once, whoever adds them and whoever chains them meanwhile', async (t) => {
  const { database, urls, sql } = await startDatabase(t)
  const replicas = Array.from({ length: 3 }, () => createDatabase(urls.auth, { connections: 2, onError: () => {} }))
  t.teardown(() => Promise.all(replicas.map((replica) => replica.$disconnect())))
  let goesOn = true
  const sealing = replicas.map(async (replica) => {
    while (goesOn) await sealEvents(replica, 7)
  })
  const before = (await sql('SELECT count(*)::int AS n FROM auth.security_events')).rows[0].n
  const adding = Array.from({ length: 4 }, async (_, who) => {
    const run = await connect(t, { urls })
    for (let time = 0; time < 60; time++) {
      await run('BEGIN')
      for (let event = 0; event <= time % 4; event++) await run(add(`${who} ${time} ${event}`))
      await run(time % 3 === 0 ? 'ROLLBACK' : 'COMMIT')
    }
  })
  await Promise.all(adding)
  goesOn = false
  await Promise.all(sealing)
  // Once for what was just committed, and again for what is behind the barrier.
  for (let pass = 0; pass < 3; pass++) await sealEvents(database)

  const { rows } = await sql('SELECT count(*)::int AS n, max(id)::int AS last FROM auth.security_events')
  t.equal(rows[0].n, before + 4 * 100, 'rolled back ones are none')
  const entries = await readChain(database, 0, 10_000)
  t.strictSame(
    entries.map(({ position }) => position),
    Array.from({ length: rows[0].n }, (_, index) => index + 1),
  )
  t.equal(new Set(entries.map(({ id }) => id)).size, rows[0].n)
  t.match(await verify(database), { events: rows[0].n, waiting: 0, count: 0 })
  t.equal((await readChainState(database)).completeTo, String(rows[0].last), 'and nothing is looked through again')
})

t.test('an event that is committed late is chained late, and never passed over', async (t) => {
  const system = await startDatabase(t)
  const { database, sql } = system
  const [slow, reserved] = [await connect(t, system), new pg.Client({ connectionString: system.url })]
  await reserved.connect()
  t.teardown(() => reserved.end())
  const completeTo = async () => Number((await readChainState(database)).completeTo)

  await slow('BEGIN')
  await slow(add('slow'))
  // Has the id and no transaction id yet, as every INSERT for a moment.
  await reserved.query('BEGIN; LOCK auth.security_events IN ROW EXCLUSIVE MODE')
  const { rows } = await reserved.query("SELECT nextval(pg_get_serial_sequence('auth.security_events', 'id')) AS id")
  t.equal((await reserved.query('SELECT pg_current_xact_id_if_assigned() AS id')).rows[0].id, null)

  await sql(add('first'))
  await sealEvents(database)
  const reached = await completeTo()
  for (const reason of ['second', 'third']) {
    await sql(add(reason))
    for (let pass = 0; pass < 3; pass++) await sealEvents(database, 1)
  }
  t.strictSame(await reasonsOf(database), ['first', 'second', 'third'], 'others wait for nobody')
  t.equal(await completeTo(), reached, 'but it is known that some are out')

  await reserved.query(
    `INSERT INTO auth.security_events (id, event, reason) OVERRIDING SYSTEM VALUE VALUES (${rows[0].id}, 'x', 'reserved')`,
  )
  await slow('COMMIT')
  await sealEvents(database)
  t.strictSame((await reasonsOf(database)).slice(3), ['slow'])
  await reserved.query('COMMIT')
  for (let pass = 0; pass < 3; pass++) await sealEvents(database)
  t.strictSame((await reasonsOf(database)).slice(3), ['slow', 'reserved'])
  t.ok((await completeTo()) > Number(rows[0].id))
  t.match(await verify(database), { events: 5, count: 0 })
})

t.test('what was there before is chained bit by bit, and goes on where it was', async (t) => {
  const { database, sql } = await startDatabase(t)
  await sql(many(1_000))
  const { completeTo } = await readChainState(database)
  t.equal(completeTo, '0')
  for (let pass = 0; pass < 3; pass++)
    t.equal((await database.$queryRaw<[{ n: number }]>`SELECT auth.seal_security_events(100) AS n`)[0].n, 100)
  const reached = Number((await readChainState(database)).completeTo)
  t.ok(reached >= 200 && reached < 1_000, `it looks on from ${reached}`)
  t.match(await verify(database), { events: 300, waiting: 700, count: 0 })
  t.equal(await sealEvents(database, 100), 700)
  t.match(await verify(database), { events: 1_000, waiting: 0, count: 0 })
})

t.test('who acted is hashed as every reader of JSON has it', async (t) => {
  const run = await connect(t, await startDatabase(t))
  for (const act of ['{"sub": "a", "act": {"iat": 1.50}}', '[1]', '1'])
    await t.rejects(run(`INSERT INTO auth.security_events (event, act) VALUES ('x', '${act}')`), { code: '23514' }, act)
})

t.test('nobody waits for whoever chains, and who chains for nobody', async (t) => {
  const system = await startDatabase(t)
  const { database, sql, url } = system
  const sealer = new pg.Client({ connectionString: url })
  await sealer.connect()
  t.teardown(() => sealer.end())
  await sql(many(10))
  await sealer.query('BEGIN; SELECT auth.seal_security_events(100)')
  const run = await connect(t, system)
  await run("SET statement_timeout TO '2s'")
  await run(add('meanwhile'))
  t.equal(await sealEvents(database), undefined, 'another one leaves it to the first')
  await sealer.query('COMMIT')
  await sealEvents(database)
  t.match(await verify(database), { events: 11, count: 0 })
})

/** What somebody with all rights on the database does, and what shows. */
const tamperings: [what: string, statements: string, faults: Partial<Fault>[]][] = [
  ...['event = $$login_succeeded$$', 'user_id = NULL', 'at = at + interval $$1 ms$$', 'reason = $$other$$'].map(
    (change): [string, string, Partial<Fault>[]] => [
      `changes ${change}`,
      `UPDATE auth.security_events SET ${change} WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 10)`,
      [{ position: 10, fault: 'changed' }],
    ],
  ),
  ...['act = $${"sub": "b"}$$', 'session_id = gen_random_uuid()', 'client_id = gen_random_uuid()'].map(
    (change): [string, string, Partial<Fault>[]] => [
      `changes ${change}`,
      `UPDATE auth.security_events SET ${change} WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 42)`,
      [{ position: 42, fault: 'changed' }],
    ],
  ),
  [
    'changes an IP address',
    "UPDATE auth.security_events SET ip = '198.51.100.1' WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 11)",
    [{ position: 11, fault: 'changed' }],
  ],
  [
    'takes an IP address out',
    'UPDATE auth.security_events SET ip = NULL WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 11)',
    [{ position: 11, fault: 'changed' }],
  ],
  [
    'takes an IP address out as if a person had been erased',
    `UPDATE auth.event_chain SET ip_digest = sha256(ip_salt || convert_to(ip, 'UTF8')), ip_salt = NULL
       FROM auth.security_events e WHERE e.id = event_id AND position = 10;
     UPDATE auth.security_events SET ip = NULL WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 10)`,
    [{ position: 10, fault: 'erased_unlawfully' }],
  ],
  [
    'puts another IP address in the place of one that is said to be erased',
    `UPDATE auth.event_chain SET ip_digest = sha256(ip_salt || convert_to(ip, 'UTF8')), ip_salt = NULL
       FROM auth.security_events e WHERE e.id = event_id AND position = 11;
     UPDATE auth.security_events SET ip = '::1' WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 11)`,
    [
      { position: 11, fault: 'changed' },
      { position: 11, fault: 'erased_unlawfully' },
    ],
  ],
  [
    'changes the words of a reason',
    `UPDATE auth.security_events SET reason = 'other words, ' || right(reason, 39)
       WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 10)`,
    [{ position: 10, fault: 'changed' }],
  ],
  [
    'removes an event',
    'DELETE FROM auth.security_events WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 20)',
    [{ position: 20, fault: 'event_removed' }],
  ],
  [
    'removes events and their entries',
    `DELETE FROM auth.security_events WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position IN (20, 21, 30));
     DELETE FROM auth.event_chain WHERE position IN (20, 21, 30)`,
    [
      { position: 20, fault: 'missing' },
      { position: 30, fault: 'missing' },
    ],
  ],
  [
    'removes an entry and leaves the event',
    'DELETE FROM auth.event_chain WHERE position = 20',
    [
      { position: 20, fault: 'missing' },
      { position: null, fault: 'not_chained' },
    ],
  ],
  [
    'removes an entry and moves those after it up',
    `DELETE FROM auth.security_events WHERE id = (SELECT event_id FROM auth.event_chain WHERE position = 95);
     DELETE FROM auth.event_chain WHERE position = 95;
     UPDATE auth.event_chain SET position = -position WHERE position > 95;
     UPDATE auth.event_chain SET position = -position - 1 WHERE position < 0`,
    [
      ...[95, 96, 97, 98, 99].map((position): Partial<Fault> => ({ position, fault: 'changed' })),
      { position: 100, fault: 'head_missing' },
    ],
  ],
  [
    'adds an event where the chain has been',
    `INSERT INTO auth.security_events (id, event) OVERRIDING SYSTEM VALUE
       VALUES ((SELECT min(id) - 1 FROM auth.security_events), 'login_succeeded')`,
    [{ position: null, fault: 'not_chained' }],
  ],
  [
    'swaps two events',
    `UPDATE auth.event_chain SET event_id = -event_id WHERE position IN (50, 60);
     UPDATE auth.event_chain c SET event_id = -o.event_id FROM auth.event_chain o
       WHERE c.position IN (50, 60) AND o.position = 110 - c.position`,
    [
      { position: 50, fault: 'changed' },
      { position: 60, fault: 'changed' },
    ],
  ],
  [
    'cuts the end off',
    `DELETE FROM auth.security_events WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position > 90);
     DELETE FROM auth.event_chain WHERE position > 90`,
    [{ position: 100, fault: 'head_missing' }],
  ],
  [
    'cuts the beginning off',
    `DELETE FROM auth.security_events WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position <= 5);
     DELETE FROM auth.event_chain WHERE position <= 5`,
    [{ position: 1, fault: 'missing' }],
  ],
]

t.test('what is done to the events afterwards shows', async (t) => {
  const { database, sql, url } = await startDatabase(t)
  await sql(many(100))
  for (let pass = 0; pass < 3; pass++) await sealEvents(database)
  t.match(await verify(database), { events: 100, count: 0 })
  const owner = new pg.Client({ connectionString: url })
  await owner.connect()
  t.teardown(() => owner.end())
  const { head } = await readChainState(database)
  const asOwner = (statements: string) =>
    owner.query(`
      ALTER TABLE auth.security_events DISABLE TRIGGER ALL; ALTER TABLE auth.event_chain DISABLE TRIGGER ALL;
      ${statements};
      ALTER TABLE auth.security_events ENABLE TRIGGER ALL; ALTER TABLE auth.event_chain ENABLE TRIGGER ALL`)
  const tables = ['security_events', 'event_chain', 'event_chain_state']
  for (const table of tables) await owner.query(`CREATE TABLE public.kept_${table} AS SELECT * FROM auth.${table}`)
  const restore = async () => {
    const copies = tables.map(
      (table) => `DELETE FROM auth.${table};
      INSERT INTO auth.${table} OVERRIDING SYSTEM VALUE SELECT * FROM public.kept_${table}`,
    )
    await asOwner(copies.join(';'))
  }
  for (const [what, statements, expected] of tamperings)
    await t.test(what, async (t) => {
      await asOwner(statements)
      const { faults } = await verify(database)
      t.match(faults, expected)
      t.equal(faults.length, expected.length)
      await restore()
      t.match(await verify(database), { events: 100, count: 0 })
    })

  await t.test('and who makes all of it anew is found by a head that somebody else has', async (t) => {
    const cut = `DELETE FROM auth.security_events WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position > 90);
      DELETE FROM auth.event_chain;
      UPDATE auth.event_chain_state SET complete_to = 0, position = 0, hash = start_hash, barrier = NULL`
    await asOwner(cut)
    await sealEvents(database)
    t.match(await verify(database), { events: 90, count: 0 }, 'by itself it is a chain')
    t.match((await verify(database, [head])).faults, [{ position: 100, fault: 'head_missing' }])
    await sql(many(20))
    await sealEvents(database)
    const { faults } = await verify(database, [head])
    t.match(faults, [{ position: 100, fault: 'head_differs', meaning: RegExp(head.hash) }])
    await restore()
    t.strictSame((await verify(database, [head])).faults, [])
  })

  await t.test('a state without a row is an error', async (t) => {
    await owner.query('DELETE FROM auth.event_chain_state')
    await t.rejects(readChainState(database), /restore the database/)
  })
})

t.test('erasing a person leaves the chain as it is, and nothing in it to find them by', async (t) => {
  const { database, sql } = await startDatabase(t)
  const [erased, other] = [randomUUID(), randomUUID()]
  await sql(
    `INSERT INTO auth.users (id, email, name, password_hash, roles) VALUES ($1, 'gone@example.com', 'G', 'x', '{admin}')`,
    [erased],
  )
  const insert = (event: string, user: string, reason: string | null) =>
    sql(`INSERT INTO auth.security_events (event, user_id, ip, reason) VALUES ($1, $2, '192.0.2.7', $3)`, [
      event,
      user,
      reason,
    ])
  await insert('login_succeeded', erased, 'known device')
  await insert('impersonation_started', erased, `why I looked, by ${other}`)
  await insert('impersonation_started', other, `their reason, by ${erased}`)
  await insert('user_disabled', other, `by ${erased}`)
  await insert('login_succeeded', other, 'known device')
  await sealEvents(database)
  await insert('login_succeeded', erased, 'known device')
  await sql("UPDATE auth.users SET delete_after = now() - interval '1 day' WHERE id = $1", [erased])
  await sql('SELECT auth.erase_user($1)', [erased])

  t.match(await verify(database), { events: 5, waiting: 2, count: 0 }, 'before it is chained that they were erased')
  await sealEvents(database)
  t.match(await verify(database), { events: 7, count: 0 })
  const entries = (await readChain(database, 0, 10)) as ChainedEvent[]
  t.match(entries, [
    { ip: null, reason: 'known device', commitments: { ip: { digest: String }, words: undefined } },
    { ip: null, reason: `by ${other}`, commitments: { ip: { digest: String }, words: { digest: String } } },
    {
      ip: null,
      reason: `their reason, by ${erased}`,
      commitments: { ip: { digest: String }, words: { salt: String } },
    },
    { ip: null, reason: `by ${erased}`, commitments: { ip: { digest: String } } },
    { ip: '192.0.2.7', commitments: { ip: { salt: String } } },
    { ip: null, commitments: { ip: undefined } },
    { event: 'user_erased', user: erased },
  ])
  const { rows } = await sql('SELECT FROM auth.event_chain WHERE ip_salt IS NOT NULL')
  t.equal(rows.length, 1, 'no salt stays of what is erased')
})

t.test('events are forgotten from the start of the chain, which is still one', async (t) => {
  const { database, sql } = await startDatabase(t)
  await sql(`INSERT INTO auth.security_events (event, at, reason) SELECT 'login_failed', now() - days * interval '1 day', days
    FROM unnest(ARRAY[402, 401, 399, 100, 401, 80, 10]) WITH ORDINALITY u (days, n) ORDER BY n`)
  const kept = async () =>
    (await sql('SELECT reason FROM auth.security_events ORDER BY id')).rows.map((row) => row.reason)
  await forget(database, 400 * 86_400, 1_000)
  t.equal((await kept()).length, 7, 'none that is not chained')
  await sealEvents(database)
  const before = await readChainState(database)

  const logger = createLogger('test', 'silent')
  const factorKey = createFactorKey({ current: { factorKeys: ['a key'] } })
  const stop = startHousekeeping(database, logger, factorKey, { eventsRetention: 400 * 86_400, pause: 20 })
  await eventually('they are forgotten', async () => (await kept()).length === 5)
  await stop()
  t.strictSame(await kept(), ['399', '100', '401', '80', '10'])
  const { start, head } = await readChainState(database)
  t.equal(start.position, 2)
  t.strictSame(head, before.head)
  t.match(await verify(database, [start, head]), { events: 5, first: { position: 3 }, count: 0 })
  t.match((await verify(database, [{ ...start, position: 1 }])).faults, [
    { position: 1, fault: 'head_missing', meaning: /before what is kept/ },
  ])
  t.match((await verify(database, [{ ...start, hash: head.hash }])).faults, [{ position: 2, fault: 'head_differs' }])

  await forget(database, 1, 1)
  t.strictSame(await kept(), ['100', '401', '80', '10'], 'no more than asked for')
  await forget(database, 1, 1_000)
  t.strictSame(await kept(), ['80', '10'], 'none of the last 90 days, whatever is asked')
  t.match(await verify(database), { events: 2, count: 0 })
})

t.test('forgetting while the chain is verified is no fault', async (t) => {
  const { database, sql } = await startDatabase(t)
  for (const [forgotten, verified] of [
    [1_100, 1_100],
    [1_200, 1_000],
  ] as const) {
    await sql(`INSERT INTO auth.security_events (event, at) SELECT 'login_failed', now() - interval '300 days'
      FROM generate_series(1, 1200)`)
    await sealEvents(database)
    let isForgotten = false
    const forgetful = {
      async run(statement, values) {
        const rows = await database.run(statement, values)
        if (rows.length === 1_000 && !isForgotten) {
          isForgotten = true
          await forget(database, 1, forgotten)
        }
        return rows
      },
    } as Pick<Database, 'run'> as Database
    t.match(await verify(forgetful), { events: verified, count: 0 }, `${forgotten} are forgotten after 1,000 were read`)
    await forget(database, 1, 10_000)
  }
})

t.test('the head is logged when there is a new one, and what fails is tried again', async (t) => {
  const { database, sql, url } = await startDatabase(t)
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line: string) => lines.push(line) })
  const logged = (event: string) => lines.map((line) => JSON.parse(line)).filter((line) => line.event === event)
  await sql(many(3))
  const stop = startSealing(database, logger, { pause: 10, logEvery: 500 })
  await eventually('it is chained and logged', () => logged('audit_head').length === 1)
  const head = (await readChainState(database)).head
  t.match(logged('audit_head')[0], head)
  t.match(writeHead(head), /^3:[0-9a-f]{64}$/)
  const other = new pg.Client({ connectionString: url })
  await other.connect()
  t.teardown(() => other.end())
  const sealedAt = async () =>
    (await register.getSingleMetric('sallyport_audit_sealed_timestamp_seconds')?.get())?.values[0]?.value as number
  await other.query('SELECT pg_advisory_lock(5001, 7260)')
  const before = await sealedAt()
  t.ok(before > Date.now() / 1000 - 60)
  // One may have been under way.
  await sleep(50)
  const held = await sealedAt()
  await sleep(50)
  t.equal(await sealedAt(), held, 'who leaves it to somebody else does not know that it is done')
  await other.query('SELECT pg_advisory_unlock(5001, 7260)')
  await eventually('it goes on', async () => (await sealedAt()) > held)
  await sql('ALTER FUNCTION auth.seal_security_events RENAME TO away')
  await eventually('it fails, and says so now and then', () => logged('sealing_failed').length === 2)
  await sql('ALTER FUNCTION auth.away RENAME TO seal_security_events')
  await sql(many(1))
  await eventually('the next is logged', () => logged('audit_head').length === 2)
  await stop()
  t.equal(logged('audit_head')[1].position, 4)
})
