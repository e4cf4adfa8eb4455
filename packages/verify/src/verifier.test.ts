import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { isStillValid, type VerifiedToken } from './access-token.ts'
import type { Algorithm } from './algorithm.ts'
import type { VerifierOptions } from './options.ts'
import type { Problem } from './problem.ts'
import { makeKeyPair, publicJwk, signJwt } from './test-keys.ts'
import { replaceGlobal, serve, stopClock } from './test-server.ts'
import { createVerifier } from './verifier.ts'

const own = makeKeyPair()
const theirs = makeKeyPair('EdDSA')
const now = () => Math.floor(Date.now() / 1000)

/** A token of Sallyport's own issuer, but for what is to be other about it. */
const token = (more: object = {}, head: object = {}, { privateKey } = own, algorithm: Algorithm = 'ES256') =>
  signJwt(
    algorithm,
    privateKey,
    { alg: algorithm, typ: 'at+jwt', kid: 'key-1', ...head },
    {
      iss: 'https://issuer.test',
      aud: 'https://api.test',
      sub: 'user-1',
      client_id: 'web',
      iat: now(),
      exp: now() + 600,
      jti: 'token-1',
      sid: 'session-1',
      email: 'someone@example.com',
      role: 'doctor',
      roles: ['doctor'],
      ...more,
    },
  )
const doctor = {
  caller: 'user',
  userId: 'user-1',
  email: 'someone@example.com',
  role: 'doctor',
  roles: ['doctor'],
  sessionId: 'session-1',
}

/** The same of another, whose key has the same id. */
const foreignToken = (more: object = {}, key = theirs) =>
  token({ iss: 'https://login.test', aud: 'orders', scope: 'read', ...more }, { typ: undefined }, key, 'EdDSA')

/** A verifier with the keys of both, and a way to exchange them. */
async function open(t: Test, more: Partial<VerifierOptions> = {}) {
  const keys = {
    '/own': [{ ...publicJwk(own.publicKey), kid: 'key-1' }],
    '/theirs': [{ ...publicJwk(theirs.publicKey), kid: 'key-1' }],
  } as Record<string, object[]>
  const state = { keys, fetches: 0, status: undefined as number | undefined, lines: [] as string[], at: '' }
  const url = await serve(t, (request, response) => {
    state.fetches += 1
    if (state.status) return response.writeHead(state.status).end()
    const found = keys[request.url as string]
    response.end(JSON.stringify(found ? { keys: found } : { issuer: 'https://login.test', jwks_uri: `${url}/theirs` }))
  })
  state.at = url
  const verifier = createVerifier({
    issuer: 'https://issuer.test',
    audience: 'https://api.test',
    jwks: `${url}/own`,
    issuers: [{ issuer: 'https://login.test', audience: 'orders', discovery: `${url}/metadata`, types: ['JWT'] }],
    onUnavailable: ({ message }) => state.lines.push(message),
    ...more,
  })
  t.teardown(() => verifier.close())
  /** The identity, or the code of the refusal. */
  const outcome = (value: string, audience?: string) =>
    verifier.verify(value, audience).catch(({ code }: { code: string }) => code)
  return Object.assign(state, { verifier, outcome })
}

t.test('a token says whose it is, by the rules of its issuer', async (t) => {
  const { verifier, outcome } = await open(t)
  await verifier.ready()
  t.strictSame(await outcome(token()), doctor)
  t.strictSame(await outcome(token()), doctor)
  t.strictSame(await outcome(foreignToken()), { ...doctor, issuer: 'https://login.test', scopes: ['read'] })
  t.match(await outcome(foreignToken({ jti: 7 })), { userId: 'user-1' }, 'others need not name a token')
  t.equal(await outcome(foreignToken({}, makeKeyPair('EdDSA'))), 'TOKEN_INVALID')
  t.equal(await outcome(token({ iss: 'https://login.test' })), 'TOKEN_INVALID', 'not by the key of another')
  t.equal(await outcome(foreignToken({ iss: 'https://issuer.test' })), 'TOKEN_INVALID')
  t.equal(await outcome(token({ iss: 'https://evil.test' })), 'TOKEN_INVALID')
})

t.test('a token for some routes alone is good there, also once it is known', async (t) => {
  const { outcome } = await open(t)
  const limited = token({ aud: ['invoices', 'orders'] })
  for (let round = 0; round < 2; round++) {
    t.strictSame(await outcome(limited, 'orders'), doctor)
    t.equal(await outcome(limited, 'reports'), 'TOKEN_INVALID')
    t.equal(await outcome(limited), 'TOKEN_INVALID')
  }
  t.equal(await outcome(foreignToken({ aud: 'invoices' }), 'invoices'), 'TOKEN_INVALID', 'only of our own issuer')
})

t.test('what is no access token is refused', async (t) => {
  const { outcome } = await open(t)
  const text = (claims: object) => JSON.stringify(claims)
  const wrong: Record<string, string> = {
    nothing: '',
    'a word': 'nonsense',
    'too long': token({ note: 'x'.repeat(9_000) }),
    'too long for one of ours': token({ note: 'x'.repeat(4_000) }),
    'a header that is none': signJwt('ES256', own.privateKey, '[]', {}),
    'a header without a key': token({}, { kid: undefined }),
    'a type that is no text': token({}, { typ: 7 }),
    'claims that are none': signJwt('ES256', own.privateKey, { alg: 'ES256', typ: 'at+jwt', kid: 'key-1' }, '7'),
    'no issuer': token({ iss: ['https://issuer.test'] }),
    'another type': token({}, { typ: 'JWT' }),
    'a header that says more': token({}, { jku: 'https://evil.test' }),
    'another key': token({}, { kid: 'key-2' }),
    'another algorithm': token({}, { alg: 'ES384' }),
    'another signature': token({}, {}, makeKeyPair()),
    'a claim twice': signJwt(
      'ES256',
      own.privateKey,
      { alg: 'ES256', typ: 'at+jwt', kid: 'key-1' },
      `{"iss":"https://issuer.test","iss":"https://issuer.test","x":${text({})}}`,
    ),
    'an audience that is none': token({ aud: 7 }),
    'another audience': token({ aud: 'invoices' }),
    'no time': token({ iat: 'now' }),
    'not yet': token({ nbf: now() + 60 }),
    'of the future': token({ iat: now() + 420 }),
    'proved in the future': token({ auth_time: now() + 420 }),
    'no identity': token({ roles: [] }),
  }
  for (const [name, value] of Object.entries(wrong)) t.equal(await outcome(value), 'TOKEN_INVALID', name)
  t.equal(await outcome(token({ iat: now() - 60, exp: now() })), 'TOKEN_EXPIRED')
  // What a header says is kept, of as many as any client can make up.
  for (let n = 0; n < 120; n++) t.equal(await outcome(token({}, { kid: `key-${n + 2}` })), 'TOKEN_INVALID')
  t.strictSame(await outcome(token({ nbf: now() + 20 })), doctor, 'clocks may differ')
})

t.test('why a token is refused names the claim, what it has and what is wanted, for the log alone', async (t) => {
  const settings = { issuer: 'https://login.test', audience: ['orders', 'api'], types: ['JWT'] }
  const require = { token_use: 'access' }
  const { verifier, outcome, at } = await open(t)
  const strict = await open(t, { issuers: [{ ...settings, jwks: `${at}/theirs`, require }] })
  const place = { audience: 'client_id', subject: ['user', 'id'] }
  const placed = await open(t, { issuers: [{ ...settings, jwks: `${at}/theirs`, claims: place }] })
  const cases: [typeof verifier, string, string | RegExp][] = [
    [verifier, token({ iss: 'https://evil.test' }), 'iss is "https://evil.test"; of no issuer that is known here'],
    [verifier, token({ iss: undefined }), 'iss is missing; of no issuer that is known here'],
    [verifier, token({}, { typ: undefined }), 'typ is missing; wanted "at+jwt"'],
    [verifier, token({}, { typ: 'rt+jwt\n' }), 'typ is "rt+jwt?"; wanted "at+jwt"'],
    [verifier, token({}, { jku: 'https://evil.test' }), 'a header with "jku"'],
    [verifier, token({}, { kid: 'key-2' }), 'kid is "key-2"; of no key of the issuer'],
    [verifier, token({}, { alg: 'RS256' }), 'alg is "RS256"; wanted "ES256"'],
    [verifier, token({}, {}, makeKeyPair()), 'not signed by this key'],
    [verifier, token({ aud: 7 }), 'aud is no list of texts; wanted "https://api.test"'],
    [verifier, token({ aud: 'invoices' }), 'aud is "invoices"; wanted "https://api.test"'],
    [strict.verifier, foreignToken({ aud: ['account', 'x'] }), 'aud is "account", "x"; wanted "orders", "api"'],
    [strict.verifier, foreignToken({ token_use: 'id' }), 'token_use is "id"; wanted "access"'],
    [strict.verifier, foreignToken(), 'token_use is missing; wanted "access"'],
    [placed.verifier, foreignToken(), 'client_id is "web"; wanted "orders", "api"'],
    [placed.verifier, foreignToken({ client_id: 'api' }), 'user.id is no text'],
    [verifier, foreignToken({ sub: 'a b' }), 'wrong claims'],
    [verifier, token({ iss: 'x'.repeat(3_000) }), /^iss is "x{80}\.\.\."; of no issuer/],
  ]
  for (const [one, value, cause] of cases) {
    const error = await one.verify(value).catch((error: Problem) => error)
    t.match(error, { code: 'TOKEN_INVALID', cause }, String(cause))
    t.notMatch(JSON.stringify((error as Problem).body()), 'wanted', 'the client is told nothing of it')
  }
  t.match(await outcome(token({ aud: ['invoices', 'a'] }), 'invoices'), doctor)
  const elsewhere = verifier.verify(token({ aud: 'invoices' }), 'orders')
  await t.rejects(elsewhere, { cause: 'aud is "invoices"; wanted "orders", "https://api.test"' })
})

t.test('a token that is known ends when it expires, and with its key', async (t) => {
  const pass = stopClock(t)
  const { keys, outcome } = await open(t, { maxAge: 60 })
  const [short, long] = [token({ exp: now() + 30 }), token()]
  t.strictSame([await outcome(short), await outcome(long)], [doctor, doctor])
  pass(29_000)
  t.strictSame(await outcome(short), doctor)
  pass(1_000)
  t.equal(await outcome(short), 'TOKEN_EXPIRED')
  keys['/own'] = [{ ...publicJwk(makeKeyPair().publicKey), kid: 'key-2' }]
  t.strictSame(await outcome(long), doctor)
  pass(30_000)
  t.equal(await outcome(long), 'TOKEN_INVALID')
})

t.test('however many come, each is read, and those that were read before too', async (t) => {
  const { outcome } = await open(t)
  const first = foreignToken({ sub: 'first' })
  t.match(await outcome(first), { userId: 'first' })
  const all = Array.from({ length: 10_001 }, (_, index) => foreignToken({ sub: `user-${index}` }))
  const found = await Promise.all(all.map((one) => outcome(one)))
  t.ok(found.every((one, index) => typeof one === 'object' && one.userId === `user-${index}`))
  t.match(await outcome(first), { userId: 'first' })
})

t.test('the Authorization of a request holds one bearer token', async (t) => {
  const { verifier } = await open(t)
  const outcome = (value: string | null | undefined) =>
    verifier
      .authenticate(value)
      .catch(({ statusCode, code, headers }) => [statusCode, code, headers['www-authenticate']])
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer  '])
    t.strictSame(await outcome(`${scheme} ${token()}`), doctor, scheme)
  for (const none of [null, undefined]) t.strictSame(await outcome(none), [401, 'TOKEN_MISSING', 'Bearer'])
  for (const wrong of [
    '',
    'Bearer',
    'Bearer ',
    token(),
    `Basic ${token()}`,
    `BearerX ${token()}`,
    `Bearer\t${token()}`,
    `Bearer ${token()} `,
    `Bearer ${token()}, Bearer ${token()}`,
    `Bearer ${token()},${token()}`,
    `Bearer Bearer ${token()}`,
  ])
    t.strictSame(await outcome(wrong), [401, 'TOKEN_INVALID', 'Bearer error="invalid_token"'], wrong.slice(0, 12))
  await t.rejects(verifier.authenticate(`Bearer ${token({ aud: 'orders' })}`))
  t.strictSame(await verifier.authenticate(`Bearer ${token({ aud: 'orders' })}`, 'orders'), doctor)
})

t.test('while keys could not be fetched, it is not known whether a token is good', async (t) => {
  const state = await open(t)
  state.status = 500
  await t.rejects(state.verifier.ready(), { statusCode: 503, code: 'UNAVAILABLE' })
  await t.rejects(state.verifier.verify(token()), { code: 'UNAVAILABLE', headers: { 'retry-after': '1' } })
  state.status = undefined
  await state.verifier.ready()
  t.strictSame(await state.outcome(token()), doctor)
  state.verifier.close()
  t.equal(await state.outcome(token()), 'TOKEN_INVALID', 'and after its end it knows of no key')
})

t.test('a token ends with what it belongs to, where the stream is followed', async (t) => {
  let stream: ServerResponse | undefined
  const url = await serve(t, (request, response) => {
    t.equal(request.headers.authorization, 'Bearer hush')
    stream = response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('event: current\ndata: {"at":5}\n\n')
  })
  const { verifier, outcome } = await open(t, { revocations: { url, secret: 'hush' } })
  const until = (code: string, value: string) =>
    (async () => {
      const deadline = Date.now() + 10_000
      while ((await outcome(value)) !== code && Date.now() < deadline) await new Promise((done) => setTimeout(done, 5))
      t.equal(await outcome(value), code)
    })()
  t.strictSame(await outcome(token()), doctor)
  while (!stream) await new Promise((done) => setTimeout(done, 5))
  const send = (data: object) =>
    stream?.write(`event: revoked\ndata: ${JSON.stringify({ ...data, until: now() + 900 })}\n\n`)
  send({ session: 'session-1', reason: 'logout' })
  send({ user: 'user-2', roles: ['patient'] })
  await until('SESSION_ENDED', token())
  await t.rejects(verifier.verify(token()), { code: 'SESSION_ENDED', options: { members: { reason: 'logout' } } })
  await until('TOKEN_STALE', token({ sub: 'user-2', sid: 'session-2' }))
  t.match(await outcome(foreignToken()), { userId: 'user-1' }, 'tokens of others end when they expire')

  const strict = await open(t, { revocations: { url: 'http://127.0.0.1:1/', failClosed: true } })
  t.equal(await strict.outcome(token()), 'UNAVAILABLE')
  t.match(await strict.outcome(foreignToken()), { userId: 'user-1' })
})

t.test('options that say nothing, or two things, are errors at once', async (t) => {
  const us = { issuer: 'https://issuer.test', audience: 'https://api.test', jwks: 'https://issuer.test/keys' }
  const them = { issuer: 'https://login.test', audience: 'orders' }
  const wrong: [object, RegExp][] = [
    [{}, /set issuer, audience and jwks, or issuers/],
    [{ issuers: [] }, /set issuer, audience and jwks, or issuers/],
    [{ issuer: us.issuer, audience: us.audience }, /go together; set all three/],
    [{ ...us, audience: '' }, /go together; set all three/],
    [{ ...us, issuer: '' }, /go together; set all three/],
    [{ issuer: us.issuer, issuers: [them] }, /go together; set all three/],
    [{ audience: us.audience, issuers: [them] }, /go together; set all three/],
    [{ jwks: us.jwks, issuers: [them] }, /go together; set all three/],
    [{ ...us, jwks: '/keys' }, /"\/keys" is no address/],
    [{ ...us, issuers: [{ ...them, issuer: us.issuer }] }, /is there twice; keep one/],
    [{ issuers: [them, them] }, /is there twice; keep one/],
    [{ issuers: [{ ...them, issuer: 'login' }] }, /"login\/.well-known\/openid-configuration" is no address/],
    [{ issuers: [{ ...them, jwks: 'keys' }] }, /"keys" is no address/],
    [{ ...us, jwks: 'https://user:hush@login.test/keys' }, /^"https:\/\/\.\.\.@login\.test\/keys" is no address/],
    [{ ...us, jwks: 'ftp://login.test/keys' }, /is no address/],
    [{ issuers: [{ ...them, issuer: '' }] }, /an issuer and an audience; set both/],
    [{ issuers: [{ ...them, audience: [] }] }, /an issuer and an audience; set both/],
    [{ issuers: [{ issuer: them.issuer }] }, /an issuer and an audience; set both/],
    [{ issuers: [{ ...them, roleMap: { a: 'B' } }] }, /cannot be a role/],
    [{ issuers: [them], revocations: { url: 'https://issuer.test/' } }, /are of Sallyport's auth service/],
    [{ ...us, revocations: {} }, /"undefined" is no address/],
  ]
  for (const [options, message] of wrong)
    t.throws(() => createVerifier(options as VerifierOptions), { message }, JSON.stringify(options))
  for (const options of [
    us,
    { issuers: [them] },
    { ...us, issuers: [them] },
    { issuers: [{ ...them, jwks: us.jwks }] },
  ])
    createVerifier(options).close()
})

t.test('what cannot be reached is reported once, until it was back or has another reason', async (t) => {
  const pass = stopClock(t)
  const state = await open(t, { maxAge: 60 })
  const ask = async (status: number | undefined) => {
    state.status = status
    pass(61_000)
    await state.outcome(token())
    return state.lines.splice(0)
  }
  t.match(await ask(500), [/^the keys of https:\/\/issuer.test cannot be fetched: http:.*\/own answered 500$/])
  t.strictSame(await ask(500), [])
  t.match(await ask(403), [/answered 403$/])
  t.strictSame(await ask(undefined), [])
  t.match(await ask(403), [/answered 403$/])
})

t.test('a stream that refuses the secret is reported, on the console where nothing else is said', async (t) => {
  const lines: string[] = []
  replaceGlobal(t, 'console', { ...console, warn: (line: string) => lines.push(line) })
  let requests = 0
  const url = await serve(t, (_request, response) => {
    requests += 1
    response.writeHead(401).end()
  })
  const us = { issuer: 'https://issuer.test', audience: 'https://api.test', jwks: 'https://issuer.test/keys' }
  const verifier = createVerifier({ ...us, revocations: { url, secret: 'wrong' } })
  t.teardown(() => verifier.close())
  while (requests < 3) await new Promise((done) => setTimeout(done, 5))
  t.match(lines, [/^@sallyport\/verify: the revocation stream is lost, .*answered 401$/])
  t.equal(lines.length, 1)
})

t.test('a report that throws ends neither the request nor the stream', async (t) => {
  const thrown: string[] = []
  const queue = queueMicrotask
  replaceGlobal(t, 'queueMicrotask', (callback: () => void) =>
    queue(() => {
      try {
        callback()
      } catch (error) {
        thrown.push((error as Error).message)
      }
    }),
  )
  let requests = 0
  const url = await serve(t, (_request, response) => {
    requests += 1
    response.writeHead(401).end()
  })
  const onUnavailable = () => {
    throw new Error('of the service')
  }
  const state = await open(t, { revocations: { url, secret: 'wrong' }, onUnavailable })
  state.status = 500
  t.equal(await state.outcome(token()), 'UNAVAILABLE')
  while (requests < 2) await new Promise((done) => setTimeout(done, 5))
  t.strictSame(thrown, ['of the service', 'of the service'])
})

t.test('a token is still valid until it expires, or its key is gone', async (t) => {
  const issuer = { keySet: { holds: (kid: string) => kid === 'key-1' } }
  const valid = (more: object) =>
    isStillValid({ issuer, keyId: 'key-1', expiresAt: now() + 5, ...more } as unknown as VerifiedToken)
  t.strictSame([valid({}), valid({ keyId: 'key-2' }), valid({ expiresAt: now() - 1 })], [true, false, false])
})
