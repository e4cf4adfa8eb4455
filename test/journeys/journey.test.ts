import t from 'tap'
import { Client, claimsOf, eventually, refusalOf, signIn, startSystem } from '../support/system.ts'

t.test('a day with the system, across real processes', async (t) => {
  const { gateway, log, sql } = await startSystem(t, {}, ['appointments', 'notifications'])
  const doctor = new Client(gateway)

  await t.test('a doctor signs in and gets both tokens', async (t) => {
    const { status, body, headers } = await doctor.login()
    t.equal(status, 200)
    t.match(body, { role: 'doctor', roles: ['doctor'], user: { email: 'doctor@example.com', name: 'Dora Doctor' } })
    t.match(headers.getSetCookie()[0], /^refreshToken=[\w.-]+; Max-Age=604(800|799); Path=\/; HttpOnly; SameSite=Lax$/)
    const claims = claimsOf(body.accessToken)
    t.match(claims, { iss: 'https://issuer.test', aud: 'https://api.test', client_id: 'web', role: 'doctor' })
    const life = Number(claims.exp) - Number(claims.iat)
    t.ok(life <= 900 && life >= 855, 'it holds 15 minutes, less up to 5 %')
  })

  await t.test('no service owns anything in the database', async (t) => {
    const { rows } = await sql(
      `SELECT DISTINCT usename, pg_has_role(usename, current_user, 'MEMBER') AS owns FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'sallyport' ORDER BY usename`,
    )
    t.strictSame(rows, [
      { usename: 'sallyport_appointments', owns: false },
      { usename: 'sallyport_auth', owns: false },
    ])
  })

  await t.test('reads, makes and changes appointments', async (t) => {
    const { body } = await doctor.call('GET', '/api/doctor/appointments')
    t.equal(body.appointments.length, 3)
    const patientId = body.appointments[0].patientId
    const made = await doctor.call('POST', '/api/doctor/appointments', {
      body: { patientId, startsAt: '2030-05-01T09:00:00Z', reason: 'Check-up' },
    })
    t.equal(made.status, 201)
    t.match(made.body, { patientId, startsAt: '2030-05-01T09:00:00.000Z', status: 'scheduled' })
    const path = `/api/doctor/appointments/${made.body.id}`
    t.match((await doctor.call('PATCH', path, { body: { status: 'completed' } })).body, { status: 'completed' })
    t.match((await doctor.call('PATCH', path, { body: { reason: 'Done', startsAt: '2030-06-01T09:00:00Z' } })).body, {
      reason: 'Done',
      startsAt: '2030-06-01T09:00:00.000Z',
    })
  })

  await t.test('is refused what is for admins', async (t) => {
    const { status, body } = await doctor.call('GET', '/api/admin/users')
    t.equal(status, 403)
    t.match(body, { code: 'ROLE_REQUIRED', status: 403 })
  })

  await t.test('a patient sees own appointments and no doctor routes', async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    t.equal((await patient.call('GET', '/api/appointments')).body.appointments.length, 4)
    t.equal((await patient.call('GET', '/api/doctor/appointments')).status, 403)
    t.strictSame((await doctor.call('GET', '/api/appointments')).body, { appointments: [] }, 'the doctor has none')
  })

  await t.test('an admin sees every appointment, makes them for a doctor, and pages through the users', async (t) => {
    const admin = await signIn(gateway, 'admin@example.com')
    const { body } = await admin.call('GET', '/api/doctor/appointments')
    t.equal(body.appointments.length, 4)
    const { patientId, doctorId } = body.appointments[0]
    const make = { patientId, doctorId, startsAt: '2031-01-01T09:00:00Z', reason: 'Referral' }
    t.equal((await admin.call('POST', '/api/doctor/appointments', { body: make })).body.doctorId, doctorId)
    const { doctorId: _, ...own } = make
    t.not((await admin.call('POST', '/api/doctor/appointments', { body: own })).body.doctorId, doctorId)
    const mine = await doctor.call('POST', '/api/doctor/appointments', { body: { ...make, doctorId: patientId } })
    t.equal(mine.body.doctorId, doctorId, 'a doctor cannot make them for another')

    const first = await admin.call('GET', '/api/admin/users?limit=2')
    t.match(first.body.users, [{ email: 'admin@example.com', disabled: false }, { role: 'doctor' }])
    const rest = await admin.call('GET', `/api/admin/users?limit=2&cursor=${first.body.nextCursor}`)
    t.match(rest.body, { users: [{ email: 'patient@example.com' }], nextCursor: null })
    const found = await admin.call('GET', '/api/admin/users?email=DOC')
    t.strictSame(
      found.body.users.map(({ email }: { email: string }) => email),
      ['doctor@example.com'],
    )
    t.notOk('passwordHash' in found.body.users[0])
  })

  await t.test("another doctor's appointments are not there for a doctor", async (t) => {
    const { rows } = await sql(
      "SELECT id FROM appointments.appointments WHERE doctor_id NOT IN (SELECT id FROM auth.users WHERE email = 'doctor@example.com')",
    )
    const response = await doctor.call('PATCH', `/api/doctor/appointments/${rows[0].id}`, {
      body: { status: 'cancelled' },
    })
    t.equal(response.status, 404)
    t.equal(response.body.code, 'APPOINTMENT_NOT_FOUND')
  })

  await t.test('the services receive the user in headers', async (t) => {
    const { body } = await doctor.call('GET', '/api/whoami')
    const claims = claimsOf(doctor.accessToken as string)
    t.match(body, {
      'x-user-id': claims.sub,
      'x-user-email': 'doctor@example.com',
      'x-user-role': 'doctor',
      'x-user-roles': 'doctor',
      'x-session-id': claims.sid,
      'x-request-id': /^[0-9a-f-]{36}$/,
    })
    t.match((await doctor.call('GET', '/api/auth/me')).body, { email: 'doctor@example.com', roles: ['doctor'] })
  })

  await t.test('refresh gives the next pair, and the new access token works', async (t) => {
    const [cookie, accessToken] = [doctor.cookie, doctor.accessToken]
    const { status, body } = await doctor.refresh()
    t.equal(status, 200)
    t.match(body, { role: 'doctor', roles: ['doctor'] })
    t.not(doctor.cookie, cookie)
    t.not(doctor.accessToken, accessToken)
    t.equal((await doctor.call('GET', '/api/doctor/appointments')).status, 200)
  })

  await t.test('sessions are listed by device, and one can be ended from another', async (t) => {
    const phone = await signIn(gateway)
    const { body } = await doctor.call('GET', '/api/auth/sessions')
    t.equal(body.sessions.length, 2)
    const other = body.sessions.find(({ current }: { current: boolean }) => !current)
    t.match(other, { ip: '127.0.0.1', userAgent: 'node' })
    t.equal((await doctor.call('DELETE', `/api/auth/sessions/${other.id}`)).status, 200)
    await eventually('the phone is signed out', async () => (await phone.call('GET', '/api/auth/me')).status === 401)
    t.match(await refusalOf(phone), { code: 'SESSION_ENDED', reason: 'logout' })
    t.match((await phone.refresh()).body, { code: 'SESSION_ENDED', reason: 'logout' })
    t.equal(phone.cookie, undefined, 'its cookie was cleared')
    const again = await doctor.call('DELETE', `/api/auth/sessions/${other.id}`)
    t.equal(again.body.code, 'SESSION_NOT_FOUND')
  })

  await t.test("a stranger's session cannot be ended", async (t) => {
    const patient = await signIn(gateway, 'patient@example.com')
    const { body } = await doctor.call('GET', '/api/auth/sessions')
    const response = await patient.call('DELETE', `/api/auth/sessions/${body.sessions[0].id}`)
    t.equal(response.status, 404)
    t.equal((await doctor.call('GET', '/api/auth/me')).status, 200)
  })

  await t.test(
    'a user who signs in again has one session, not two: the one whose cookie is replaced ends',
    async (t) => {
      const browser = await signIn(gateway, 'patient@example.com')
      const before = Object.assign(new Client(gateway), { cookie: browser.cookie, accessToken: browser.accessToken })
      const elsewhere = await signIn(gateway, 'patient@example.com')
      t.equal((await browser.login('doctor@example.com')).status, 200, 'as whomever')
      t.match(await before.refresh(), { status: 401, body: { code: 'SESSION_ENDED', reason: 'logout' } })
      await eventually(
        'its access token ends too',
        async () => (await before.call('GET', '/api/whoami')).status === 401,
      )
      t.equal((await browser.refresh()).status, 200)
      t.equal((await elsewhere.refresh()).status, 200, 'other devices stay')

      const forged = Object.assign(new Client(gateway), { cookie: `${elsewhere.cookie?.slice(0, -4)}AAAA` })
      t.equal((await forged.login()).status, 200)
      t.equal((await elsewhere.refresh()).status, 200, 'a forged cookie names no session')
    },
  )

  await t.test('logout-all ends every session of the user and of nobody else', async (t) => {
    const [one, two, patient] = [
      await signIn(gateway),
      await signIn(gateway),
      await signIn(gateway, 'patient@example.com'),
    ]
    t.equal((await one.call('POST', '/api/auth/logout-all')).status, 200)
    t.match((await two.refresh()).body, { code: 'SESSION_ENDED', reason: 'logout_all' })
    await eventually('the access token is refused', async () => (await two.call('GET', '/api/auth/me')).status === 401)
    t.equal((await patient.refresh()).status, 200)
  })

  await t.test('after logout neither token does anything', async (t) => {
    await doctor.login()
    const { accessToken, cookie } = doctor
    const { status, body } = await doctor.call('POST', '/api/auth/logout')
    t.equal(status, 200)
    t.strictSame(body, { message: 'Logged out successfully' })
    t.equal(doctor.cookie, undefined, 'the cookie was cleared')
    doctor.cookie = cookie
    t.match((await doctor.refresh()).body, { code: 'SESSION_ENDED', reason: 'logout' })
    doctor.accessToken = accessToken
    await eventually(
      'the access token is refused',
      async () => (await doctor.call('GET', '/api/whoami')).status === 401,
    )
    t.equal((await new Client(gateway).call('POST', '/api/auth/logout')).status, 200, 'also without a cookie')
  })

  await t.test('no log line holds a password, a token or a cookie', async (t) => {
    const lines = log.join('\n')
    t.ok(log.length > 20)
    t.notMatch(lines, /correct-horse|eyJ|refreshToken=|Bearer /)
  })
})
