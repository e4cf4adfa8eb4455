import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { endAllSessions, endSession } from '@sallyport/auth/sessions/end'
import { openSession } from '@sallyport/auth/sessions/open'
import { rotateSession } from '@sallyport/auth/sessions/rotate'
import { hashAttempt } from '@sallyport/auth/sessions/rotation'
import type { Database } from '@sallyport/database'
import { createSigner } from 'fast-jwt'
import t from 'tap'
import {
  Client,
  claimsOf,
  eventually,
  openSystem,
  signIn,
  startDatabase,
  startServer,
  startSystemOn,
} from '../support/system.ts'

const attempt = () => ({ 'x-refresh-attempt': randomBytes(16).toString('base64url') })

t.test('refreshing, over HTTP', async (t) => {
  const { gateway, sql, log } = await openSystem(t, {
    REFRESH_GRACE: '60s',
    JWT_REFRESH_SECRET: `${'new-'.repeat(10)},${'old-'.repeat(10)}`,
  })
  const rewind = (client: Client, seconds: number) =>
    sql("UPDATE auth.sessions SET rotated_at = rotated_at - $2 * interval '1 second' WHERE id = $1", [
      claimsOf(client.accessToken as string).sid,
      seconds,
    ])
  /** Another holder of the same cookie: a second tab, a retry, or a thief. */
  const copy = (client: Client) => Object.assign(new Client(gateway), { cookie: client.cookie })

  t.test('a retry with the same attempt id gets the same refresh token, byte for byte', async (t) => {
    const client = await signIn(gateway)
    const [retry, id] = [copy(client), attempt()]
    t.equal((await client.refresh(id)).status, 200)
    t.equal((await retry.refresh(id)).status, 200)
    t.equal(retry.cookie, client.cookie)
    t.not(retry.accessToken, undefined)
  })

  t.test('twenty tabs that refresh at once all end with the same token, and the session lives', async (t) => {
    const client = await signIn(gateway)
    const tabs = Array.from({ length: 20 }, () => copy(client))
    const responses = await Promise.all(tabs.map((tab) => tab.refresh()))
    t.ok(responses.every(({ status }) => status === 200))
    t.equal(new Set(tabs.map(({ cookie }) => cookie)).size, 1)
    t.equal(claimsOf(tabs[0]?.cookie as string).gen, 1)
    t.equal((await (tabs[7] as Client).refresh()).status, 200)
  })

  t.test('a replay past the grace ends the session for everyone, at once', async (t) => {
    const client = await signIn(gateway)
    const thief = copy(client)
    await client.refresh(attempt())
    await rewind(client, 65)
    const stolen = await thief.refresh(attempt())
    t.equal(stolen.status, 401)
    t.match(stolen.body, { code: 'REFRESH_REUSED' })
    t.equal(stolen.headers.get('www-authenticate'), 'Bearer')
    t.equal(thief.cookie, undefined, 'the cookie is cleared')
    t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'reuse' })
    await eventually('the access token is refused', async () => {
      const { body } = await client.call('GET', '/api/whoami')
      return body.code === 'SESSION_ENDED' && body.reason === 'reuse'
    })
    await eventually('the log says so', () => log.some((line) => line.includes('"refresh_reused"')))
  })

  t.test('a session that a failover set back goes on, and the log says so', async (t) => {
    const client = await signIn(gateway)
    await client.refresh()
    await sql('UPDATE auth.sessions SET generation = generation - 1 WHERE id = $1', [
      claimsOf(client.accessToken as string).sid,
    ])
    t.equal((await client.refresh()).status, 200)
    t.equal(claimsOf(client.cookie as string).gen, 2)
    await eventually('the log says so', () => log.some((line) => line.includes('"refresh_fast_forward"')))
  })

  t.test('a disabled user gets no further token', async (t) => {
    const client = await signIn(gateway, 'patient@example.com')
    await sql("UPDATE auth.users SET disabled_at = now() WHERE email = 'patient@example.com'")
    t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'disabled' })
    t.match((await client.login('patient@example.com')).body, { code: 'AUTH_INVALID_CREDENTIALS' })
    await sql('UPDATE auth.users SET disabled_at = NULL')
  })

  t.test('a token signed with the previous secret is still accepted', async (t) => {
    const client = await signIn(gateway)
    const { iat, exp, ...claims } = claimsOf(client.cookie as string)
    client.cookie = createSigner({ key: 'old-'.repeat(10), header: { alg: 'HS256', typ: 'rt+jwt' } })({
      ...claims,
      iat,
      exp,
    })
    t.equal((await client.refresh()).status, 200)
  })

  t.test('an attempt id that is none is refused, and nothing has changed', async (t) => {
    const client = await signIn(gateway)
    t.match(await client.refresh({ 'x-refresh-attempt': 'short' }), { status: 400, body: { code: 'REQUEST_INVALID' } })
    t.equal((await client.refresh()).status, 200)
  })
})

t.test('what is not ours is refused without a query', async (t) => {
  const { gateway, postgres, secrets, sql } = await startSystemOn(await startServer(t), t)
  const client = await signIn(gateway)
  const claims = claimsOf(client.cookie as string)
  const sign = (changes: object, header: object = {}, key = secrets.JWT_REFRESH_SECRET as string) =>
    createSigner({ key, algorithm: 'HS256', header: { alg: 'HS256', typ: 'rt+jwt', ...header } })({
      ...claims,
      ...changes,
    })
  const past = Math.floor(Date.now() / 1000) - 60

  /** Those of a refresh: others, of the stream of ended sessions, may come at any time. */
  const statements = () =>
    readFileSync(postgres.logFile, 'utf8').match(/SET generation =|FROM auth\.sessions s JOIN/g)?.length ?? 0
  await sql("ALTER SYSTEM SET log_statement = 'all'")
  await sql('SELECT pg_reload_conf()')
  await eventually('statements are logged', async () => {
    const before = statements()
    await client.refresh()
    return statements() > before
  })

  const bad: [string, string, string][] = [
    ['no JWT at all', 'nonsense', 'REFRESH_INVALID'],
    ['another secret', sign({}, {}, 'x'.repeat(40)), 'REFRESH_INVALID'],
    ['an access token', client.accessToken as string, 'REFRESH_INVALID'],
    ['another type', sign({ type: 'access' }), 'REFRESH_INVALID'],
    ['another typ', sign({}, { typ: 'at+jwt' }), 'REFRESH_INVALID'],
    ['no session', sign({ sid: undefined }), 'REFRESH_INVALID'],
    ['a session that is no id', sign({ sid: "' OR 1=1" }), 'REFRESH_INVALID'],
    ['a user that is no id', sign({ sub: 'admin' }), 'REFRESH_INVALID'],
    ['half a generation', sign({ gen: 0.5 }), 'REFRESH_INVALID'],
    ['a negative generation', sign({ gen: -1 }), 'REFRESH_INVALID'],
    ['a generation out of all bounds', sign({ gen: 2 ** 40 }), 'REFRESH_INVALID'],
    [
      'unsigned',
      `${Buffer.from('{"alg":"none","typ":"rt+jwt"}').toString('base64url')}.${(client.cookie as string).split('.')[1]}.`,
      'REFRESH_INVALID',
    ],
    ['very long', `${client.cookie}${'x'.repeat(3000)}`, 'REFRESH_INVALID'],
    ['expired', sign({ iat: past - 10, exp: past }), 'REFRESH_EXPIRED'],
  ]
  const before = statements()
  for (const [what, cookie, code] of bad) {
    const response = await Object.assign(new Client(gateway), { cookie }).refresh()
    t.match(response, { status: 401, body: { code } }, what)
  }
  t.match(await new Client(gateway).refresh(), { status: 401, body: { code: 'REFRESH_MISSING' } })
  t.equal(statements(), before, 'the database was not queried')
})

t.test('the clock as an argument: days pass without waiting', async (t) => {
  const { database, sql } = await startDatabase(t)
  const limits = { idleSeconds: 7 * 86_400, maxSeconds: 30 * 86_400, graceSeconds: 10 }
  const { rows } = await sql("SELECT id, password_hash FROM auth.users WHERE email = 'doctor@example.com'")
  const open = async () => {
    const session = await openSession(
      database,
      {
        userId: rows[0].id,
        passwordHash: rows[0].password_hash,
        amr: ['pwd'] as ['pwd'],
        userAgent: undefined,
        ip: '::1',
      },
      limits,
    )
    if (!session) throw new Error('no session')
    return session
  }
  const in_ = (hours: number) => new Date(Date.now() + hours * 3_600_000)
  const request = (session: { id: string; user: { id: string } }, generation: number, id?: string) => ({
    sessionId: session.id,
    userId: session.user.id,
    generation,
    attemptHash: id === undefined ? undefined : hashAttempt(id),
  })

  t.test('a retry eight hours later gives the very same row', async (t) => {
    const session = await open()
    const first = await rotateSession(database, request(session, 0, 'attempt'), limits, in_(1))
    const retry = await rotateSession(database, request(session, 0, 'attempt'), limits, in_(9))
    t.equal(first.kind, 'rotated')
    t.equal(retry.kind, 'repeated')
    t.strictSame('session' in first && first.session, 'session' in retry && retry.session)
  })

  t.test('a session idle for seven days is over; one in use slides, but never past thirty days', async (t) => {
    const idle = await open()
    t.strictSame(await rotateSession(database, request(idle, 0), limits, in_(7 * 24 + 1)), {
      kind: 'ended',
      reason: 'expired',
    })
    const used = await open()
    for (const day of [6, 12, 18, 24, 29]) {
      const outcome = await rotateSession(
        database,
        request(used, [6, 12, 18, 24, 29].indexOf(day)),
        limits,
        in_(day * 24),
      )
      t.equal(outcome.kind, 'rotated', `day ${day}`)
      if (outcome.kind === 'rotated') t.ok(outcome.session.expiresAt <= in_(30 * 24).getTime() / 1000 + 1)
    }
    t.strictSame(await rotateSession(database, request(used, 5), limits, in_(30 * 24 + 1)), {
      kind: 'ended',
      reason: 'expired',
    })
  })

  t.test('a session that is gone, or of somebody else, is over', async (t) => {
    const session = await open()
    const stranger = { ...request(session, 0), userId: '00000000-0000-4000-8000-000000000000' }
    t.strictSame(await rotateSession(database, stranger, limits), { kind: 'ended', reason: 'expired' })
    await sql('DELETE FROM auth.sessions WHERE id = $1', [session.id])
    t.strictSame(await rotateSession(database, request(session, 0), limits), { kind: 'ended', reason: 'expired' })
  })

  t.test('ended is final: the first reason stays, and no refresh brings it back', async (t) => {
    const session = await open()
    t.equal(await endSession(database, { sessionId: session.id, userId: session.user.id }, 'logout'), true)
    t.equal(await endSession(database, { sessionId: session.id, userId: session.user.id }, 'reuse'), false)
    for (const generation of [0, 1, 5])
      t.strictSame(await rotateSession(database, request(session, generation), limits), {
        kind: 'ended',
        reason: 'logout',
      })
  })

  t.test('no refresh that begins after a revocation committed gets a token, however many run at once', async (t) => {
    for (let round = 0; round < 20; round++) {
      const session = await open()
      let ended = false
      const late: string[] = []
      const refresh = async (): Promise<void> => {
        for (let n = 0; n < 20; n++) {
          const after = ended
          const outcome = await rotateSession(database, request(session, n), limits)
          if (after && outcome.kind !== 'ended') late.push(outcome.kind)
        }
      }
      await Promise.all([
        refresh(),
        refresh(),
        endSession(database, { sessionId: session.id, userId: session.user.id }, 'logout').then(() => {
          ended = true
        }),
      ])
      t.strictSame(late, [])
    }
  })

  t.test('a login cannot slip past logout-all: whatever opens before it is ended by it', async (t) => {
    const [, ended] = await Promise.all([
      Promise.all(Array.from({ length: 10 }, open)),
      endAllSessions(database, rows[0].id, 'logout_all'),
    ])
    const after = await endAllSessions(database, rows[0].id, 'logout_all')
    const { rows: live } = await sql('SELECT FROM auth.sessions WHERE user_id = $1 AND revoked_at IS NULL', [
      rows[0].id,
    ])
    t.ok(ended + after >= 10)
    t.equal(live.length, 0)
  })

  t.test('a row that changes while a refresh is decided on is looked at again', async (t) => {
    const session = await open()
    for (const generation of [0, 1]) await rotateSession(database, request(session, generation), limits)
    // A failover between the two statements: the row is as it was a commit earlier.
    let statements = 0
    const meanwhile = database.$extends({
      client: {
        async run(...statement: Parameters<Database['run']>) {
          const rows = await database.run(...statement)
          statements += 1
          if (statements === 1) await sql('UPDATE auth.sessions SET generation = 1 WHERE id = $1', [session.id])
          return rows
        },
      },
    })
    const outcome = await rotateSession(meanwhile as never, request(session, 1, 'another'), limits)
    t.match(outcome, { kind: 'rotated', session: { generation: 2 } })
  })

  t.test('no session opens for a password that was changed while it was checked', async (t) => {
    const stale = {
      userId: rows[0].id,
      passwordHash: 'the old one',
      amr: ['pwd'] as ['pwd'],
      userAgent: undefined,
      ip: '::1',
    }
    t.equal(await openSession(database, stale, limits), undefined)
  })
})
