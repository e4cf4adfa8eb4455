import { beginChallenge, finishChallenge, forgetChallenges } from '@sallyport/auth/factors/challenges'
import t from 'tap'
import { openFactors } from '../support/factors.ts'

t.setTimeout(240_000)

t.test('second factors, asked for all the time', async (t) => {
  const system = await openFactors(t, { LOGIN_RATE_LIMIT_MAX: '3' })
  const { register, post, sql, database, enrolTotp, mailsTo, settled } = system

  await t.test('each call that begins something, or sends a mail, is limited for a client', async (t) => {
    const email = 'nina@example.com'
    const nina = await register(email)
    await enrolTotp(nina)
    await settled()
    const before = mailsTo(email).length
    const calls = [
      ['POST', 'login/passkey/options'],
      ['POST', 'step-up/options'],
      ['POST', 'factors/totp'],
      ['POST', 'factors/totp/confirm'],
      ['POST', 'factors/passkeys/options'],
      ['POST', 'factors/passkeys'],
      ['PATCH', 'factors/passkeys/x'],
      ['DELETE', 'factors/passkeys/x'],
      ['POST', 'factors/recovery-codes'],
      ['DELETE', 'factors/totp'],
    ] as const
    for (const [method, path] of calls) {
      const request = { ...(method !== 'DELETE' && { body: {} }), headers: { 'x-forwarded-for': '10.9.9.9' } }
      for (let time = 0; time < 3; time++)
        t.not((await nina.call(method, `/api/auth/${path}`, request)).status, 429, `${method} ${path}`)
      const over = await nina.call(method, `/api/auth/${path}`, request)
      t.match(over, { status: 429, body: { code: 'RATE_LIMITED' } }, `${method} ${path}`)
      t.ok(over.headers.get('retry-after'))
    }
    await settled()
    t.equal(mailsTo(email).length - before, 4, 'three of recovery codes, and of the app that was removed')
  })

  await t.test('what was begun is finished once, whoever else finds it meanwhile', async (t) => {
    const id = await beginChallenge(database, { purpose: 'login' })
    await finishChallenge(database, id)
    await t.rejects(finishChallenge(database, id), { statusCode: 400, code: 'CHALLENGE_INVALID' })
  })

  await t.test('what was begun and not finished is forgotten, however much of it there is', async (t) => {
    await sql('DELETE FROM auth.challenges')
    for (let time = 0; time < 5; time++) await post('login/passkey/options', {})
    await sql("UPDATE auth.challenges SET expires_at = now() - interval '1 second'")
    await post('login/passkey/options', {})
    await forgetChallenges(database, 2)
    t.equal((await sql('SELECT FROM auth.challenges')).rowCount, 1)
  })
})
