import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { startHousekeeping } from '@sallyport/auth/sessions/housekeeping'
import { createLogger } from '@sallyport/chassis'
import t from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { codeOf, openFactors, steadyStep } from '../support/factors.ts'
import { openAuthHere } from '../support/in-process.ts'
import { Client, claimsOf, eventually } from '../support/system.ts'

const wrong = { status: 403, body: { code: 'CODE_WRONG' } }
const over = { status: 400, body: { code: 'CHALLENGE_INVALID' } }
/** Six digits that no app shows just now. */
const noCode = (secret: string) => {
  const right = [-1, 0, 1].map((steps) => codeOf(secret, steps))
  return ['000000', '111111', '222222', '333333'].find((code) => !right.includes(code)) as string
}

t.test('an authenticator app', async (t) => {
  const system = await openFactors(t)
  const { gateway, sql, mail, call, post, register, registerWithTotp, beginLogin, enrolTotp, forgetStep, age } = system
  const second = (challenge: string, code: string, client?: Client) =>
    post('login/second-factor', { challenge, code }, client)

  await t.test('is added by a code of it, with ten recovery codes, and is asked for from then on', async (t) => {
    const client = await register('first@example.com')
    t.match((await call('GET', 'factors', undefined, client)).body, {
      ...{ totp: false, passkeys: [], recoveryCodesLeft: 0, rpId: 'app.test' },
    })
    const { status, body } = await post('factors/totp', {}, client)
    t.equal(status, 200)
    t.match(body.secret, /^[A-Z2-7]{32}$/)
    t.match(body.uri, /^otpauth:\/\/totp\/Sallyport:first%40example\.com\?/)
    t.match(body.qr, /^<svg/)
    t.match((await call('GET', 'factors', undefined, client)).body, { totp: false }, 'not before it is confirmed')
    await steadyStep()
    t.match(await post('factors/totp/confirm', { code: noCode(body.secret) }, client), wrong)
    const confirmed = await post('factors/totp/confirm', { code: codeOf(body.secret) }, client)
    t.equal(confirmed.status, 200)
    t.equal(new Set(confirmed.body.recoveryCodes).size, 10)
    t.match(confirmed.body.recoveryCodes[0], /^([0-9a-z]{6}-){3}[0-9a-z]{6}$/)
    t.match(await post('factors/totp/confirm', { code: codeOf(body.secret) }, client), over, 'once')
    t.match((await mail.next('first@example.com')).subject, /: An authenticator app was added$/)

    const { challenge, methods, client: browser } = await beginLogin('first@example.com')
    t.strictSame(methods, ['totp', 'recovery_code'])
    t.match(await second(challenge, codeOf(body.secret)), wrong, 'the code that confirmed it is used')
    await forgetStep(client)
    const done = await second(challenge, ` ${codeOf(body.secret).replace(/^.../, '$& ')}`, browser)
    t.match(done, { status: 200, body: { user: { id: client.id } } })
    t.match(claimsOf(done.body.accessToken), { acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] })
    t.match(await second(challenge, codeOf(body.secret)), over, 'a challenge is finished once')
    t.equal((await browser.refresh()).status, 200)
    t.match(claimsOf(browser.accessToken as string), { acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] }, 'a refresh keeps it')
  })

  await t.test('a code passes at its step and one later, and none that is not after the last one', async (t) => {
    const { client, secret } = await registerWithTotp('steps@example.com')
    const login = async (steps: number) => {
      await steadyStep()
      const { challenge } = await beginLogin('steps@example.com')
      return (await second(challenge, codeOf(secret, steps))).status
    }
    t.equal(await login(-2), 403, 'two steps late')
    t.equal(await login(1), 403, 'early')
    t.equal(await login(-1), 200, 'one step late')
    t.equal(await login(-1), 403, 'the same')
    t.equal(await login(0), 200)
    t.equal(await login(0), 403, 'the same')
    t.equal(await login(-1), 403, 'one before it, which was never used')
    await forgetStep(client)
    t.equal(await login(0), 200)
  })

  await t.test('one code 50 times in parallel, over 50 challenges and two replicas, signs in once', async (t) => {
    const { client, secret } = await registerWithTotp('parallel@example.com')
    const log: string[] = []
    const replica = await openAuthHere(
      { ...system.environment, AUTH_PORT: '0', REGISTRATION: 'invite', SMTP_URL: undefined },
      (line) => log.push(line),
    )
    t.teardown(replica.close)
    const bases = [system.auth, `http://127.0.0.1:${replica.port}`]
    const challenges: string[] = []
    for (let count = 0; count < 50; count++) challenges.push((await beginLogin('parallel@example.com')).challenge)
    await steadyStep()
    const code = codeOf(secret)
    const statuses = await Promise.all(
      challenges.map(async (challenge, index) => {
        const there = new Client(bases[index % 2] as string)
        return (await there.call('POST', '/api/auth/login/second-factor', { body: { challenge, code } })).status
      }),
    )
    t.equal(statuses.filter((status) => status === 200).length, 1)
    t.equal(statuses.filter((status) => status === 403).length, 49)
    const { rows } = await sql('SELECT FROM auth.sessions WHERE user_id = $1', [client.id])
    t.equal(rows.length, 2, 'the one of the registration and one more')
  })

  await t.test('five wrong codes end a challenge, however many come at once', async (t) => {
    const { client, secret } = await registerWithTotp('five@example.com')
    await steadyStep()
    const { challenge } = await beginLogin('five@example.com')
    const answers = await Promise.all(Array.from({ length: 12 }, () => second(challenge, noCode(secret))))
    t.equal(answers.filter(({ body }) => body.code === 'CODE_WRONG').length, 5)
    t.equal(answers.filter(({ body }) => body.code === 'CHALLENGE_INVALID').length, 7)
    t.match(await second(challenge, codeOf(secret)), over)
    t.match(
      (await mail.next('five@example.com', ({ subject }) => /wrong/.test(subject))).text,
      /knows your password, reads your mail/,
    )

    const { challenge: next } = await beginLogin('five@example.com')
    t.match(await second(next, codeOf(secret)), wrong, 'the right one is not tried for a while')
    await sql('UPDATE auth.password_failures SET opens_at = now() WHERE person = $1', [client.id])
    t.equal((await second(next, codeOf(secret))).status, 200)
    const { rows } = await sql("SELECT FROM auth.password_failures WHERE person = $1 AND device LIKE 'codes%'", [
      client.id,
    ])
    t.equal(rows.length, 0, 'and they are forgotten then')
  })

  await t.test('whoever signed in on a device before does so while others guess at codes', async (t) => {
    const { client, secret, recoveryCodes = [] } = await registerWithTotp('guessed@example.com')
    const { challenge } = await beginLogin('guessed@example.com')
    for (let count = 0; count < 5; count++) await second(challenge, noCode(secret))
    await sql("UPDATE auth.password_failures SET failures = 100 WHERE person = $1 AND device = 'codes'", [client.id])
    await steadyStep()
    const known = Object.assign(new Client(gateway), { device: client.device })
    const begun = await beginLogin('guessed@example.com', known)
    t.equal((await second(begun.challenge, codeOf(secret), known)).status, 200)
    await forgetStep(client)
    const elsewhere = await beginLogin('guessed@example.com')
    t.match(await second(elsewhere.challenge, codeOf(secret)), wrong, 'not from a new one')
    t.equal((await second(elsewhere.challenge, recoveryCodes[0] as string)).status, 200, 'but with a recovery code')
  })

  await t.test('a challenge is of one login, of five minutes, and of the password that was right', async (t) => {
    const { client, secret } = await registerWithTotp('challenge@example.com')
    await steadyStep()
    const { challenge } = await beginLogin('challenge@example.com')
    const { exp, iat } = claimsOf(challenge) as { exp: number; iat: number }
    t.equal(exp - iat, 300)
    const [head, body, signature = ''] = challenge.split('.') as [string, string, string]
    const forged = Buffer.from(JSON.stringify({ ...claimsOf(challenge), aud: 'password_reset' })).toString('base64url')
    for (const bad of ['', 'x', `${head}.${body}.`, `${head}.${forged}.${signature}`, client.cookie as string])
      t.match(await second(bad, codeOf(secret)), over, bad.slice(0, 20))
    t.equal((await post('login/second-factor', { challenge })).status, 400, 'with no proof')
    await sql("UPDATE auth.challenges SET expires_at = now() - interval '1 second' WHERE user_id = $1", [client.id])
    t.match(await second(challenge, codeOf(secret)), over, 'expired')

    const { challenge: stale } = await beginLogin('challenge@example.com')
    const changed = await post('password', { currentPassword: password, newPassword: otherPassword }, client)
    t.equal(changed.status, 200)
    t.match(await second(stale, codeOf(secret)), over, 'the password is another one now')
    const { challenge: disabled } = await beginLogin('challenge@example.com', new Client(gateway), otherPassword)
    await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [client.id])
    t.match(await second(disabled, codeOf(secret)), over, 'a user who is disabled')
  })

  await t.test('a recovery code is good once, and tells its owner', async (t) => {
    const { client, recoveryCodes = [] } = await registerWithTotp('lost@example.com')
    const [code = '', another = ''] = recoveryCodes
    const attempts = await Promise.all(
      Array.from({ length: 4 }, async () => second((await beginLogin('lost@example.com')).challenge, code)),
    )
    t.strictSame(attempts.map(({ status }) => status).toSorted(), [200, 403, 403, 403])
    const { body } = attempts.find(({ status }) => status === 200) as (typeof attempts)[number]
    t.match(claimsOf(body.accessToken), { acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] })
    t.match((await call('GET', 'factors', undefined, client)).body, { recoveryCodesLeft: 9 })
    const told = await mail.next('lost@example.com', ({ subject }) => /recovery/.test(subject))
    t.match(told.text, /in the place of your authenticator app/)
    const { challenge } = await beginLogin('lost@example.com')
    t.equal((await second(challenge, another.toUpperCase().replaceAll('-', ' '))).status, 200, 'however it is typed')

    const made = await post('factors/recovery-codes', {}, client)
    t.equal(new Set(made.body.recoveryCodes).size, 10)
    const { challenge: later } = await beginLogin('lost@example.com')
    t.match(await second(later, recoveryCodes[2] as string), wrong, 'those from before are void')
    t.equal((await second(later, made.body.recoveryCodes[0])).status, 200)
    t.match(
      (await mail.next('lost@example.com', ({ subject }) => /New recovery/.test(subject))).subject,
      /: New recovery codes$/,
    )
  })

  await t.test('another one takes its place once it is confirmed; without any, a password is enough', async (t) => {
    const { client, secret } = await registerWithTotp('another@example.com')
    const begun = await post('factors/totp', {}, client)
    await steadyStep()
    const { challenge } = await beginLogin('another@example.com')
    t.equal((await second(challenge, codeOf(secret))).status, 200, 'the old one until then')
    const newer = await enrolTotp(client)
    t.equal(newer.recoveryCodes, undefined, 'it is not the first factor')
    t.match(
      await post('factors/totp/confirm', { code: codeOf(begun.body.secret) }, client),
      over,
      'one that was begun before',
    )
    await forgetStep(client)
    t.match(await second((await beginLogin('another@example.com')).challenge, codeOf(secret)), wrong)
    t.equal((await second((await beginLogin('another@example.com')).challenge, codeOf(newer.secret))).status, 200)

    t.equal((await call('DELETE', 'factors/totp', undefined, client)).status, 200)
    t.match(await call('DELETE', 'factors/totp', undefined, client), {
      status: 404,
      body: { code: 'FACTOR_NOT_FOUND' },
    })
    t.match((await call('GET', 'factors', undefined, client)).body, { totp: false, recoveryCodesLeft: 0 })
    t.match(await post('factors/recovery-codes', {}, client), { status: 409, body: { code: 'FACTOR_MISSING' } })
    const removed = ({ subject }: { subject: string }) => /removed/.test(subject)
    t.match((await mail.next('another@example.com', removed)).subject, /: An authenticator app was removed$/)
    const login = await new Client(gateway).login('another@example.com', password)
    t.equal(login.status, 200)
    t.match(claimsOf(login.body.accessToken), { acr: 'aal1', amr: ['pwd'] })
  })

  await t.test(
    'an enrolment is of the session that began it, and ends after ten minutes or five wrong codes',
    async (t) => {
      const client = await register('enrolment@example.com')
      const other = Object.assign(new Client(gateway), { id: client.id })
      await other.login('enrolment@example.com', password)
      const { body } = await post('factors/totp', {}, client)
      await steadyStep()
      t.match(await post('factors/totp/confirm', { code: codeOf(body.secret) }, other), over)
      for (let count = 0; count < 5; count++)
        t.match(await post('factors/totp/confirm', { code: noCode(body.secret) }, client), wrong)
      t.match(await post('factors/totp/confirm', { code: codeOf(body.secret) }, client), over)
      const { body: next } = await post('factors/totp', {}, client)
      await sql("UPDATE auth.challenges SET expires_at = now() - interval '1 second' WHERE user_id = $1", [client.id])
      t.match(await post('factors/totp/confirm', { code: codeOf(next.secret) }, client), over)
    },
  )

  await t.test('an enrolment whose secret cannot be opened any more is begun anew', async (t) => {
    const client = await register('unsealed@example.com')
    const { body } = await post('factors/totp', {}, client)
    await sql("UPDATE auth.challenges SET secret = 'x' WHERE user_id = $1", [client.id])
    t.match(await post('factors/totp/confirm', { code: codeOf(body.secret) }, client), over)
  })

  await t.test('a session whose user is gone has no factors to add', async (t) => {
    const client = await register('gone@example.com')
    // In the moment in which that happens, which here does not end: no trigger runs, and the session stays.
    await sql(`
      SET session_replication_role = replica;
      DELETE FROM auth.users WHERE email = 'gone@example.com';
      SET session_replication_role = DEFAULT`)
    for (const path of ['totp', 'passkeys/options', 'recovery-codes'])
      t.match(await post(`factors/${path}`, {}, client), { status: 404, body: { code: 'USER_NOT_FOUND' } }, path)
  })

  await t.test('an admin takes the factors of somebody away who lost them, who is told', async (t) => {
    const { client } = await registerWithTotp('helpless@example.com')
    const admin = new Client(gateway)
    await admin.login('admin@example.com')
    const details = () => admin.call('GET', `/api/admin/users/${client.id}`)
    t.match((await details()).body, { secondFactor: true })
    const reset = () => admin.call('POST', `/api/admin/users/${client.id}/factors/reset`, { body: {} })
    const { rows } = await sql("SELECT id FROM auth.users WHERE email = 'admin@example.com'")
    await age({ id: rows[0].id })
    t.match(await reset(), { status: 401, body: { code: 'STEP_UP_REQUIRED' } })
    await admin.login('admin@example.com')
    t.equal((await reset()).status, 200)
    t.match(await reset(), { status: 409, body: { code: 'FACTOR_MISSING' } })
    t.match((await details()).body, { secondFactor: false, sessions: 0 })
    t.match((await client.refresh()).body, { code: 'SESSION_ENDED', reason: 'factors_reset' })
    const told = await mail.next('helpless@example.com', ({ subject }) => /taken away/.test(subject))
    t.match(told.text, /An administrator/)
    t.equal((await new Client(gateway).login('helpless@example.com', password)).status, 200)
    const nobody = '0a1b2c3d-0000-4000-8000-000000000000'
    t.match(await admin.call('POST', `/api/admin/users/${nobody}/factors/reset`, { body: {} }), { status: 404 })
  })
})

t.test('the secrets of authenticator apps are sealed', async (t) => {
  const system = await openFactors(t)
  const { sql, database, secrets, environment, registerWithTotp, beginLogin, forgetStep } = system
  const { client, secret, recoveryCodes = [] } = await registerWithTotp('sealed@example.com')
  const another = await registerWithTotp('another@example.com')

  await t.test('a dump of the database gives no code', async (t) => {
    const dump = JSON.stringify(
      await Promise.all(
        ['totp', 'challenges', 'recovery_codes', 'security_events', 'users'].map((table) =>
          sql(`SELECT * FROM auth.${table}`),
        ),
      ),
    )
    for (const text of [secret, ...recoveryCodes, ...recoveryCodes.map((code) => code.replaceAll('-', ''))])
      t.notOk(dump.includes(text))
    const { rows } = await sql('SELECT secret FROM auth.totp WHERE user_id = $1', [client.id])
    const keyOf = (key: string) => createFactorKey({ current: { factorKeys: [key] } })
    const own = keyOf(secrets.FACTOR_KEY as string)
    t.equal(own.open(rows[0].secret, client.id), secret)
    t.equal(keyOf('another key').open(rows[0].secret, client.id), undefined)
    t.equal(own.open(rows[0].secret, another.client.id), undefined, 'moved to another user')
  })

  await t.test('FACTOR_KEY is replaced without an enrolment, and what the old one sealed is sealed anew', async (t) => {
    const log: string[] = []
    const newer = 'a newer key that is long enough for anybody'
    const open = async (FACTOR_KEY: string) => {
      const auth = await openAuthHere(
        { ...environment, AUTH_PORT: '0', REGISTRATION: 'invite', SMTP_URL: undefined, FACTOR_KEY },
        (line) => log.push(line),
      )
      t.teardown(auth.close)
      return `http://127.0.0.1:${auth.port}`
    }
    const login = async (base: string) => {
      await forgetStep(client)
      await steadyStep()
      const { challenge } = await beginLogin('sealed@example.com')
      const body = { challenge, code: codeOf(secret) }
      return (await new Client(base).call('POST', '/api/auth/login/second-factor', { body })).status
    }
    const keys = [newer, secrets.FACTOR_KEY as string] as [string, string]
    const both = await open(keys.join())
    t.equal(await login(both), 200)
    const logger = createLogger('test', 'info', { write: (line) => log.push(line) })
    const factorKey = createFactorKey({ current: { factorKeys: keys } })
    const stop = startHousekeeping(database, logger, factorKey, { eventsRetention: 34_560_000, pause: 20 })
    t.teardown(stop)
    await eventually('they are sealed anew', () =>
      log.some((line) => line.includes('"factor_secrets_resealed","resealed":2')),
    )
    t.equal(await login(await open(newer)), 200, 'without the old one')
    t.equal(await login(system.auth), 500, 'a process that has the old one alone')
    t.ok(system.log.some((line) => line.includes('that FACTOR_KEY does not hold')))
  })
})
