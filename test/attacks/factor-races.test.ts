import { randomUUID } from 'node:crypto'
import pg from 'pg'
import t, { type Test } from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { SoftwarePasskey } from '../support/authenticator.ts'
import { codeOf, openFactors, steadyStep } from '../support/factors.ts'
import { Client, type ClientResponse, claimsOf, eventually } from '../support/system.ts'

t.setTimeout(240_000)

const many = <Result>(times: number, work: (index: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: times }, (_, index) => work(index)))
const statuses = (answers: ClientResponse[]) => {
  const counts: Record<string, number> = {}
  for (const { status, body } of answers) {
    const name = `${status} ${body.code ?? ''}`.trim()
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

t.test('second factors under attack', async (t) => {
  const system = await openFactors(t)
  const { gateway, sql, call, post, register, ask, registerWithTotp, enrolTotp, enrolPasskey } = system
  const { beginLogin, loginWithPasskey, age, eventsOf, url } = system
  const address = () => `${randomUUID()}@example.com`
  const factors = async (client: Client) => (await call('GET', 'factors', undefined, client)).body
  const login = async (email: string, typed = password) => {
    const client = new Client(gateway)
    await post('login', { email, password: typed }, client)
    return client
  }

  await t.test('a recovery code is right once, however often it comes at once, and wherever', async (t) => {
    const email = address()
    const { client, recoveryCodes = [] } = await registerWithTotp(email)
    const [first, second, third] = recoveryCodes
    const inSession = await many(50, () => post('step-up', { code: first }, client))
    t.strictSame(statuses(inSession), { '200': 1, '403 CODE_WRONG': 49 })

    const begun = await many(8, () => beginLogin(email))
    const { ticket } = await ask('password/forgot', email)
    const proof = { ticket, password: otherPassword }
    const { challenge } = (await post('password/reset', proof)).body
    const everywhere = await Promise.all([
      ...begun.map(({ challenge, client }) => post('login/second-factor', { challenge, code: second }, client)),
      post('step-up', { code: second }, client),
      post('password/reset', { ...proof, challenge, code: second }),
    ])
    t.equal(everywhere.filter(({ status }) => status === 200).length, 1)
    t.ok(everywhere.every(({ status }) => status < 500))
    const { rows } = await sql('SELECT count(*)::int FROM auth.recovery_codes WHERE user_id = $1', [client.id])
    t.equal(rows[0].count, 8)
    t.equal((await eventsOf(client.id)).filter((event) => event === 'recovery_code_used').length, 2)

    const another = await registerWithTotp(address())
    t.match(await post('step-up', { code: third }, another.client), { status: 403, body: { code: 'CODE_WRONG' } })
  })

  await t.test('a code of an app is right once, however often it comes at once', async (t) => {
    const email = address()
    const { client, secret } = await registerWithTotp(email)
    const begun = await many(4, () => beginLogin(email))
    await steadyStep()
    const code = codeOf(secret)
    const answers = await Promise.all([
      ...begun.map(({ challenge, client }) => post('login/second-factor', { challenge, code }, client)),
      ...begun.map(() => post('step-up', { code }, client)),
    ])
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    for (const { status, body } of answers) t.ok(status === 200 || body.code === 'CODE_WRONG', body.code)
  })

  await t.test('five codes are tried with a challenge, however many come at once, and then no more', async (t) => {
    const email = address()
    const { client, secret, recoveryCodes = [] } = await registerWithTotp(email)
    const { challenge } = await beginLogin(email)
    const guesses = await many(50, (index) =>
      post('login/second-factor', { challenge, code: String(index).padStart(6, '0') }),
    )
    t.strictSame(statuses(guesses), { '403 CODE_WRONG': 5, '400 CHALLENGE_INVALID': 45 })
    for (const code of [codeOf(secret), recoveryCodes[0]])
      t.match(await post('login/second-factor', { challenge, code }), {
        status: 400,
        body: { code: 'CHALLENGE_INVALID' },
      })

    const anew = await beginLogin(email)
    t.match(
      await post('login/second-factor', { challenge: anew.challenge, code: codeOf(secret) }),
      { status: 403, body: { code: 'CODE_WRONG' } },
      'nor with another one, for a while',
    )
    t.equal((await post('login/second-factor', { challenge: anew.challenge, code: recoveryCodes[0] })).status, 200)
    t.equal((await post('step-up', { code: codeOf(secret) }, client)).status, 200, 'a session counts by itself')
  })

  await t.test('what is no code is wrong, wherever it is typed', async (t) => {
    const client = await register(address())
    for (const code of ['１２３４５６', '٠١٢٣٤٥', 'é12345', '🦊🦊🦊', '', ' ', '\0', '-12345']) {
      await post('factors/totp', {}, client)
      for (const path of ['factors/totp/confirm', 'step-up'])
        t.match(await post(path, { code }, client), { status: 403, body: { code: 'CODE_WRONG' } }, `${path} ${code}`)
    }
  })

  await t.test('of two sessions that add an app the later one has to prove the other’s', async (t) => {
    const email = address()
    const client = await register(email)
    const other = await login(email)
    const [mine, theirs] = (await many(2, (index) => post('factors/totp', {}, index ? other : client))) as [
      ClientResponse,
      ClientResponse,
    ]
    await steadyStep()
    const answer = await post('factors/totp/confirm', { code: codeOf(theirs.body.secret) }, client)
    t.match(answer, { status: 403, body: { code: 'CODE_WRONG' } }, 'of another session')
    t.equal((await post('factors/totp/confirm', { code: codeOf(mine.body.secret) }, client)).status, 200)
    t.match(await post('factors/totp/confirm', { code: codeOf(theirs.body.secret) }, other), {
      status: 401,
      body: { code: 'STEP_UP_REQUIRED', acr: 'aal2' },
    })
    t.match(await post('factors/recovery-codes', {}, other), { status: 401, body: { code: 'STEP_UP_REQUIRED' } })
  })

  await t.test('an app that is confirmed many times at once is added once, with ten codes', async (t) => {
    const client = await register(address())
    const { secret } = (await post('factors/totp', {}, client)).body
    await steadyStep()
    const answers = await many(5, () => post('factors/totp/confirm', { code: codeOf(secret) }, client))
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    t.ok(answers.every(({ status }) => status < 500))
    t.match(await factors(client), { totp: true, recoveryCodesLeft: 10 })
  })

  await t.test('what was begun is finished only by who has proved lately who they are', async (t) => {
    const client = await register(address())
    const { secret } = (await post('factors/totp', {}, client)).body
    const { challengeId, options } = (await post('factors/passkeys/options', {}, client)).body
    const credential = new SoftwarePasskey(system.origin).create(options)
    await age(client)
    const required = { status: 401, body: { code: 'STEP_UP_REQUIRED', maxAge: 300 } }
    t.match(await post('factors/totp/confirm', { code: codeOf(secret) }, client), required)
    t.match(await post('factors/passkeys', { challengeId, credential }, client), required)
    t.match(await factors(client), { totp: false, passkeys: [], recoveryCodesLeft: 0 })
    t.equal((await post('step-up', { password }, client)).status, 200)
    t.equal((await post('factors/passkeys', { challengeId, credential }, client)).status, 201)
  })

  await t.test('there are twenty passkeys at most, however many are added at once', async (t) => {
    const client = await register(address())
    await enrolPasskey(client)
    await sql(
      `INSERT INTO auth.passkeys (id, user_id, public_key, counter, name, backup_eligible, backed_up)
       SELECT 'made' || n || user_id, user_id, public_key, 0, name, false, false
       FROM auth.passkeys, generate_series(1, 17) n WHERE user_id = $1`,
      [client.id],
    )
    const begun = await many(6, () => post('factors/passkeys/options', {}, client))
    const answers = await Promise.all(
      begun.map(({ body: { challengeId, options } }) =>
        post(
          'factors/passkeys',
          { challengeId, credential: new SoftwarePasskey(system.origin).create(options) },
          client,
        ),
      ),
    )
    t.strictSame(statuses(answers), { '201': 2, '409 FACTOR_LIMIT': 4 })
  })

  await t.test('a factor that is removed meanwhile proves nothing', async (t) => {
    const email = address()
    const { client, secret } = await registerWithTotp(email)
    const { passkey } = await enrolPasskey(client)
    const { body: begun } = await post('login/passkey/options', {})
    const second = await beginLogin(email)
    const app = await beginLogin(email)
    t.equal((await call('DELETE', `factors/passkeys/${passkey.credentialId}`, undefined, client)).status, 200)
    const unknown = { status: 403, body: { code: 'PASSKEY_UNKNOWN' } }
    const alone = { challengeId: begun.challengeId, credential: passkey.get(begun.options) }
    t.match(await post('login/passkey', alone), unknown)
    const credential = passkey.get(second.options)
    t.match(await post('login/second-factor', { challenge: second.challenge, credential }), unknown)
    await call('DELETE', 'factors/totp', undefined, client)
    t.match(await post('login/second-factor', { challenge: app.challenge, code: codeOf(secret) }), {
      status: 403,
      body: { code: 'CODE_WRONG' },
    })

    /** Before it was looked at, or before the session was opened. */
    const removedMeanwhile = ['PASSKEY_UNKNOWN', 'AUTH_INVALID_CREDENTIALS']
    for (let round = 0; round < 5; round++) {
      const { passkey } = await enrolPasskey(client)
      const begun = await many(4, () => post('login/passkey/options', {}))
      const [removed, ...logins] = await Promise.all([
        call('DELETE', `factors/passkeys/${passkey.credentialId}`, undefined, client),
        ...begun.map(({ body: { challengeId, options } }) =>
          post('login/passkey', { challengeId, credential: passkey.get(options) }),
        ),
      ])
      t.equal(removed.status, 200)
      for (const { status, body } of logins) t.ok(status === 200 || removedMeanwhile.includes(body.code), `${status}`)
    }
  })

  await t.test('a sign-in under way when the last factor is taken away opens no session', async (t) => {
    const person = await register(address())
    const { passkey } = await enrolPasskey(person)
    const { answer, client } = await meanwhile(t, person.id, async (take) => {
      const client = new Client(gateway)
      const answer = loginWithPasskey(passkey, client)
      await take('DELETE FROM auth.passkeys WHERE user_id = $1')
      return { answer: await answer, client }
    })
    t.match(answer, { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
    t.equal((await client.refresh()).status, 401)
    const live = 'SELECT FROM auth.sessions WHERE user_id = $1 AND revoked_at IS NULL AND id <> $2'
    t.equal((await sql(live, [person.id, claimsOf(person.accessToken as string).sid])).rowCount, 0)
  })

  await t.test('a step-up under way when the last factor is taken away leaves the level of a password', async (t) => {
    const { client: person, secret } = await registerWithTotp(address())
    await sql("UPDATE auth.sessions SET amr = '{pwd}' WHERE user_id = $1", [person.id])
    await steadyStep()
    const answer = await meanwhile(t, person.id, async (take) => {
      const answer = post('step-up', { code: codeOf(secret) }, person)
      await take('DELETE FROM auth.totp WHERE user_id = $1')
      return answer
    })
    t.match(answer, { status: 403, body: { code: 'CODE_WRONG' } })
    t.match(await post('step-up', { password }, person), { status: 200 }, 'a password still confirms it')
    t.match(claimsOf(person.accessToken as string), { acr: 'aal1', amr: ['pwd'] })
  })

  /** Takes a factor away in a transaction that has locked the user, once what was begun waits for that. */
  async function meanwhile<Result>(
    t: Test,
    userId: string,
    work: (take: (statement: string) => Promise<void>) => Promise<Result>,
  ): Promise<Result> {
    const other = new pg.Client(url)
    await other.connect()
    t.teardown(() => other.end())
    await other.query('BEGIN')
    await other.query('SELECT FROM auth.users WHERE id = $1 FOR UPDATE', [userId])
    return work(async (statement) => {
      await eventually('it waits', async () => {
        const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
        return (await sql(waiting)).rowCount === 1
      })
      await other.query(statement, [userId])
      await other.query('COMMIT')
    })
  }

  await t.test('the recovery codes end with the last factor, also of two that are removed at once', async (t) => {
    const { client } = await registerWithTotp(address())
    const { passkey } = await enrolPasskey(client)
    const removed = await Promise.all([
      call('DELETE', 'factors/totp', undefined, client),
      call('DELETE', `factors/passkeys/${passkey.credentialId}`, undefined, client),
    ])
    t.strictSame(statuses(removed), { '200': 2 })
    t.match(await factors(client), { totp: false, passkeys: [], recoveryCodesLeft: 0 })
  })

  await t.test('whoever has removed the last factor is at the level of a password again', async (t) => {
    const email = address()
    const { client } = await registerWithTotp(email)
    await client.refresh()
    t.equal(claimsOf(client.accessToken as string).acr, 'aal2')
    await call('DELETE', 'factors/totp', undefined, client)
    await client.refresh()
    t.equal(claimsOf(client.accessToken as string).acr, 'aal1')
    await age(client)
    t.strictSame((await post('step-up/options', {}, client)).body, { methods: ['password'] })
    t.equal((await post('step-up', { password }, client)).status, 200)
    t.ok((await enrolTotp(client)).recoveryCodes, 'and may add another one')
  })

  await t.test('nobody else changes a factor', async (t) => {
    const owner = await register(address())
    const { passkey } = await enrolPasskey(owner)
    const stranger = (await registerWithTotp(address())).client
    const missing = { status: 404, body: { code: 'FACTOR_NOT_FOUND' } }
    const path = `factors/passkeys/${passkey.credentialId}`
    t.match(await call('PATCH', path, { name: 'Mine' }, stranger), missing)
    t.match(await call('DELETE', path, undefined, stranger), missing)
    const { challengeId, options } = (await post('factors/passkeys/options', {}, stranger)).body
    t.match(await post('factors/passkeys', { challengeId, credential: passkey.create(options) }, stranger), {
      status: 409,
      body: { code: 'PASSKEY_EXISTS' },
    })
    t.equal((await factors(owner)).passkeys.length, 1)
  })

  await t.test('a challenge ends with the password that it was begun with, and with the account', async (t) => {
    for (const change of ['password_version = password_version + 1', 'disabled_at = now()']) {
      const email = address()
      const { client, secret } = await registerWithTotp(email)
      const { challenge } = await beginLogin(email)
      await sql(`UPDATE auth.users SET ${change} WHERE id = $1`, [client.id])
      t.match(await post('login/second-factor', { challenge, code: codeOf(secret) }), {
        status: 400,
        body: { code: 'CHALLENGE_INVALID' },
      })
    }
    const client = await register(address())
    const { passkey } = await enrolPasskey(client)
    await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [client.id])
    t.match(await system.loginWithPasskey(passkey), { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
  })

  await t.test('a wrong password says the same of who has a factor and who has none', async (t) => {
    const [withOne, without] = [address(), address()]
    await registerWithTotp(withOne)
    await register(without)
    const answers = await Promise.all(
      [withOne, without, address()].map((email) => post('login', { email, password: otherPassword })),
    )
    const [{ status, body }] = answers as [ClientResponse]
    for (const answer of answers) t.strictSame([answer.status, answer.body.code], [status, body.code])
  })
})
