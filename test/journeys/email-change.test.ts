import pg from 'pg'
import t from 'tap'
import { invalid, openAccounts, otherPassword, password } from '../support/accounts.ts'
import { Client, eventually, refusalOf } from '../support/system.ts'

t.test('an e-mail address', async (t) => {
  const { gateway, sql, url, mail, offered, call, post, ask, register, settled, mailsTo, eventsOf } =
    await openAccounts(t)
  const emailOf = async (id: string) => (await sql('SELECT email FROM auth.users WHERE id = $1', [id])).rows[0].email

  /** Changes a client's address, and returns the ticket that brings the one before back. */
  async function change(client: Client, from: string, to: string) {
    await post('email', { email: to }, client)
    const { ticket } = await offered(to)
    await post('email/confirm', { ticket })
    return { ticket, revert: (await offered(from)).ticket }
  }

  await t.test('is changed by who reads the new one, and brought back by who reads the old one', async (t) => {
    const client = await register('a@example.com')
    const other = new Client(gateway)
    await other.login('a@example.com', password)
    const forgotten = await ask('password/forgot', 'a@example.com')
    const { ticket, revert } = await change(client, 'a@example.com', 'b@example.com')
    t.match((await client.call('GET', '/api/auth/me')).body, { email: 'b@example.com' }, 'the session goes on')
    t.match(await post('email/confirm', { ticket }), invalid, 'twice')
    t.match(await post('password/reset', { ticket: forgotten.ticket, password: otherPassword }), invalid)
    t.equal((await new Client(gateway).login('a@example.com', password)).status, 401)
    t.equal((await other.login('b@example.com', password)).status, 200)

    t.match((await post('tickets/check', { ticket: revert })).body, { purpose: 'email_revert', email: 'a@example.com' })
    t.equal((await post('email/revert', { ticket: revert })).status, 200)
    for (const session of [client, other])
      t.match(await refusalOf(session), { code: 'SESSION_ENDED', reason: 'email_reverted' })
    t.match(await post('email/revert', { ticket: revert }), invalid, 'twice')
    t.equal((await new Client(gateway).login('a@example.com', password)).status, 200)
    t.match((await eventsOf(client.id)).join(), /email_change_requested.*email_changed.*email_reverted/)
  })

  await t.test('is brought back once, however many try at once', async (t) => {
    const client = await register('once@example.com')
    const { revert } = await change(client, 'once@example.com', 'once2@example.com')
    const tries = await Promise.all(Array.from({ length: 4 }, () => post('email/revert', { ticket: revert })))
    t.strictSame(tries.map(({ status }) => status).sort(), [200, 400, 400, 400])
  })

  await t.test('that a thief changed twice is brought back, and the thief brings back none', async (t) => {
    const client = await register('owner@example.com')
    const first = await change(client, 'owner@example.com', 'thief@example.com')
    const second = await change(client, 'thief@example.com', 'thief2@example.com')
    const forgotten = await ask('password/forgot', 'thief2@example.com')
    await post('email', { email: 'thief3@example.com' }, client)
    const open = await offered('thief3@example.com')

    t.equal((await post('email/revert', { ticket: first.revert })).status, 200)
    t.equal(await emailOf(client.id), 'owner@example.com')
    t.match(await post('email/revert', { ticket: second.revert }), invalid)
    t.match(await post('email/confirm', { ticket: open.ticket }), invalid)
    t.match(await post('password/reset', { ticket: forgotten.ticket, password: otherPassword }), invalid)
    t.equal(await emailOf(client.id), 'owner@example.com')
  })

  await t.test('that a thief brings back to one in between still comes back to its owner', async (t) => {
    const client = await register('patient1@example.com')
    const first = await change(client, 'patient1@example.com', 'between@example.com')
    const second = await change(client, 'between@example.com', 'after@example.com')
    t.equal((await post('email/revert', { ticket: second.revert })).status, 200)
    t.equal(await emailOf(client.id), 'between@example.com')
    t.equal((await post('email/revert', { ticket: first.revert })).status, 200)
    t.equal(await emailOf(client.id), 'patient1@example.com')
  })

  await t.test('that its owner changes back is as one that was brought back', async (t) => {
    const client = await register('back@example.com')
    const { revert } = await change(client, 'back@example.com', 'forth@example.com')
    await post('email', { email: 'back@example.com' }, client)
    const { ticket } = await offered('back@example.com')
    const before = mailsTo('forth@example.com').length
    t.equal((await post('email/confirm', { ticket })).status, 200)
    await settled()
    t.equal(await emailOf(client.id), 'back@example.com')
    t.equal(mailsTo('forth@example.com').length, before, 'the address in between gets nothing to bring it back with')
    t.match(await refusalOf(client), { code: 'SESSION_ENDED', reason: 'email_reverted' })
    t.match(await post('email/revert', { ticket: revert }), invalid)
  })

  await t.test('of somebody else cannot be had, and only its user hears of it', async (t) => {
    const client = await register('wants@example.com')
    await register('taken@example.com')
    const before = mailsTo('taken@example.com').length
    const taken = await post('email', { email: 'Taken@example.com' }, client)
    await mail.next('wants@example.com')
    const free = await post('email', { email: 'free@example.com' }, client)
    await mail.next('free@example.com')
    t.strictSame([taken.status, taken.body], [free.status, free.body])
    await settled()
    t.equal(mailsTo('taken@example.com').length, before)
  })

  await t.test('that is taken meanwhile, or in the same moment, is not changed to', async (t) => {
    const client = await register('tardy@example.com')
    const waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await post('email', { email: 'gone@example.com' }, client)
    const { ticket } = await offered('gone@example.com')
    await register('gone@example.com')
    t.match(await post('email/confirm', { ticket }), invalid)
    await post('email', { email: 'going@example.com' }, client)
    const { ticket: second } = await offered('going@example.com')
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    t.teardown(() => holder.end())
    await holder.query(`BEGIN; INSERT INTO auth.users (id, email, name, password_hash, roles)
      VALUES (gen_random_uuid(), 'going@example.com', 'First', 'x', '{patient}')`)
    const confirming = post('email/confirm', { ticket: second })
    await eventually('it waits', async () => (await sql(waiting)).rows.length > 0)
    await holder.query('COMMIT')
    t.match(await confirming, invalid)
    t.equal(await emailOf(client.id), 'tardy@example.com')
  })

  await t.test('of a disabled user stays', async (t) => {
    const client = await register('stays@example.com')
    const { revert } = await change(client, 'stays@example.com', 'stays2@example.com')
    await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [client.id])
    t.match(await post('email/revert', { ticket: revert }), invalid)
  })

  await t.test('is not changed any more once the session that asked was ended', async (t) => {
    const ways: [string, (owner: Client, thief: Client & { session: string }) => Promise<{ status: number }>][] = [
      [
        'by a change of password',
        (owner) => post('password', { currentPassword: password, newPassword: otherPassword }, owner),
      ],
      ['everywhere', (owner) => post('logout-all', undefined, owner)],
      ['by itself', (owner, { session }) => call('DELETE', `sessions/${session}`, undefined, owner)],
    ]
    for (const [index, [what, end]] of ways.entries()) {
      const email = `owner${index}@example.com`
      const owner = await register(email)
      const thief = new Client(gateway)
      await thief.login(email, password)
      const { sessions } = (await thief.call('GET', '/api/auth/sessions')).body
      const session = sessions.find(({ current }: { current: boolean }) => current).id as string
      await post('email', { email: `thief${index}x@example.com` }, thief)
      const { ticket } = await offered(`thief${index}x@example.com`)
      t.equal((await end(owner, Object.assign(thief, { session }))).status, 200, what)
      t.match(await post('email/confirm', { ticket }), invalid, what)
      // What still waits in the queue comes too late as well.
      const payload = {
        ticketId: session,
        user: owner.id,
        session,
        email: `thief${index}y@example.com`,
        at: new Date(),
        ip: '::1',
        device: 'x',
      }
      await sql("SELECT FROM graphile_worker.add_job('email_change', $1::json)", [JSON.stringify(payload)])
      await settled()
      t.equal(mailsTo(`thief${index}y@example.com`).length, 0, what)
    }
  })

  await t.test('gets five such mails in an hour, whoever asks', async (t) => {
    for (let time = 0; time < 3; time++) {
      const client = await register(`asks${time}@example.com`)
      for (const _ of [1, 2]) await post('email', { email: 'victim@example.com' }, client)
    }
    await settled()
    t.equal(mailsTo('victim@example.com').length, 5)
  })
})
