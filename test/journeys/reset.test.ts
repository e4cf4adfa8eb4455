import { createDerivedKeys } from '@sallyport/auth/tokens/derived-keys'
import t from 'tap'
import { invalid, openAccounts, otherPassword, password } from '../support/accounts.ts'
import { openAuthHere } from '../support/in-process.ts'
import { Client, eventually, refusalOf } from '../support/system.ts'

t.test('a forgotten password', async (t) => {
  const system = await openAccounts(t)
  const { gateway, sql, mail, offered, post, ask, register, settled, mailsTo, eventsOf, secrets } = system
  const keys = createDerivedKeys({ current: { refreshSecrets: [secrets.JWT_REFRESH_SECRET as string] } })
  const reset = (proof: object) => post('password/reset', { password: otherPassword, ...proof })

  await t.test('is replaced by mail; sessions end and so does what they asked for', async (t) => {
    const email = 'forgetful@example.com'
    const client = await register(email)
    const thief = new Client(gateway)
    await thief.login(email, password)
    await post('email', { email: 'thief@example.com' }, thief)
    const { ticket: change } = await offered('thief@example.com')
    await post('email', { email: 'old@example.com' }, client)

    const first = await ask('password/forgot', email)
    await mail.next('old@example.com')
    const { ticketId, code, ticket } = await ask('password/forgot', email)
    t.match(await reset({ ticket: first.ticket }), invalid, 'one that was replaced')
    const done = await reset({ ticketId, code })
    t.strictSame(done, { ...done, status: 200 })
    t.notMatch(done.headers.get('set-cookie'), 'refreshToken', 'nobody is signed in by it')
    for (const session of [client, thief]) {
      t.match(await refusalOf(session), { code: 'SESSION_ENDED', reason: 'password_reset' })
      t.match((await session.refresh()).body, { code: 'SESSION_ENDED', reason: 'password_reset' })
    }
    for (const proof of [{ ticket }, { ticketId, code }]) t.match(await reset(proof), invalid, 'twice')
    t.match(await post('email/confirm', { ticket: change }), invalid, 'what a thief asked for')
    t.equal((await new Client(gateway).login(email, password)).status, 401)
    t.equal((await new Client(gateway).login(email, otherPassword)).status, 200)
    await settled()
    const notices = mailsTo(email).map(({ subject }) => subject)
    t.ok(notices.includes('Sallyport: Your password was reset'), `the owner is notified: ${notices}`)
    t.ok((await eventsOf(client.id)).includes('password_reset'))
  })

  await t.test('has one new one, however many come at once', async (t) => {
    await register('quick@example.com')
    const { ticketId, ticket, code } = await ask('password/forgot', 'quick@example.com')
    const passwords = [0, 1, 2, 3].map((number) => `${otherPassword} ${number}`)
    const statuses = await Promise.all(
      passwords.map(
        async (password, index) => (await reset({ ...(index % 2 ? { ticket } : { ticketId, code }), password })).status,
      ),
    )
    t.strictSame(statuses.toSorted(), [200, 400, 400, 400])
    const right = passwords[statuses.indexOf(200)] as string
    t.equal((await new Client(gateway).login('quick@example.com', right)).status, 200)
  })

  await t.test('nothing tells who has an account', async (t) => {
    const client = await register('disabled@example.com')
    await register('usual@example.com')
    await sql('UPDATE auth.users SET disabled_at = now() WHERE id = $1', [client.id])
    const asked = await Promise.all(
      ['usual', 'disabled', 'unknown'].map(async (name) => ({
        name,
        ...(await post('password/forgot', { email: `${name}@example.com` })),
      })),
    )
    await mail.next('usual@example.com')
    await settled()
    t.equal(mailsTo('unknown@example.com').length, 0)
    t.equal(mailsTo('disabled@example.com').length, 1, 'that of the registration')
    const seen = []
    for (const { name, status, headers, body } of asked) {
      const { ticketId } = body
      const tried = []
      for (let time = 0; time < 7; time++) tried.push(await reset({ ticketId, code: '00000000' }))
      const { rows } = await sql('SELECT tries FROM auth.tickets WHERE id = $1', [ticketId])
      if (name !== 'usual') {
        // Even the right code, which nobody was sent.
        const [hash] = keys.digests('codes', `${ticketId} 12345678`)
        await sql('UPDATE auth.tickets SET code_hash = $2, tries = 0 WHERE id = $1', [ticketId, hash])
        t.match(await reset({ ticketId, code: '12345678' }), invalid)
      }
      const responses = tried.map(({ status, body }) => [status, body])
      seen.push(JSON.stringify([status, [...headers.keys()].sort(), Object.keys(body), body.message, rows, responses]))
    }
    t.equal(new Set(seen).size, 1)
  })

  await t.test('a weak one keeps the ticket, and costs no try', async (t) => {
    await register('weak@example.com')
    const { ticketId, code } = await ask('password/forgot', 'weak@example.com')
    for (let time = 0; time < 6; time++)
      t.match((await reset({ ticketId, code, password: 'aaaaaaaaaaaaaaaaaaaa' })).body, { code: 'PASSWORD_WEAK' })
    for (const password of ['short', 'a'.repeat(1025), 7, null, undefined])
      t.match((await reset({ ticketId, code, password })).body, { code: 'REQUEST_INVALID' })
    t.equal((await reset({ ticketId, code })).status, 200)
  })

  await t.test('of one purpose a ticket is for nothing else', async (t) => {
    const client = await register('purposes@example.com')
    const registration = await ask('register', 'nobody@example.com')
    await post('email', { email: 'first@example.com' }, client)
    await post('email/confirm', await offered('first@example.com'))
    const revert = await offered('purposes@example.com')
    await post('email', { email: 'second@example.com' }, client)
    const change = await offered('second@example.com')
    const forgotten = await ask('password/forgot', 'first@example.com')
    const tickets = {
      'register/complete': registration,
      'password/reset': forgotten,
      'email/confirm': change,
      'email/revert': revert,
    }
    for (const [path] of Object.entries(tickets))
      for (const [of, { ticket, code, ticketId }] of Object.entries<{
        ticket: string | undefined
        code: string | undefined
        ticketId?: string
      }>(tickets))
        if (of !== path) {
          const body = { name: 'Nina', password: otherPassword }
          t.match(await post(path, { ...body, ticket }), invalid, `${of} at ${path}`)
          if (ticketId && !path.startsWith('email'))
            t.match(await post(path, { ...body, ticketId, code }), invalid, `the code of ${of} at ${path}`)
        }
    // Each does what it is for. The first of them ends none of the others.
    t.equal((await post('register/complete', { ticket: registration.ticket, name: 'Nina', password })).status, 200)
    t.equal((await post('email/confirm', { ticket: change.ticket })).status, 200)
    t.match(await reset({ ticket: forgotten.ticket }), invalid, 'but that of an address that was left')
    t.equal((await post('email/revert', { ticket: revert.ticket })).status, 200)
  })

  await t.test('the mail has to have gone to what is still the address', async (t) => {
    const client = await register('moved@example.com')
    const { ticket } = await ask('password/forgot', 'moved@example.com')
    await sql("UPDATE auth.users SET email = 'elsewhere@example.com' WHERE id = $1", [client.id])
    t.match(await reset({ ticket }), invalid)
    await sql("UPDATE auth.users SET email = 'moved@example.com' WHERE id = $1", [client.id])
    // It moves between the look and the change.
    await sql(`CREATE FUNCTION auth.move() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN UPDATE auth.users SET email = ''elsewhere@example.com'' WHERE id = NEW.user_id; RETURN NEW; END'`)
    await sql(`CREATE TRIGGER move BEFORE UPDATE OF used_at ON auth.tickets FOR EACH ROW EXECUTE FUNCTION auth.move()`)
    t.match(await reset({ ticket }), invalid)
    await sql('DROP TRIGGER move ON auth.tickets')
    const { rows } = await sql('SELECT used_at FROM auth.tickets WHERE user_id = $1', [client.id])
    t.strictSame(rows, [{ used_at: null }], 'and nothing was changed')
    t.equal((await reset({ ticket })).status, 200)
  })

  await t.test('of an account from before, under another spelling, it is replaced too', async (t) => {
    const client = await register('anna@xn--bcher-kva.example')
    await sql("UPDATE auth.users SET email = 'anna@bücher.example' WHERE id = $1", [client.id])
    await post('password/forgot', { email: 'Anna@Bücher.example' })
    const { ticket } = await offered('anna@xn--bcher-kva.example')
    t.equal((await reset({ ticket })).status, 200)
    t.equal((await new Client(gateway).login('anna@xn--bcher-kva.example', otherPassword)).status, 200)
  })

  await t.test('without a server for mail there is no way to it, and what was sent before goes on', async (t) => {
    await register('silent@example.com')
    const { ticket } = await ask('password/forgot', 'silent@example.com')
    const silent = { ...system.environment, REGISTRATION: 'invite', SMTP_URL: undefined }
    const auth = await openAuthHere(silent, () => {})
    t.teardown(auth.close)
    const client = new Client(`http://127.0.0.1:${auth.port}`)
    const unavailable = { status: 503, body: { code: 'MAIL_UNAVAILABLE' } }
    t.match(await post('password/forgot', { email: 'silent@example.com' }, client), unavailable)
    t.equal((await post('password/reset', { ticket, password: otherPassword }, client)).status, 200)
  })

  await t.test('an address gets five mails in an hour, and who asks for more sees no difference', async (t) => {
    const email = 'asked@example.com'
    await register(email)
    for (let time = 0; time < 6; time++) t.equal((await post('password/forgot', { email })).status, 202)
    await settled()
    const offers = mailsTo(email).filter(({ text }) => text?.includes('/reset-password#ticket='))
    t.equal(offers.length, 5)
  })

  await t.test('what was asked for is forgotten a day after it has expired', async (t) => {
    const { forget } = await import('@sallyport/auth/sessions/housekeeping')
    const { ticketId } = await ask('password/forgot', 'quick@example.com')
    const count = async () => (await sql('SELECT FROM auth.tickets WHERE id = $1', [ticketId])).rowCount
    await sql("UPDATE auth.tickets SET expires_at = now() - interval '23 hours' WHERE id = $1", [ticketId])
    await forget(system.database, 34_560_000, 1000)
    t.equal(await count(), 1)
    await sql("UPDATE auth.tickets SET expires_at = now() - interval '25 hours' WHERE id = $1", [ticketId])
    await forget(system.database, 34_560_000, 1000)
    t.equal(await count(), 0)
  })

  await t.test('a mail that was sealed with a secret that is gone is not sent', async (t) => {
    const { ticketId } = (await post('register', { email: 'sealed@example.com' })).body
    await eventually(
      'it is done',
      async () => (await sql('SELECT FROM auth.tickets WHERE id = $1', [ticketId])).rowCount === 1,
    )
    await settled()
    t.equal(mailsTo('sealed@example.com').length, 1)
    const foreign = createDerivedKeys({ current: { refreshSecrets: ['another secret'] } }).seal('{}')
    await sql("SELECT FROM graphile_worker.add_job('mail', $1::json, max_attempts => 1)", [
      JSON.stringify({ template: 'registration', to: 'sealed@example.com', locale: null, secrets: foreign }),
    ])
    await eventually('the log says so', () => system.log.some((line) => line.includes('UNSEALABLE')))
    await settled()
    t.equal(mailsTo('sealed@example.com').length, 1)
  })
})
