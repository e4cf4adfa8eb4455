import t from 'tap'
import { startMail } from '../support/mail.ts'
import { Client, demoPassword, openSystem, signIn } from '../support/system.ts'

const password = 'seven quiet horses graze'
const other = 'nine loud geese at noon'

t.test('accounts', async (t) => {
  const mail = await startMail(t)
  const { gateway, sql } = await openSystem(t, {
    ...mail.settings,
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
  })
  const anyone = new Client(gateway)
  const post = (path: string, body: object, client = anyone) => client.call('POST', `/api/auth/${path}`, { body })

  await t.test('whoever reads the mailbox makes the account', async (t) => {
    const asked = await post('register', { email: 'Nina@Example.com', locale: 'de' })
    t.equal(asked.status, 202)
    const { ticket, code } = await mail.next('nina@example.com')
    t.match(code, /^\d{8}$/)
    const checked = await post('tickets/check', { ticket })
    t.match(checked.body, { purpose: 'registration', email: 'nina@example.com' })
    const client = new Client(gateway)
    const done = await post('register/complete', { ticket, name: 'Nina', password }, client)
    t.equal(done.status, 200)
    t.match(done.body, { role: 'patient', roles: ['patient'], user: { name: 'Nina', email: 'nina@example.com' } })
    t.equal((await post('register/complete', { ticket, name: 'Nina', password })).body.code, 'TICKET_INVALID')
  })

  await t.test('a forgotten password is replaced by mail, and every session ends', async (t) => {
    const client = await signIn(gateway, 'doctor@example.com')
    const asked = await post('password/forgot', { email: 'doctor@example.com' })
    const { code } = await mail.next('doctor@example.com')
    const { ticketId } = asked.body
    const reset = await post('password/reset', { ticketId, code, password: other })
    t.equal(reset.status, 200)
    await mail.next('doctor@example.com')
    t.match((await client.call('GET', '/api/auth/me')).body, { code: 'SESSION_ENDED' })
    const again = new Client(gateway)
    t.equal((await again.login('doctor@example.com', other)).status, 200)
  })

  await t.test('an address is changed, and changed back', async (t) => {
    const client = await signIn(gateway, 'patient@example.com')
    await sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")
    const late = await post('email', { email: 'new@example.com' }, client)
    t.match(late, { status: 401, body: { code: 'STEP_UP_REQUIRED' } })
    t.equal((await post('step-up', { password: 'wrong' }, client)).status, 403)
    t.equal((await post('step-up', { password: demoPassword }, client)).status, 200)
    t.equal((await post('email', { email: 'new@example.com' }, client)).status, 202)
    await mail.next('patient@example.com')
    const { ticket } = await mail.next('new@example.com')
    t.equal((await post('email/confirm', { ticket })).status, 200)
    t.match((await client.call('GET', '/api/auth/me')).body, { email: 'new@example.com' })
    const { ticket: back } = await mail.next('patient@example.com')
    t.equal((await post('email/revert', { ticket: back })).status, 200)
    t.match((await client.call('GET', '/api/auth/me')).body, { code: 'SESSION_ENDED' })
  })

  await t.test('an account is exported and deleted', async (t) => {
    const client = new Client(gateway)
    await client.login('nina@example.com', password)
    const exported = await client.call('GET', '/api/auth/me/export')
    t.match(exported.body, { user: { email: 'nina@example.com', locale: 'de' } })
    t.equal((await client.call('DELETE', '/api/auth/me')).status, 202)
    await mail.next('nina@example.com')
    await sql("UPDATE auth.users SET delete_after = now() WHERE email = 'nina@example.com'")
    const { rows } = await sql("SELECT auth.erase_user(id) AS erased FROM auth.users WHERE email = 'nina@example.com'")
    t.strictSame(rows, [{ erased: true }])
  })
})
