import { randomBytes, randomUUID } from 'node:crypto'
import { issueTicket } from '@sallyport/auth/accounts/tickets'
import { createDerivedKeys } from '@sallyport/auth/tokens/derived-keys'
import pg from 'pg'
import t from 'tap'
import { invalid, openAccounts, otherPassword, password } from '../support/accounts.ts'
import { openAuthHere } from '../support/in-process.ts'
import { Client, eventually } from '../support/system.ts'

t.test('registration', async (t) => {
  const system = await openAccounts(t)
  const { gateway, sql, url, mail, offered, post, ask, register, settled, mailsTo, eventsOf, database, secrets } =
    system
  const complete = (proof: object, client?: Client) =>
    post('register/complete', { name: 'Nina', password, ...proof }, client)
  const keys = createDerivedKeys({ current: { refreshSecrets: [secrets.JWT_REFRESH_SECRET as string] } })

  /**
   * The auth service once more, on the same database, with other settings, beside the system's own. One without SMTP_URL
   * takes no work from the queue that they share.
   */
  async function openAuth(settings: Record<string, string | undefined>) {
    const auth = await openAuthHere({ ...system.environment, ...settings }, () => {})
    t.teardown(auth.close)
    return new Client(`http://127.0.0.1:${auth.port}`)
  }

  await t.test('whoever reads the mailbox makes the account, once', async (t) => {
    const asked = await post('register', { email: 'Nina@Example.com', locale: 'de' })
    t.equal(asked.status, 202)
    const { ticket, code } = await offered('nina@example.com')
    t.match(code, /^\d{8}$/)
    const checked = { purpose: 'registration', email: 'nina@example.com' }
    for (const time of ['once', 'again']) t.match((await post('tickets/check', { ticket })).body, checked, time)
    const client = new Client(gateway)
    const done = await complete({ ticket }, client)
    t.equal(done.status, 200)
    t.match(done.body, { role: 'patient', roles: ['patient'], user: { name: 'Nina', email: 'nina@example.com' } })
    t.match((await client.call('GET', '/api/auth/me')).body, { email: 'nina@example.com', locale: 'de' })
    t.equal((await client.refresh()).status, 200)
    for (const path of ['register/complete', 'tickets/check'])
      t.match(await post(path, { name: 'Nina', password, ticket }), invalid, path)
    const { ticketId } = asked.body
    t.match(await complete({ ticketId, code }), invalid, 'nor is the code valid')
    t.strictSame(await eventsOf(done.body.user.id), ['user_created', 'login_succeeded'])
  })

  await t.test('a code does on another device, and of two at once one wins', async (t) => {
    const { ticketId, ticket, code } = await ask('register', 'two@example.com')
    const proofs = [{ ticket }, { ticketId, code }, { ticket }, { ticketId, code }]
    const statuses = await Promise.all(proofs.map(async (proof) => (await complete(proof)).status))
    t.strictSame(statuses.sort(), [200, 400, 400, 400])
    t.equal((await sql("SELECT FROM auth.users WHERE email = 'two@example.com'")).rowCount, 1)
  })

  await t.test('what is no ticket, or one no longer, is refused alike', async (t) => {
    const first = await ask('register', 'late@example.com')
    const { ticket = '', ticketId, code = '' } = await ask('register', 'late@example.com')
    const other = await ask('register', 'other@example.com')
    const wrong: [string, object][] = [
      ['replaced', { ticket: first.ticket }],
      ['the code of one that was replaced', { ticketId: first.ticketId, code: first.code }],
      ['nothing', {}],
      ['cut', { ticket: ticket.slice(0, -1) }],
      ['longer', { ticket: `${ticket}A` }],
      ['in another case', { ticket: ticket.toLowerCase() }],
      ['with a space', { ticket: ` ${ticket}` }],
      ['of another system', { ticket: randomBytes(32).toString('base64url') }],
      ['empty', { ticket: '' }],
      ['with a NUL', { ticket: `${ticket.slice(0, -1)}\0` }],
      ['the id in its place', { ticket: ticketId }],
      ['a ticket and an id', { ticket, ticketId }],
      ['a ticket and a code', { ticket, ticketId, code }],
      ['a code alone', { code }],
      ['an id alone', { ticketId }],
      ['the code of another', { ticketId, code: other.code }],
      ['a code with the id of another', { ticketId: other.ticketId, code }],
      ['an id that is none', { ticketId: randomUUID(), code }],
      [
        'a code in other digits',
        { ticketId, code: code.replace(/\d/g, (digit) => '٠١٢٣٤٥٦٧٨٩'[Number(digit)] as string) },
      ],
    ]
    for (const [what, proof] of wrong) t.match(await complete(proof), invalid, what)
    await sql("UPDATE auth.tickets SET expires_at = now() - interval '1 second' WHERE id = $1", [ticketId])
    for (const proof of [{ ticket }, { ticketId, code }]) t.match(await complete(proof), invalid, 'expired')
    await sql("UPDATE auth.tickets SET expires_at = now() + interval '1 hour', used_at = now() WHERE id = $1", [
      ticketId,
    ])
    for (const proof of [{ ticket }, { ticketId, code }]) t.match(await complete(proof), invalid, 'withdrawn')
    t.equal((await complete({ ticket: other.ticket })).status, 200, 'none of it was of any harm to another')
  })

  await t.test(
    'after five wrong codes no code is right, however many come at once, and the link still is',
    async (t) => {
      const { ticketId, ticket, code = '' } = await ask('register', 'guess@example.com')
      const wrong = String((Number(code) + 1) % 1e8).padStart(8, '0')
      const tries = await Promise.all(Array.from({ length: 16 }, () => complete({ ticketId, code: wrong })))
      for (const tried of tries) t.match(tried, invalid)
      const { rows } = await sql('SELECT tries FROM auth.tickets WHERE id = $1', [ticketId])
      t.strictSame(rows, [{ tries: 5 }])
      t.match(await complete({ ticketId, code }), invalid)
      t.equal((await complete({ ticket })).status, 200)
    },
  )

  await t.test('a code is good for ten minutes', async (t) => {
    const { ticketId, ticket, code } = await ask('register', 'slow@example.com')
    const { rows } = await sql(
      'SELECT extract(epoch FROM code_expires_at - created_at)::float8 AS seconds FROM auth.tickets WHERE id = $1',
      [ticketId],
    )
    t.ok(Math.abs(rows[0].seconds - 600) < 5)
    await sql("UPDATE auth.tickets SET code_expires_at = code_expires_at - interval '10 minutes' WHERE id = $1", [
      ticketId,
    ])
    t.match(await complete({ ticketId, code }), invalid)
    t.equal((await complete({ ticket })).status, 200)
  })

  await t.test('a weak password or a name that is none uses nothing up', async (t) => {
    const { ticketId, ticket, code } = await ask('register', 'weak@example.com')
    const weak = await complete({ ticketId, code, password: 'weak@example.com.weak' })
    t.match(weak, { status: 400, body: { code: 'PASSWORD_WEAK' } })
    const names = [
      '',
      ' ',
      '\u3000',
      '\u200b\u2060',
      '\u3164',
      '\u2800',
      'a\r\nb',
      'a\u0000',
      'a\u2028b',
      'a\u202eb',
      '\u2067a',
    ]
    for (const name of [...names, 'a'.repeat(201), 7, null, ['a']])
      t.match(
        await complete({ ticket, name }),
        { status: 400, body: { code: 'REQUEST_INVALID' } },
        encodeURI(JSON.stringify(name)),
      )
    t.equal((await sql('SELECT tries FROM auth.tickets WHERE id = $1', [ticketId])).rows[0].tries, 0)
    const done = await complete({ ticketId, code, name: '  <b>Zoë\u200d</b> \u05e0\u05d9\u05e0\u05d4\u200f ' })
    t.match(
      done,
      { status: 200, body: { user: { name: '<b>Zoë\u200d</b> \u05e0\u05d9\u05e0\u05d4\u200f' } } },
      'text stays text',
    )
  })

  await t.test('one mailbox is one account, in whichever spelling', async (t) => {
    await post('register', { email: ' Anna@BÜCHER.example' })
    const { ticket } = await offered('anna@xn--bcher-kva.example')
    t.match((await complete({ ticket })).body, { user: { email: 'anna@xn--bcher-kva.example' } })
    for (const email of ['anna@bücher.example', 'ANNA@xn--bcher-kva.EXAMPLE.', 'anna@bu\u0308cher.example']) {
      t.equal((await new Client(gateway).login(email, password)).status, 200, email)
      const asked = await post('register', { email })
      const exists = await mail.next('anna@xn--bcher-kva.example')
      t.equal(exists.ticket, undefined, 'the mail to somebody who has an account offers none')
      t.match(await complete({ ticketId: asked.body.ticketId, code: '00000000' }), invalid)
    }
  })

  await t.test('what is no address is refused', async (t) => {
    const addresses = [
      'a@b@example.com',
      `${'a'.repeat(243)}@example.com`,
      'a@example.com\r\nBcc: b@example.com',
      'a\r\n@example.com',
      'a b@example.com',
      'a@example.com,b@example.com',
      'a@[127.0.0.1]',
      '@example.com',
      'example.com',
      '',
    ]
    for (const path of ['register', 'password/forgot'])
      for (const email of [...addresses, 7, null, ['a@example.com'], { a: 1 }])
        t.match(await post(path, { email }), { status: 400, body: { code: 'REQUEST_INVALID' } }, JSON.stringify(email))
    for (const locale of ['x', 'de_AT', '../de', 'de\n', 7])
      t.match(await post('register', { email: 'a@example.com', locale }), { status: 400 }, JSON.stringify(locale))
  })

  await t.test('an address with odd characters gets its own mail, and nobody else one', async (t) => {
    const before = mail.smtp.mails.length
    const odd = [
      'a,b@example.com',
      'a;b@example.com',
      '"a"@example.com',
      'a<b>@example.com',
      'a(b)@example.com',
      'a:b@example.com',
    ]
    for (const email of odd) t.equal((await post('register', { email })).status, 202, email)
    await eventually('each was tried', async () => {
      const { rows } = await sql('SELECT FROM graphile_worker._private_jobs WHERE attempts = 0')
      return rows.length === 0
    })
    const recipients = mail.smtp.mails.slice(before).flatMap((received) => [received.to].flat().map((to) => to?.value))
    for (const recipient of recipients) t.equal(recipient?.length, 1, JSON.stringify(recipient))
    const others = recipients
      .map((recipient) => recipient?.[0]?.address)
      .filter((to = '') => ![to, to.replace(/^"(.*)"@/, '$1@')].some((kept) => odd.includes(kept)))
    t.strictSame(others, [])
    await sql('DELETE FROM graphile_worker._private_jobs')
  })

  await t.test('somebody who has an account gets another mail, and the one who asks the same response', async (t) => {
    const client = await register('known@example.com')
    const asked = [
      await post('register', { email: 'known@example.com' }),
      await post('register', { email: 'new@example.com' }),
    ]
    const shape = ({ status, headers, body }: (typeof asked)[number]) => [
      status,
      [...headers.keys()].sort(),
      Object.keys(body),
      body.message,
    ]
    t.strictSame(shape(asked[0] as never), shape(asked[1] as never))
    const exists = await mail.next('known@example.com')
    t.equal(exists.ticket, undefined)
    const { ticketId } = asked[0]?.body ?? {}
    const { rows } = await sql('SELECT user_id, tries FROM auth.tickets WHERE id = $1', [ticketId])
    t.strictSame(rows, [{ user_id: null, tries: 0 }])
    // Even the right code, which nobody was sent.
    await sql('UPDATE auth.tickets SET code_hash = $2 WHERE id = $1', [
      ticketId,
      keys.digests('codes', `${ticketId} 12345678`)[0],
    ])
    t.match(await complete({ ticketId, code: '12345678', password: otherPassword }), invalid)
    t.equal((await new Client(gateway).login('known@example.com', password)).status, 200)
    t.equal((await client.call('GET', '/api/auth/me')).status, 200)
  })

  await t.test('nobody gets a role by asking', async (t) => {
    const more = { roles: ['admin'], role: 'admin', invitedBy: randomUUID(), purpose: 'invitation' }
    await post('register', { email: 'greedy@example.com', ...more })
    const { ticket } = await offered('greedy@example.com')
    const client = new Client(gateway)
    t.match((await complete({ ticket, ...more, email: 'admin@example.com' }, client)).body, {
      roles: ['patient'],
      user: { email: 'greedy@example.com' },
    })
    const changed = await client.call('PATCH', '/api/auth/me', { body: { name: 'Greedy', ...more } })
    t.match(changed, { status: 200, body: { name: 'Greedy', roles: ['patient'] } })
    t.match(await client.call('PATCH', '/api/auth/me', { body: more }), { status: 400 })
  })

  await t.test('an address gets five mails in an hour, and who asks for more sees no difference', async (t) => {
    const asked = []
    for (let time = 0; time < 7; time++) asked.push(await post('register', { email: 'often@example.com' }))
    await settled()
    t.strictSame(new Set(asked.map(({ status }) => status)), new Set([202]))
    t.equal(mailsTo('often@example.com').length, 5)
    await sql("UPDATE auth.tickets SET created_at = created_at - interval '1 hour' WHERE email = 'often@example.com'")
    await post('register', { email: 'often@example.com' })
    await settled()
    t.equal(mailsTo('often@example.com').length, 6, 'an hour later it does again')
  })

  await t.test('a client gets ten mails in a minute, to whichever addresses, with the same response', async (t) => {
    const client = new Client(gateway)
    const send = (path: string, email: string) =>
      client.call('POST', `/api/auth/${path}`, { body: { email }, headers: { 'x-forwarded-for': '192.0.2.1' } })
    for (let time = 0; time < 14; time++) {
      const { status, body } = await send('register', `many${time}@example.com`)
      t.match({ status, body }, { status: 202, body: { ticketId: /^[0-9a-f-]{36}$/ } })
    }
    t.equal((await send('password/forgot', 'doctor@example.com')).status, 202)
    await settled()
    const sent = Array.from({ length: 14 }, (_, time) => mailsTo(`many${time}@example.com`).length)
    t.strictSame(sent, [...Array(10).fill(1), ...Array(4).fill(0)])
    t.equal(mailsTo('doctor@example.com').length, 0)
  })

  await t.test('work that the queue does twice is done once', async (t) => {
    const payload = { ticketId: randomUUID(), email: 'twice@example.com', locale: null }
    const add = "SELECT FROM graphile_worker.add_job('registration', $1::json)"
    for (let time = 0; time < 2; time++) {
      await sql(add, [JSON.stringify(payload)])
      await settled()
    }
    t.equal(mailsTo('twice@example.com').length, 1)
  })

  await t.test('who takes the address first has it, also in the same moment', async (t) => {
    const { ticket } = await ask('register', 'race@example.com')
    const { ticket: slow } = await ask('register', 'race2@example.com')
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    t.teardown(() => holder.end())
    const insert = (email: string) => `INSERT INTO auth.users (id, email, name, password_hash, roles)
      VALUES (gen_random_uuid(), '${email}', 'First', 'x', '{patient}')`
    await sql(insert('race@example.com'))
    t.match(await complete({ ticket }), invalid)
    await holder.query(`BEGIN; ${insert('race2@example.com')}`)
    const completing = complete({ ticket: slow })
    await eventually('it waits', async () => {
      const { rows } = await sql(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      )
      return rows.length > 0
    })
    await holder.query('COMMIT')
    t.match(await completing, invalid)
  })

  await t.test('an account that is disabled as it is made is signed in to by nobody', async (t) => {
    const { ticket } = await ask('register', 'banned@example.com')
    await sql(`CREATE FUNCTION auth.ban() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN NEW.disabled_at := now(); RETURN NEW; END'`)
    await sql('CREATE TRIGGER ban BEFORE INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.ban()')
    t.match(await complete({ ticket }), invalid)
    await sql('DROP TRIGGER ban ON auth.users')
  })

  await t.test('secrets that rotate leave links and codes valid, and one that is gone leaves the link', async (t) => {
    const { ticket, ticketId, code } = await ask('register', 'rotated@example.com')
    const old = secrets.JWT_REFRESH_SECRET
    const next = randomBytes(48).toString('base64')
    const without = await openAuth({ JWT_REFRESH_SECRET: next, SMTP_URL: undefined, REGISTRATION: 'invite' })
    t.match(await post('register/complete', { ticketId, code, name: 'Nina', password }, without), invalid)
    t.equal((await post('tickets/check', { ticket }, without)).status, 200)
    // Closed at once: what it sealed for the queue, the system's own could not open.
    const auth = await openAuthHere({ ...system.environment, JWT_REFRESH_SECRET: `${next},${old}` }, () => {})
    const both = new Client(`http://127.0.0.1:${auth.port}`)
    t.equal((await post('register/complete', { ticketId, code, name: 'Nina', password }, both)).status, 200)
    await auth.close()
  })

  await t.test('by invitation, or not at all', async (t) => {
    const invitation = async (email: string) => {
      const ticket = { subject: email, email, roles: ['doctor'], invitedBy: randomUUID() }
      const { secrets } = await database.$transaction((transaction) =>
        issueTicket(transaction, keys, { purpose: 'invitation', ...ticket }),
      )
      return JSON.parse(keys.open(secrets) as string).ticket as string
    }
    const closedProblem = { status: 403, body: { code: 'REGISTRATION_CLOSED' } }
    const open = await ask('register', 'invited@example.com')
    const [invite, closed] = [
      await openAuth({ REGISTRATION: 'invite', SMTP_URL: undefined }),
      await openAuth({ REGISTRATION: 'closed', SMTP_URL: undefined }),
    ]
    const invited = await invitation('invited@example.com')
    for (const client of [invite, closed]) {
      t.match(await post('register', { email: 'anyone@example.com' }, client), closedProblem)
      const proof = { ticket: open.ticket, name: 'Nina', password }
      t.match(await post('register/complete', proof, client), closedProblem, 'a mail from before is no way around it')
    }
    const accept = { ticket: invited, name: 'Ida', password, roles: ['admin'] }
    t.match(await post('register/complete', accept, closed), closedProblem)
    const accepted = await post('register/complete', accept, invite)
    t.match(accepted, { status: 200, body: { roles: ['doctor'], user: { email: 'invited@example.com' } } })
    t.match(await complete({ ticket: open.ticket }), invalid, 'nothing else that was offered is left')
    const { rows } = await sql(
      "SELECT reason FROM auth.security_events WHERE event = 'user_created' AND user_id = $1",
      [accepted.body.user.id],
    )
    t.match(rows, [{ reason: /^invited by / }])
    t.match(await post('password/forgot', { email: 'doctor@example.com' }, invite), {
      status: 503,
      body: { code: 'MAIL_UNAVAILABLE' },
    })
  })

  await t.test('of some domains alone, when asked and when completed', async (t) => {
    const { ticket } = await ask('register', 'a@elsewhere.example')
    const client = await openAuth({ REGISTRATION_DOMAINS: 'Clinic.example, bücher.example' })
    t.match(await post('register/complete', { ticket, name: 'Nina', password }, client), {
      status: 403,
      body: { code: 'REGISTRATION_CLOSED' },
    })
    // Only one service takes work from the queue that has these settings: the other one is as open as before.
    await t.test('what is asked', async (t) => {
      const limited = await openAccounts(t, { REGISTRATION_DOMAINS: 'Clinic.example, bücher.example' })
      const addresses = [
        'a@clinic.example',
        'a@BÜCHER.example',
        'a@sub.clinic.example',
        'a@notclinic.example',
        'a@clinic.example.com',
      ]
      for (const email of addresses) t.equal((await limited.post('register', { email })).status, 202, email)
      await limited.settled()
      const to = limited.mail.smtp.mails.map((received) => [received.to].flat()[0]?.value[0]?.address)
      t.strictSame(to.sort(), ['a@bücher.example', 'a@clinic.example'], 'as a mail program shows them')
    })
  })
})
