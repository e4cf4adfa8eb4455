import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { takeOutput } from '@sallyport/cli/test-output'
import { publicJwk } from '@sallyport/identity'
import { keepSecrets } from '@sallyport/local'
import t, { type Test } from 'tap'
import { sallyport } from '../support/command-line.ts'
import { mailSettings } from '../support/mail.ts'
import { startSmtp } from '../support/smtp.ts'
import { freePort, shiftedClock, startDatabase, temporaryFolder } from '../support/system.ts'

type Env = Record<string, string | undefined>
interface Finding {
  check: string
  state: string
  finding: string
  advice?: string
}

/** A database, and the settings of auth for it. */
async function open(t: Test) {
  const database = await startDatabase(t)
  const { IDENTITY_PRIVATE_KEY: _, ...secrets } = keepSecrets(temporaryFolder(t))
  const env: Env = {
    ...secrets,
    DATABASE_URL: database.urls.auth,
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    CORS_ORIGINS: 'https://app.test',
  }
  return { ...database, env, ...doctorOf(env) }
}

const doctorOf = (env: Env) => ({
  /** What one check finds, with other settings. */
  async findings(check: string, settings: Env = {}, ...words: string[]): Promise<Finding[]> {
    const { output, errors } = await takeOutput(['doctor', '--json', ...words], { ...env, ...settings })
    if (errors !== '') throw new Error(errors)
    return JSON.parse(output).checks.filter((found: Finding) => found.check === check)
  },
})

t.test('a system that is as it has to be', async (t) => {
  const { env } = await open(t)
  const { code, output, errors } = await takeOutput(['doctor'], env)
  t.equal(errors, '')
  for (const line of [
    /^ok {7}settings: those of auth are right$/m,
    /^ok {7}secret files: nobody else on this machine can read them$/m,
    /^ok {7}mail: none is sent, as SMTP_URL is not set$/m,
    /^ok {7}database: PostgreSQL \d+\S*.*, as sallyport_auth/m,
    /^ok {7}migrations: all \d+ are applied$/m,
    /^ok {7}rights: the role has those that it needs in \d+ tables, and no others$/m,
    /^ok {7}clock: it differs from the database by 0\.\d{3} s$/m,
    /^ok {7}notifications: LISTEN hears what NOTIFY sends$/m,
    /^ok {7}connections: 1 × 11 for auth, of \d+ that it can have$/m,
    /^ok {7}queue: nothing waits$/m,
  ])
    t.match(output, line)
  t.equal(code, 0)
  t.notMatch(output, /^failure/m)
  t.notMatch(output, /gateway settings/)
})

t.test('settings that are wrong, each on a line with what to do', async (t) => {
  const { env, findings } = await open(t)
  const folder = temporaryFolder(t)
  const secret = join(folder, 'secret')
  writeFileSync(secret, env.JWT_REFRESH_SECRET as string, { mode: 0o600 })

  const { code, output } = await takeOutput(['doctor'], { ...env, JWT_ISSUER: undefined, RP_ID: 'no domain' })
  t.equal(code, 1)
  t.match(output, /^failure {2}settings: JWT_ISSUER is not set, .*\n {9}set it as docs\/configuration\.md says/m)
  t.match(output, /^failure {2}settings: RP_ID /m)
  t.match(output, /^ok {7}database: /m, 'and what else there is, it looks at')
  t.match(output, /^unknown {2}connections: the settings of auth are wrong$/m)
  t.match(output, /^unknown {2}mail: /m)

  t.match(await findings('settings', { JWT_REFRESH_SECRET_FILE: secret }), [
    { state: 'failure', finding: /^JWT_REFRESH_SECRET and JWT_REFRESH_SECRET_FILE are both set; drop / },
  ])
  t.match(await findings('settings', { BREACHED_PASSWORDS: secret }), [
    { state: 'failure', finding: /^BREACHED_PASSWORDS names / },
  ])
  const breached = join(folder, 'breached')
  await takeOutput(['breached', 'build', '--plain', secret, breached])
  t.match(await findings('settings', { BREACHED_PASSWORDS: breached }), [{ state: 'ok' }])
  t.match(await findings('settings', { ...mailSettings('smtp://localhost:1'), MAIL_TEMPLATES: `${folder}/none` }), [
    { state: 'failure', finding: /MAIL_TEMPLATES/ },
  ])
  const mounted = { JWT_REFRESH_SECRET: undefined, JWT_REFRESH_SECRET_FILE: secret }
  t.match(await findings('settings', mounted), [{ state: 'ok' }])
  t.match(await findings('secret files', mounted), [{ state: 'ok' }])
  chmodSync(secret, 0o644)
  t.match(await findings('secret files', mounted), [{ state: 'warning', finding: /can read/, advice: /^chmod o= / }])
  t.match(await findings('secret files', { ...mounted, JWT_REFRESH_SECRET_FILE: `${secret}s` }), [{ state: 'ok' }])

  const { IDENTITY_PRIVATE_KEY } = keepSecrets(temporaryFolder(t))
  const gateway = { IDENTITY_PRIVATE_KEY, GATEWAY_ROUTES: 'routes.yaml', JWKS_URL: 'http://auth:5001/jwks' }
  t.match(await findings('gateway settings', gateway), [{ state: 'ok' }])
  t.match(await findings('gateway settings', { IDENTITY_PRIVATE_KEY }), [
    { state: 'failure', finding: /^GATEWAY_ROUTES is not set/ },
  ])
})

t.test('a database that is not as it has to be', async (t) => {
  const { url, urls, sql, findings } = await open(t)
  const other = (change: (url: URL) => void) => {
    const address = new URL(urls.auth)
    change(address)
    return { DATABASE_URL: address.toString() }
  }
  for (const [settings, why] of [
    [other((to) => (to.port = '1')), /^it cannot be used \(.*ECONNREFUSED/],
    [other((to) => (to.password = 'wrong')), /password authentication failed/],
    [{ DATABASE_URL: 'nowhere' }, /DATABASE_URL is not right/],
  ] as const)
    t.match(await findings('database', settings), [{ state: 'failure', finding: why, advice: /DATABASE_URL/ }])

  await t.test('that was not migrated, or further than this version', async (t) => {
    const last = '(SELECT max(migration_name) FROM _prisma_migrations)'
    await sql(
      "INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('x', '', '99991231000000_later', now())",
    )
    t.match(await findings('migrations'), [{ state: 'warning', finding: /is newer .*: 99991231000000_later$/ }])
    await sql("DELETE FROM _prisma_migrations WHERE id = 'x'")
    const {
      rows: [{ name }],
    } = await sql(`SELECT ${last} AS name`)
    await sql(`UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = ${last}`)
    t.match(await findings('migrations'), [
      { state: 'failure', finding: `these are not applied: ${name}`, advice: /npm run migrate/ },
    ])
    await sql('UPDATE _prisma_migrations SET finished_at = now()')
    await sql('ALTER TABLE _prisma_migrations RENAME TO away')
    t.match(await findings('migrations'), [{ state: 'failure', finding: /does not exist/ }])
    await sql('ALTER TABLE away RENAME TO _prisma_migrations')
  })

  await t.test('in which the role may do too little or too much', async (t) => {
    await sql('REVOKE INSERT, DELETE ON auth.sessions FROM sallyport_auth')
    await sql('REVOKE INSERT ON graphile_worker._private_jobs FROM sallyport_auth')
    await sql('GRANT UPDATE ON auth.security_events TO sallyport_auth')
    t.match(await findings('rights'), [
      { state: 'failure', finding: 'auth.sessions lacks INSERT, DELETE' },
      { state: 'failure', finding: /queue/ },
      { state: 'failure', finding: 'the role may change what is in auth.security_events' },
    ])
    t.match(await findings('rights', { DATABASE_URL: url }), [{ state: 'failure', finding: /as the owner/ }])
    const empty = new URL(url)
    empty.pathname = '/postgres'
    t.match(await findings('rights', { DATABASE_URL: empty.toString() }), [
      { state: 'failure', finding: 'the schema auth is not there', advice: /npm run migrate/ },
    ])
  })

  await t.test('that takes no writes', async (t) => {
    const readOnly = other((to) => to.searchParams.set('options', '-c default_transaction_read_only=on'))
    t.match(await findings('database', readOnly), [{ state: 'failure', finding: /takes no writes/ }])
  })

  await t.test('whose notifications do not arrive', async (t) => {
    const elsewhere = new URL(url)
    elsewhere.pathname = '/postgres'
    t.match(await findings('notifications', { DATABASE_DIRECT_URL: elsewhere.toString() }), [
      { state: 'failure', finding: /^LISTEN hears nothing: .*pool_mode=session/ },
    ])
  })

  await t.test('that has too few connections', async (t) => {
    t.match(await findings('connections', { DATABASE_CONNECTIONS: '1000' }), [
      { state: 'warning', finding: /^1 × 1001 for auth, of \d+ that/, advice: /max_connections/ },
    ])
    t.match(await findings('connections', mailSettings('smtp://localhost:1')), [{ finding: /^1 × 13 for auth/ }])
  })

  await t.test('in whose queue work waits or was given up', async (t) => {
    await sql("SELECT graphile_worker.add_job('mail', '{}'::json) FROM generate_series(1, 2)")
    t.match(await findings('queue'), [{ state: 'ok', finding: '2 wait, which is not long yet' }])
    await sql("UPDATE graphile_worker._private_jobs SET run_at = now() - interval '10 minutes'")
    t.match(await findings('queue'), [{ state: 'failure', finding: /the first for 60\d s$/, advice: /set SMTP_URL/ }])
    t.match(await findings('queue', mailSettings('smtp://localhost:1')), [{ advice: /see that auth runs/ }])
    await sql('UPDATE graphile_worker._private_jobs SET attempts = max_attempts')
    t.match(await findings('queue'), [{ state: 'warning', finding: '2 mails were given up' }])
  })
})

t.test('a clock that is wrong', async (t) => {
  const { env } = await open(t)
  const clockOf = async (seconds: number) => {
    const { output } = await sallyport(['doctor', '--json'], { ...env, ...shiftedClock(seconds) })
    return JSON.parse(output).checks.find(({ check }: Finding) => check === 'clock')
  }
  const [behind, ahead] = await Promise.all([clockOf(-3), clockOf(60)])
  t.match(behind, { state: 'warning', finding: /^the clock of this machine lags behind the database by [23]\.\d s$/ })
  t.match(ahead, { state: 'failure', finding: /is ahead of/, advice: /NTP/ })
})

t.test('a mail server that takes no mail', async (t) => {
  const { findings } = await open(t)
  const smtp = await startSmtp(t)
  const settings = mailSettings(`smtp://localhost:${smtp.port}`)
  t.match(await findings('mail', settings), [{ state: 'ok', finding: /^\S+:\d+ lets us in$/ }])
  t.equal(smtp.mails.length, 0, 'it is sent nothing')
  t.match(await findings('mail', settings, '--send-mail', 'me@example.com'), [
    { state: 'ok', finding: /^sent one to me@example\.com / },
  ])
  t.match(smtp.mails, [{ subject: 'Sallyport: mail arrives', to: { text: 'me@example.com' } }])
  t.match(await findings('mail', settings, '--send-mail', 'nonsense'), [
    { state: 'failure', finding: /is not an e-mail/ },
  ])
  t.match(await findings('mail', {}, '--send-mail', 'me@example.com'), [{ state: 'failure', finding: /SMTP_URL/ }])
  t.match(await findings('mail', mailSettings(`smtp://localhost:${await freePort()}`)), [
    { state: 'failure', finding: /takes no mail \(ESOCKET\)/, advice: /host and the port .* certificate/ },
  ])

  t.match(await findings('mail', mailSettings(`smtp://localhost:${smtp.port}?tls=required`)), [
    { state: 'failure', finding: /takes no mail \(50\d\)/, advice: /^have the server offer STARTTLS/ },
  ])
  const refusing = await startSmtp(t, {
    allowInsecureAuth: true,
    onAuth: (_auth, _session, done) => done(new Error('no')),
    onMailFrom: (_from, _session, done) => done(Object.assign(new Error('no'), { responseCode: 550 })),
  })
  t.match(await findings('mail', mailSettings(`smtp://user:wrong@localhost:${refusing.port}`)), [
    { state: 'failure', finding: /takes no mail \(535\)/, advice: 'correct the user and the password in SMTP_URL' },
  ])
  const words = ['--send-mail', 'me@example.com']
  t.match(await findings('mail', mailSettings(`smtp://localhost:${refusing.port}`), ...words), [
    { state: 'failure', finding: /takes no mail \(550\)/, advice: /what the server logs, .* MAIL_FROM/ },
  ])
})

t.test('processes that do not agree', async (t) => {
  const { env, sql, findings } = await open(t)
  await sql('DROP TABLE IF EXISTS auth.replicas')
  t.match(await findings('processes'), [{ state: 'unknown', finding: 'the table auth.replicas is not there' }])
  await sql(`CREATE TABLE auth.replicas (id uuid PRIMARY KEY, kind text, version text, started_at timestamptz,
    seen_at timestamptz, state jsonb)`)
  await sql('GRANT SELECT, INSERT, UPDATE, DELETE ON auth.replicas TO sallyport_auth')
  const add = (kind: string, state: object, { version = '1.0.0', age = 0 } = {}) =>
    sql(`INSERT INTO auth.replicas VALUES (gen_random_uuid(), $1, $2, now(), now() - $3 * interval '1 second', $4)`, [
      kind,
      version,
      age,
      state,
    ])
  const active = publicJwk(env.JWT_PRIVATE_KEY as string).kid

  t.match(await findings('processes'), [
    { state: 'warning', finding: 'no process of auth runs' },
    { state: 'warning', finding: 'no gateway reports' },
  ])
  t.match(await findings('streams'), [{ state: 'unknown' }])
  t.match(await findings('keys'), [{ state: 'ok', finding: `${active} signs` }])

  await add('auth', { signingKeys: [active], activeKey: active, clockSkewMs: 20 })
  await add('auth', { signingKeys: [active], activeKey: active })
  await add('gateway', { keys: [active], streamAge: 0.4, clockSkewMs: -30 })
  t.match(await findings('processes'), [
    { state: 'ok', finding: '2 of auth run, and 1 of the gateway, of version 1.0.0' },
  ])
  t.match(await findings('keys'), [{ state: 'ok', finding: `${active} signs, and every gateway has it` }])
  t.match(await findings('streams'), [{ state: 'ok', finding: 'every gateway is up to date, the slowest by 0.4 s' }])
  t.match(await findings('clocks'), [{ state: 'ok' }])
  t.match(await findings('connections'), [{ finding: /^2 × 11 for auth/ }])

  await add('gateway', { keys: [active], streamAge: 3 }, { age: 60 })
  await add('gateway', { keys: [], streamAge: null, clockSkewMs: 2_000 }, { version: '1.0.1' })
  await add('gateway', { keys: [active], streamAge: 90, clockSkewMs: -9_000 })
  await add('auth', { activeKey: 'another' })
  t.match(await findings('processes'), [
    { state: 'warning', finding: 'they are of several versions: 1.0.0, 1.0.1' },
    { state: 'warning', finding: /^gateway [0-9a-f]{8} has not been heard of for 6\d s$/ },
  ])
  t.match(await findings('keys'), [
    { state: 'failure', finding: new RegExp(`^auth \\S+ signs with another, and not with ${active}`) },
    { state: 'failure', finding: new RegExp(`^gateway \\S+ does not have the key ${active}, and refuses`) },
  ])
  t.match(await findings('streams'), [
    { state: 'warning', finding: /follows no stream/ },
    { state: 'failure', finding: /^gateway \S+ has heard nothing of ended sessions for 90 s$/ },
  ])
  t.match(await findings('clocks'), [
    { state: 'warning', finding: /^the clock of gateway \S+ is ahead of the database by 2\.0 s$/ },
    { state: 'failure', finding: /^the clock of gateway \S+ lags behind the database by 9\.0 s$/ },
  ])
  const next = keepSecrets(temporaryFolder(t)).JWT_PRIVATE_KEY
  const both = { JWT_PRIVATE_KEY: `${env.JWT_PRIVATE_KEY}\n${next}` }
  t.match(
    (await findings('keys', both)).filter(({ state }) => state === 'warning'),
    [{ finding: /does not have the key \S+ yet$/, advice: /^activate it once/ }, {}],
  )
  t.match(await findings('keys', { JWT_ISSUER: undefined }), [{ state: 'unknown' }])
})
