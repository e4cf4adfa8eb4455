import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createDatabase, isOutage, listen, migrate, waitForDatabase } from '@sallyport/database'
import { endProcesses, keepSecrets, startProcess } from '@sallyport/local'
import pg from 'pg'
import t, { type Test } from 'tap'
import { startFreezingWay } from '../support/freezing-way.ts'
import {
  Client,
  claimsOf,
  eventually,
  signIn,
  startDatabase,
  startServer,
  startSystemOn,
  temporaryFolder,
} from '../support/system.ts'

/** Runs statements as the role that the URL signs in as. */
async function signInTo(t: Test, url: string) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  return (statement: string) => client.query(statement)
}

t.test('least privilege: a service can do its work in the database, and nothing else', async (t) => {
  const { url, urls, sql, postgres } = await startServer(t, ['log_statement=all'])
  const auth = await signInTo(t, urls.auth)
  const appointments = await signInTo(t, urls.appointments)
  const denied = { code: '42501' }

  t.test('rows of its own schema are read, added, changed and deleted', async (t) => {
    await auth("UPDATE auth.users SET name = name WHERE email = 'doctor@example.com'")
    await auth("INSERT INTO auth.security_events (event, ip) VALUES ('login_failed', '::1')")
    t.equal((await auth("SELECT ip FROM auth.security_events WHERE event = 'login_failed'")).rows[0].ip, '::1')
    await auth('DELETE FROM auth.sessions')
    await appointments('UPDATE appointments.appointments SET reason = reason')
  })

  t.test('what was written to the security events cannot be taken back', async (t) => {
    for (const statement of [
      'UPDATE auth.security_events SET ip = NULL',
      'DELETE FROM auth.security_events',
      'TRUNCATE auth.security_events',
      'ALTER TABLE auth.security_events DISABLE TRIGGER ALL',
      'DROP TRIGGER security_events_are_append_only ON auth.security_events',
      "INSERT INTO auth.security_events (event, at) VALUES ('login_failed', now() - interval '1 hour')",
      "INSERT INTO auth.security_events (id, event) OVERRIDING SYSTEM VALUE VALUES (0, 'login_failed')",
      "INSERT INTO auth.event_chain (position, event_id, hash) VALUES (1, 1, '')",
      'UPDATE auth.event_chain SET ip_salt = NULL',
      'DELETE FROM auth.event_chain',
      'UPDATE auth.event_chain_state SET position = 0',
      'DELETE FROM auth.event_chain_state',
    ])
      await t.rejects(auth(statement), denied, statement)
  })

  t.test('nothing is made, changed or dropped but rows', async (t) => {
    for (const statement of [
      'TRUNCATE auth.sessions',
      'ALTER TABLE auth.users ADD COLUMN more text',
      'DROP TABLE auth.users',
      'CREATE TABLE auth.more ()',
      'CREATE TABLE public.more ()',
      'CREATE TEMPORARY TABLE more ()',
      'CREATE SCHEMA more',
      'CREATE INDEX ON auth.users (name)',
      'CREATE FUNCTION auth.more() RETURNS int LANGUAGE sql RETURN 1',
      'CREATE ROLE more',
      'CREATE DATABASE more',
      'ALTER TABLE auth.users OWNER TO sallyport_auth',
      'SET ROLE postgres',
      "COPY auth.users TO PROGRAM 'true'",
      'DELETE FROM _prisma_migrations',
    ])
      await t.rejects(auth(statement), denied, statement)
  })

  t.test('jobs are queued and run, and nothing else of the queue is changed', async (t) => {
    const { rows } = await auth("SELECT id FROM graphile_worker.add_job('none')")
    t.equal((await auth(`DELETE FROM graphile_worker._private_jobs WHERE id = ${rows[0].id}`)).rowCount, 1)
    for (const statement of [
      'DELETE FROM graphile_worker.migrations',
      'DELETE FROM graphile_worker._private_tasks',
      'DELETE FROM graphile_worker._private_job_queues',
      'DELETE FROM graphile_worker._private_known_crontabs',
      'DROP POLICY by_rights ON graphile_worker._private_jobs',
      'CREATE TABLE graphile_worker.more ()',
    ])
      await t.rejects(auth(statement), denied, statement)
    await t.rejects(appointments("SELECT graphile_worker.add_job('none')"), denied)
  })

  t.test('one service knows nothing of what is of the other', async (t) => {
    await t.rejects(auth('SELECT FROM appointments.appointments'), denied)
    for (const table of ['users', 'sessions', 'security_events'])
      await t.rejects(appointments(`SELECT FROM auth.${table}`), denied, table)
  })

  t.test('migrating again takes away what was given beside it', async (t) => {
    await sql('GRANT ALL ON ALL TABLES IN SCHEMA auth TO sallyport_auth')
    await auth('TRUNCATE auth.sessions')
    await migrate(url, { auth: { name: 'sallyport_auth' } })
    await t.rejects(auth('TRUNCATE auth.sessions'), denied)
    await t.rejects(auth('DELETE FROM auth.security_events'), denied)
    await auth('DELETE FROM auth.sessions')
  })

  t.test('the owner deletes old security events, as docs/operations.md says', async (t) => {
    const { rows } = await sql(
      'UPDATE auth.users SET name = name RETURNING (SELECT count(*) FROM auth.security_events)',
    )
    t.not(rows[0].count, '0')
    const [, statement = ''] = /```sql\n(SELECT auth\.forget_security_events.*)\n```/.exec(
      readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8'),
    ) as RegExpExecArray
    await sql('ALTER TABLE auth.security_events DISABLE TRIGGER ALL; DELETE FROM auth.security_events')
    await sql('ALTER TABLE auth.security_events ENABLE TRIGGER ALL')
    await sql(`INSERT INTO auth.security_events (event, at)
      VALUES ('login_failed', now() - interval '3 years'), ('login_failed', now() - interval '1 year')`)
    await auth('SELECT auth.seal_security_events(100)')
    await sql(statement)
    const { rows: left } = await sql("SELECT FROM auth.security_events WHERE at < now() - interval '2 years'")
    t.equal(left.length, 0)
    t.not((await sql('SELECT FROM auth.security_events')).rowCount, 0, 'younger ones stay')
    await t.rejects(sql('DELETE FROM auth.security_events'), /append-only/, 'and the table is closed again')
  })

  t.test('a role is made with its password, which migrating can change, and no log of the server holds', async (t) => {
    const passwords = ['the first of them', 'the second of them'] as const
    const as = (password: string) => Object.assign(new URL(url), { username: 'by hand', password }).toString()
    for (const password of passwords) await migrate(url, { auth: { name: 'by hand', password } })
    await t.rejects(signInTo(t, as(passwords[0])), { code: '28P01' })
    await t.rejects((await signInTo(t, as(passwords[1])))('DROP TABLE auth.users'), denied)
    const log = readFileSync(postgres.logFile, 'utf8')
    t.match(log, /CREATE ROLE "by hand"/)
    for (const password of passwords) t.notMatch(log, password)
  })

  t.test('a role that cannot be given rights is named', async (t) => {
    await t.rejects(migrate(url, { appointments: { name: 'nobody' } }), /there is no role nobody; make it, or set/)
    await t.rejects(migrate(url, { auth: { name: 'postgres' } }), /the role postgres owns the tables/)
    await sql('CREATE ROLE deputy LOGIN IN ROLE postgres')
    await t.rejects(migrate(url, { auth: { name: 'deputy' } }), /deputy owns the tables, or may do as their owner does/)
  })

  t.test('an unusable database says which command fixes it', async (t) => {
    await sql("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    const stranger = Object.assign(new URL(url), { username: 'stranger', password: 'x' }).toString()
    const wait = async (address: string) => {
      const database = createDatabase(address, { connections: 1, onError: () => {} })
      await waitForDatabase(database, 0).finally(() => database.$disconnect())
    }
    await t.rejects(wait(stranger), /has no rights in the database; run `npm run migrate`/)
    const { rows } = await sql(
      'DELETE FROM _prisma_migrations WHERE migration_name = (SELECT max(migration_name) FROM _prisma_migrations) RETURNING *',
    )
    t.equal(rows.length, 1)
    await t.rejects(wait(urls.auth), /older than this version \(\d+_\w+ is missing\); run `npm run migrate`/)
  })
})

t.test('a statement past Prisma', async (t) => {
  const { urls, sql } = await startDatabase(t)
  const database = createDatabase(urls.auth, { connections: 1, onError: () => {} })
  const connections =
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sallyport'"

  await t.test('gives and takes the types of Postgres', async (t) => {
    const row = {
      id: '018f4e6e-9d5c-7cc1-a1b5-0d6f0f5d7c11',
      roles: ['doctor', 'of "many", {words}'],
      at: new Date('2026-03-29T01:30:00.123Z'),
      seconds: 1_790_000_000.5,
      generation: 2 ** 31 - 1,
      disabled: false,
      nothing: null,
    }
    const types = {
      name: 'types',
      text: `SELECT $1::uuid AS id, $2::text[] AS roles, $3::timestamptz AS at, $4::float8 AS seconds,
               $5::int AS generation, $6::boolean AS disabled, $7::text AS nothing`,
    }
    for (const time of ['prepared', 'repeated'])
      t.strictSame(await database.run(types, Object.values(row)), [row], time)
    const { rows } = await sql(connections)
    t.equal(rows.length, 1, 'on the one connection')
  })

  await t.test('gives as many rows as there are, each time anew', async (t) => {
    const count = { name: 'count', text: 'SELECT number FROM generate_series(1, $1) number' }
    for (const last of [3, 0, 1]) {
      const rows = Array.from({ length: last }, (_, index) => ({ number: index + 1 }))
      t.strictSame(await database.run(count, [last]), rows, `up to ${last}`)
    }
    for (const text of ['UPDATE auth.users SET name = name', ''])
      for (const time of ['prepared', 'repeated'])
        t.strictSame(await database.run({ name: `no columns: ${text}`, text }, []), [], `${text} ${time}`)
  })

  await t.test('whose columns were changed beneath it fails once, and then gives the new ones', async (t) => {
    const all = { name: 'all', text: 'SELECT * FROM auth.more' }
    await sql('CREATE TABLE auth.more AS SELECT 1 AS one')
    await sql('GRANT SELECT ON auth.more TO sallyport_auth')
    for (const time of ['prepared', 'repeated']) t.strictSame(await database.run(all, []), [{ one: 1 }], time)
    await sql("ALTER TABLE auth.more ADD COLUMN two text DEFAULT 'two'")
    await t.rejects(database.run(all, []), { code: '0A000', message: 'cached plan must not change result type' })
    for (const time of ['prepared', 'repeated'])
      t.strictSame(await database.run(all, []), [{ one: 1, two: 'two' }], `${time} again`)
  })

  await t.test('that has the name of another is refused, and is not taken for it', async (t) => {
    t.strictSame(await database.run({ name: 'same', text: 'SELECT 1 AS one' }, []), [{ one: 1 }])
    const other = database.run({ name: 'same', text: 'SELECT 2 AS one' }, [])
    await t.rejects(other, {
      message: /^Prepared statements must be unique - 'same' was used for a different statement/,
    })
  })

  await t.test('with a value that cannot be written fails before it is sent', async (t) => {
    const connection = { name: 'connection', text: 'SELECT pg_backend_pid() AS pid, $1::text AS value' }
    const [before] = await database.run(connection, ['x'])
    const circular: Record<string, unknown> = {}
    circular.itself = circular
    await t.rejects(database.run(connection, [circular]), /circular/)
    t.strictSame(await database.run(connection, ['x']), [before])
  })

  await t.test('that is wrong fails as Postgres says, and the connection goes on', async (t) => {
    const id = { name: 'id', text: 'SELECT $1::uuid AS id' }
    const error = await database.run(id, ['none']).catch((error) => error)
    t.match(error, { code: '22P02' })
    t.notOk(isOutage(error))
    t.strictSame(await database.run({ name: 'two', text: 'SELECT 2 AS two' }, []), [{ two: 2 }])
  })

  await t.test('leaves no connection behind, though Prisma was never asked', async () => {
    await database.$disconnect()
    await eventually('it is gone', async () => {
      const { rows } = await sql(connections)
      return rows.length === 0
    })
  })
})

t.test('whatever a server, a database or a role has for defaults', async (t) => {
  const system = await startSystemOn(await startServer(t), t, {}, ['appointments'])
  const { gateway, sql, url } = system
  const client = await signIn(gateway)
  const oddities = {
    TimeZone: "'America/New_York'",
    DateStyle: "'SQL, DMY'",
    IntervalStyle: 'sql_standard',
    extra_float_digits: '-15',
    default_transaction_isolation: 'serializable',
    default_transaction_deferrable: 'on',
    search_path: 'auth, appointments',
    idle_session_timeout: "'500ms'",
    statement_timeout: "'3s'",
  }
  for (const [name, value] of Object.entries(oddities))
    for (const whose of ['DATABASE sallyport', 'ROLE sallyport_auth', 'ROLE sallyport_appointments', 'ROLE postgres'])
      await sql(`ALTER ${whose} SET ${name} TO ${value}`)
  await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sallyport'")
  await eventually('a refresh succeeds', async () => (await client.refresh()).status === 200)

  await t.test('times stay correct', async (t) => {
    const startsAt = '2027-03-04T23:30:00.000Z'
    const body = { patientId: claimsOf(client.accessToken as string).sub, startsAt, reason: 'x' }
    t.match(await client.call('POST', '/api/doctor/appointments', { body }), { status: 201, body: { startsAt } })
    t.match((await client.call('GET', '/api/doctor/appointments')).body.appointments.at(-1), { startsAt })
    const { sessions } = (await client.call('GET', '/api/auth/sessions')).body
    t.ok(Math.abs(Date.parse(sessions[0].createdAt) - Date.now()) < 60_000, sessions[0].createdAt)
    const admin = await signIn(gateway, 'admin@example.com')
    const { users } = (await admin.call('GET', '/api/admin/users')).body
    const { rows } = await sql(
      'SELECT floor(extract(epoch FROM created_at) * 1000)::float8 AS at FROM auth.users ORDER BY id',
    )
    t.strictSame(
      users.map(({ createdAt }: { createdAt: string }) => Date.parse(createdAt)),
      rows.map(({ at }) => at),
    )
    const { iat, exp } = claimsOf(client.cookie as string)
    t.equal(Number(exp) - Number(iat), 604_800, 'of the session too')
  })

  await t.test('a session that has ended is known to a gateway that starts later', async () => {
    const { accessToken } = client
    const other = await signIn(gateway)
    await client.call('POST', '/api/auth/logout')
    Object.assign(client, other)
    const { AUTH_URL } = system.environment
    const later = await startProcess(
      'gateway',
      {
        ...system.environment,
        JWKS_URL: `${AUTH_URL}/.well-known/jwks.json`,
        REVOCATIONS_URL: `${AUTH_URL}/internal/revocations`,
      },
      () => {},
    )
    t.teardown(() => endProcesses([later]))
    const there = Object.assign(new Client(`http://127.0.0.1:${later.port}`), { accessToken })
    await eventually(
      'it refuses the token',
      async () => (await there.call('GET', '/api/whoami')).body.code === 'SESSION_ENDED',
    )
  })

  await t.test('many refreshes at once, of one session and of several, all succeed', async (t) => {
    const clients = [client, await signIn(gateway), await signIn(gateway)]
    const statuses = await Promise.all(
      clients.flatMap(({ cookie }) =>
        Array.from({ length: 40 }, async () => (await Object.assign(new Client(gateway), { cookie }).refresh()).status),
      ),
    )
    t.strictSame(new Set(statuses), new Set([200]))
  })

  await t.test('the connection that listens stays', async (t) => {
    const lost = () => system.log.filter((line) => line.includes('"revocation_channel_lost"')).length
    const before = lost()
    const { accessToken } = await signIn(gateway)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    t.equal((await Object.assign(new Client(gateway), { accessToken }).call('GET', '/api/auth/me')).status, 200)
    t.equal(lost(), before)
  })

  await t.test('migrating goes by the same, and takes its time', async (t) => {
    t.strictSame(await migrate(url), [])
    await sql('CREATE DATABASE another')
    for (const [name, value] of Object.entries(oddities)) await sql(`ALTER DATABASE another SET ${name} TO ${value}`)
    const another = url.replace(/sallyport$/, 'another')
    t.not((await migrate(another)).length, 0)
    const database = createDatabase(another, { connections: 1, onError: () => {} })
    t.teardown(() => database.$disconnect())
    await waitForDatabase(database, 0)
  })

  await t.test('a database that takes no writes is none to serve with', async (t) => {
    const ready = async (name: 'auth' | 'appointments') =>
      (await fetch(`http://127.0.0.1:${system.processes[name].managementPort}/readyz`)).status
    t.equal(await ready('auth'), 200)
    await sql('ALTER DATABASE sallyport SET default_transaction_read_only TO on')
    await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sallyport'")
    for (const name of ['auth', 'appointments'] as const)
      await eventually(`${name} is not ready`, async () => (await ready(name)) === 503)
    t.match(await new Client(gateway).login(), { status: 503, body: { code: 'UNAVAILABLE' } })
    t.ok(system.log.some((line) => /"not_ready".*takes no writes/.test(line)))
    await sql('SET default_transaction_read_only TO off; ALTER DATABASE sallyport RESET default_transaction_read_only')
    await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sallyport'")
    await eventually('it is ready', async () => (await ready('auth')) === 200)
  })
})

t.test('a standby is none to serve with', async (t) => {
  const standby = await startServer(t)
  const { rows } = await standby.sql('SHOW data_directory')
  await standby.postgres.stop()
  writeFileSync(join(rows[0].data_directory, 'standby.signal'), '')
  await standby.restart()
  const fault = /takes no writes \(it is a standby, .* lead to the primary/
  await t.rejects(waitForDatabase(standby.database, 0), fault)
})

t.test('a pooler that takes LISTEN and delivers nothing is named', async (t) => {
  const { url, urls } = await startDatabase(t)
  // What Postgres says of a NOTIFY ('A' and its length) is left out, as where the connection is somebody else's by then.
  const way = await startFreezingWay(t, Number(new URL(url).port), (piece) => {
    const kept: Buffer[] = []
    for (let at = 0; at < piece.length; ) {
      const length = piece.length < at + 5 ? piece.length : 1 + piece.readInt32BE(at + 1)
      if (piece[at] !== 0x41) kept.push(piece.subarray(at, at + length))
      at += length
    }
    return Buffer.concat(kept)
  })
  const pooled = Object.assign(new URL(urls.auth), { port: way.port }).toString()
  const database = createDatabase(urls.auth, { connections: 1, onError: () => {} })
  t.teardown(() => database.$disconnect())
  const errors: Error[] = []
  const listener = listen(
    pooled,
    'anything',
    {
      onMessage: () => {},
      onDisconnect: () => {},
      onError: (error) => errors.push(error),
      notify: (...values) => database.run({ name: 'notify', text: 'SELECT pg_notify($1, $2)' }, values),
    },
    { retryAfter: 20, proveEvery: 50, mayMiss: 3 },
  )
  t.teardown(() => listener.close())
  await eventually('it says so', () => errors.length > 0)
  t.match(errors[0]?.message, /NOTIFY does not arrive .* pool_mode=session/)
  t.notOk(listener.connected)
})

t.test('a message that makes no sense is logged, and those after it are received', async (t) => {
  const { urls, sql } = await startDatabase(t)
  const errors: Error[] = []
  const received: string[] = []
  const listener = listen(urls.auth, 'anything', {
    onMessage(message) {
      received.push(JSON.parse(message))
    },
    onDisconnect: () => {},
    onError: (error) => errors.push(error),
  })
  t.teardown(() => listener.close())
  await eventually('it listens', () => listener.connected)
  for (const message of ['{', '"good"']) await sql("SELECT pg_notify('anything', $1)", [message])
  await eventually('the second one is there', () => received.length > 0)
  t.strictSame(received, ['good'])
  t.match(errors, [{ message: 'a message that makes no sense', cause: SyntaxError }])
  t.ok(listener.connected)
})

t.test('a proof that cannot be sent is no proof, and the reason is logged', async (t) => {
  const { urls } = await startDatabase(t)
  const errors: Error[] = []
  const listener = listen(
    urls.auth,
    'anything',
    {
      onMessage: () => {},
      onDisconnect: () => {},
      onError: (error) => errors.push(error),
      notify: () => Promise.reject(new Error('no connection to be had')),
    },
    { retryAfter: 20, proveEvery: 50, mayMiss: 3 },
  )
  t.teardown(() => listener.close())
  await eventually('it says so', () => errors.length > 0)
  t.match(errors[0]?.message, /nothing could be sent to the connection that listens \(no connection to be had\)/)
  t.notOk(listener.connected)
})

t.test(
  'TLS: sslmode=verify-full talks to the database whose certificate says so, and to nobody else',
  { skip: spawnSync('openssl', ['version']).error ? 'install openssl to run this' : false },
  async (t) => {
    const folder = temporaryFolder(t)
    const [authority, server, stranger] = ['authority', 'server', 'stranger'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ]
    const certify = (name: string, ...more: string[]) =>
      execFileSync(
        'openssl',
        `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -keyout ${name}.key -out ${name}.pem`
          .split(' ')
          .concat(more),
        { stdio: 'ignore' },
      )
    certify(authority)
    certify(stranger)
    certify(
      server,
      ...['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`],
      ...['-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE'],
    )
    chmodSync(`${server}.key`, 0o600)
    const { urls, url, sql } = await startServer(t, [
      'ssl=on',
      `ssl_cert_file=${server}.pem`,
      `ssl_key_file=${server}.key`,
    ])
    const secure = (address: string, host: string, root: string) =>
      `${address.replace('127.0.0.1', host)}?sslmode=verify-full&sslrootcert=${root}.pem`
    const encrypted = async () =>
      (await sql("SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'sallyport'"))
        .rows

    t.test('the auth service, and what it listens on', async (t) => {
      const DATABASE_URL = secure(urls.auth, 'localhost', authority)
      await migrate(secure(url, 'localhost', authority))
      const before = (await encrypted()).length
      const auth = await startProcess(
        'auth',
        {
          ...process.env,
          ...keepSecrets(folder),
          DATABASE_URL,
          AUTH_PORT: '0',
          JWT_ISSUER: 'https://issuer.test',
          JWT_AUDIENCE: 'https://api.test',
        },
        () => {},
      )
      t.teardown(() => endProcesses([auth]))
      await eventually('it asks and listens', async () => (await encrypted()).length >= before + 2)
      t.strictSame(
        (await encrypted()).filter(({ ssl }) => !ssl).length,
        before,
        'its connections, and no others, are encrypted',
      )
    })

    for (const [what, address, why] of [
      ['another host', secure(urls.auth, '127.0.0.1', authority), /does not match certificate's altnames/],
      ['another authority', secure(urls.auth, 'localhost', stranger), /certificate/],
    ] as const)
      t.test(`a certificate for ${what} is refused by all that connect`, async (t) => {
        const database = createDatabase(address, { connections: 1, onError: () => {} })
        t.teardown(() => database.$disconnect())
        await t.rejects(waitForDatabase(database, 0), why)
        await t.rejects(migrate(address), why)
        const errors: Error[] = []
        const listener = listen(address, 'anything', {
          onMessage: () => {},
          onDisconnect: () => {},
          onError: (error) => errors.push(error),
        })
        t.teardown(() => listener.close())
        await eventually('the listener is refused', () => errors.length > 0)
        t.match(errors[0]?.message, why)
        t.equal(listener.connected, false)
      })

    t.test('a server without a certificate is refused', async (t) => {
      const plain = await startDatabase(t)
      const address = secure(plain.urls.auth, 'localhost', authority)
      await t.rejects(migrate(address), /does not support SSL/)
    })
  },
)
