import { randomUUID } from 'node:crypto'
import t from 'tap'
import { startMail } from '../support/mail.ts'
import { eventually, openSystem, refusalOf, signIn } from '../support/system.ts'

// Processes say what they know every ten seconds.
t.setTimeout(120_000)

t.test('how the system is', async (t) => {
  const mail = await startMail(t)
  const { gateway, sql } = await openSystem(t, mail.settings)
  const admin = await signIn(gateway, 'admin@example.com')
  const read = async () => {
    const { status, body } = await admin.call('GET', '/api/admin/health')
    t.equal(status, 200)
    return body
  }
  await eventually('every process has said that it runs', async () => {
    const { replicas, keys } = await read()
    return replicas.length === 2 && replicas[1].keys.includes(keys.active)
  })

  // For the last test here: processes say what they know every ten seconds.
  const { users } = (await admin.call('GET', '/api/admin/users?email=doctor')).body
  t.equal((await admin.call('POST', `/api/admin/users/${users[0].id}/password-reset`)).status, 202)
  await mail.next('doctor@example.com')
  const hasEmptyQueue = async () => (await sql('SELECT FROM graphile_worker._private_jobs')).rows.length === 0
  await eventually('every mail is sent', hasEmptyQueue)

  await t.test('a system that is well is ok in every part', async (t) => {
    const health = await read()
    t.match(health, {
      judgement: 'ok',
      advice: null,
      replicas: [
        { kind: 'auth', version: /^\d/, gone: false, judgement: 'ok', streamAge: null },
        { kind: 'gateway', version: /^\d/, gone: false, judgement: 'ok', streamAge: Number },
      ],
      revocations: { judgement: 'ok', gateways: 1, withoutStream: 0, oldestSeconds: Number },
      keys: { judgement: 'ok', gatewaysWithout: [] },
      queue: { judgement: 'ok', waiting: 0, failing: 0, dead: 0, oldestSeconds: 0, deadLetters: [] },
      mail: { judgement: 'ok', configured: true, lastFailure: null },
      database: { judgement: 'ok', version: /^\d/, connections: Number, maxConnections: Number },
    })
    t.strictSame(health.replicas[1].keys, [health.keys.active])
    t.ok(Math.abs(health.database.clockSkewMs) < 3_000)
    t.notMatch(JSON.stringify(health), /Bearer|PRIVATE|secret|password|postgresql:/)
  })

  await t.test('it is for admins alone, and ends with their session', async (t) => {
    t.match(await (await signIn(gateway)).call('GET', '/api/admin/health'), {
      status: 403,
      body: { code: 'ROLE_REQUIRED' },
    })
    const other = await signIn(gateway, 'admin@example.com')
    t.equal((await other.call('GET', '/api/admin/health')).status, 200)
    await other.call('POST', '/api/auth/logout')
    t.match(await refusalOf(other), { code: 'SESSION_ENDED' })
    t.match(await other.call('GET', '/api/admin/health'), { status: 401, body: { code: 'SESSION_ENDED' } })
  })

  /** Another process, of which this is what was heard last. */
  const add = async (kind: string, ago: number, state: object) => {
    const id = randomUUID()
    await sql(
      `INSERT INTO auth.replicas (id, kind, version, started_at, seen_at, state)
       SELECT $1, $2, version, started_at - interval '1 hour', now() - $3 * interval '1 second',
         state || $4::jsonb FROM auth.replicas WHERE kind = $2 LIMIT 1`,
      [id, kind, ago, JSON.stringify(state)],
    )
    return id
  }
  const forget = (id: string) => sql('DELETE FROM auth.replicas WHERE id = $1', [id])

  await t.test('a gateway that went without a goodbye is a warning', async (t) => {
    const id = await add('gateway', 31, {})
    const { replicas, judgement } = await read()
    t.match(
      replicas.find((each: { id: string }) => each.id === id),
      { gone: true, judgement: 'warning' },
    )
    t.equal(judgement, 'warning')
    await forget(id)
  })

  await t.test('a gateway with an old view, or without the key that signs, is a failure', async (t) => {
    const id = await add('gateway', 1, { streamAge: 40, keys: ['another'] })
    const { revocations, keys, judgement, advice } = await read()
    t.match(revocations, { judgement: 'failure', gateways: 2, oldestSeconds: 40 })
    t.match(keys, { judgement: 'failure', gatewaysWithout: [{ id, missing: [keys.active] }] })
    t.strictSame([judgement, advice], ['failure', revocations.advice])
    await forget(id)
    t.equal((await read()).judgement, 'ok')
  })

  await t.test('a process whose clock is off, and a process of auth that hears nothing, are failures', async (t) => {
    const ids = [await add('gateway', 1, { clockSkewMs: 9_000 }), await add('auth', 1, { listening: false })]
    const { replicas } = await read()
    for (const id of ids)
      t.match(
        replicas.find((each: { id: string }) => each.id === id),
        { judgement: 'failure', advice: String },
      )
    for (const id of ids) await forget(id)
  })

  await t.test('mails that wait, fail and were given up are counted, and the last of these named', async (t) => {
    await eventually('every mail is sent', hasEmptyQueue)
    await sql(`INSERT INTO graphile_worker._private_jobs (task_id, payload, max_attempts, attempts, last_error, run_at, created_at)
      SELECT (SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'mail'), '{"to": "hush@example.com"}', 13,
        CASE WHEN n > 2 THEN 13 ELSE n - 1 END, CASE WHEN n > 2 THEN 'EENVELOPE' WHEN n = 2 THEN 'ETIMEDOUT' END,
        now() + exp(10) * interval '1 second', now() - CASE n WHEN 2 THEN interval '16 minutes' ELSE '0' END
      FROM generate_series(1, 14) n`)
    const { queue, judgement } = await read()
    t.match(queue, { judgement: 'warning', waiting: 1, failing: 1, dead: 12 })
    t.ok(queue.oldestSeconds >= 960)
    t.equal(queue.deadLetters.length, 10)
    t.match(queue.deadLetters[0], { task: 'mail', attempts: 13, code: 'EENVELOPE' })
    t.ok(Math.abs(Date.parse(queue.deadLetters[0].failedAt) - Date.now()) < 60_000)
    t.notMatch(JSON.stringify(queue), 'hush@example.com')
    t.equal(judgement, 'warning')
    await sql('DELETE FROM graphile_worker._private_jobs')
  })

  await t.test('it is known that a mail was sent, and then that the server is away', async (t) => {
    await eventually('one was sent', async () => (await read()).mail.lastSentAt !== null, 25_000)
    await mail.smtp.close()
    await admin.call('POST', `/api/admin/users/${users[0].id}/password-reset`)
    await eventually('one could not be', async () => (await read()).mail.lastFailure !== null, 25_000)
    const { mail: now, judgement } = await read()
    t.match(now, { judgement: 'warning', lastFailure: { reason: 'unreachable', code: String }, advice: /SMTP_URL/ })
    t.equal(judgement, 'warning')
  })
})

t.test('a system that sends no mail says so, and one whose gateways say nothing too', async (t) => {
  const { gateway } = await openSystem(t, { REPLICAS_URL: '' })
  const admin = await signIn(gateway, 'admin@example.com')
  const { body } = await admin.call('GET', '/api/admin/health')
  t.match(body, {
    judgement: 'warning',
    mail: { judgement: 'ok', configured: false },
    revocations: { judgement: 'warning', gateways: 0, oldestSeconds: null, advice: /REPLICAS_URL/ },
  })
})
