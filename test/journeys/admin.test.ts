import pg from 'pg'
import t from 'tap'
import { startMail } from '../support/mail.ts'
import { Client, claimsOf, eventually, openSystem, signIn } from '../support/system.ts'

const password = 'seven quiet horses graze'
const nobody = '00000000-0000-4000-8000-000000000000'
const idOf = (client: Client) => claimsOf(client.accessToken as string).sub as string

t.test('what admins do', async (t) => {
  const mail = await startMail(t)
  const { gateway, sql, url } = await openSystem(t, mail.settings)
  const admin = await signIn(gateway, 'admin@example.com')
  const by = `by ${idOf(admin)}`
  const call = (method: string, path: string, body?: object, client = admin) =>
    client.call(method, `/api/admin/${path}`, { body })
  const events = async (event: string) =>
    (await sql('SELECT * FROM auth.security_events WHERE event = $1 ORDER BY id', [event])).rows
  const complete = (ticket: string | undefined, client = new Client(gateway)) =>
    client.call('POST', '/api/auth/register/complete', { body: { ticket, name: 'Ines Invited', password } })
  const reset = (ticket: string | undefined) =>
    new Client(gateway).call('POST', '/api/auth/password/reset', { body: { ticket, password } })
  const makeUser = async (email: string) => {
    await sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       SELECT gen_random_uuid(), $1, 'Some One', password_hash, '{doctor}' FROM auth.users WHERE email = 'doctor@example.com'`,
      [email],
    )
    return signIn(gateway, email)
  }

  t.test('an admin invites somebody, who makes the account with the roles of the invitation', async (t) => {
    const invited = await call('POST', 'invitations', {
      email: 'Ines@Example.com',
      roles: ['surgeon', 'doctor'],
      locale: 'de',
    })
    t.match(invited, {
      status: 201,
      body: { email: 'ines@example.com', roles: ['surgeon', 'doctor'], state: 'open', invitedBy: idOf(admin) },
    })
    const { id, expiresAt } = invited.body
    const days = (Date.parse(expiresAt) - Date.now()) / 86_400_000
    t.ok(days > 6.9 && days <= 7, 'for a week')
    t.match(await events('user_invited'), [{ user_id: null, reason: `invitation ${id} ${by}`, ip: '127.0.0.1' }])
    const { ticket } = await mail.next('ines@example.com')
    const client = new Client(gateway)
    t.match(await complete(ticket, client), { status: 200, body: { roles: ['surgeon', 'doctor'] } })
    t.match((await client.call('GET', '/api/auth/me')).body, { name: 'Ines Invited', locale: 'de' })
    t.match((await events('user_created')).at(-1), { reason: `invited ${by}` })
    t.match((await call('GET', 'invitations')).body.invitations[0], { id, state: 'accepted', endedAt: String })
    t.match(await call('POST', 'invitations', { email: 'INES@example.com', roles: ['doctor'] }), {
      status: 409,
      body: { code: 'USER_EXISTS' },
    })
    t.match(await call('POST', `invitations/${id}/resend`), { status: 404, body: { code: 'INVITATION_NOT_FOUND' } })
  })

  t.test('an invitation is replaced, sent again and withdrawn, and the link before works no more', async (t) => {
    const email = 'ivo@example.com'
    const invite = async () => (await call('POST', 'invitations', { email, roles: ['patient'] })).body.id
    const first = await invite()
    const replaced = await mail.next(email)
    // Two at once are one after the other.
    const [second] = await Promise.all([invite(), invite()])
    await mail.next(email)
    await mail.next(email)
    const { rows } = await sql('SELECT id FROM auth.tickets WHERE subject = $1 AND used_at IS NULL', [email])
    t.equal(rows.length, 1)
    const [{ id }] = rows
    t.ok(first !== second)
    t.match(await complete(replaced.ticket), { status: 400, body: { code: 'TICKET_INVALID' } })

    await sql("UPDATE auth.tickets SET expires_at = now() - interval '1 hour' WHERE id = $1", [id])
    const stateOf = async (id: string) =>
      (await call('GET', 'invitations')).body.invitations.find((one: { id: string }) => one.id === id)?.state
    t.equal(await stateOf(id), 'expired')
    t.equal(await stateOf(first), 'withdrawn')
    const resent = await call('POST', `invitations/${id}/resend`)
    t.match(resent, { status: 200, body: { id, state: 'open', email, roles: ['patient'] } })
    t.ok(Date.parse(resent.body.expiresAt) > Date.now() + 6 * 86_400_000, 'its time is the whole one again')
    t.match((await events('invitation_resent')).at(-1), { reason: `invitation ${id} ${by}` })
    const { ticket } = await mail.next(email)
    t.match(await call('DELETE', `invitations/${id}`), { status: 200 })
    t.equal(await stateOf(id), 'withdrawn')
    t.match((await events('invitation_withdrawn')).at(-1), { reason: `invitation ${id} ${by}` })
    t.match(await complete(ticket), { status: 400, body: { code: 'TICKET_INVALID' } })
    for (const [method, path] of [
      ['DELETE', `invitations/${id}`],
      ['DELETE', `invitations/${nobody}`],
      ['POST', `invitations/${nobody}/resend`],
    ] as const)
      t.match(await call(method, path), { status: 404, body: { code: 'INVITATION_NOT_FOUND' } })
  })

  t.test('invitations come page by page, the newest first', async (t) => {
    for (const name of ['one', 'two', 'three'])
      await call('POST', 'invitations', { email: `${name}@pages.example`, roles: ['patient'] })
    const first = (await call('GET', 'invitations?limit=2')).body
    t.match(first.invitations, [{ email: 'three@pages.example' }, { email: 'two@pages.example' }])
    const next = (await call('GET', `invitations?limit=1&cursor=${first.nextCursor}`)).body
    t.match(next.invitations, [{ email: 'one@pages.example' }])
    t.equal((await call('GET', 'invitations')).body.nextCursor, null)
  })

  t.test('an admin makes an account, and its user alone chooses the password', async (t) => {
    const email = 'nora@example.com'
    await call('POST', 'invitations', { email, roles: ['patient'] })
    const invitation = await mail.next(email)
    const body = {
      email: 'Nora@Example.com',
      name: ' Nora New ',
      roles: ['doctor'],
      password: 'of an admin',
      locale: 'de',
    }
    const made = await call('POST', 'users', body)
    const { id } = made.body
    t.match(made, {
      status: 201,
      body: { id: String, email, name: 'Nora New', roles: ['doctor'], locale: 'de', hasPassword: false },
    })
    t.match((await events('user_created')).at(-1), { user_id: id, reason: by })
    for (const wrong of ['of an admin', '!'])
      t.match(await new Client(gateway).login(email, wrong), {
        status: 401,
        body: { code: 'AUTH_INVALID_CREDENTIALS' },
      })
    t.match(
      await complete(invitation.ticket),
      { status: 400, body: { code: 'TICKET_INVALID' } },
      'not invited any more',
    )
    t.match(await call('POST', 'users', body), { status: 409, body: { code: 'USER_EXISTS' } })

    const { rows } = await sql('SELECT expires_at FROM auth.tickets WHERE user_id = $1 AND used_at IS NULL', [id])
    t.ok(rows[0].expires_at.getTime() > Date.now() + 6 * 86_400_000, 'there is a week for it')
    const first = await mail.next(email)
    t.equal((await call('POST', `users/${id}/password-reset`)).status, 202, 'sent once more')
    const { ticket } = await mail.next(email)
    t.equal((await reset(first.ticket)).status, 400)
    t.equal((await reset(ticket)).status, 200)
    t.equal((await new Client(gateway).login(email, password)).status, 200)
    t.match((await call('GET', `users/${id}`)).body, { hasPassword: true, sessions: 1, lastSignInAt: String })
  })

  t.test('two accounts that are made at once for an address are one', async (t) => {
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    await other.query('BEGIN')
    await other.query(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       VALUES (gen_random_uuid(), 'twin@example.com', 'Twin', '!', '{doctor}')`,
    )
    const making = call('POST', 'users', { email: 'twin@example.com', name: 'Twin', roles: ['doctor'] })
    await eventually('it waits for the other', async () => {
      const { rows } = await sql(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      )
      return rows.length > 0
    })
    await other.query('COMMIT')
    await other.end()
    t.match(await making, { status: 409, body: { code: 'USER_EXISTS' } })
  })

  t.test('an admin sees how a user uses the account, renames them and sets their language', async (t) => {
    const client = await makeUser('dan@example.com')
    const path = `users/${idOf(client)}`
    const { body } = await call('GET', path)
    t.match(body, { name: 'Some One', email: 'dan@example.com', sessions: 1, locale: null, deleteAfter: null })
    t.match(body, { disabled: false, hasPassword: true, createdAt: String, lastSignInAt: String })
    t.match(await call('PATCH', path, { name: ' Dan ', locale: 'de-AT' }), { body: { name: 'Dan', locale: 'de-AT' } })
    t.match(await call('PATCH', path, { locale: null }), { body: { name: 'Dan', locale: null } })
    for (const body of [{ name: ' ' }, { locale: '!' }, {}])
      t.match(await call('PATCH', path, body), { status: 400, body: { code: 'REQUEST_INVALID' } })
    t.match(await events('user_renamed'), [{ user_id: idOf(client), reason: by }])
    t.equal((await events('locale_changed')).length, 2)

    const sessions = await call('GET', `${path}/sessions`)
    t.match(sessions.body, { sessions: [{ device: String, current: false, ip: '127.0.0.1' }], ended: [] })
    t.match((await call('DELETE', `${path}/sessions`)).body, { message: '1 sessions have ended' })
    t.match((await call('GET', `${path}/sessions`)).body, { sessions: [], ended: [{ reason: 'revoked_by_admin' }] })
    t.match((await call('GET', path)).body, { sessions: 0 })
    const own = await call('GET', `users/${idOf(admin)}/sessions`)
    t.ok(own.body.sessions.some(({ current }: { current: boolean }) => current))
    const never = await call('POST', 'users', { email: 'never@example.com', name: 'Never', roles: ['patient'] })
    t.equal((await call('GET', `users/${never.body.id}`)).body.lastSignInAt, null)
  })

  t.test('an admin starts a reset: nothing ends before the user chooses a password', async (t) => {
    const email = 'rita@example.com'
    const client = await makeUser(email)
    const path = `users/${idOf(client)}`
    t.equal((await call('POST', `${path}/password-reset`)).status, 202)
    const { ticket, text } = await mail.next(email)
    t.match(text, 'An administrator')
    t.notMatch(text, '127.0.0.1', 'where the administrator is, is not said')
    t.equal((await client.call('GET', '/api/auth/me')).status, 200)
    t.match(await events('password_reset_sent'), [{}, { user_id: idOf(client), reason: by }])
    await call('PATCH', path, { disabled: true })
    t.match(await call('POST', `${path}/password-reset`), { status: 409, body: { code: 'USER_DISABLED' } })
    t.equal((await reset(ticket)).status, 400)
    await call('PATCH', path, { disabled: false })
    t.equal((await reset(ticket)).status, 400, 'what ends the sessions ends what was asked for')
    await call('POST', `${path}/password-reset`)
    const { ticket: next } = await mail.next(email)
    t.equal((await reset(next)).status, 200)
    t.match((await client.refresh()).body, { code: 'SESSION_ENDED' })
  })

  t.test('an admin opens an account that wrong passwords have closed', async (t) => {
    const email = 'locked@example.com'
    const path = `users/${idOf(await makeUser(email))}`
    const stranger = new Client(gateway)
    for (let tries = 0; tries < 6; tries++) await stranger.login(email, 'not the password of it')
    t.equal((await stranger.login(email)).status, 401)
    t.ok((await call('GET', path)).body.failures >= 5)
    t.equal((await call('POST', `${path}/unlock`)).status, 200)
    t.match((await events('user_unlocked')).at(-1), { reason: by })
    t.equal((await call('GET', path)).body.failures, 0)
    t.equal((await stranger.login(email)).status, 200)
    t.equal((await call('POST', `users/${nobody}/unlock`)).status, 404)
  })

  t.test('a deleted user is signed out and cannot undo it; an admin can', async (t) => {
    const email = 'gone@example.com'
    const client = await makeUser(email)
    const id = idOf(client)
    const path = `users/${id}`
    const deleted = await call('DELETE', path)
    t.match(deleted, { status: 202, body: { deleteAfter: String } })
    const { text } = await mail.next(email)
    t.match(text, /no\s+longer\s+sign\s+in/)
    t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'account_deleted' })
    t.equal((await client.login(email)).status, 401)
    t.match((await events('deletion_requested')).at(-1), { user_id: id, reason: by })
    const again = await call('DELETE', path)
    t.equal(again.body.deleteAfter, deleted.body.deleteAfter, 'twice is once')
    t.match((await call('GET', path)).body, { disabled: true, deleteAfter: deleted.body.deleteAfter })
    t.match(await call('PATCH', path, { disabled: false }), { body: { disabled: false, deleteAfter: null } })
    t.match(await events('deletion_undone'), [{ user_id: id, reason: by }])
    t.equal((await client.login(email)).status, 200)
  })

  t.test('a deletion that the user asked for stays theirs, whatever admins do meanwhile', async (t) => {
    const email = 'own@example.com'
    const client = await makeUser(email)
    const path = `users/${idOf(client)}`
    const asked = await client.call('DELETE', '/api/auth/me')
    t.equal((await call('DELETE', path)).body.deleteAfter, asked.body.deleteAfter)
    t.equal((await client.login(email)).status, 401, 'disabled meanwhile')
    const { deleteAfter } = asked.body
    t.match((await call('PATCH', path, { disabled: false })).body, { disabled: false, deleteAfter })
    t.equal((await client.login(email)).status, 200)
    t.equal((await call('GET', path)).body.deleteAfter, null)
  })

  t.test('an admin may delete the own account as anybody may, but not the last admin', async (t) => {
    const own = `users/${idOf(admin)}`
    t.match(await call('DELETE', own), { status: 409, body: { code: 'LAST_ADMIN' } })
    const second = await makeUser('second@example.com')
    await call('PATCH', `users/${idOf(second)}`, { roles: ['admin'] })
    await second.refresh()
    t.equal((await call('DELETE', `users/${idOf(second)}`, undefined, second)).status, 202)
    t.equal((await second.refresh()).status, 401)
    t.equal((await second.login('second@example.com')).status, 200, 'signing in undoes it')
    await call('PATCH', `users/${idOf(second)}`, { roles: ['doctor'] })
  })

  t.test('what changes something needs a recent sign-in', async (t) => {
    await sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
    const path = `users/${idOf(admin)}`
    for (const [method, where, body] of [
      ['POST', 'invitations', { email: 'late@example.com', roles: ['doctor'] }],
      ['POST', `invitations/${nobody}/resend`],
      ['DELETE', `invitations/${nobody}`],
      ['POST', 'users', { email: 'late@example.com', name: 'Late', roles: ['doctor'] }],
      ['PATCH', path, { disabled: false }],
      ['DELETE', path],
      ['DELETE', `${path}/sessions`],
      ['POST', `${path}/password-reset`],
      ['POST', `${path}/unlock`],
    ] as const)
      t.match(
        await call(method, where, body),
        { status: 401, body: { code: 'STEP_UP_REQUIRED' } },
        `${method} ${where}`,
      )
    for (const where of ['users', path, `${path}/sessions`, `${path}/events`, 'events', 'invitations'])
      t.equal((await call('GET', where)).status, 200, where)
    await sql('UPDATE auth.sessions SET authenticated_at = now()')
  })

  t.test('nobody else may any of it', async (t) => {
    const doctor = await makeUser('other@example.com')
    const path = `users/${idOf(admin)}`
    for (const where of ['users', path, `${path}/sessions`, `${path}/events`, 'events', 'invitations'])
      t.match(await call('GET', where, undefined, doctor), { status: 403, body: { code: 'ROLE_REQUIRED' } })
    t.match(await call('POST', 'invitations', { email: 'x@example.com', roles: ['admin'] }, doctor), { status: 403 })
  })

  t.test('values that are none are 400, and users that are not there 404', async (t) => {
    const good = { email: 'fine@example.com', name: 'Fine', roles: ['doctor'] }
    for (const change of [
      { email: 'no address' },
      { email: `${'x'.repeat(250)}@example.com` },
      { name: '' },
      { name: 'two\nlines' },
      { roles: [] },
      { roles: ['Admin'] },
      { roles: ['doctor', 'doctor'] },
      { roles: Array.from({ length: 33 }, (_, index) => `r${index}`) },
      { locale: 'x' },
    ])
      t.match(
        await call('POST', 'users', { ...good, ...change }),
        { status: 400, body: { code: 'REQUEST_INVALID' } },
        JSON.stringify(change).slice(0, 40),
      )
    for (const change of [{ email: 'no address' }, { roles: ['Admin'] }, { locale: 'x' }])
      t.match(await call('POST', 'invitations', { ...good, ...change }), { status: 400 })
    for (const query of ['user=x', 'event=A', 'from=yesterday', 'to=2026-02-30T00:00:00Z', 'cursor=x', 'limit=0'])
      t.match(await call('GET', `events?${query}`), { status: 400, body: { code: 'REQUEST_INVALID' } }, query)
    for (const [method, path] of [
      ['GET', `users/${nobody}`],
      ['DELETE', `users/${nobody}`],
      ['GET', `users/${nobody}/sessions`],
      ['GET', `users/${nobody}/events`],
      ['POST', `users/${nobody}/password-reset`],
    ] as const)
      t.match(await call(method, path), { status: 404, body: { code: 'USER_NOT_FOUND' } }, path)
  })

  t.test('an account that cannot be made changes nothing', async (t) => {
    await sql('ALTER TABLE auth.tickets RENAME TO away')
    const body = { email: 'half@example.com', name: 'Half', roles: ['doctor'] }
    t.equal((await call('POST', 'users', body)).status, 500)
    await sql('ALTER TABLE auth.away RENAME TO tickets')
    t.strictSame((await sql("SELECT FROM auth.users WHERE email = 'half@example.com'")).rows, [])
  })
})

t.test('without mail, and where nobody may register', async (t) => {
  const { gateway } = await openSystem(t, { REGISTRATION: 'closed' })
  const admin = await signIn(gateway, 'admin@example.com')
  const post = (path: string, body?: object) => admin.call('POST', `/api/admin/${path}`, { body })
  const account = { email: 'new@example.com', name: 'New', roles: ['doctor'] }
  for (const path of ['invitations', `invitations/${nobody}/resend`])
    t.match(await post(path, account), { status: 403, body: { code: 'REGISTRATION_CLOSED' } })
  t.match(await post('users', account), { status: 503, body: { code: 'MAIL_UNAVAILABLE' } })
  t.match(await post(`users/${idOf(admin)}/password-reset`), { status: 503, body: { code: 'MAIL_UNAVAILABLE' } })
})

t.test('an invitation without mail', async (t) => {
  const { gateway } = await openSystem(t)
  const admin = await signIn(gateway, 'admin@example.com')
  const body = { email: 'new@example.com', roles: ['doctor'] }
  const invited = await admin.call('POST', '/api/admin/invitations', { body })
  t.match(invited, { status: 503, body: { code: 'MAIL_UNAVAILABLE' } })
})
