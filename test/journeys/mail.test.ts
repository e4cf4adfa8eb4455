import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { endProcesses, startProcess } from '@sallyport/local'
import t from 'tap'
import { changePassword, eventsIn, mailSettings, newPassword, signInAgain } from '../support/mail.ts'
import { startSmtp } from '../support/smtp.ts'
import { demoPassword, eventually, freePort, openSystem, startSystem, temporaryFolder } from '../support/system.ts'

// Waits for tries that fail, and for those after them.
t.setTimeout(120_000)

const APP_ORIGIN = 'https://app.example.com'

t.test('a changed password is told by mail, whatever becomes of the first tries', async (t) => {
  const port = await freePort()
  const system = await startSystem(t, mailSettings(`smtp://localhost:${port}`))
  const { gateway, log, sql } = system
  const name = '<b>Dora</b> & "Co"'
  await sql('UPDATE auth.users SET name = $1 WHERE email = $2', [name, 'doctor@example.com'])

  t.equal(await changePassword(gateway), 200, 'which needs no SMTP server')
  await eventually('the try fails', () => eventsIn(log, 'mail_failed').length > 0)
  const [failed] = eventsIn(log, 'mail_failed')
  t.match(failed, { job: /^\d+$/, code: 'ESOCKET', reason: 'unreachable' })
  t.strictSame(Object.keys(failed).sort(), ['code', 'event', 'job', 'level', 'reason', 'service', 'time'])

  const smtp = await startSmtp(t, {}, port)
  await eventually('it arrives', () => smtp.mails.length > 0, 30_000)
  await eventually('the log says so', () => eventsIn(log, 'mail_sent').length > 0)
  t.equal(eventsIn(log, 'mail_sent')[0].job, failed.job)
  const [mail] = smtp.mails
  t.match(mail?.from?.value, [{ name: 'Sallyport', address: 'no-reply@example.com' }])
  t.match(mail?.to, { value: [{ address: 'doctor@example.com' }] })
  t.equal(mail?.subject, 'Sallyport: Your password was changed')
  t.match(mail?.messageId, new RegExp(`^<${failed.job}\\.\\d+@example\\.com>$`))
  t.equal(mail?.headers.get('auto-submitted'), 'auto-generated')
  for (const part of [
    `Hello \u2068${name}\u2069,`,
    'IP address: 127.0.0.1',
    'Device: \u2068Firefox on Linux\u2069',
    `Choose a new password: ${APP_ORIGIN}/forgot-password\n`,
  ])
    t.match(mail?.text, part)
  t.match(mail?.html, 'Hello <bdi>&lt;b&gt;Dora&lt;/b&gt; &amp; &quot;Co&quot;</bdi>,')
  t.match(mail?.html, `href="${APP_ORIGIN}/forgot-password"`)
  t.equal((await sql('SELECT FROM graphile_worker.jobs')).rowCount, 0, 'a mail that was sent is not kept')
  for (const secret of ['doctor@example.com', newPassword, demoPassword])
    t.notOk(
      eventsIn(log, 'mail_failed')
        .concat(eventsIn(log, 'mail_sent'))
        .some((line) => JSON.stringify(line).includes(secret)),
    )

  await t.test('a password that was not changed is not told of', async (t) => {
    const client = await signInAgain(gateway, 'patient@example.com')
    const body = { currentPassword: 'not the password', newPassword }
    t.equal((await client.call('POST', '/api/auth/password', { body })).status, 403)
    t.equal((await sql('SELECT FROM graphile_worker.jobs')).rowCount, 0)
    t.equal(smtp.mails.length, 1)
  })

  await t.test('the queue survives the loss of its connections', async (t) => {
    await sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'postgres' AND query ~ 'LISTEN \"jobs'",
    )
    await eventually('it is logged', () => eventsIn(log, 'mail_queue_lost').length > 0)
    t.equal(await changePassword(gateway, 'patient@example.com'), 200)
    await eventually('the next mail arrives', () => smtp.mails.length === 2, 20_000)
  })

  await t.test('and of the right to note what became of a mail', async (t) => {
    await sql('REVOKE DELETE ON graphile_worker._private_jobs FROM sallyport_auth')
    const before = eventsIn(log, 'mail_queue_lost').length
    t.equal(await changePassword(gateway, 'admin@example.com'), 200)
    await eventually('it is sent', () => smtp.mails.length === 3, 20_000)
    await eventually('it is logged', () => eventsIn(log, 'mail_queue_lost').length > before)
    await sql('GRANT DELETE ON graphile_worker._private_jobs TO sallyport_auth')
    await sql('UPDATE graphile_worker._private_jobs SET locked_at = NULL')
    await eventually('the same is sent again', () => smtp.mails.length === 4, 30_000)
    t.equal(smtp.mails[3]?.messageId, smtp.mails[2]?.messageId)
  })
})

t.test('a mail that is being sent when the process ends is sent by the next, as the same', async (t) => {
  const ids: (string | undefined)[] = []
  const sticky = await startSmtp(t, {
    onData(stream) {
      // Taken, and never confirmed.
      let text = ''
      stream.on('data', (chunk) => {
        text += chunk
      })
      stream.on('end', () => ids.push(/^Message-ID: (.*?)\r?$/im.exec(text)?.[1]))
    },
  })
  const { gateway, log, environment, processes, sql } = await startSystem(
    t,
    mailSettings(`smtp://localhost:${sticky.port}`),
  )
  t.equal(await changePassword(gateway), 200)
  await eventually('it is being sent', () => ids.length === 1)
  const begun = Date.now()
  await endProcesses([processes.auth])
  t.equal(processes.auth.child.exitCode, 0)
  t.ok(Date.now() - begun < 4_500, `${Date.now() - begun} ms`)
  t.match(eventsIn(log, 'mail_failed'), [{ code: 'STOPPED' }])
  t.match((await sql('SELECT * FROM graphile_worker.jobs')).rows, [
    { locked_at: null, attempts: 1, last_error: 'STOPPED' },
  ])

  const smtp = await startSmtp(t)
  const next = await startProcess(
    'auth',
    { ...environment, ...mailSettings(`smtp://localhost:${smtp.port}`) },
    () => {},
  )
  t.teardown(() => endProcesses([next]))
  await eventually('it arrives', () => smtp.mails.length > 0, 30_000)
  t.equal(smtp.mails[0]?.messageId, ids[0])
})

t.test('TLS', { skip: spawnSync('openssl', ['version']).error ? 'install openssl to run this' : false }, async (t) => {
  const file = join(temporaryFolder(t), 'server')
  const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -addext subjectAltName=DNS:localhost -keyout ${file}.key -out ${file}.pem`
  execFileSync('openssl', request.split(' '), { stdio: 'ignore' })
  const certificate = { key: readFileSync(`${file}.key`), cert: readFileSync(`${file}.pem`) }
  const [user, password] = ['user@example.com', 'p:ss/w%rd']
  const known = `${encodeURIComponent(user)}:${encodeURIComponent(password)}@localhost`
  const NODE_EXTRA_CA_CERTS = `${file}.pem`

  await t.test('STARTTLS and a password, of a server that wants both', async (t) => {
    const smtp = await startSmtp(t, {
      ...certificate,
      authOptional: false,
      disabledCommands: [],
      onAuth({ username, password: given }, session, done) {
        const isRight = session.secure && username === user && given === password
        done(isRight ? null : new Error('no'), { user })
      },
    })
    const mail = mailSettings(`smtp://${known}:${smtp.port}?tls=required`)
    const { gateway, log } = await startSystem(t, { ...mail, NODE_EXTRA_CA_CERTS })
    t.equal(await changePassword(gateway), 200)
    await eventually('it arrives', () => smtp.mails.length > 0, 20_000)
    t.notOk(log.some((line) => line.includes(password)))
  })

  await t.test('TLS from the first byte', async (t) => {
    const smtp = await startSmtp(t, { ...certificate, secure: true })
    const { gateway } = await startSystem(t, { ...mailSettings(`smtps://localhost:${smtp.port}`), NODE_EXTRA_CA_CERTS })
    t.equal(await changePassword(gateway), 200)
    await eventually('it arrives', () => smtp.mails.length > 0, 20_000)
  })

  await t.test('a server that offers no TLS though it must, or has an unknown certificate, gets nothing', async (t) => {
    for (const [options, query] of [
      [{}, '?tls=required'],
      [{ ...certificate, disabledCommands: [] }, '?tls=required'],
      [{ ...certificate, disabledCommands: [] }, '?tls=optional'],
    ] as const) {
      const smtp = await startSmtp(t, { ...options, disabledCommands: [...(options.disabledCommands ?? ['STARTTLS'])] })
      const { gateway, log, sql } = await openSystem(t, mailSettings(`smtp://localhost:${smtp.port}${query}`))
      t.equal(await changePassword(gateway), 200)
      await eventually('it fails', () => eventsIn(log, 'mail_failed').length > 0, 30_000)
      t.match(eventsIn(log, 'mail_failed'), [{ code: /^(500|ETLS|ESOCKET)$/, reason: 'unreachable' }])
      t.equal(smtp.mails.length, 0)
      const { rows } = await sql('SELECT attempts, max_attempts FROM graphile_worker.jobs')
      t.match(rows, [{ attempts: 1, max_attempts: 13 }])
    }
  })

  await t.test('without TLS where the URL says that it is optional', async (t) => {
    const smtp = await startSmtp(t)
    const { gateway } = await openSystem(t, mailSettings(`smtp://localhost:${smtp.port}?tls=optional`))
    t.equal(await changePassword(gateway), 200)
    await eventually('it arrives', () => smtp.mails.length > 0, 20_000)
  })
})

t.test('a queue that cannot be read when the process starts is read once it can be', async (t) => {
  const { sql, environment } = await openSystem(t)
  const smtp = await startSmtp(t)
  await sql('REVOKE SELECT ON graphile_worker._private_tasks FROM sallyport_auth')
  const log: string[] = []
  const settings = { ...environment, AUTH_PORT: '0', ...mailSettings(`smtp://localhost:${smtp.port}`) }
  const auth = await startProcess('auth', settings, (line) => log.push(line))
  t.teardown(() => endProcesses([auth]))
  await eventually('it is logged', () => eventsIn(log, 'mail_queue_lost').length > 0, 20_000)
  await sql('REVOKE SELECT ON graphile_worker.migrations FROM sallyport_auth')
  const isRefused = () => log.some((line) => line.includes('permission denied for table migrations'))
  await eventually('it is tried again', isRefused, 20_000)
  await sql('GRANT SELECT ON graphile_worker._private_tasks, graphile_worker.migrations TO sallyport_auth')
  const add = (mail: object) => sql("SELECT graphile_worker.add_job('mail', $1)", [JSON.stringify(mail)])
  const mail = { to: 'a@example.com', locale: null, name: 'A', at: new Date(), ip: '', device: '' }
  await add({ ...mail, template: 'password_changed' })
  await eventually('a mail arrives', () => smtp.mails.length === 1, 20_000)

  await t.test('what is not for this version waits, and what nobody can read is given up', async (t) => {
    const failures = () => eventsIn(log, 'mail_failed')
    await add({ ...mail, template: 'of the future' })
    await eventually('it fails', () => failures().length === 1)
    await add({ ...mail, template: 'email_change', secrets: 'sealed by another' })
    await eventually('it fails', () => failures().length === 2)
    t.match(failures(), [
      { code: 'NO_TEMPLATE', reason: 'failed' },
      { code: 'UNSEALABLE', reason: 'refused' },
    ])
  })
})

t.test('a role that may not use the queue stops the start, with the command that helps', async (t) => {
  const { sql, environment } = await openSystem(t)
  await sql('REVOKE USAGE ON SCHEMA graphile_worker FROM sallyport_auth')
  await t.rejects(
    startProcess('auth', { ...environment, AUTH_PORT: '0', ...mailSettings('smtp://localhost:1') }, () => {}),
    {
      message: /the queue of mails cannot be used \(.*\); run `npm run migrate` with the role/,
    },
  )
})
