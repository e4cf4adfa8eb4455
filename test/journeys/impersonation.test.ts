import pg from 'pg'
import t from 'tap'
import { openAccounts, password } from '../support/accounts.ts'
import { actOn } from '../support/machines.ts'
import { Client, claimsOf, eventually, signIn } from '../support/system.ts'

const reason = 'Ticket 4711: the list is empty'
const ended = { status: 401, body: { code: 'SESSION_ENDED' } }

t.test('whoever may, signs in as a user, and everybody can see it', async (t) => {
  const system = await openAccounts(t, { IMPERSONATION_ROLES: 'admin,support' })
  const { gateway, sql, mail, register, log } = system
  const { admin, administer, bearing, makeMachine, addExchange, exchange } = await actOn(system)
  const adminId = claimsOf(admin.accessToken as string).sub as string
  const adminSession = claimsOf(admin.accessToken as string).sid as string
  const nina = await register('nina@example.com')
  const impersonate = (id: string, body: unknown = { reason }, by = admin) =>
    by.call('POST', `/api/admin/users/${id}/impersonate`, { body })
  /** Kept apart from the administrator's own token, which a client would replace. */
  async function actAs(id: string, by = admin) {
    const own = by.accessToken as string
    const response = await impersonate(id, { reason }, by)
    by.accessToken = own
    t.equal(response.status, 200)
    return bearing(response.body.accessToken)
  }

  const acting = await actAs(nina.id)
  const claims = claimsOf(acting.accessToken as string)
  const act = { sub: adminId, sid: adminSession }

  await t.test('the token says who acts, for a quarter of an hour, and proves nothing of the user', async (t) => {
    t.match(claims, { sub: nina.id, email: 'nina@example.com', roles: ['patient'], act })
    const lasts = (claims.exp as number) - (claims.iat as number)
    t.ok(lasts <= 900 && lasts > 800, 'from when the session began, which may have been a second before')
    for (const name of ['acr', 'amr', 'auth_time', 'scope']) t.notOk(name in claims, name)
    t.match(await acting.call('GET', '/api/auth/me'), { status: 200, body: { id: nina.id } })
  })

  await t.test('the user gets a mail that says who, and why', async (t) => {
    const { text } = await mail.next('nina@example.com')
    t.match(text, 'Ada Admin')
    t.match(text, reason)
  })

  await t.test('the user sees the session among theirs, and can end it', async (t) => {
    const { body } = await nina.call('GET', '/api/auth/sessions')
    const [session] = body.sessions.filter(({ actor }: { actor: object | null }) => actor !== null)
    t.match(session, { id: claims.sid, actor: { id: adminId, name: 'Ada Admin' }, current: false })
    t.match((await nina.call('GET', '/api/auth/me/export')).body, {
      sessions: [{}, { actorId: adminId, actorReason: reason }],
      securityEvents: [{}, {}, { event: 'impersonation_started', act }],
    })
    await nina.call('DELETE', `/api/auth/sessions/${session.id}`)
    await eventually('the gateway refuses', async () => (await acting.call('GET', '/api/auth/me')).status === 401)
    t.match(await acting.call('GET', '/api/auth/me'), ended)
  })

  await t.test('every event has both ids', async (t) => {
    const { rows } = await sql('SELECT * FROM auth.security_events WHERE event LIKE $1 ORDER BY id', ['impersonation%'])
    const both = { user_id: nina.id, session_id: claims.sid, act }
    t.match(rows, [
      { event: 'impersonation_started', ...both },
      { event: 'impersonation_ended', reason: 'logout', ...both },
    ])
    t.match(rows[0].reason, new RegExp(`^${reason} by ${adminId}$`))
    const { body } = await administer('GET', `users/${nina.id}/events`)
    t.match(
      body.events.find(({ event }: { event: string }) => event === 'impersonation_started'),
      { act },
    )
    t.ok(log.some((line) => line.includes('impersonation_started') && line.includes(`"act":{"sub":"${adminId}"`)))
  })

  await t.test('who acts can stop', async (t) => {
    const acting = await actAs(nina.id)
    t.match(await acting.call('DELETE', '/api/auth/impersonation'), { status: 200 })
    await eventually('the gateway refuses', async () => (await acting.call('GET', '/api/auth/me')).status === 401)
    t.match(await nina.call('DELETE', '/api/auth/impersonation'), {
      status: 404,
      body: { code: 'IMPERSONATION_NOT_FOUND' },
    })
    t.equal((await nina.call('GET', '/api/auth/me')).status, 200, 'the user’s own session goes on')
  })

  await t.test('a service that was called may call on, and both are named', async (t) => {
    const acting = await actAs(nina.id)
    const machine = await makeMachine()
    await addExchange(machine.id, { from: 'x', audience: 'https://api.test', roles: ['patient'] })
    const { body } = await exchange(machine, acting.accessToken as string)
    t.match(claimsOf(body.access_token), {
      sub: nina.id,
      act: { sub: `client:${machine.id}`, act: { sub: adminId, sid: adminSession } },
    })
    const onBehalf = bearing(body.access_token)
    t.match(await onBehalf.call('GET', '/api/auth/me'), { status: 200, body: { id: nina.id } })
    t.match(await onBehalf.call('DELETE', '/api/auth/impersonation'), { status: 404 }, 'the service cannot end it')
    t.match(await onBehalf.call('PATCH', '/api/auth/me', { body: { name: 'X' } }), {
      status: 403,
      body: { code: 'ACTOR_REFUSED' },
    })
    const { rows } = await sql("SELECT act FROM auth.security_events WHERE event = 'token_exchanged'")
    t.match(rows, [{ act: { sub: `client:${machine.id}`, act: { sub: adminId } } }])
  })

  await t.test('it ends with the administrator’s own session', async (t) => {
    const second = await signIn(gateway, 'admin@example.com')
    const acting = await actAs(nina.id, second)
    t.equal((await acting.call('GET', '/api/auth/me')).status, 200)
    await second.call('POST', '/api/auth/logout')
    await eventually('the gateway refuses', async () => (await acting.call('GET', '/api/auth/me')).status === 401)
    t.match(await acting.call('GET', '/api/auth/me'), { ...ended, body: { reason: 'actor_ended' } })
    const { rows } = await sql("SELECT act FROM auth.security_events WHERE event = 'impersonation_ended' ORDER BY id")
    t.match(rows.at(-1), { act: { sub: adminId, sid: claimsOf(second.accessToken as string).sid } })
    t.match(await impersonate(nina.id, { reason }, second), { status: 401 })
  })

  await t.test('and with the role by which it began', async () => {
    const { body: made } = await administer('POST', 'users', {
      email: 'sue@example.com',
      name: 'Sue',
      roles: ['admin'],
    })
    const { ticket } = await system.offered('sue@example.com')
    await system.post('password/reset', { ticket, password })
    const sue = new Client(gateway)
    await sue.login('sue@example.com', password)
    const acting = await actAs(nina.id, sue)
    await administer('PATCH', `users/${made.id}`, { roles: ['doctor'] })
    await eventually('the gateway refuses', async () => (await acting.call('GET', '/api/auth/me')).status === 401)
  })

  await t.test('and not at all if that role is being taken away just then', async (t) => {
    const { body: made } = await administer('POST', 'users', {
      email: 'rob@example.com',
      name: 'Rob',
      roles: ['admin'],
    })
    const { ticket } = await system.offered('rob@example.com')
    await system.post('password/reset', { ticket, password })
    const rob = new Client(gateway)
    await rob.login('rob@example.com', password)
    const other = new pg.Client({ connectionString: system.url })
    await other.connect()
    t.teardown(() => other.end())
    await other.query('BEGIN')
    await other.query("UPDATE auth.users SET roles = '{doctor}' WHERE id = $1", [made.id])
    const start = impersonate(nina.id, { reason }, rob)
    await eventually('it waits for what is changing', async () => {
      const { rows } = await sql(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR SHARE%'",
      )
      return rows.length > 0
    })
    await other.query('COMMIT')
    t.match(await start, { status: 401, body: { code: 'TOKEN_STALE' } })
    const { rows } = await sql('SELECT FROM auth.impersonations WHERE actor_id = $1', [made.id])
    t.equal(rows.length, 0)
  })

  await t.test('and not at all if the own session ends just then; nor is a name known of who is gone', async (t) => {
    const { rows: made } = await sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       SELECT gen_random_uuid(), 'ann@example.com', 'Ann', password_hash, '{admin}' FROM auth.users
       WHERE email = 'admin@example.com' RETURNING id`,
    )
    const ann = await signIn(gateway, 'ann@example.com')
    const acting = await actAs(nina.id, ann)
    const { sid } = claimsOf(ann.accessToken as string)
    const other = new pg.Client({ connectionString: system.url })
    await other.connect()
    t.teardown(() => other.end())
    await other.query('BEGIN')
    await other.query("UPDATE auth.sessions SET revoked_at = now(), revoked_reason = 'logout' WHERE id = $1", [sid])
    const start = impersonate(nina.id, { reason }, ann)
    await eventually('it waits for what is changing', async () => {
      const waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR SHARE%'"
      return (await sql(waiting)).rows.length > 0
    })
    await other.query('COMMIT')
    t.match(await start, { status: 401, body: { code: 'SESSION_ENDED' } })
    await sql('DELETE FROM auth.users WHERE id = $1', [made[0].id])
    const { ended } = (await nina.call('GET', '/api/auth/sessions')).body
    const session = ended.find(({ id }: { id: string }) => id === claimsOf(acting.accessToken as string).sid)
    t.match(session, { actor: { id: made[0].id, name: null }, reason: 'actor_ended' })
  })

  await t.test('a session that is deleted leaves the event too, and a person who is erased no words', async (t) => {
    const eve = await register('eve@example.com')
    const deleted = claimsOf((await actAs(eve.id)).accessToken as string).sid
    await sql('DELETE FROM auth.sessions WHERE id = $1', [deleted])
    const last = claimsOf((await actAs(eve.id)).accessToken as string).sid
    const expired = claimsOf((await actAs(eve.id)).accessToken as string).sid
    await sql("UPDATE auth.sessions SET expires_at = now() - interval '1 second' WHERE id = $1", [expired])
    await sql("UPDATE auth.users SET delete_after = now() - interval '1 day' WHERE id = $1", [eve.id])
    await sql('SELECT auth.erase_user($1)', [eve.id])
    const { rows } = await sql(
      'SELECT event, reason, session_id, act FROM auth.security_events WHERE user_id = $1 AND event LIKE $2 ORDER BY id',
      [eve.id, 'impersonation%'],
    )
    const started = { event: 'impersonation_started', reason: `by ${adminId}`, act }
    const over = { event: 'impersonation_ended', reason: 'revoked_by_admin', act }
    t.strictSame(rows, [
      { ...started, session_id: deleted },
      { ...over, session_id: deleted },
      { ...started, session_id: last },
      { ...started, session_id: expired },
      { ...over, session_id: last },
    ])
  })

  await t.test('nobody acts as themself, as an admin, as one who may act as others, or as nobody', async (t) => {
    const other = await register('helper@example.com')
    await administer('PATCH', `users/${other.id}`, { roles: ['patient', 'support'] })
    const refused = { status: 403, body: { code: 'IMPERSONATION_REFUSED' } }
    t.match(await impersonate(adminId), refused)
    t.match(await impersonate(other.id), refused)
    t.match(await impersonate('00000000-0000-4000-8000-000000000000'), {
      status: 404,
      body: { code: 'USER_NOT_FOUND' },
    })
    await administer('PATCH', `users/${other.id}`, { roles: ['patient'], disabled: true })
    t.match(await impersonate(other.id), { status: 409, body: { code: 'USER_DISABLED' } })
    for (const body of [
      {},
      { reason: '' },
      { reason: 'x'.repeat(501) },
      { reason: 7 },
      { reason: 'a\0b' },
      { reason: ' ' },
      { reason: '\u200b' },
      { reason: 'a\nb' },
      { reason: '\u202ea' },
    ])
      t.match(await impersonate(nina.id, body), { status: 400 }, JSON.stringify(body))
  })

  await t.test('without a recent sign-in it does not begin', async (t) => {
    await sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes' WHERE id = $1", [adminSession])
    t.match(await impersonate(nina.id), { status: 401, body: { code: 'STEP_UP_REQUIRED' } })
  })
})

t.test('nobody signs in as a user where nobody may', async (t) => {
  const system = await openAccounts(t)
  const { admin } = await actOn(system)
  const nina = await system.register('nina@example.com')
  const body = { reason }
  t.match(await admin.call('POST', `/api/admin/users/${nina.id}/impersonate`, { body }), {
    status: 403,
    body: { code: 'IMPERSONATION_REFUSED' },
  })
})
