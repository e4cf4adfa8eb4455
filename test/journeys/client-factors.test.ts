import { factorsOf, readAccessToken } from '@sallyport/client'
import { passkeysOf } from '@sallyport/client/passkeys'
import t, { type Test } from 'tap'
import { flag, SoftwarePasskey } from '../support/authenticator.ts'
import { Browser, type Network } from '../support/browser.ts'
import { codeOf, openFactors } from '../support/factors.ts'
import { type Abilities, openCredentials } from '../support/page-credentials.ts'
import { demoPassword, eventually } from '../support/system.ts'

const cancelled = { name: 'AuthError', code: 'PASSKEY_CANCELLED' }

/** Does not come to an end by itself. */
const undecided = () => new Promise<void>(() => {})
const declines = async () => {
  throw new DOMException('', 'NotAllowedError')
}

/** The responses to a path are lost. */
const losing =
  (lost: string): Network =>
  async (deliver, { path }) => {
    const response = await deliver()
    if (path === `/api/auth/${lost}`) throw new TypeError('there is no network')
    return response
  }

t.test('second factors, by the client', async (t) => {
  const { gateway, origin, sql, age } = await openFactors(t)
  let people = 0

  /** Somebody at a page, signed in with a password. */
  async function open(t: Test, abilities?: Abilities) {
    people += 1
    const credentials = { email: `person-${people}@example.com`, password: demoPassword }
    const { rows } = await sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       SELECT gen_random_uuid(), $1, 'Nina', password_hash, roles FROM auth.users WHERE email = 'patient@example.com'
       RETURNING id`,
      [credentials.email],
    )
    const { id } = rows[0] as { id: string }
    const browser = new Browser(gateway)
    t.teardown(() => browser.close())
    const { client } = browser.open()
    await client.login(credentials)
    const claims = () => readAccessToken(client.getAccessToken() as string)
    return {
      ...{ id, browser, client, credentials, claims, page: openCredentials(t, origin, abilities) },
      ...{ passkeys: passkeysOf(client), factors: factorsOf(client) },
      /** What is asked of the server by some work, in its order. */
      async sent(work: () => Promise<unknown>): Promise<string[]> {
        const before = browser.sent.length
        await work()
        return browser.sent.slice(before).map(({ path }) => path.replace('/api/auth/', ''))
      },
    }
  }

  /** As open, with a passkey. */
  async function openWithPasskey(t: Test, abilities?: Abilities) {
    const opened = await open(t, abilities)
    const { passkey } = await opened.passkeys.create()
    opened.page.ceremonies.length = 0
    return { ...opened, passkey }
  }

  /** What a sign-in with the password asks for then. */
  async function beginLogin({ client, credentials }: Awaited<ReturnType<typeof open>>) {
    const { problem } = await client.login(credentials).catch((error) => error)
    return problem
  }

  await t.test('a passkey signs in, is a second factor, and steps up', async (t) => {
    const person = await openWithPasskey(t)
    const { id, client, passkeys, page, claims } = person
    t.equal(passkeys.isAvailable(), true)
    await client.logout()
    t.equal(await passkeys.signIn(), true)
    t.match(client.getSnapshot(), { status: 'signed-in', user: { id } })
    t.match(claims(), { acr: 'aal2', amr: ['hwk', 'user', 'mfa'] })

    await client.logout()
    const { challenge, options } = await beginLogin(person)
    await client.loginWithSecondFactor({ challenge, credential: await passkeys.secondFactor(options) })
    t.match(claims(), { acr: 'aal2', amr: ['pwd', 'hwk', 'user', 'mfa'] })

    await age({ id })
    await client.refresh()
    const before = claims()?.auth_time as number
    await passkeys.stepUp()
    t.ok((claims()?.auth_time as number) > before + 300)
    t.strictSame(page.ceremonies, ['get', 'get', 'get'])
    t.strictSame(page.signals, [])
  })

  await t.test('autofill offers passkeys where the browser can, and nothing is asked where it cannot', async (t) => {
    await t.test('it can', async (t) => {
      const { client, passkeys, page } = await openWithPasskey(t)
      await client.logout()
      t.equal(await passkeys.signIn({ autofill: true }), true)
      t.match(client.getSnapshot(), { status: 'signed-in' })
      t.strictSame(page.ceremonies, ['get conditional'])
    })
    await t.test('it cannot', async (t) => {
      const { passkeys, sent } = await open(t, { autofill: false })
      t.strictSame(await sent(async () => t.equal(await passkeys.signIn({ autofill: true }), false)), [])
    })
  })

  await t.test('a ceremony ends the one before, also one whose options come after its own', async (t) => {
    const person = await openWithPasskey(t)
    const { browser, passkeys, page } = person
    const { options } = await beginLogin(person)
    let hasComeLate = () => {}
    const late = new Promise<void>((resolve) => {
      hasComeLate = resolve
    })
    browser.network = async (deliver) => {
      browser.network = (deliver) => deliver()
      const response = await deliver()
      await late
      return response
    }
    page.user = undecided
    const [first, second] = [passkeys.signIn({ autofill: true }), passkeys.signIn({ autofill: true })]
    await eventually('the second is offered', () => page.ceremonies.length === 1)
    hasComeLate()
    await t.rejects(first, cancelled)
    t.strictSame(page.ceremonies, ['get conditional'], 'the first never was')

    page.user = declines
    const ended = t.rejects(second, cancelled)
    await t.rejects(passkeys.secondFactor(options), cancelled)
    await ended
    t.strictSame(page.ceremonies, ['get conditional', 'get'])
  })

  await t.test('who leaves the page ends its own ceremony, and no other', async (t) => {
    const person = await openWithPasskey(t)
    const { passkeys, page, sent, passkey } = person
    const { options } = await beginLogin(person)
    page.user = undecided
    const leaving = new AbortController()
    const offered = passkeys.signIn({ autofill: true, signal: leaving.signal })
    await eventually('it is offered', () => page.ceremonies.length === 1)
    leaving.abort()
    await t.rejects(offered, cancelled)

    const { signal } = leaving
    const asked = await sent(async () => t.equal(await passkeys.signIn({ autofill: true, signal }), false))
    t.strictSame(asked, [], 'it has left already')

    const early = new AbortController()
    const notYet = passkeys.signIn({ signal: early.signal })
    early.abort()
    await t.rejects(notYet, cancelled)
    t.equal(page.ceremonies.length, 1)

    let agree = () => {}
    page.user = () =>
      new Promise((resolve) => {
        agree = resolve
      })
    const late = new AbortController()
    const before = t.rejects(passkeys.signIn({ signal: late.signal }), cancelled)
    const after = passkeys.secondFactor(options)
    late.abort()
    await before
    agree()
    t.match(await after, { id: passkey.id }, 'it goes on')
  })

  await t.test('what the browser says is an AuthError', async (t) => {
    const { passkeys, page, factors, sent } = await openWithPasskey(t)
    const says = async (code: string) => {
      const asked = await sent(() => t.rejects(passkeys.create(), { name: 'AuthError', code }))
      t.strictSame(asked, ['factors/passkeys/options'])
    }
    await says('PASSKEY_EXISTS')
    for (const [name, code] of [
      ['NotAllowedError', 'PASSKEY_CANCELLED'],
      ['AbortError', 'PASSKEY_CANCELLED'],
      ['UnknownError', 'PASSKEY_FAILED'],
    ] as const) {
      page.user = async () => {
        throw new DOMException('', name)
      }
      await says(code)
    }
    t.equal((await factors.getFactors()).passkeys.length, 1)
  })

  await t.test('a passkey that the server does not know is not offered again', async (t) => {
    const { passkeys, factors, page, passkey } = await openWithPasskey(t)
    page.user = () => factors.removePasskey(passkey.id)
    await t.rejects(passkeys.stepUp(), { code: 'PASSKEY_UNKNOWN' })
    t.strictSame(page.passkeys, [])

    page.user = async () => {}
    const { passkey: next } = await passkeys.create()
    t.equal(page.passkeys.length, 1)
    await factors.removePasskey(next.id)
    await t.rejects(passkeys.signIn(), { code: 'PASSKEY_UNKNOWN' })
    t.strictSame(page.passkeys, [])
    await t.rejects(passkeys.signIn(), cancelled, 'there is none to offer')
  })

  await t.test('one that is refused otherwise stays, and so does one of an unnamed domain', async (t) => {
    const { browser, passkeys, factors, page, passkey } = await openWithPasskey(t)
    const [kept] = page.passkeys as [SoftwarePasskey]
    kept.flags = flag.up
    await t.rejects(passkeys.signIn(), { code: 'PASSKEY_INVALID' })
    await t.rejects(passkeys.stepUp(), { code: 'PASSKEY_INVALID' })
    t.strictSame(page.passkeys, [kept])

    await factors.removePasskey(passkey.id)
    browser.network = async (deliver, { path }) => {
      const response = await deliver()
      if (!path.endsWith('/options')) return response
      const { options, ...rest } = (await response.json()) as { options: object }
      return Response.json({ ...rest, options: { ...options, rpId: undefined } })
    }
    await t.rejects(passkeys.signIn(), { code: 'PASSKEY_UNKNOWN' })
    t.strictSame(page.signals, [])
    t.strictSame(page.passkeys, [kept])
  })

  await t.test('without a passkey there is no step-up by one', async (t) => {
    const { passkeys, page } = await open(t)
    await t.rejects(passkeys.stepUp(), { code: 'FACTOR_MISSING' })
    t.strictSame(page.ceremonies, [])
  })

  await t.test('a passkey is made with its name, and the next token is of the new level', async (t) => {
    const { passkeys, factors, page, claims, sent } = await open(t)
    t.equal(claims()?.acr, 'aal1')
    const asked = await sent(async () => {
      const { passkey, recoveryCodes } = await passkeys.create({ name: 'Phone' })
      t.match(passkey, { id: page.passkeys[0]?.credentialId, name: 'Phone' })
      t.equal(recoveryCodes?.length, 10)
    })
    t.strictSame(asked, ['factors/passkeys/options', 'factors/passkeys', 'refresh'])
    t.equal(claims()?.acr, 'aal2')
    t.match(await factors.getFactors(), { passkeys: [{ name: 'Phone' }], rpId: 'app.test' })
  })

  await t.test('no dead passkey stays in the authenticator, and one that the server may have does', async (t) => {
    const { browser, passkeys, factors, page } = await open(t)
    page.makePasskey = () => Object.assign(new SoftwarePasskey(origin), { flags: flag.up })
    await t.rejects(passkeys.create(), { code: 'PASSKEY_INVALID' })
    t.strictSame(page.passkeys, [])

    page.makePasskey = () => new SoftwarePasskey(origin)
    browser.network = losing('factors/passkeys')
    await t.rejects(passkeys.create(), { code: 'NETWORK' })
    t.equal(page.passkeys.length, 1)

    browser.network = async (deliver, { path }) => {
      const response = await deliver()
      return path.endsWith('/passkeys') ? new Response('<h1>Bad gateway</h1>', { status: 502 }) : response
    }
    // A second authenticator, which knows nothing of what is in the first.
    const [first] = page.passkeys.splice(0) as [SoftwarePasskey]
    await t.rejects(passkeys.create(), { code: 'ANSWER_INVALID', status: 502 })
    t.equal(page.passkeys.length, 1)

    browser.network = (deliver) => deliver()
    page.passkeys = []
    page.makePasskey = () => first
    await t.rejects(passkeys.create(), { code: 'PASSKEY_EXISTS', status: 409 })
    t.strictSame(page.passkeys, [first])
    t.equal((await factors.getFactors()).passkeys.length, 2, 'those whose responses were lost')
  })

  await t.test(
    'a passkey is made without asking where the browser does that, and nothing fails otherwise',
    async (t) => {
      await t.test('it does', async (t) => {
        const { passkeys, factors, page } = await open(t, { conditionalCreate: true })
        page.user = declines
        t.equal(await passkeys.create({ automatic: true }), undefined, 'the user does not want to')
        page.user = async () => {}
        const made = await passkeys.create({ name: 'Phone', automatic: true })
        t.match(made, { passkey: { name: 'Phone' } })
        t.strictSame(page.ceremonies, ['create conditional', 'create conditional'])
        t.match(await factors.getFactors(), { passkeys: [{ name: 'Phone' }] })
      })
      await t.test('it does not', async (t) => {
        const { passkeys, sent } = await open(t)
        const create = async () => t.equal(await passkeys.create({ automatic: true }), undefined)
        t.strictSame(await sent(create), [])
        t.intercept(globalThis, 'PublicKeyCredential' as keyof typeof globalThis, { value: undefined })
        t.equal(passkeys.isAvailable(), false)
        t.strictSame(await sent(create), [], 'it knows no passkeys at all')
      })
    },
  )

  await t.test('a removal takes the passkey out of the authenticator too, and no other', async (t) => {
    const { browser, passkeys, factors, page, passkey } = await openWithPasskey(t)
    const first = page.passkeys
    page.passkeys = []
    const { passkey: second } = await passkeys.create()
    const another = Object.assign(new SoftwarePasskey(origin), { userHandle: 'c29tZWJvZHkgZWxzZQ' })
    page.passkeys.push(...first, another)
    await passkeys.remove(passkey.id)
    t.strictSame(
      page.passkeys.map(({ credentialId }) => credentialId),
      [second.id, another.credentialId],
    )
    t.match(await factors.getFactors(), { passkeys: [{ id: second.id }] })

    await t.rejects(passkeys.remove('../totp'), { code: 'PATH_INVALID', status: 400 }, 'an id is no path')
    t.match(browser.sent.at(-1), { path: '/api/auth/factors/passkeys/..%2Ftotp' })
  })

  await t.test('a removal stands even if nobody can be told of it', async (t) => {
    await t.test('the server does not say what is left', async (t) => {
      const { browser, passkeys, factors, page, passkey } = await openWithPasskey(t)
      browser.network = losing('factors')
      await passkeys.remove(passkey.id)
      t.strictSame(page.signals, [])
      browser.network = (deliver) => deliver()
      t.match(await factors.getFactors(), { passkeys: [] })
    })
    await t.test('nobody is signed in any more', async (t) => {
      const { browser, client, passkeys, page, passkey } = await openWithPasskey(t)
      browser.network = async (deliver, { path }) => {
        const response = await deliver()
        if (path === '/api/auth/factors') void client.logout()
        return response
      }
      await passkeys.remove(passkey.id)
      t.strictSame(page.signals, [])
    })
    await t.test('the browser knows no passkeys', async (t) => {
      const { passkeys, factors, passkey } = await openWithPasskey(t)
      t.intercept(globalThis, 'PublicKeyCredential' as keyof typeof globalThis, { value: undefined })
      await passkeys.remove(passkey.id)
      t.match(await factors.getFactors(), { passkeys: [] })
    })
  })

  await t.test('factors, by their calls', async (t) => {
    const { browser, factors, passkey, claims } = await openWithPasskey(t)
    t.match(await factors.renamePasskey(passkey.id, { name: 'Laptop' }), { id: passkey.id, name: 'Laptop' })
    t.match(await factors.stepUpOptions(), { methods: ['passkey', 'recovery_code'], options: { rpId: 'app.test' } })
    const { secret, uri, qr } = await factors.startTotp()
    t.match({ uri, qr }, { uri: /^otpauth:/, qr: /^<svg/ })
    await t.rejects(factors.confirmTotp({ code: '000' }), { code: 'CODE_WRONG' })
    const before = claims()
    browser.network = losing('refresh')
    t.match(await factors.confirmTotp({ code: codeOf(secret) }), { recoveryCodes: undefined }, 'it is not the first')
    t.strictSame(claims(), before, 'there is no newer token, which is no reason to fail')
    browser.network = (deliver) => deliver()
    const [{ recoveryCodes }, state] = [await factors.createRecoveryCodes(), await factors.getFactors()]
    t.equal(new Set(recoveryCodes).size, 10)
    t.match(state, { totp: true, passkeys: [{ name: 'Laptop' }], recoveryCodesLeft: 10, rpId: 'app.test' })
    await factors.removeTotp()
    t.match(await factors.getFactors(), { totp: false })
  })
})
