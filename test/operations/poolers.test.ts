import { createDatabase, isOutage, migrate } from '@sallyport/database'
import { endProcesses, startProcess } from '@sallyport/local'
import t, { type Test } from 'tap'
import { skip, startPgBouncer } from '../support/pgbouncer.ts'
import {
  type Client,
  claimsOf,
  openSystemOn,
  refusalOf,
  signIn,
  startDatabase,
  startSystemOn,
} from '../support/system.ts'

/** PgBouncer in front of the database of a test. */
async function startPooled(t: Test, mode: Parameters<typeof startPgBouncer>[1]) {
  const { urls: direct, ...server } = await startDatabase(t)
  const pooled = await startPgBouncer(t, mode, [server.url, direct.auth, direct.appointments])
  const { auth, appointments, notifications } = direct
  const urls = { auth: pooled(auth), appointments: pooled(appointments), notifications: pooled(notifications) }
  return { ...server, urls, direct, pooled }
}

/** What people do, at more at once than there are connections. */
async function useSystem(t: Test, gateway: string) {
  const clients = await Promise.all(Array.from({ length: 12 }, () => signIn(gateway)))
  for (let round = 0; round < 3; round++) {
    const refreshes = await Promise.all(clients.map((client) => client.refresh()))
    t.strictSame(new Set(refreshes.map(({ status }) => status)), new Set([200]))
  }
  const [first, second] = clients as [Client, Client]
  const { sessions } = (await first.call('GET', '/api/auth/sessions')).body
  t.ok(Math.abs(Date.parse(sessions[0].createdAt) - Date.now()) < 60_000, 'times are in UTC')
  t.equal((await first.call('POST', '/api/auth/logout')).status, 200)
  t.match(await refusalOf(first), { code: 'SESSION_ENDED' })
  t.match(await first.refresh(), { status: 401 })
  t.equal((await second.call('GET', '/api/auth/me')).status, 200, 'others go on')
}

t.test('PgBouncer that keeps sessions is as PostgreSQL itself', { skip }, async (t) => {
  const server = await startPooled(t, 'session')
  t.strictSame(await migrate(server.pooled(server.url)), [], 'also for the migration')
  const { gateway } = await openSystemOn(server, t)
  await useSystem(t, gateway)
})

t.test('PgBouncer that keeps transactions', { skip }, async (t) => {
  const server = await startPooled(t, 'transaction')
  const DATABASE_DIRECT_URL = server.direct.auth
  const mail = { SMTP_URL: 'smtp://127.0.0.1:1', MAIL_FROM: 'a@example.com', APP_ORIGIN: 'https://app.test' }
  const system = await startSystemOn(server, t, { DATABASE_DIRECT_URL, ...mail }, ['appointments'])
  const start = async (more: Record<string, string>) => {
    const environment = { ...system.environment, AUTH_PORT: '0', DATABASE_WAIT: '0s', ...more }
    await endProcesses([await startProcess('auth', environment, () => {})])
  }

  await t.test('does, beside the address of PostgreSQL itself', async (t) => {
    await useSystem(t, system.gateway)
    const client = await signIn(system.gateway)
    const startsAt = '2027-03-04T23:30:00.000Z'
    const body = { patientId: claimsOf(client.accessToken as string).sub, startsAt, reason: 'x' }
    t.match(await client.call('POST', '/api/doctor/appointments', { body }), { status: 201, body: { startsAt } })
    t.strictSame(
      system.log.filter((line) => /"err":.*(prepared statement|pooling mode|NOTIFY)/.test(line)),
      [],
    )
  })

  await t.test('alone stops the start, and the line says what to do', async (t) => {
    const fault = /does not (arrive|keep sessions).*pool_mode=session.*DATABASE_DIRECT_URL/
    const other = await startDatabase(t)
    const nowhere = Object.assign(new URL(DATABASE_DIRECT_URL), { port: 1 }).toString()
    await Promise.all([
      t.rejects(start({ DATABASE_DIRECT_URL: nowhere }), { message: /ECONNREFUSED.*correct DATABASE_DIRECT_URL/ }),
      t.rejects(start({ DATABASE_DIRECT_URL: '' }), { name: 'ConfigurationError', message: fault }, 'auth'),
      t.rejects(migrate(server.pooled(server.url)), { name: 'ConfigurationError', message: fault }, 'the migration'),
      t.rejects(start({ DATABASE_DIRECT_URL: other.urls.auth }), { message: fault }, 'beside another database'),
    ])
  })

  await t.test(
    'whose connections are set up otherwise stops it, until they are as docs/operations.md has it',
    async (t) => {
      const database = new URL(server.url).pathname.slice(1)
      const alter = async (settings: string) => {
        await server.sql(`ALTER ROLE sallyport_auth IN DATABASE ${database} ${settings}`)
        await server.sql(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'sallyport_auth'",
        )
      }
      await alter("SET default_transaction_isolation TO 'serializable'")
      await t.rejects(start({}), {
        message: /default_transaction_isolation is serializable on the connections of the pooler/,
      })
      await alter('RESET ALL')
      await start({})
    },
  )
})

t.test('PgBouncer that keeps statements alone stops the start', { skip }, async (t) => {
  const server = await startPooled(t, 'statement')
  const starting = startSystemOn(server, t, { DATABASE_DIRECT_URL: server.direct.auth, DATABASE_WAIT: '0s' })
  await t.rejects(starting, { message: /transaction blocks not allowed in statement pooling mode/ })
})

t.test('connections to a server that takes no writes any more are given up', async (t) => {
  const { urls, sql } = await startDatabase(t)
  const database = createDatabase(urls.auth, { connections: 1, onError: () => {} })
  t.teardown(() => database.$disconnect())
  const readOnly = { name: 'read_only', text: 'SET default_transaction_read_only TO on' }
  const renames = {
    alone: () => database.user.updateMany({ data: { name: 'x' } }),
    'in a transaction': () => database.$transaction([database.user.updateMany({ data: { name: 'x' } })]),
    'past Prisma': () => database.run({ name: 'rename', text: 'UPDATE auth.users SET name = name' }, []),
  }
  for (const [name, rename] of Object.entries(renames)) {
    // As of one that an address led to which leads elsewhere by now.
    await database.run(readOnly, [])
    const error = await rename().catch((error: unknown) => error)
    t.ok(isOutage(error), `${name}: ${error}`)
    await rename()
    t.pass(`${name} the next time`)
  }
  const { rows } = await sql('SELECT current_database() AS name')
  await sql(`ALTER DATABASE ${rows[0].name} SET default_transaction_read_only TO on`)
  await database.run(readOnly, [])
  await renames.alone().catch(() => {})
  for (let time = 0; time < 2; time++) {
    const error = await database.user.findFirst().catch((error: unknown) => error)
    t.ok(isOutage(error), String(error))
  }
})
