import { accountOf } from '@sallyport/client'
import t, { type Test } from 'tap'
import { Browser, type Tab } from '../support/browser.ts'
import { startMail } from '../support/mail.ts'
import { Client, demoPassword, eventually, openSystem, signIn } from '../support/system.ts'

const password = 'seven quiet horses graze'
const other = 'nine loud geese at noon'
const patient = { email: 'patient@example.com', password: demoPassword }
const doctor = { email: 'doctor@example.com', password: demoPassword }

const isSignedOut = ({ client }: Tab) => client.getSnapshot().status === 'signed-out'

t.test('accounts, by the client', async (t) => {
  const mail = await startMail(t)
  const { gateway, sql } = await openSystem(t, {
    ...mail.settings,
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
    // Without a grace period, only the attempt id tells a retry from reuse.
    REFRESH_GRACE: '0',
  })
  const openBrowser = (t: Test) => {
    const browser = new Browser(gateway)
    t.teardown(() => browser.close())
    return browser
  }
  /** Every sign-in of these was too long ago. */
  const age = () => sql("UPDATE auth.sessions SET authenticated_at = now() - interval '6 minutes'")

  await t.test('whoever has the mail makes the account, and is signed in with it in every tab', async (t) => {
    const browser = openBrowser(t)
    const [tab, second] = [browser.open(), browser.open()]
    const account = accountOf(tab.client)
    const { ticketId } = await account.register({ email: 'nina@example.com', locale: 'de' })
    const { ticket = '', code = '' } = await mail.next('nina@example.com')
    const { purpose, email, expiresAt } = await account.checkTicket({ ticket })
    t.strictSame([purpose, email], ['registration', 'nina@example.com'])
    t.ok(Date.parse(expiresAt) > Date.now())
    const who = { name: 'Nina', password }
    await t.rejects(tab.client.completeRegistration({ ticket: 'x', ...who }), { code: 'TICKET_INVALID', status: 400 })
    t.ok(isSignedOut(tab), 'and nothing has changed')
    await tab.client.completeRegistration({ ticketId, code, ...who })
    t.match(tab.client.getSnapshot(), { status: 'signed-in', role: 'patient', user: { name: 'Nina', email } })
    await eventually('the other tab is signed in', () => second.client.getRole() === 'patient')
    await t.rejects(account.checkTicket({ ticket }), { code: 'TICKET_INVALID' })
    await tab.client.refresh()
  })

  await t.test('an account is shown, changed, exported and deleted', async (t) => {
    const browser = openBrowser(t)
    const [tab, second] = [browser.open(), browser.open()]
    await tab.client.login({ email: 'nina@example.com', password })
    const account = accountOf(tab.client)
    t.match(await account.getAccount(), { name: 'Nina', email: 'nina@example.com', locale: 'de' })
    t.match(await account.updateAccount({ name: 'Nina N', locale: null }), { name: 'Nina N', locale: null })
    await t.rejects(account.updateAccount({ name: ' ' }), { code: 'REQUEST_INVALID' })
    await t.rejects(account.changePassword({ currentPassword: 'x', newPassword: other }), { code: 'PASSWORD_WRONG' })
    await account.changePassword({ currentPassword: password, newPassword: other })
    await mail.next('nina@example.com')
    t.match(await account.exportAccount(), { user: { name: 'Nina N' } })
    await eventually('the other tab is signed in', () => second.client.getRole() === 'patient')
    const { deleteAfter } = await account.deleteAccount()
    t.ok(Date.parse(deleteAfter) > Date.now())
    t.match(tab.client.getSnapshot(), { status: 'signed-out', signOut: { code: 'LOGOUT' } })
    await eventually('so is the other tab', () => isSignedOut(second))
    await mail.next('nina@example.com')
    await tab.client.login({ email: 'nina@example.com', password: other })
    t.match(await account.getAccount(), { name: 'Nina N' }, 'until then signing in undoes it')
  })

  await t.test('after a reset nobody is signed in with the old password, here neither', async (t) => {
    const tab = openBrowser(t).open()
    await tab.client.login(patient)
    const { client: stranger } = openBrowser(t).open()
    const { ticketId } = await accountOf(stranger).forgotPassword({ email: patient.email })
    const { code = '' } = await mail.next(patient.email)
    await t.rejects(accountOf(stranger).resetPassword({ ticketId, code, password: 'too short' }), {
      code: 'PASSWORD_WEAK',
    })
    await accountOf(tab.client).resetPassword({ ticketId, code, password })
    t.match(tab.client.getSnapshot(), { signOut: { code: 'SESSION_ENDED', reason: 'password_reset' } })
    await mail.next(patient.email)
    await stranger.login({ ...patient, password })
  })

  await t.test('an address is changed and changed back, and the page follows', async (t) => {
    const tab = openBrowser(t).open()
    await tab.client.login({ ...patient, password })
    const account = accountOf(tab.client)
    await account.changeEmail({ email: 'new@example.com' })
    await mail.next(patient.email)
    const { ticket = '' } = await mail.next('new@example.com')
    await account.confirmEmail({ ticket })
    t.equal(tab.client.getSnapshot().user?.email, 'new@example.com')
    const { ticket: back = '' } = await mail.next(patient.email)
    await account.revertEmail({ ticket: back })
    t.match(tab.client.getSnapshot(), { signOut: { code: 'SESSION_ENDED', reason: 'email_reverted' } })
  })

  await t.test('what needs a recent sign-in is done after a step-up, which several calls share', async (t) => {
    const browser = openBrowser(t)
    const asked: string[] = []
    const answers = [true, true, false]
    const tab = browser.open({
      async onStepUp() {
        asked.push('once')
        const answer = answers.shift()
        if (answer) await tab.client.stepUp({ password: demoPassword })
        return answer === true
      },
    })
    const { client } = tab
    const account = accountOf(client)
    await client.login(doctor)
    const [before, attempt] = [client.getAccessToken(), JSON.parse(browser.values.get('sallyport') as string).attempt]
    await age()
    // Both are rejected before either is confirmed, and the third only after that.
    let release = () => {}
    const confirmed = new Promise<void>((resolve) => {
      release = resolve
    })
    let exports = 0
    browser.network = async (deliver, { path }) => {
      const isLate = path.endsWith('/export') && ++exports === 3
      const response = await deliver()
      if (isLate) await confirmed
      return response
    }
    const calls = [1, 2, 3].map(() => account.exportAccount())
    await Promise.all(calls.slice(0, 2))
    release()
    for (const exported of await Promise.all(calls)) t.match(exported, { user: { email: doctor.email } })
    t.equal(asked.length, 1)
    t.not(client.getAccessToken(), before)
    const record = JSON.parse(browser.values.get('sallyport') as string)
    t.equal(record.attempt, attempt, 'a refresh whose response was lost would still be retried as itself')
    await client.refresh()
    t.match(client.getSnapshot(), { status: 'signed-in', user: { name: 'Dora Doctor' } })

    await t.test('not with a body that can be sent once alone, which the error says', async (t) => {
      await age()
      const body = JSON.stringify({ email: 'elsewhere@example.com' })
      const headers = { 'content-type': 'application/json' }
      const request = new Request(`${gateway}/api/auth/email`, { method: 'POST', headers, body })
      await t.rejects(client.fetch(request), { code: 'BODY_NOT_REPEATABLE' })
      t.equal(asked.length, 2)
    })

    await t.test('a user who does not confirm gets the 401 as it is', async (t) => {
      await age()
      const response = await client.fetch('/api/auth/me/export')
      t.equal(response.status, 401)
      t.match(await response.json(), { code: 'STEP_UP_REQUIRED' })
      t.equal(asked.length, 3)
    })

    await t.test('without onStepUp the 401 is the result', async (t) => {
      await t.rejects(accountOf(browser.open().client).exportAccount(), { code: 'STEP_UP_REQUIRED', status: 401 })
    })

    await t.test('when somebody else signs in meanwhile, it is not done as them', async (t) => {
      const { client } = openBrowser(t).open({
        async onStepUp() {
          await client.login({ ...patient, password })
          return true
        },
      })
      await client.login(doctor)
      await age()
      await t.rejects(accountOf(client).deleteAccount(), { code: 'STEP_UP_REQUIRED' })
      t.match(await accountOf(client).getAccount(), { email: patient.email })
    })
  })

  await t.test('a step-up says what went wrong, and changes nothing then', async (t) => {
    const browser = openBrowser(t)
    const { client } = browser.open()
    await t.rejects(client.stepUp({ password: demoPassword }), { code: 'SIGNED_OUT' })
    await client.login(doctor)
    const before = client.getSnapshot()
    await t.rejects(client.stepUp({ password: 'wrong' }), { code: 'PASSWORD_WRONG', status: 403 })
    t.equal(client.getSnapshot(), before)
    browser.network = async () => {
      throw new TypeError('there is no network')
    }
    await t.rejects(client.stepUp({ password: demoPassword }), { code: 'NETWORK' })
    await t.rejects(accountOf(client).getAccount(), { code: 'NETWORK' })
    t.equal(client.getSnapshot(), before)
  })

  await t.test('a token that is rejected is replaced before the step-up', async (t) => {
    const { client } = openBrowser(t).open()
    await client.login(doctor)
    const admin = await signIn(gateway, 'admin@example.com')
    const path = `/api/admin/users/${client.getSnapshot().user?.id}`
    t.teardown(() => admin.call('PATCH', path, { body: { roles: ['doctor'] } }))
    await admin.call('PATCH', path, { body: { roles: ['doctor', 'patient'] } })
    const old = Object.assign(new Client(gateway), { accessToken: client.getAccessToken() })
    await eventually(
      'the gateway knows',
      async () => (await old.call('GET', '/api/whoami')).body.code === 'TOKEN_STALE',
    )
    await client.stepUp({ password: demoPassword })
    t.strictSame(client.getSnapshot().roles, ['doctor', 'patient'])
  })

  await t.test('a user who signs out during a step-up stays signed out', async (t) => {
    const browser = openBrowser(t)
    const { client } = browser.open()
    await client.login(doctor)
    browser.network = async (deliver, { path }) => {
      const response = await deliver()
      if (path.endsWith('/step-up')) void client.logout()
      return response
    }
    await client.stepUp({ password: demoPassword })
    t.match(client.getSnapshot(), { status: 'signed-out', signOut: { code: 'LOGOUT' } })
  })
})
