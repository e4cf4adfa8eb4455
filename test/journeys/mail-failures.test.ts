import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { register } from 'prom-client'
import type { SMTPServerDataStream } from 'smtp-server'
import t from 'tap'
import { changePassword, eventsIn, mailSettings } from '../support/mail.ts'
import { startSmtp } from '../support/smtp.ts'
import { Client, eventually, openSystem } from '../support/system.ts'

// Waits for what a server does not say.
t.setTimeout(120_000)

t.test('a server that says nothing', async (t) => {
  const greetsNobody = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  t.teardown(() => greetsNobody.close())
  await once(greetsNobody, 'listening')
  const { port } = greetsNobody.address() as AddressInfo
  const confirmsNothing = await startSmtp(t, { onData: (stream: SMTPServerDataStream) => void stream.resume() })
  const systems = await Promise.all(
    [port, confirmsNothing.port].map((port) => openSystem(t, mailSettings(`smtp://127.0.0.1:${port}`))),
  )
  for (const { gateway } of systems) t.equal(await changePassword(gateway), 200, 'nobody waits for it')
  const failures = systems.map(
    ({ log }) =>
      () =>
        eventsIn(log, 'mail_failed'),
  )
  for (const failed of failures) await eventually('it is given up', () => failed().length > 0, 45_000)
  t.match(failures[0]?.(), [{ code: 'ETIMEDOUT', reason: 'unreachable' }])
  t.match(failures[1]?.(), [{ code: 'ETIMEDOUT', reason: 'failed' }], 'it may have taken the mail: that costs a try')
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
  const { gateway, log, sql } = await openSystem(t, mailSettings(`smtp://localhost:${smtp.port}`))
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
      30_000,
    )
    t.strictSame(await jobs(), [{ attempts: 3 }, { attempts: 13 }])
    replies.rcpt = 451
    const metric = async (name: string) =>
      (await register.getMetricsAsJSON()).flatMap((each) => (each.name === name && 'values' in each ? each.values : []))
    const states = { waiting: 0, failing: 1, dead: 1 }
    const wanted = JSON.stringify(Object.entries(states).map(([state, value]) => ({ value, labels: { state } })))
    await eventually(
      'operators see it',
      async () => JSON.stringify(await metric('sallyport_mail_queue')) === wanted,
      30_000,
    )
    t.match(await metric('sallyport_mail_oldest_seconds'), [{ value: Number }])
  })
})

t.test('no ticket and no code is in the database or the log', async (t) => {
  const state = { isBusy: true }
  const smtp = await startSmtp(t, {
    onMailFrom: (_address, _session, done) =>
      done(state.isBusy ? Object.assign(new Error('busy'), { responseCode: 451 }) : null),
  })
  const { gateway, log, sql } = await openSystem(t, {
    ...mailSettings(`smtp://localhost:${smtp.port}`),
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
    LOG_LEVEL: 'trace',
  })
  /** Everything in every table, as text. */
  async function dump(): Promise<string> {
    const { rows } =
      await sql(`SELECT format('SELECT string_agg(t::text, chr(10)) AS rows FROM %I.%I t', schemaname, tablename) AS query
      FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
    const tables = await Promise.all(rows.map(async ({ query }) => (await sql(query)).rows[0].rows))
    return tables.join('\n')
  }
  const client = new Client(gateway)
  await client.call('POST', '/api/auth/register', { body: { email: 'new@example.com' } })
  await client.call('POST', '/api/auth/password/forgot', { body: { email: 'doctor@example.com' } })
  await eventually('both wait', () => eventsIn(log, 'mail_failed').length > 1)
  const waiting = await dump()
  state.isBusy = false
  await eventually('both arrive', () => smtp.mails.length === 2, 20_000)
  const everything = [waiting, await dump(), ...log].join('\n')
  t.match(waiting, 'new@example.com', 'the queue is in it')
  for (const { text = '' } of smtp.mails)
    for (const secret of [/#ticket=([\w-]{43})/, /: (\d{8})\n/].map((pattern) => pattern.exec(text)?.[1] as string)) {
      t.ok(secret)
      t.notOk(everything.includes(secret))
      t.notOk(everything.includes(Buffer.from(secret).toString('hex')))
    }
})
