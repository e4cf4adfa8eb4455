import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { refreshSigning } from '@sallyport/auth/tokens/refresh'
import { migrate } from '@sallyport/database'
import { createSigner } from 'fast-jwt'
import pg from 'pg'
import t, { type Test } from 'tap'
import { Client, demoPassword, eventually, openSystemOn, startDatabase, type TestDatabase } from '../support/system.ts'

const migrations = new URL('../../../prisma/migrations/', import.meta.url)

/** The last migration of the version before. */
const before = '20261125000000_announce_by_trigger'

/** Brings a database back to what the version before made, with the demo users and many rows. */
async function goBack({ sql }: TestDatabase): Promise<void> {
  const { rows: users } = await sql('SELECT id, email, name, password_hash, roles FROM auth.users')
  await sql('DROP SCHEMA auth, appointments, graphile_worker CASCADE')
  await sql('DELETE FROM _prisma_migrations WHERE migration_name > $1', [before])
  for (const name of readdirSync(migrations).sort())
    if (name <= before) await sql(readFileSync(new URL(`${name}/migration.sql`, migrations), 'utf8'))
  for (const user of users)
    await sql(
      'INSERT INTO auth.users (id, email, name, password_hash, roles) VALUES ($1, $2, $3, $4, $5)',
      Object.values(user),
    )
  await sql(`
    GRANT USAGE ON SCHEMA auth TO sallyport_auth;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA auth TO sallyport_auth;
    INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at, created_at)
      SELECT gen_random_uuid(), (SELECT id FROM auth.users LIMIT 1), now() + interval '7 days', now() + interval '30 days',
        now() - interval '1 day' FROM generate_series(1, 20000);
    INSERT INTO auth.security_events (event, reason) SELECT 'login_failed', 'unknown e-mail' FROM generate_series(1, 100000)`)
}

/** What the version before runs, under the names by which each of its connections has prepared it. */
const statements = {
  find_user: `
    SELECT id, email, roles, password_hash AS "passwordHash", disabled_at IS NOT NULL AS disabled
    FROM auth.users WHERE email = ANY($1) ORDER BY array_position($1, email) LIMIT 1`,
  open_session: `
    WITH owner AS (
      SELECT id, email, name, roles FROM auth.users
      WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL
      FOR SHARE
    ), opened AS (
      INSERT INTO auth.sessions (id, user_id, user_agent, ip, expires_at, absolute_expires_at)
      SELECT $3::uuid, id, $4, $5,
             now() + least($6::float8, $7::float8) * interval '1 second',
             now() + $7::float8 * interval '1 second'
      FROM owner
      RETURNING *
    ), recorded AS (
      INSERT INTO auth.security_events (event, user_id, session_id, ip)
      SELECT 'login_succeeded', user_id, id, ip FROM opened
    )
    SELECT floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
           floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles
    FROM opened s JOIN owner u ON u.id = s.user_id`,
  rotate_session: `
    UPDATE auth.sessions s
    SET generation = $3::int + 1,
        attempt_hash = $4,
        rotated_at = clock.now,
        expires_at = least(clock.now + $5::float8 * interval '1 second', s.absolute_expires_at)
    FROM auth.users u, (SELECT coalesce($6::timestamptz, now()) AS now) clock
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id
      AND s.revoked_at IS NULL AND s.expires_at > clock.now AND u.disabled_at IS NULL
      AND s.generation <= $3
    RETURNING floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
      floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles,
      $3 - (SELECT before.generation FROM auth.sessions before WHERE before.id = s.id) AS forgotten`,
  list_sessions: `
    SELECT id, user_id, generation, attempt_hash, rotated_at, created_at, expires_at, absolute_expires_at, revoked_at,
      revoked_reason, user_agent, ip
    FROM auth.sessions WHERE user_id = $1 AND expires_at > now() ORDER BY rotated_at DESC LIMIT 20`,
  record: `
    INSERT INTO auth.security_events (event, user_id, session_id, ip, reason)
    VALUES ($1, $2::uuid, $3::uuid, $4, $5)`,
  end_session: `
    UPDATE auth.sessions SET revoked_at = now(), revoked_reason = $2 WHERE id = $1::uuid AND revoked_at IS NULL`,
}

/** One of its connections, on which people sign in, refresh and sign out for as long as it is told to. */
async function serve(t: Test, { urls }: TestDatabase, goesOn: () => boolean) {
  // As its own connections: a statement that waits for longer is 503.
  const connection = new pg.Client({ connectionString: urls.auth, query_timeout: 4_000 })
  await connection.connect()
  t.teardown(() => connection.end())
  const run = async (name: keyof typeof statements, ...values: unknown[]) =>
    (await connection.query({ name, text: statements[name], values })).rows
  let sessions: { id: string; user: string }[] = []
  let rounds = 0
  do {
    const [{ id: user, passwordHash }] = await run('find_user', ['doctor@example.com'])
    const id = randomUUID()
    const opened = await run('open_session', user, passwordHash, id, null, '::1', 604_800, 2_592_000)
    const rotated = await run('rotate_session', id, user, 0, null, 604_800, null)
    const listed = await run('list_sessions', user)
    if (opened.length !== 1 || rotated.length !== 1 || listed.length === 0) throw new Error('a statement did nothing')
    await run('record', 'login_failed', null, null, '::1', 'unknown e-mail')
    sessions = [...sessions, { id, user }]
    const [first] = sessions
    if (sessions.length > 5 && first) {
      await run('end_session', first.id, 'logout')
      sessions = sessions.slice(1)
    }
    rounds += 1
  } while (goesOn())
  return { sessions, rounds }
}

t.test('the database is migrated while the version before serves, and what it made goes on', async (t) => {
  const database = await startDatabase(t)
  await goBack(database)
  let goesOn = true
  const serving = Promise.all(Array.from({ length: 2 }, () => serve(t, database, () => goesOn)))
  serving.catch(() => {})

  // A backup reads everything in one transaction: the tables cannot be changed before its end.
  const backup = new pg.Client({ connectionString: database.url })
  await backup.connect()
  t.teardown(() => backup.end())
  await backup.query('BEGIN; SELECT FROM auth.users; SELECT FROM auth.sessions')
  const migrating = migrate(database.url, { auth: { name: 'sallyport_auth' } })
  const waits = async () => {
    const { rows } = await database.sql(`SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'ALTER TABLE'`)
    return rows.length > 0
  }
  for (const time of ['once', 'again']) {
    await eventually(`it waits for the backup, ${time}`, waits)
    await eventually(`it lets the others go first, ${time}`, async () => !(await waits()))
  }
  await backup.query('COMMIT')
  const applied = await migrating
  t.match(applied.join(), /mail_queue.*accounts.*erasure/)

  goesOn = false
  const served = await serving
  t.ok(
    served.every(({ rounds }) => rounds > 5),
    served.map(({ rounds }) => rounds).join(),
  )

  const { gateway, sql, secrets } = await openSystemOn(database, t)
  const sign = createSigner({ ...refreshSigning, key: secrets.JWT_REFRESH_SECRET as string, expiresIn: 60_000 })
  await t.test('sessions are refreshed', async (t) => {
    for (const { sessions } of served)
      for (const { id, user } of sessions) {
        const cookie = sign({ sub: user, sid: id, gen: 1, type: 'refresh' })
        t.equal((await Object.assign(new Client(gateway), { cookie }).refresh()).status, 200)
      }
  })

  await t.test('passwords sign in', async (t) => {
    t.equal((await new Client(gateway).login('doctor@example.com', demoPassword)).status, 200)
  })

  await t.test('a session from before was signed in to when it was opened', async (t) => {
    const { id = '', user = '' } = served[0]?.sessions[0] ?? {}
    const { rows } = await sql(
      'SELECT authenticated_at FROM auth.sessions WHERE created_at < now() - interval $$1 hour$$',
    )
    t.equal(rows.length, 20_000)
    t.ok(
      rows.every((row) => row.authenticated_at === null),
      'nobody has just signed in',
    )
    await sql('UPDATE auth.sessions SET authenticated_at = NULL WHERE id = $1', [id])
    const client = Object.assign(new Client(gateway), { cookie: sign({ sub: user, sid: id, gen: 2, type: 'refresh' }) })
    t.equal((await client.refresh()).status, 200)
    t.equal((await client.call('GET', '/api/auth/me/export')).status, 200)
    await sql("UPDATE auth.sessions SET created_at = now() - interval '6 minutes' WHERE id = $1", [id])
    t.match((await client.call('GET', '/api/auth/me/export')).body, { code: 'STEP_UP_REQUIRED' })
  })
})

t.test('a migration that cannot be applied says why; once it can be, migrating goes on from there', async (t) => {
  const database = await startDatabase(t)
  await goBack(database)
  await database.sql('ALTER TABLE auth.sessions RENAME TO aside')
  await t.rejects(migrate(database.url), /No such table: auth\.sessions/)
  await database.sql('ALTER TABLE auth.aside RENAME TO sessions')
  t.match((await migrate(database.url)).join(), /^\d+_authenticated_at,.*erasure/)
})
