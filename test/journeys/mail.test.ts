import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { endProcesses, startProcess } from '@sallyport/local'
import t from 'tap'
import { startSmtp } from '../support/smtp.ts'
import {
  demoPassword,
  eventually,
  freePort,
  openSystem,
  signIn,
  startSystem,
  temporaryFolder,
} from '../support/system.ts'

// Waits for tries that fail, and for those after them.
t.setTimeout(120_000)

const MAIL_FROM = 'Sallyport <no-reply@example.com>'
const APP_ORIGIN = 'https://app.example.com'
const settings = (SMTP_URL: string) => ({ SMTP_URL, MAIL_FROM, APP_ORIGIN })

const userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const newPassword = 'another battery of 7 horses'

async function changePassword(gateway: string, email = 'doctor@example.com'): Promise<number> {
  const client = await signIn(gateway, email)
  const { status } = await client.call('POST', '/api/auth/password', {
    body: { currentPassword: demoPassword, newPassword },
    headers: { 'user-agent': userAgent },
  })
  return status
}

const eventsIn = (log: string[], event: string) =>
  log.filter((line) => line.includes(`"event":"${event}"`)).map((line) => JSON.parse(line))

t.test('a changed password is told by mail, whatever becomes of the first tries', async (t) => {
  const port = await freePort()
  const system = await startSystem(t, settings(`smtp://localhost:${port}`))
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
    const client = await signIn(gateway, 'patient@example.com')
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
    settings(`smtp://localhost:${sticky.port}`),
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
  const next = await startProcess('auth', { ...environment, ...settings(`smtp://localhost:${smtp.port}`) }, () => {})
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
    const mail = settings(`smtp://${known}:${smtp.port}?tls=required`)
    const { gateway, log } = await startSystem(t, { ...mail, NODE_EXTRA_CA_CERTS })
    t.equal(await changePassword(gateway), 200)
    await eventually('it arrives', () => smtp.mails.length > 0, 20_000)
    t.notOk(log.some((line) => line.includes(password)))
  })

  await t.test('TLS from the first byte', async (t) => {
    const smtp = await startSmtp(t, { ...certificate, secure: true })
    const { gateway } = await startSystem(t, { ...settings(`smtps://localhost:${smtp.port}`), NODE_EXTRA_CA_CERTS })
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
      const { gateway, log, sql } = await openSystem(t, settings(`smtp://localhost:${smtp.port}${query}`))
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
    const { gateway } = await openSystem(t, settings(`smtp://localhost:${smtp.port}?tls=optional`))
    t.equal(await changePassword(gateway), 200)
    await eventually('it arrives', () => smtp.mails.length > 0, 20_000)
  })
})

t.test('a server that fails', async (t) => {
  const replies = { rcpt: 250, data: 250 }
  const heard: string[] = []
  const smtp = await startSmtp(t, {
    onRcptTo: ({ address }, _session, done) =>
      done(replies.rcpt === 250 ? null : Object.assign(new Error(`no ${address}`), { responseCode: replies.rcpt })),
    onData(stream, session, done) {
      stream.resume().on('end', () => {
        heard.push(session.envelope.rcptTo[0]?.address ?? '')
        if (replies.data === 250) return done()
        if (replies.data > 0) return done(Object.assign(new Error('no'), { responseCode: replies.data }))
        sockets.at(-1)?.destroy()
      })
    },
  })
  const sockets: Socket[] = []
  smtp.server.on('connection', (socket: Socket) => sockets.push(socket))
  const { gateway, log, sql } = await openSystem(t, settings(`smtp://localhost:${smtp.port}`))
  const lastJob = async () => (await sql('SELECT * FROM graphile_worker.jobs ORDER BY id DESC LIMIT 1')).rows[0]
  /** Has a mail queued, and waits for what becomes of its first try. */
  async function attempt(next: Partial<typeof replies>) {
    Object.assign(replies, { rcpt: 250, data: 250 }, next)
    await sql('DELETE FROM graphile_worker._private_jobs')
    const before = eventsIn(log, 'mail_failed').length
    await sql('UPDATE auth.users SET password_hash = (SELECT password_hash FROM auth.users WHERE email = $1)', [
      'patient@example.com',
    ])
    t.equal(await changePassword(gateway), 200)
    await eventually('it fails', () => eventsIn(log, 'mail_failed').length > before)
    await eventually('and is put back', async () => (await lastJob()).locked_at === null)
    return { ...eventsIn(log, 'mail_failed').at(-1), ...(await lastJob()) }
  }

  t.match(await attempt({ rcpt: 450 }), { code: '450', reason: 'failed', attempts: 1, last_error: '450' }, 'for now')
  t.match(await attempt({ data: 451 }), { code: '451', reason: 'failed', attempts: 1 })
  t.match(await attempt({ data: -1 }), { code: /^E/, reason: 'failed', attempts: 1 }, 'with no reply')
  for (const next of [{ rcpt: 550 }, { data: 554 }])
    t.match(await attempt(next), { code: /^55/, reason: 'refused', attempts: 13, max_attempts: 13 }, 'for good')
  t.notOk(
    log.some((line) => line.includes('no doctor@example.com')),
    'what a server says of an address is not kept',
  )

  await t.test('what was given up is shown, and is sent when an operator says so', async (t) => {
    Object.assign(replies, { rcpt: 250, data: 250 })
    const before = heard.length
    const operations = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
    const [, look = '', retry = ''] = /-- mails that were given up\n(.*?);(.*?);/s.exec(operations) ?? []
    t.match((await sql(look)).rows, [{ to: 'doctor@example.com', template: 'password_changed', last_error: '554' }])
    await sql(retry)
    await eventually('it arrives', () => heard.length > before)
    await eventually('and is forgotten', async () => (await sql('SELECT FROM graphile_worker.jobs')).rowCount === 0)
  })

  await t.test('a server that serves nobody costs no try, for a day', async (t) => {
    t.match(await attempt({ rcpt: 421 }), { code: '421', reason: 'unreachable', attempts: 1 })
    t.equal(await changePassword(gateway, 'patient@example.com'), 200)
    const jobs = async () => (await sql('SELECT attempts FROM graphile_worker._private_jobs ORDER BY id')).rows
    await sql(`UPDATE graphile_worker._private_jobs SET run_at = now(), attempts = 11,
      created_at = now() - CASE WHEN id = (SELECT max(id) FROM graphile_worker._private_jobs) THEN interval '23 hours' ELSE '0' END`)
    await eventually(
      'both are tried',
      async () => (await jobs())[1].attempts === 13 && (await jobs())[0].attempts < 11,
      20_000,
    )
    t.strictSame(await jobs(), [{ attempts: 3 }, { attempts: 13 }])
  })
})

t.test('a role that may not use the queue stops the start, with the command that helps', async (t) => {
  const { sql, environment } = await openSystem(t)
  await sql('REVOKE USAGE ON SCHEMA graphile_worker FROM sallyport_auth')
  await t.rejects(
    startProcess('auth', { ...environment, AUTH_PORT: '0', ...settings('smtp://localhost:1') }, () => {}),
    {
      message: /the queue of mails cannot be used \(.*\); run `npm run migrate` with the role/,
    },
  )
})
