import { takeOutput } from '@sallyport/cli/test-output'
import pg from 'pg'
import t from 'tap'
import { invalid, password } from '../support/accounts.ts'
import { sallyport } from '../support/command-line.ts'
import { openFactors } from '../support/factors.ts'
import { Client, eventually, openSystem, signIn, startDatabase } from '../support/system.ts'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const time = /^20\d\d-\d\d-\d\dT[\d:.]+Z$/

type Env = Record<string, string | undefined>

/** The one value that a command says with --json. */
async function json(words: string[], env: Env, input?: string) {
  const { code, output, errors } = await takeOutput([...words, '--json'], env, input)
  if (code !== 0 || errors !== '') throw new Error(errors)
  return JSON.parse(output)
}

t.test('people are looked up, disabled, enabled and signed out as on the pages for administrators', async (t) => {
  const { gateway, sql, urls, secrets } = await openSystem(t)
  const env: Env = { DATABASE_URL: urls.auth, JWT_REFRESH_SECRET: secrets.JWT_REFRESH_SECRET }
  const users = (...words: string[]) => takeOutput(['users', ...words], env)
  const valueIn = (...words: string[]) => json(['users', ...words], env)
  const reasons = async (event: string) =>
    (await sql('SELECT reason FROM auth.security_events WHERE event = $1 ORDER BY id', [event])).rows.map(
      ({ reason }) => reason,
    )
  const doctor = await signIn(gateway)
  await signIn(gateway)

  await t.test('the list, by what they have', async (t) => {
    const all = await valueIn('list')
    t.equal(all.nextCursor, null)
    t.ok(all.users.length >= 3)
    t.match(
      all.users.find(({ email }: { email: string }) => email === 'doctor@example.com'),
      { id: uuid, roles: ['doctor'], disabled: false, hasPassword: true, deleteAfter: null },
    )
    const emails = async (...words: string[]) =>
      (await valueIn('list', ...words)).users.map(({ email }: { email: string }) => email)
    t.strictSame(await emails('--email', 'DOCTOR@'), ['doctor@example.com'])
    t.strictSame(await emails('--role', 'admin'), ['admin@example.com'])
    t.strictSame(await emails('--disabled'), [])
    const page = await valueIn('list', '--limit', '1')
    t.equal(page.users.length, 1)
    t.not((await emails('--limit', '1', '--after', page.nextCursor))[0], page.users[0].email)
    const { output } = await users('list', '--limit', '1')
    t.match(output.split('\n'), [
      /^email +name +roles +state$/,
      /@example\.com .* active$/,
      /^there are more: --after /,
    ])
    for (const limit of ['0', '1001', 'many'])
      t.match(await users('list', '--limit', limit), { code: 1, errors: /a whole number from 1 to 1000/ })
    t.match(await users('list', '--after', 'x'), { code: 1, errors: 'sallyport: x is not the id of a user\n' })
  })

  await t.test('one of them, by address or id', async (t) => {
    const shown = await valueIn('show', 'Doctor@Example.com')
    t.match(shown, { sessions: 2, lastSignInAt: time, secondFactor: false, failures: 0, name: String })
    t.strictSame(await valueIn('show', shown.id), shown)
    t.match(
      (await users('show', shown.id)).output,
      /^email +doctor@example\.com\nname +.*\nroles +doctor\nstate +active$/m,
    )
    t.match(await users('show', 'nobody@example.com'), {
      code: 1,
      output: '',
      errors: 'sallyport: there is no user nobody@example.com\n',
    })
    t.match(await users('show', '00000000-0000-4000-8000-000000000000', '--json'), {
      code: 1,
      output: '',
      errors: '{"error":"there is no user 00000000-0000-4000-8000-000000000000"}\n',
    })
  })

  await t.test('their sessions, which end', async (t) => {
    const { sessions, ended } = await valueIn('sessions', 'doctor@example.com')
    t.match(sessions, [{ id: uuid, ip: '127.0.0.1' }, {}])
    t.equal(ended.length, 0)
    t.match(await users('end-sessions', 'doctor@example.com'), { output: 'ended 2 sessions of doctor@example.com\n' })
    t.match((await doctor.refresh()).body, { code: 'SESSION_ENDED', reason: 'revoked_by_admin' })
    t.match(await valueIn('end-sessions', 'doctor@example.com'), { id: uuid, ended: 0 })
    t.strictSame(await reasons('sessions_ended'), Array(2).fill('revoked_by_admin on the command line'))
    await doctor.login()
    t.match(await users('end-sessions', 'doctor@example.com'), { output: 'ended 1 session of doctor@example.com\n' })
    const { output } = await users('sessions', 'doctor@example.com')
    t.match(output, /^device +address +last used +state\n.* 127\.0\.0\.1 .* ended 20.* revoked_by_admin$/m)
  })

  await t.test('disabled, they have no session and sign in no more, until they are enabled', async (t) => {
    await doctor.login()
    t.match(await users('disable', 'doctor@example.com'), {
      code: 0,
      output: 'doctor@example.com is disabled, and has no session\n',
    })
    t.match((await doctor.refresh()).status, 401)
    t.equal((await new Client(gateway).login()).status, 401)
    t.match(await valueIn('list', '--disabled'), { users: [{ email: 'doctor@example.com', disabled: true }] })
    t.match((await users('list', '--disabled')).output, / disabled\n$/)
    t.match(await valueIn('enable', 'doctor@example.com'), { disabled: false })
    t.match((await users('enable', 'doctor@example.com')).output, 'doctor@example.com is enabled\n')
    t.equal((await new Client(gateway).login()).status, 200)
    t.strictSame(await reasons('user_disabled'), ['on the command line'])
    t.strictSame(await reasons('user_enabled'), ['on the command line'], 'what was so before is no event')
    t.match(await users('disable', 'admin@example.com'), {
      code: 1,
      errors: /^sallyport: This is the last admin\. Make somebody else an admin first/,
    })
    t.match(await valueIn('show', 'admin@example.com'), { disabled: false })
  })

  await t.test('wrong passwords are forgotten', async (t) => {
    for (let count = 0; count < 5; count += 1) await new Client(gateway).login('doctor@example.com', 'wrong password')
    t.match(await valueIn('show', 'doctor@example.com'), { failures: 5 })
    t.equal((await new Client(gateway).login()).status, 401, 'none is tried')
    t.match(await users('unlock', 'doctor@example.com'), {
      output: /^the next password for doctor@example\.com is tried/,
    })
    t.equal((await new Client(gateway).login()).status, 200)
    t.match(await valueIn('unlock', 'doctor@example.com'), { id: uuid, unlocked: true })
    t.strictSame(await reasons('user_unlocked'), Array(2).fill('on the command line'))
    t.match(await takeOutput(['users', 'unlock', 'doctor@example.com'], { DATABASE_URL: urls.auth }), {
      code: 1,
      errors: /^sallyport: JWT_REFRESH_SECRET is not set/,
    })
  })

  await t.test('their events, also once they are erased', async (t) => {
    const { events } = await valueIn('events', 'doctor@example.com', '--limit', '2')
    t.match(events, [{ event: 'user_unlocked', ip: null, reason: 'on the command line', at: time }, {}])
    t.equal(events.length, 2)
    const { output } = await users('events', events[0].user)
    t.match(output, /^at +event +address +reason\n20\S+ +user_unlocked +on the command line$/m)
    t.match(await valueIn('events', '00000000-0000-4000-8000-000000000000'), { events: [] })
    t.match(await users('events', 'nobody@example.com'), { code: 1, errors: /there is no user/ })
  })

  await t.test('nothing that somebody stored does anything to the terminal', async (t) => {
    const hostile = '\u001b]0;owned\u0007 a\nb\u009b31m \u202e'
    await sql('UPDATE auth.users SET name = $1 WHERE email = $2', [hostile, 'doctor@example.com'])
    await sql('UPDATE auth.sessions SET ip = $1, user_agent = $1', [hostile])
    await sql('UPDATE auth.clients SET name = $1', [hostile])
    for (const words of [
      ['list'],
      ['list', '--json'],
      ['show', 'doctor@example.com'],
      ['show', 'doctor@example.com', '--json'],
      ['sessions', 'doctor@example.com'],
      ['sessions', 'doctor@example.com', '--json'],
      ['show', hostile],
      ['show', hostile, '--json'],
    ]) {
      const { output, errors } = await users(...words)
      t.match(output + errors, '\\u001b', words.join(' '))
      t.notMatch(output + errors, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    }
    t.equal((await valueIn('show', 'doctor@example.com')).name, hostile, 'in JSON it is what it was')
  })
})

t.test('people are made with a password, or invited by a mail', async (t) => {
  const { gateway, urls, mail, environment, post, sql, registerWithTotp, eventsOf } = await openFactors(t)
  const { SMTP_URL, JWT_REFRESH_SECRET } = environment
  const env: Env = { DATABASE_URL: urls.auth, SMTP_URL, JWT_REFRESH_SECRET }
  const users = (words: string[], settings: Env = env) => takeOutput(['users', ...words], settings)

  const made = await json(['users', 'create', 'Made@Example.com', 'Max', 'doctor', 'admin'], env, `${password}\n`)
  t.match(made, { id: uuid, email: 'made@example.com', name: 'Max', roles: ['doctor', 'admin'] })
  t.equal((await new Client(gateway).login('made@example.com', password)).status, 200)

  const invited = await json(['users', 'invite', 'New@Example.com', 'doctor', '--locale', 'de'], env)
  t.match(invited, { id: uuid, email: 'new@example.com', roles: ['doctor'], state: 'open', invitedBy: null })
  const { ticket, subject } = await mail.next('new@example.com', ({ ticket }) => ticket !== undefined)
  t.match(subject, /eingeladen/)
  t.match(await users(['invite', 'new@example.com', 'doctor', 'admin']), {
    code: 0,
    output: /^invited new@example\.com, until 20\S+\n$/,
  })
  t.match(await post('register/complete', { ticket, name: 'New', password }), invalid)
  const second = await mail.next('new@example.com', ({ ticket }) => ticket !== undefined)
  t.match(second.text, /^(?!.*invites you)/s)
  t.match(await post('register/complete', { ticket: second.ticket, name: 'New', password }), {
    status: 200,
  })
  t.match(await json(['users', 'show', 'new@example.com'], env), { roles: ['doctor', 'admin'], name: 'New' })
  const { rows } = await sql("SELECT reason FROM auth.security_events WHERE event = 'user_invited' ORDER BY id")
  t.match(rows, [{ reason: `invitation ${invited.id} on the command line` }, { reason: / on the command line$/ }])

  for (const [words, errors, settings] of [
    [['invite', 'new@example.com', 'doctor'], /^sallyport: The address has an account/],
    [['invite', 'nonsense', 'doctor'], /"nonsense" is not an e-mail address/],
    [['invite', 'x@example.com', 'Doctor'], /"Doctor" cannot be a role/],
    [['invite', 'x@example.com', 'doctor', '--locale', '?'], /"\?" is no language tag/],
    [['invite', 'x@example.com'], /missing required argument 'role'; usage: sallyport users invite/],
    [['invite', 'x@example.com', 'doctor'], /SMTP_URL is not set/, { ...env, SMTP_URL: undefined }],
    [['invite', 'x@example.com', 'doctor'], /REGISTRATION is closed/, { ...env, REGISTRATION: 'closed' }],
    [['invite', 'x@example.com', 'doctor'], /JWT_REFRESH_SECRET is not set/, { ...env, JWT_REFRESH_SECRET: undefined }],
    [['list'], /^sallyport: DATABASE_URL is not set/, {}],
  ] as const)
    t.match(await users([...words], settings), { code: 1, output: '', errors }, words.join(' '))

  const { client } = await registerWithTotp('alone@example.com')
  t.match(await json(['users', 'show', client.id], env), { secondFactor: true })
  t.match(await users(['reset-factors', 'Alone@Example.com']), {
    code: 0,
    output: 'took the second factors of alone@example.com away, and ended every session\n',
  })
  t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'factors_reset' })
  t.equal((await new Client(gateway).login('alone@example.com', password)).status, 200)
  await mail.next('alone@example.com', ({ subject }) => /taken away/.test(subject))
  t.ok((await eventsOf(client.id)).includes('factors_reset'))
  t.match(await users(['reset-factors', 'alone@example.com', '--json']), {
    code: 1,
    errors: '{"error":"alone@example.com has no second factor"}\n',
  })
  await registerWithTotp('second@example.com')
  t.match(await json(['users', 'reset-factors', 'second@example.com'], env), { secondFactor: false })
})

t.test('what is seldom so of people is shown too', async (t) => {
  const { url, urls, sql } = await startDatabase(t)
  const env: Env = { DATABASE_URL: urls.auth }
  const users = (...words: string[]) => takeOutput(['users', ...words], env)
  const make = async (email: string, name: string) =>
    (await json(['users', 'create', email, name, 'patient'], env, password)).id as string
  const [nell, ada] = [await make('nell@example.com', 'Nell'), await make('ada@example.com', 'Ada')]

  await t.test('that somebody else acts in a session, and that its address is not known', async (t) => {
    const gone = '00000000-0000-4000-8000-000000000000'
    for (const actor of [ada, gone])
      await sql(
        `WITH session AS (INSERT INTO auth.sessions (id, user_id, expires_at, absolute_expires_at)
           VALUES (gen_random_uuid(), $1, now() + interval '1 hour', now() + interval '1 hour') RETURNING id)
         INSERT INTO auth.impersonations SELECT id, $2, gen_random_uuid(), 'they asked' FROM session`,
        [nell, actor],
      )
    const { output } = await users('sessions', 'nell@example.com')
    t.match(output, /, Ada as the user {2,}20\S+ +until 20/)
    t.match(output, new RegExp(`, ${gone} as the user {2,}20\\S+ +until 20`))
  })

  await t.test('from where an event came', async (t) => {
    await sql("INSERT INTO auth.security_events (event, user_id, ip) VALUES ('login_failed', $1, '192.0.2.1')", [nell])
    t.match((await users('events', nell)).output, /login_failed +192\.0\.2\.1 *$/m)
  })

  await t.test('that they have no password yet, or are to be erased', async (t) => {
    await sql("UPDATE auth.users SET password_hash = '!' WHERE id = $1", [nell])
    t.match((await users('show', nell)).output, /^state +no password yet$/m)
    await sql("UPDATE auth.users SET delete_after = '2100-01-01T00:00:00Z' WHERE id = $1", [nell])
    t.match((await users('show', nell)).output, /^state +erased at 2100-01-01T00:00:00\.000Z$/m)
  })

  await t.test('that somebody is gone by the time that the turn is theirs', async (t) => {
    const owner = new pg.Client(url)
    await owner.connect()
    t.teardown(() => owner.end())
    await owner.query('BEGIN')
    await owner.query('DELETE FROM auth.users WHERE id = $1', [ada])
    const late = Promise.all([users('disable', ada), users('reset-factors', ada)])
    await eventually('both wait', async () => {
      const waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
      return (await sql(waiting)).rowCount === 2
    })
    await owner.query('COMMIT')
    const gone = { code: 1, output: '', errors: `sallyport: there is no user ${ada}\n` }
    t.strictSame(await late, [gone, gone])
  })
})

t.test('people of another system are read from standard input, and it is said who they are', async (t) => {
  const { urls } = await startDatabase(t)
  const people = ['id,email,roles,verified', ',,patient,true', '7,,patient,true', ',new@example.com,patient,true'].join(
    '\n',
  )
  const words = ['import', '--from', 'csv', '--role-map', 'patient=patient', '--dry-run', '-']
  const { code, output, errors } = await sallyport(words, { DATABASE_URL: urls.auth }, `${people}\n`)
  t.strictSame({ code, errors }, { code: 0, errors: '' })
  t.match(output, /^1: nobody: no address$/m)
  t.match(output, /^2: 7: no address$/m)
  t.match(output, /^3 users: 1 would be imported, 0 there already, 2 would be left out$/m)
})

t.test('the program, as a process', async (t) => {
  const { urls, sql } = await startDatabase(t)
  const env = { DATABASE_URL: urls.auth }
  const [made, listed, broken, wrong, bare, help] = await Promise.all([
    sallyport(['users', 'create', 'nell@example.com', 'Nell New', 'doctor'], env, `${password}\n`),
    sallyport(['users', 'list', '--json'], env),
    sallyport(['users', 'list'], { DATABASE_URL: urls.auth.replace(/:\/\/[^@]+@/, '://nobody:x@') }),
    sallyport(['users', 'list', '--what', '--json']),
    sallyport([]),
    sallyport(['--help']),
  ])
  t.match(made, { code: 0, output: /^made user [0-9a-f-]{36}\n$/, errors: '' })
  t.match(JSON.parse(listed.output), { users: Array })
  t.match(broken, { code: 1, output: '', errors: /^sallyport: [^\n]+\n$/ })
  t.match(wrong, { code: 1, output: '' })
  t.match(JSON.parse(wrong.errors), { error: /^unknown option '--what'; usage: sallyport users list / })
  t.match(bare, {
    code: 1,
    output: '',
    errors: 'sallyport: usage: sallyport [options] [command]; --help lists the commands\n',
  })
  t.match(help, { code: 0, output: /^Usage: sallyport \[options\] \[command\]\n/, errors: '' })

  await sql('ALTER TABLE auth.users RENAME TO away')
  t.match(await sallyport(['users', 'list'], env), { code: 1, errors: /^sallyport: [^\n]*does not exist[^\n]*\n$/ })
})
