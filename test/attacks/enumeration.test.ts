import t from 'tap'
import { startMail } from '../support/mail.ts'
import { eventually, openSystem, signIn } from '../support/system.ts'

t.setTimeout(120_000)

// That no time says it either is measured: `npm run bench:enumeration`.
t.test('who has an account', async (t) => {
  const mail = await startMail(t)
  const { gateway, log, sql } = await openSystem(t, {
    ...mail.settings,
    MAIL_RATE_LIMIT_MAX: '100',
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
  })
  const existing = ['admin@example.com', 'doctor@example.com', 'patient@example.com']
  const unknown = ['amber@example.com', 'dennis@example.com', 'paloma@example.com']
  await sql("UPDATE auth.users SET disabled_at = now() WHERE email = 'admin@example.com'")
  // As of somebody who was imported. How long each takes: passwords/pace.test.ts.
  await sql(
    "UPDATE auth.users SET password_hash = '$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0' WHERE email = 'doctor@example.com'",
  )

  /** Everything that came, in its order, but for what differs by nature; ids keep their form. */
  async function answerTo(path: string, body: object): Promise<string> {
    const response = await fetch(`${gateway}/api/auth/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`
      .replace(/("(?:date|ratelimit|x-ratelimit-remaining|x-ratelimit-reset)"),"[^"\\]*(?:\\.[^"\\]*)*"/g, '$1')
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g, 'id of version $1')
  }

  const calls: [path: string, more: object, status: number][] = [
    ['login', { password: 'none of them has this' }, 401],
    ['register', {}, 202],
    ['password/forgot', {}, 202],
  ]
  for (const [path, more, status] of calls)
    await t.test(`no answer to ${path} says so`, async (t) => {
      const answers = new Set<string>()
      for (const email of [...existing, ...unknown]) answers.add(await answerTo(path, { email, ...more }))
      t.equal(answers.size, 1, 'all are one')
      t.match([...answers][0], `${status} `)
    })

  await t.test('as much work follows: a mail is written and withheld for a reset that nobody can have', async (t) => {
    const withheld = () => log.filter((line) => line.includes('"event":"mail_withheld"')).length
    await eventually('one for the disabled, one each for the unknown', () => withheld() === 4, 20_000)

    const client = await signIn(gateway, 'patient@example.com')
    await client.call('POST', '/api/auth/email', { body: { email: 'doctor@example.com' } })
    await eventually('and one for an address that is taken', () => withheld() === 5, 20_000)

    await eventually('the queue is empty', async () => {
      return (await sql('SELECT FROM graphile_worker.jobs')).rowCount === 0
    })
    const to = mail.smtp.mails.map((received) => [received.to].flat()[0]?.value[0]?.address)
    const times = (email: string) => to.filter((address) => address === email).length
    t.strictSame(unknown.map(times), [1, 1, 1], 'of a registration alone')
    t.equal(times('doctor@example.com'), 2, 'of a registration and a reset')
  })
})
