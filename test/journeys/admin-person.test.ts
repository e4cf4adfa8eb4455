import { randomUUID } from 'node:crypto'
import t from 'tap'
import { openFactors } from '../support/factors.ts'
import { Client, claimsOf, refusalOf, signIn } from '../support/system.ts'

t.test('what an admin sees of a person and ends', async (t) => {
  const { gateway, register, enrolTotp, enrolPasskey } = await openFactors(t)
  const person = await register('pia@example.com')
  const id = claimsOf(person.accessToken as string).sub as string
  const admin = await signIn(gateway, 'admin@example.com')
  const path = `/api/admin/users/${id}`

  await t.test('the factors of somebody who has none, and of somebody who has all', async (t) => {
    t.match(await admin.call('GET', `${path}/factors`), {
      status: 200,
      body: { totp: null, passkeys: [], recoveryCodesLeft: 0 },
    })
    await enrolTotp(person)
    await enrolPasskey(person)
    const { body } = await admin.call('GET', `${path}/factors`)
    t.match(body, { totp: { createdAt: String }, passkeys: [{ name: String, createdAt: String, lastUsedAt: null }] })
    t.equal(body.recoveryCodesLeft, 10)
    t.strictSame(Object.keys(body.totp), ['createdAt'], 'and nothing that could be used as one')
    t.match(await admin.call('GET', `/api/admin/users/${randomUUID()}/factors`), {
      status: 404,
      body: { code: 'USER_NOT_FOUND' },
    })
    t.match(await person.call('GET', `${path}/factors`), { status: 403, body: { code: 'ROLE_REQUIRED' } })
  })

  await t.test('one session ends at once, and the others go on', async (t) => {
    const [one, two] = [await signIn(gateway), await signIn(gateway)] as const
    const { sub, sid } = claimsOf(one.accessToken as string) as { sub: string; sid: string }
    const doctor = `/api/admin/users/${sub}`
    t.match(await admin.call('DELETE', `${doctor}/sessions/${sid}`), { status: 200 })
    t.match(await refusalOf(one), { code: 'SESSION_ENDED', reason: 'revoked_by_admin' })
    t.equal((await two.call('GET', '/api/auth/me')).status, 200)
    const { body } = await admin.call('GET', `${doctor}/events?limit=1`)
    const by = claimsOf(admin.accessToken as string).sub
    t.match(body.events, [{ event: 'session_ended', session: sid, reason: `revoked_by_admin ${by}` }])
    t.match(await admin.call('DELETE', `${doctor}/sessions/${sid}`), {
      status: 404,
      body: { code: 'SESSION_NOT_FOUND' },
    })
  })

  await t.test("somebody else's session is not ended in a person's name", async (t) => {
    const other = await signIn(gateway)
    const { sid } = claimsOf(other.accessToken as string)
    t.match(await admin.call('DELETE', `${path}/sessions/${sid}`), { status: 404, body: { code: 'SESSION_NOT_FOUND' } })
    t.match(await admin.call('DELETE', `/api/admin/users/${randomUUID()}/sessions/${sid}`), {
      status: 404,
      body: { code: 'USER_NOT_FOUND' },
    })
    t.match(await other.call('DELETE', `${path}/sessions/${sid}`), { status: 403, body: { code: 'ROLE_REQUIRED' } })
    t.equal((await new Client(gateway).call('DELETE', `${path}/sessions/${sid}`)).status, 401)
    t.equal((await other.call('GET', '/api/auth/me')).status, 200)
  })

  await t.test('events of a service account are found by it, also when it is gone', async (t) => {
    const { body: made } = await admin.call('POST', '/api/admin/clients', { body: { name: 'Night jobs' } })
    await admin.call('DELETE', `/api/admin/clients/${made.id}`)
    const { body } = await admin.call('GET', `/api/admin/events?client=${made.id}`)
    t.match(body.events, [
      { event: 'client_deleted', client: made.id },
      { event: 'client_created', client: made.id },
    ])
    t.equal(body.events.length, 2)
  })
})
