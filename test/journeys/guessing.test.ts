import { eraseDeleted } from '@sallyport/auth/accounts/deletion'
import { tellOfFailures } from '@sallyport/auth/passwords/many-failures'
import { createPasswords } from '@sallyport/auth/passwords/passwords'
import { createThrottle, forgetFailures, unlockUser } from '@sallyport/auth/passwords/throttle'
import { createDerivedKeys } from '@sallyport/auth/tokens/derived-keys'
import t from 'tap'
import { openAuthHere } from '../support/in-process.ts'
import { startMail } from '../support/mail.ts'
import {
  Client,
  type ClientResponse,
  claimsOf,
  demoPassword,
  eventually,
  openSystem,
  signIn,
  startDatabase,
} from '../support/system.ts'

const email = 'doctor@example.com'
const wrong = 'not the password of it'
const next = 'seven quiet horses graze'

/** Whatever a client can see of a response, but for what differs with every one of them. */
const visible = ({ status, headers, body }: ClientResponse) => {
  const changing = /^(date|x-request-id|ratelimit|ratelimit-policy|x-ratelimit-(remaining|reset))$/
  return { status, body, headers: [...headers].map(([name, value]) => [name, changing.test(name) || value]) }
}

t.test('guessing, without locking anyone out', async (t) => {
  const mail = await startMail(t)
  const { gateway, sql, database, secrets } = await openSystem(t, mail.settings)
  const keys = createDerivedKeys({ current: { refreshSecrets: [secrets.JWT_REFRESH_SECRET as string] } })
  const post = (path: string, body: object, client = new Client(gateway)) =>
    client.call('POST', `/api/auth/${path}`, { body })
  /** From a browser that has never been here. */
  const guess = (password = wrong, address = email) => new Client(gateway).login(address, password)
  const idOf = async (address = email): Promise<string> =>
    (await sql('SELECT id FROM auth.users WHERE email = $1', [address])).rows[0].id
  const counts = async () =>
    (await sql('SELECT failures, device FROM auth.password_failures ORDER BY failures DESC')).rows
  const eventsOf = async (event: string) =>
    (await sql('SELECT * FROM auth.security_events WHERE event = $1 ORDER BY id', [event])).rows
  /** As if so long had passed. */
  const wait = (seconds: number) =>
    sql("UPDATE auth.password_failures SET opens_at = opens_at - $1 * interval '1 second'", [seconds])
  /** As if so many had failed before. */
  const fail = (failures: number) => sql('UPDATE auth.password_failures SET failures = $1, opens_at = NULL', [failures])
  const tried = async () => (await eventsOf('login_failed')).filter(({ reason }) => reason !== 'throttled').length
  const makeUsers = (addresses: string[]) =>
    sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       SELECT gen_random_uuid(), address, 'Somebody', password_hash, roles FROM unnest($1::text[]) address, auth.users
       WHERE email = $2`,
      [addresses, email],
    )
  const queueIsEmpty = async () => (await sql('SELECT FROM graphile_worker._private_jobs')).rowCount === 0
  const mailsTo = (address: string) =>
    mail.smtp.mails.filter(({ to }) => [to].flat()[0]?.value[0]?.address === address).length
  t.beforeEach(() => sql('DELETE FROM auth.password_failures'))

  await t.test('of passwords that come all at once, five are tried and no more', async (t) => {
    const before = await tried()
    const responses = await Promise.all(Array.from({ length: 12 }, () => guess()))
    t.ok(
      responses.every(({ status }) => status === 401 || status === 503),
      'nobody is let in, and load may be shed',
    )
    t.equal((await tried()) - before, 5)
    t.match(await counts(), [{ failures: 5, device: '' }])
  })

  await t.test('a right password that comes too soon looks like a wrong one, and like one for nobody', async (t) => {
    const first = visible(await guess())
    t.match(first.body, { code: 'AUTH_INVALID_CREDENTIALS', detail: /link by mail/ })
    for (let time = 0; time < 4; time++) await guess()
    for (const response of [await guess(demoPassword), await guess(), await guess(wrong, 'nobody@example.com')])
      t.strictSame(visible(response), first)
    t.match((await eventsOf('login_failed')).at(-3), { reason: 'throttled', user_id: await idOf() })
    t.equal((await guess(demoPassword, 'patient@example.com')).status, 200, 'others sign in meanwhile')
  })

  await t.test('the wait is 30 s, doubles with every failure up to an hour, and a success ends it', async (t) => {
    for (let time = 0; time < 5; time++) await guess()
    for (const seconds of [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]) {
      const { rows } = await sql(
        'SELECT extract(epoch FROM opens_at - last_at)::float8 AS wait FROM auth.password_failures',
      )
      t.equal(rows[0].wait, seconds)
      await wait(seconds)
      await guess()
    }
    t.equal((await guess(demoPassword)).status, 401)
    await wait(3600)
    t.equal((await guess(demoPassword)).status, 200)
    t.strictSame(await counts(), [])
  })

  await t.test('an address without an account is treated the same, in whatever spelling', async (t) => {
    for (const address of ['nobody@bücher.example', 'NOBODY@xn--bcher-kva.example', ' Nobody@Bücher.example'])
      for (let time = 0; time < 2; time++) await guess(wrong, address)
    t.match(await counts(), [{ failures: 5, device: '' }])
    const { rows } = await sql('SELECT person, has_account FROM auth.password_failures')
    t.match(rows, [{ person: /^[\w-]{43}$/, has_account: false }], 'the address is not kept')
    await Promise.all(Array.from({ length: 3 }, () => guess(wrong, 'Doctor@Example.com')))
    await Promise.all(Array.from({ length: 3 }, () => guess(wrong, 'doctor@example.com ')))
    t.match(await counts(), [{ failures: 5 }, { failures: 5 }], 'nor do spellings help where there is one')
  })

  await t.test('after a hundred nothing from unknown devices is tried, however long they wait', async (t) => {
    const known = await signIn(gateway)
    await guess()
    await fail(98)
    for (const failures of [99, 100, 100]) {
      await guess()
      t.match(await counts(), [{ failures }])
      await wait(3600)
    }
    t.match(await eventsOf('guessing_stopped'), [{ user_id: await idOf(), ip: '127.0.0.1' }])
    t.equal((await guess(demoPassword)).status, 401)

    t.equal((await known.refresh()).status, 200, 'sessions do not notice')
    t.equal((await known.login()).status, 200, 'nor do known devices')
    t.match(await counts(), [{ failures: 100 }], 'which end nothing for the others')

    await unlockUser(database, keys, { id: await idOf(), email })
    t.equal((await guess(demoPassword)).status, 200, 'an administrator opens it')
  })

  await t.test('a known device has a count of its own', async (t) => {
    const [one, other] = [await signIn(gateway), await signIn(gateway)]
    for (let time = 0; time < 6; time++) await one.login(email, wrong)
    t.equal((await one.login()).status, 401, 'it waits')
    t.match(await counts(), [{ failures: 5, device: /^[\w-]{22}$/ }])
    t.equal((await other.login()).status, 200)
    t.equal((await guess(demoPassword)).status, 200)
    await wait(30)
    t.equal((await one.login()).status, 200)
    t.strictSame(await counts(), [])
  })

  await t.test('a logout leaves the device known', async (t) => {
    const client = await signIn(gateway)
    const { headers } = await client.call('POST', '/api/auth/logout')
    t.notMatch(String(headers.getSetCookie()), /device/)
    t.notMatch(headers.get('clear-site-data'), /cookies/)
    await guess()
    await fail(100)
    t.equal((await client.login()).status, 200)
  })

  await t.test('a device cookie that is forged, of somebody else, or too old is none', async (t) => {
    const client = await signIn(gateway)
    const patient = await signIn(gateway, 'patient@example.com')
    const own = client.device as string
    const [payload = '', signature] = own.split('.')
    const { id, users } = JSON.parse(Buffer.from(payload, 'base64url').toString())
    const encode = (device: object) => Buffer.from(JSON.stringify(device)).toString('base64url')
    const sign = (text: string, by = keys) => `${text}.${by.digests('devices', text)[0].toString('base64url')}`
    const user = users[0][0]
    const stranger = createDerivedKeys({ current: { refreshSecrets: ['a secret of somebody else'] } })
    const old = encode({ id, users: [[user, 0, users[0][2] - 401 * 86_400]] })
    const cookies = {
      'of another user': patient.device as string,
      'without a signature': payload,
      'with another signature': `${encode({ id, users: [[user, 0, 9e9]] })}.${signature}`,
      'signed by another secret': sign(payload, stranger),
      'signed 401 days ago': sign(old),
      'for another version of the password': sign(encode({ id, users: [[user, 1, users[0][2]]] })),
      'too long': `${own}${'A'.repeat(4_000)}`,
      'of no form': '.',
    }
    await guess()
    await fail(100)
    for (const [name, device] of Object.entries(cookies)) {
      client.device = device
      t.equal((await client.login()).status, 401, name)
    }
    client.device = own
    t.equal((await client.login()).status, 200)
  })

  await t.test('a device is known to ten people, and the eleventh is there in place of the first', async (t) => {
    const people = Array.from({ length: 11 }, (_, at) => `person${at}@example.com`)
    await makeUsers(people)
    const client = new Client(gateway)
    for (const person of people) t.equal((await client.login(person)).status, 200)
    t.ok((client.device as string).length < 1_024)
    await Promise.all(people.map((person) => guess(wrong, person)))
    await fail(100)
    t.equal((await client.login(people[0])).status, 401)
    for (const person of people.slice(1)) t.equal((await client.login(person)).status, 200, person)
  })

  await t.test('a changed password leaves the device known where it was changed, and no other', async (t) => {
    const [own, other] = [await signIn(gateway), await signIn(gateway)]
    const change = (currentPassword: string, newPassword: string) =>
      post('password', { currentPassword, newPassword }, own)
    t.equal((await change(demoPassword, next)).status, 200)
    await guess()
    await fail(100)
    t.equal((await other.login(email, next)).status, 401)
    t.equal((await own.login(email, next)).status, 200)
    t.equal((await change(next, demoPassword)).status, 200)
  })

  await t.test('the owner gets in by mail, in the same browser, while others go on guessing', async (t) => {
    const address = 'owner@example.com'
    await makeUsers([address])
    const thief = await signIn(gateway, address)
    const owner = new Client(gateway)
    await guess(wrong, address)
    await fail(100)
    const { ticketId } = (await post('password/forgot', { email: address }, owner)).body
    const { code } = await mail.next(address)
    t.equal((await post('password/reset', { ticketId, code, password: next }, owner)).status, 200)
    t.strictSame(await counts(), [], 'which opens the account')
    await Promise.all(Array.from({ length: 8 }, () => guess(wrong, address)))
    t.equal((await guess(next, address)).status, 401, 'to everybody, so that guessing goes on')
    t.equal((await thief.login(address, next)).status, 401, 'also from where a thief has signed in')
    t.equal((await owner.login(address, next)).status, 200, 'but not for the owner')
  })

  await t.test('a stolen session is no way to guess on and on', async (t) => {
    const [stolen, other] = [await signIn(gateway), await signIn(gateway)]
    const stepUp = (password: string, client = stolen) => post('step-up', { password }, client)
    const first = visible(await stepUp(wrong))
    t.match(first, { status: 403, body: { code: 'PASSWORD_WRONG' } })
    await Promise.all(Array.from({ length: 9 }, () => stepUp(wrong)))
    t.strictSame(visible(await stepUp(demoPassword)), first)
    t.match((await eventsOf('step_up_failed')).at(-1), { reason: 'throttled' })
    const change = (currentPassword: string) => post('password', { currentPassword, newPassword: next }, stolen)
    t.equal((await change(demoPassword)).status, 403, 'a change of password counts with it')
    t.match((await eventsOf('password_refused')).at(-1), { reason: 'throttled' })
    t.match(await counts(), [{ failures: 5, device: /^session / }])
    t.equal((await stepUp(demoPassword, other)).status, 200, 'no other session notices')
    t.equal((await stolen.login()).status, 200, 'nor does a login')
    await fail(4)
    const { sid } = claimsOf(other.accessToken as string)
    await sql('UPDATE auth.password_failures SET device = $1', [`session ${sid}`])
    t.equal((await stepUp(demoPassword, other)).status, 200)
    t.strictSame(await counts(), [], 'a success ends it')
  })

  await t.test('whoever signs in from a device never seen is told by mail, but not the first time', async (t) => {
    const address = 'new@example.com'
    await makeUsers([address])
    const client = await signIn(gateway, address)
    t.equal((await client.login(address)).status, 200)
    t.equal((await guess(demoPassword, address)).status, 200)
    await eventually('every mail is sent', queueIsEmpty, 20_000)
    t.equal(mailsTo(address), 1)
    t.match(
      (await eventsOf('login_succeeded')).slice(-3).map(({ reason }) => reason),
      ['new device', 'known device', 'new device'],
    )
  })

  await t.test('ten wrong passwords in a row are told by mail, once a day', async (t) => {
    const address = 'guessed@example.com'
    await makeUsers([address])
    for (const guessed of [address, 'nobody@example.com']) {
      await guess(wrong, guessed)
      await fail(9)
      await guess(wrong, guessed)
    }
    await mail.next(address)
    const circumstances = { at: new Date().toISOString(), ip: '192.0.2.1', device: 'Firefox' }
    for (const user of [await idOf(address), '00000000-0000-4000-8000-000000000000'])
      await tellOfFailures({ user, ...circumstances }, { database })
    await eventually('every mail is sent', queueIsEmpty, 20_000)
    t.equal(mailsTo(address), 1)
    t.equal(mailsTo('nobody@example.com'), 0)
  })

  await t.test('what failed is forgotten with the account, and for addresses without one after a day', async (t) => {
    const client = await signIn(gateway, 'new@example.com')
    for (const address of ['new@example.com', 'nobody@example.com']) await guess(wrong, address)
    const { accessToken } = client
    await client.login('new@example.com', wrong)
    client.accessToken = accessToken
    const exported = await client.call('GET', '/api/auth/me/export')
    t.match(exported.body.passwordFailures, [
      { failures: 1, device: '' },
      { failures: 1, device: /^[\w-]{22}$/ },
    ])
    const later = (days: number) =>
      sql("UPDATE auth.password_failures SET last_at = last_at - $1 * interval '1 day'", [days])
    const left = async () => (await sql('SELECT FROM auth.password_failures')).rowCount
    await forgetFailures(database, 10)
    t.equal(await left(), 3)
    await later(2)
    await forgetFailures(database, 10)
    t.equal(await left(), 2)
    await later(400)
    await forgetFailures(database, 10)
    t.match(await counts(), [{ failures: 1, device: '' }], 'and by devices once they cannot be known any more')
    await sql("UPDATE auth.users SET delete_after = now() WHERE email = 'new@example.com'")
    t.equal(await eraseDeleted(database, 10), 1)
    t.equal(await left(), 0)
  })
})

t.test('a device stays known, and what failed stays counted, when the secret is replaced', async (t) => {
  const [first, second] = ['one secret of thirty-two characters', 'another secret of as many letters']
  const { gateway, environment, sql } = await openSystem(t, { JWT_REFRESH_SECRET: first })
  const client = await signIn(gateway)
  await new Client(gateway).login(email, wrong)
  await sql('UPDATE auth.password_failures SET failures = 100')
  for (const [secrets, status] of [
    [`${second},${first}`, 200],
    [second, 401],
  ] as const) {
    const auth = await openAuthHere({ ...environment, JWT_REFRESH_SECRET: secrets }, () => {})
    t.teardown(auth.close)
    const elsewhere = new Client(`http://127.0.0.1:${auth.port}`)
    elsewhere.device = client.device
    t.equal((await elsewhere.login()).status, status, secrets)
    t.equal((await new Client(elsewhere.base).login()).status, 401)
  }
})

t.test('a password that could not be compared does not count', async (t) => {
  const { database, sql } = await startDatabase(t)
  const passwords = await createPasswords()
  t.teardown(passwords.close)
  const request = { ip: '192.0.2.1', headers: {}, routeOptions: { url: '/api/auth/login' } } as never
  const failing = { ...passwords, verify: () => Promise.reject(new Error('the process that hashes is gone')) }
  const bucket = { person: 'somebody', hasAccount: false, device: '' }
  const throttleWith = (hashing: typeof passwords) =>
    createThrottle({ config: { mail: undefined }, database, passwords: hashing })
  for (let time = 0; time < 8; time++)
    await t.rejects(throttleWith(failing).verify(request, bucket, undefined, 'x'), { message: /is gone/ })
  t.match((await sql('SELECT failures FROM auth.password_failures')).rows, [{ failures: 0 }])
  t.equal(await throttleWith(passwords).verify(request, bucket, undefined, 'x'), 'wrong')
})
