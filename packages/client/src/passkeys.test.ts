import t, { type Test } from 'tap'
import { signedIn } from './canned-gateway.ts'
import { factorsOf } from './factors.ts'
import { passkeysOf } from './passkeys.ts'

const bytes = new Uint8Array([1, 2, 3]).buffer
const requestOptions = { challenge: 'AQID', rpId: 'app.test' }
const creationOptions = {
  challenge: 'AQID',
  rp: { id: 'app.test', name: 'App' },
  user: { id: 'AQID', name: 'u@example.com', displayName: 'U' },
  pubKeyCredParams: [],
}
const passkey = { id: 'key-1', name: 'Phone', createdAt: '', lastUsedAt: null, backedUp: true }

interface Behaviour {
  /** What the gateway says to a path, instead of what it says when all goes well. */
  answers?: Record<string, object>
  /** What `navigator.credentials` does, instead of giving a credential. */
  ceremony?: (options: { signal: AbortSignal; mediation?: string }) => unknown
  capabilities?: object
  autofill?: boolean
}

/** A browser with one passkey, and what it was asked to do. */
async function open(t: Test, { answers = {}, ceremony, capabilities = {}, autofill = true }: Behaviour = {}) {
  const ceremonies: (string | undefined)[] = []
  const signals: object[] = []
  const credential = {
    id: 'key-1',
    rawId: bytes,
    type: 'public-key',
    response: { clientDataJSON: bytes, authenticatorData: bytes, signature: bytes, attestationObject: bytes },
    getClientExtensionResults: () => ({}),
  }
  const hold = (kind: string) => async (options: { signal: AbortSignal; mediation?: string }) => {
    ceremonies.push([kind, options.mediation].filter(Boolean).join(' '))
    return ceremony ? ceremony(options) : credential
  }
  const signal = async (news: object) => signals.push(news)
  const PublicKeyCredential = Object.assign(() => {}, {
    isConditionalMediationAvailable: async () => autofill,
    getClientCapabilities: async () => capabilities,
    signalUnknownCredential: signal,
    signalAllAcceptedCredentials: signal,
  })
  const page = {
    navigator: { credentials: { get: hold('get'), create: hold('create') } },
    document: { querySelectorAll: () => [{}] },
    PublicKeyCredential,
  }
  for (const [name, value] of Object.entries(page)) t.intercept(globalThis, name as 'document', { value })
  const given: Record<string, object> = {
    'login/passkey/options': { challengeId: 'c1', options: requestOptions },
    'step-up/options': { methods: ['passkey'], challengeId: 'c2', options: requestOptions },
    'factors/passkeys/options': { challengeId: 'c3', options: creationOptions },
    'factors/passkeys': { passkey },
    factors: { totp: false, passkeys: [passkey], recoveryCodesLeft: 10, rpId: 'app.test' },
    ...answers,
  }
  const { client, requests } = await signedIn(({ path }) => given[path])
  return {
    client,
    passkeys: passkeysOf(client),
    ceremonies,
    signals,
    sent: () => requests.map(({ path }) => path),
    bodyOf: (path: string) => requests.find((request) => request.path === path)?.body,
  }
}

const dismiss = (name = 'NotAllowedError') => {
  throw new DOMException('no', name)
}

t.test('a passkey signs in, is a second factor, and steps up', async (t) => {
  const { passkeys, ceremonies, bodyOf, signals } = await open(t)
  t.equal(passkeys.isAvailable(), true)
  t.equal(await passkeys.signIn(), true)
  t.match(bodyOf('login/passkey'), { challengeId: 'c1', credential: { id: 'key-1', rawId: 'AQID' } })
  t.match(await passkeys.secondFactor(requestOptions), { id: 'key-1', type: 'public-key' })
  await passkeys.stepUp()
  t.match(bodyOf('step-up'), { challengeId: 'c2', credential: { id: 'key-1' } })
  t.strictSame(ceremonies, ['get', 'get', 'get'])
  t.strictSame(signals, [])
})

t.test('autofill offers passkeys where the browser can, and nothing is asked where it cannot', async (t) => {
  const able = await open(t)
  t.equal(await able.passkeys.signIn({ autofill: true }), true)
  t.strictSame(able.ceremonies, ['get conditional'])
  const unable = await open(t, { autofill: false })
  t.equal(await unable.passkeys.signIn({ autofill: true }), false)
  t.strictSame(unable.sent(), [])
})

t.test('a ceremony ends the one before, also one that has not begun yet', async (t) => {
  const pending = ({ signal, mediation }: { signal: AbortSignal; mediation?: string }) =>
    mediation
      ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))))
      : dismiss()
  const { passkeys, ceremonies } = await open(t, { ceremony: pending })
  const [early, late] = [passkeys.signIn({ autofill: true }), passkeys.signIn({ autofill: true })]
  await t.rejects(early, { code: 'PASSKEY_CANCELLED' })
  while (ceremonies.length === 0) await new Promise(setImmediate)
  const ended = t.rejects(late, { code: 'PASSKEY_CANCELLED' })
  await t.rejects(passkeys.secondFactor(requestOptions), { code: 'PASSKEY_CANCELLED' })
  await ended
  t.strictSame(ceremonies, ['get conditional', 'get'])
})

t.test('who leaves the page ends its own ceremony, and no other', async (t) => {
  const pending = ({ signal }: { signal: AbortSignal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))))
  const { passkeys, ceremonies } = await open(t, { ceremony: pending })
  const leaving = new AbortController()
  const offered = passkeys.signIn({ autofill: true, signal: leaving.signal })
  while (ceremonies.length === 0) await new Promise(setImmediate)
  leaving.abort()
  await t.rejects(offered, { code: 'PASSKEY_CANCELLED' })

  t.equal(await passkeys.signIn({ autofill: true, signal: leaving.signal }), false, 'it has left already')

  const early = new AbortController()
  const notYet = passkeys.signIn({ signal: early.signal })
  early.abort()
  await t.rejects(notYet, { code: 'PASSKEY_CANCELLED' })
  t.equal(ceremonies.length, 1)

  const late = new AbortController()
  const before = t.rejects(passkeys.signIn({ signal: late.signal }), { code: 'PASSKEY_CANCELLED' })
  const after = passkeys.secondFactor(requestOptions)
  late.abort()
  await before
  t.equal(await Promise.race([after, 'it goes on']), 'it goes on')
})

t.test('what the browser says is an AuthError', async (t) => {
  const cases = {
    NotAllowedError: 'PASSKEY_CANCELLED',
    AbortError: 'PASSKEY_CANCELLED',
    InvalidStateError: 'PASSKEY_EXISTS',
    UnknownError: 'PASSKEY_FAILED',
  }
  for (const [name, code] of Object.entries(cases))
    await t.test(name, async (t) => {
      const { passkeys, sent } = await open(t, { ceremony: () => dismiss(name) })
      await t.rejects(passkeys.create(), { name: 'AuthError', code })
      t.strictSame(sent(), ['factors/passkeys/options'])
    })
})

t.test('a passkey that the server does not know is not offered again', async (t) => {
  const unknown = { status: 403, code: 'PASSKEY_UNKNOWN' }
  const { passkeys, signals } = await open(t, { answers: { 'login/passkey': unknown, 'step-up': unknown } })
  await t.rejects(passkeys.signIn(), { code: 'PASSKEY_UNKNOWN' })
  await t.rejects(passkeys.stepUp(), { code: 'PASSKEY_UNKNOWN' })
  const signal = { rpId: 'app.test', credentialId: 'key-1' }
  t.strictSame(signals, [signal, signal])
})

t.test('one that is refused otherwise stays, and so does one of an unnamed domain', async (t) => {
  const invalid = await open(t, { answers: { 'login/passkey': { status: 403, code: 'PASSKEY_INVALID' } } })
  await t.rejects(invalid.passkeys.signIn(), { code: 'PASSKEY_INVALID' })
  t.strictSame(invalid.signals, [])
  const options = { challengeId: 'c1', options: { challenge: 'AQID' } }
  const unnamed = await open(t, {
    answers: { 'login/passkey/options': options, 'login/passkey': { status: 403, code: 'PASSKEY_UNKNOWN' } },
  })
  await t.rejects(unnamed.passkeys.signIn(), { code: 'PASSKEY_UNKNOWN' })
  t.strictSame(unnamed.signals, [])
})

t.test('without a passkey there is no step-up by one', async (t) => {
  const { passkeys, ceremonies } = await open(t, { answers: { 'step-up/options': { methods: ['password'] } } })
  await t.rejects(passkeys.stepUp(), { code: 'FACTOR_MISSING' })
  t.strictSame(ceremonies, [])
})

t.test('a passkey is made with its name, and the next token is of the new level', async (t) => {
  const { passkeys, bodyOf, sent } = await open(t, {
    answers: { 'factors/passkeys': { passkey, recoveryCodes: ['a'] } },
  })
  t.match(await passkeys.create({ name: 'Phone' }), { passkey, recoveryCodes: ['a'] })
  t.match(bodyOf('factors/passkeys'), { challengeId: 'c3', name: 'Phone', credential: { id: 'key-1' } })
  t.strictSame(sent(), ['factors/passkeys/options', 'factors/passkeys', 'refresh'])
})

t.test('no dead passkey stays in the authenticator', async (t) => {
  const signalled = async (answer: { status: number; code: string }) => {
    const { passkeys, signals } = await open(t, { answers: { 'factors/passkeys': answer } })
    await t.rejects(passkeys.create(), answer)
    return signals.length
  }
  t.equal(await signalled({ status: 403, code: 'PASSKEY_INVALID' }), 1)
  t.equal(await signalled({ status: 409, code: 'PASSKEY_EXISTS' }), 0, 'the server has it')
  t.equal(await signalled({ status: 503, code: 'UNAVAILABLE' }), 0, 'the server may have it')
})

t.test('a passkey is made without asking where the browser does that, and nothing fails otherwise', async (t) => {
  const capabilities = { conditionalCreate: true }
  const able = await open(t, { capabilities })
  t.match(await able.passkeys.create({ automatic: true }), { passkey })
  t.strictSame(able.ceremonies, ['create conditional'])
  const unable = await open(t)
  t.equal(await unable.passkeys.create({ automatic: true }), undefined)
  t.strictSame(unable.sent(), [])
  const unwilling = await open(t, { capabilities, ceremony: () => dismiss() })
  t.equal(await unwilling.passkeys.create({ automatic: true }), undefined)
  t.intercept(globalThis, 'PublicKeyCredential', { value: undefined })
  t.equal(unable.passkeys.isAvailable(), false)
  t.equal(await unable.passkeys.create({ automatic: true }), undefined)
})

t.test('a removal takes the passkey out of the authenticator too', async (t) => {
  const { passkeys, signals, sent } = await open(t)
  await passkeys.remove('key/2')
  t.strictSame(sent(), ['factors/passkeys/key%2F2', 'factors'])
  const userId = Buffer.from('user-1').toString('base64url')
  t.strictSame(signals, [{ rpId: 'app.test', userId, allAcceptedCredentialIds: ['key-1'] }])
})

t.test('a removal stands even if nobody can be told of it', async (t) => {
  const unsure = await open(t, { answers: { factors: { status: 503, code: 'UNAVAILABLE' } } })
  await unsure.passkeys.remove('key-1')
  t.strictSame(unsure.signals, [])
  const left = await open(t)
  const removal = left.passkeys.remove('key-1')
  void left.client.logout()
  await removal
  t.strictSame(left.signals, [], 'nobody is signed in any more')
  const without = await open(t)
  t.intercept(globalThis, 'PublicKeyCredential', { value: undefined })
  await without.passkeys.remove('key-1')
})

t.test('factors, by their calls', async (t) => {
  const { client, sent } = await open(t, { answers: { refresh: { status: 503, code: 'UNAVAILABLE' } } })
  const factors = factorsOf(client)
  await factors.getFactors()
  await factors.startTotp()
  await factors.confirmTotp({ code: '123456' })
  await factors.removeTotp()
  await factors.renamePasskey('key-1', { name: 'Laptop' })
  await factors.createRecoveryCodes()
  t.strictSame(sent(), [
    'factors',
    'factors/totp',
    'factors/totp/confirm',
    'refresh',
    'factors/totp',
    'factors/passkeys/key-1',
    'factors/recovery-codes',
  ])
})
