import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { readJws, readObject } from '@sallyport/verify'
import t, { type Test } from 'tap'
import { isSignedBy, toPublicKey } from './jws.ts'
import { publicJwk } from './keys.ts'
import { createServiceClient, type ServiceClientOptions, type ServiceRequest } from './service-client.ts'
import { ServiceClientError } from './service-client-error.ts'

const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const keys = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }).privateKey,
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }).privateKey,
  EdDSA: generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }).privateKey,
}
const privateKey = keys.ES256
const issuer = 'https://issuer.example'
const secret = 'a secret: 100% + ü&='

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => unknown

async function listen(t: Test, handle: Handler) {
  const server = createServer(async (request, response) => handle(request, response, await text(request)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const json = (response: ServerResponse, status: number, body: unknown, headers = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

/** Who a request is by, as the authorization server sees it: the form decoded, or the assertion verified. */
function authenticate({ headers }: IncomingMessage, form: URLSearchParams): string | undefined {
  const [, basic] = /^Basic (.+)$/.exec(headers.authorization ?? '') ?? []
  if (basic !== undefined) {
    const [id = '', given = ''] = Buffer.from(basic, 'base64').toString().split(':')
    const decode = (part: string) => new URLSearchParams(`x=${part}`).get('x') ?? ''
    return decode(given) === secret ? decode(id) : undefined
  }
  if (form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') return undefined
  const message = readJws(form.get('client_assertion') ?? '')
  if (typeof message === 'string') return undefined
  const header = readObject(message.header)
  const claims = readObject(message.claims) as Record<string, unknown>
  const now = Date.now() / 1000
  const isOurs = Object.entries(keys).some(([alg, key]) => {
    const jwk = publicJwk(key)
    const publicKey = toPublicKey(jwk)
    return header?.kid === jwk.kid && publicKey !== undefined && isSignedBy(publicKey, message, alg)
  })
  const isValid =
    isOurs &&
    header?.typ === 'client-authentication+jwt' &&
    claims.aud === issuer &&
    claims.iss === claims.sub &&
    typeof claims.jti === 'string' &&
    (claims.iat as number) <= now &&
    (claims.exp as number) === (claims.iat as number) + 60
  return isValid ? (claims.sub as string) : undefined
}

interface Seen {
  method?: string | undefined
  url?: string | undefined
  authorization?: string | undefined
  body: string
}

/**
 * A gateway with a token endpoint that checks what it gets, and one path that repeats the request. `answer` takes the
 * place of the endpoint's response, `refuse` says which tokens the path does not take.
 */
async function openGateway(t: Test, options: Partial<ServiceClientOptions> = {}) {
  const forms: Record<string, string>[] = []
  const calls: Seen[] = []
  const state = {
    expiresIn: 300 as unknown,
    metadata: 0,
    answer: undefined as Handler | undefined,
    aboutIssuer: ((_request, response) =>
      json(response, 200, { issuer, token_endpoint: 'http://evil.example/' })) as Handler,
    refuse: (_token: string): boolean => false,
  }
  const gateway = await listen(t, (request, response, body) => {
    const { method, url } = request
    if (url === '/.well-known/oauth-authorization-server') {
      state.metadata++
      return state.aboutIssuer(request, response, body)
    }
    if (url === '/oauth/token') {
      const form = new URLSearchParams(body)
      const client = authenticate(request, form)
      forms.push({ ...Object.fromEntries(form), client: client ?? 'nobody' })
      if (state.answer) return state.answer(request, response, body)
      if (client === undefined) return json(response, 401, { error: 'invalid_client', error_description: body })
      const token = { access_token: `token-${forms.length}`, token_type: 'bearer', expires_in: state.expiresIn }
      return json(response, 200, token)
    }
    const { authorization } = request.headers
    calls.push({ method, url, authorization, body })
    if (url?.startsWith('/redirect')) return response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()
    if (url === '/sign-in') return json(response, 401, {})
    if (state.refuse(authorization ?? ''))
      return json(response, 401, {}, { 'www-authenticate': 'Bearer error="invalid_token"' })
    return json(response, 200, { authorization, body })
  })
  const connect = () =>
    createServiceClient({
      tokenEndpoint: `${gateway.origin}/oauth/token`,
      clientId: 'account-1',
      ...(options.clientSecret === undefined && { privateKey }),
      ...options,
    } as ServiceClientOptions)
  return { ...gateway, connect, client: connect(), forms, calls, state }
}

/** Every word of an error, and of what caused it. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  return `${error.message} ${error.stack} ${wordsOf(error.cause)}`
}

t.test('a service calls as itself, with a token that it gets once', async (t) => {
  const { client, forms, calls } = await openGateway(t, { scope: 'a b', audience: 'appointments' })
  const response = await client.fetch('/api/appointments?from=now', { headers: { authorization: 'Basic no' } })
  t.match(await response.json(), { authorization: 'Bearer token-1' })
  await client.fetch(new URL('/other', response.url))
  t.match(calls, [
    { method: 'GET', url: '/api/appointments?from=now' },
    { url: '/other', authorization: 'Bearer token-1' },
  ])
  t.match(forms, [{ grant_type: 'client_credentials', scope: 'a b', audience: 'appointments', client: 'account-1' }])
  t.equal(forms.length, 1)
  t.equal(await client.token(), 'token-1')
})

t.test('what is not asked for is not in the request', async (t) => {
  const { client, forms } = await openGateway(t, { clientSecret: secret })
  await client.token()
  t.strictSame(forms, [{ grant_type: 'client_credentials', client: 'account-1' }])
})

t.test('a key of each kind signs an assertion for the issuer alone, and each has an id of its own', async (t) => {
  for (const [name, privateKey] of Object.entries(keys)) {
    const { client, forms, state } = await openGateway(t, { privateKey })
    state.expiresIn = 0.001
    await client.token().catch(() => {})
    await client.token().catch(() => {})
    t.match(forms, [{ client: 'account-1' }, { client: 'account-1' }], name)
    const ids = forms.map(({ client_assertion: assertion = '' }) => {
      const message = readJws(assertion)
      return typeof message === 'string' ? message : readObject(message.claims)?.jti
    })
    t.equal(new Set(ids).size, 2)
    t.equal(state.metadata, 1, 'the metadata is read once')
  }
})

t.test('an issuer that is given is not looked up', async (t) => {
  const { client, forms, state } = await openGateway(t, { issuer })
  await client.token()
  t.match(forms, [{ client: 'account-1' }])
  t.equal(state.metadata, 0)
})

t.test('metadata that cannot be read is read again later', async (t) => {
  const { client, connect, state, forms } = await openGateway(t)
  const good = state.aboutIssuer
  const bad: Handler[] = [
    (_request, response) => json(response, 200, {}),
    (_request, response) => json(response, 200, { issuer: '' }),
    (_request, response) => json(response, 404, { issuer }),
    (_request, response) => json(response, 503, { issuer }),
    (_request, response) => response.end('<html>'),
    (request) => request.socket.destroy(),
  ]
  for (const handler of bad) {
    state.aboutIssuer = handler
    await t.rejects(connect().token(), { code: 'unreachable' })
  }
  await t.rejects(client.token(), { code: 'unreachable' })
  state.aboutIssuer = good
  await eventually(() => client.token())
  t.match(forms, [{ client: 'account-1' }])
})

t.test('ids and secrets with special characters go through HTTP Basic unchanged', async (t) => {
  for (const clientId of ['a:b', 'ü %+&=', "!'()*~-._"]) {
    const { client, forms } = await openGateway(t, { clientSecret: secret, clientId })
    await client.token()
    t.match(forms, [{ client: clientId }])
  }
})

t.test('a hundred callers share one request', async (t) => {
  const { client, forms, state } = await openGateway(t)
  const tokens = await Promise.all(Array.from({ length: 100 }, () => client.token()))
  t.strictSame(new Set(tokens), new Set(['token-1']))
  t.equal(forms.length, 1)
  t.equal(state.metadata, 1)
})

t.test('one caller who goes takes nobody along', async (t) => {
  const { client, forms } = await openGateway(t)
  const hurry = new AbortController()
  const gone = t.rejects(client.token({ signal: hurry.signal }), { name: 'AbortError' })
  const goneToo = t.rejects(client.fetch('/', { signal: hurry.signal }), { name: 'AbortError' })
  const stays = client.token()
  hurry.abort()
  await gone
  await goneToo
  t.equal(await stays, 'token-1')
  t.equal(forms.length, 1)
})

t.test('a token is renewed ahead of time, and nobody waits for it', async (t) => {
  const { client, forms, state } = await openGateway(t, { clientSecret: secret })
  state.expiresIn = 0.5
  t.equal(await client.token(), 'token-1')
  let release = () => {}
  state.answer = (_request, response) => {
    release = () => json(response, 200, { access_token: 'renewed', token_type: 'Bearer', expires_in: 300 })
  }
  await until(async () => {
    t.equal(await client.token(), 'token-1')
    return forms.length === 2
  })
  release()
  await until(async () => (await client.token()) === 'renewed')
  t.equal(forms.length, 2)
})

t.test('while the endpoint is away it is left alone, and who needs a token hears so at once', async (t) => {
  const { client, forms, state, server, origin } = await openGateway(t)
  state.answer = (request) => request.socket.destroy()
  const error = await client.token().catch((error) => error)
  t.match(error, { name: 'ServiceClientError', code: 'unreachable', message: 'the token endpoint cannot be reached' })
  t.match(error.cause, { name: 'TypeError' })
  const all = await Promise.allSettled(
    Array.from({ length: 1000 }, (_, n) => (n % 2 ? client : client.onBehalfOf(`${n}`, { audience: 'a' })).token()),
  )
  t.ok(
    all.every((one) => one.status === 'rejected' && one.reason === error),
    'all in the same words',
  )
  t.equal(forms.length, 1)
  state.answer = undefined
  await eventually(() => client.token())
  t.equal(forms.length, 2)

  server.closeAllConnections()
  server.close()
  const other = createServiceClient({ tokenEndpoint: `${origin}/oauth/token`, clientId: 'x', clientSecret: secret })
  await t.rejects(other.token(), { code: 'unreachable' })
})

t.test('nobody waits for longer than five seconds', async (t) => {
  const { client, state } = await openGateway(t, { clientSecret: secret })
  state.answer = () => {}
  t.intercept(AbortSignal, 'timeout', {
    value: (ms: number) => {
      t.equal(ms, 5_000)
      const end = new AbortController()
      setTimeout(() => end.abort(new DOMException('in time', 'TimeoutError')), 50)
      return end.signal
    },
  })
  await t.rejects(client.token(), { code: 'unreachable', cause: { name: 'TimeoutError' } })
  const deaf = createServiceClient({
    tokenEndpoint: 'http://gateway.test/oauth/token',
    clientId: 'x',
    clientSecret: secret,
    fetch: () => new Promise(() => {}),
  })
  await t.rejects(deaf.token(), { code: 'unreachable' }, 'also where fetch ignores its signal')
})

const token = { access_token: 'abc', token_type: 'Bearer', expires_in: 300 }

t.test('what is no answer of a token endpoint is none', async (t) => {
  const { connect, state } = await openGateway(t, { clientSecret: secret })
  const respond =
    (body: string, status = 200, headers = {}): Handler =>
    (_request, response) =>
      response.writeHead(status, headers).end(body)
  const bad: Record<string, Handler> = {
    'no JSON': respond('access_token=abc'),
    'cut JSON': respond('{"access_token":"abc","token_type":"Bearer","expires_in":300'),
    nothing: respond(''),
    'no content': respond('', 204),
    null: respond('null'),
    'a list': respond('[1]'),
    huge: respond(JSON.stringify({ ...token, more: 'x'.repeat(70_000) })),
    'without end': (_request, response) => {
      const more = () => response.write('x'.repeat(10_000), (error) => error || setImmediate(more))
      more()
    },
    redirect: respond('', 307, { location: '/elsewhere' }),
    'a redirect with a token': respond(JSON.stringify(token), 302, { location: '/elsewhere' }),
    'too many requests': respond(JSON.stringify({ error: 'slow_down' }), 429),
    outage: respond(JSON.stringify({ error: 'temporarily_unavailable' }), 503),
    'an error without a code': respond('{}', 400),
    'a code that is none': respond(JSON.stringify({ error: `you sent ${secret}` }), 400),
    'a code of another type': respond(JSON.stringify({ error: ['invalid_client'] }), 401),
    'an error in HTML': respond('<html>', 404),
    cut: (request, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('{')
      setImmediate(() => request.socket.destroy())
    },
  }
  const fields: Record<string, unknown[]> = {
    access_token: [undefined, '', 7, 'two words', 'line\nbreak', 'ü', 'x'.repeat(20_000)],
    token_type: [undefined, 'DPoP', 'mac', 'N_A', 7],
    expires_in: [undefined, null, 'NaN', '300', 0, -1],
  }
  for (const [name, values] of Object.entries(fields))
    for (const value of values)
      bad[`${name} ${String(value).slice(0, 20)}`] = respond(JSON.stringify({ ...token, [name]: value }))
  for (const [name, answer] of Object.entries(bad)) {
    state.answer = answer
    const error = await connect()
      .token()
      .catch((error) => error)
    t.ok(error instanceof ServiceClientError && error.code === 'unreachable', name)
    t.notMatch(wordsOf(error), /abc|a secret/, `${name}: nothing of what was sent or read is in the message`)
  }
})

t.test('a lifetime that no token has is one of a day', async (t) => {
  const { client, forms, state } = await openGateway(t, { clientSecret: secret })
  state.answer = (_request, response) => response.end('{"access_token":"abc","token_type":"BEARER","expires_in":1e999}')
  t.equal(await client.token(), 'abc')
  t.equal(await client.token(), 'abc')
  t.equal(forms.length, 1)
})

t.test('a refusal says its code, and nothing of what was sent', async (t) => {
  const wrong = await openGateway(t, { clientSecret: 'other-secret' })
  const error = await wrong.client.token().catch((error) => error)
  t.match(error, { code: 'invalid_client', message: 'the token endpoint refused with invalid_client' })
  t.notMatch(wordsOf(error), /other-secret/)
  const other = generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }).privateKey
  const unknown = await openGateway(t, { privateKey: other })
  await t.rejects(unknown.client.token(), { code: 'invalid_client' })
  await t.rejects(unknown.client.token(), { code: 'invalid_client' })
  t.equal(unknown.forms.length, 1, 'who is not known does not ask at once again')
})

t.test('a token goes to no other origin', async (t) => {
  const { client, calls, origin } = await openGateway(t)
  const elsewhere = await listen(t, (_request, response) => response.end())
  for (const input of [
    elsewhere.origin,
    '//evil.example/',
    'http://evil.example',
    'https://127.0.0.1/',
    '/\\evil.example',
  ])
    await t.rejects(client.fetch(input), { name: 'TypeError', message: /no origin that tokens may be sent to/ }, input)
  t.strictSame(calls, [])
  const wider = await openGateway(t, { origins: [elsewhere.origin] })
  t.equal((await wider.client.fetch(elsewhere.origin)).status, 200)
  await t.rejects(wider.client.fetch('/'), { name: 'TypeError' }, 'what is given is all')
  t.equal(origin === wider.origin, false)
})

t.test('no redirect is followed', async (t) => {
  const { client, calls } = await openGateway(t)
  const response = await client.fetch('/redirect')
  t.equal(response.status, 307)
  t.equal(
    (await client.fetch('/redirect', { redirect: undefined as never })).status,
    307,
    'also if nothing is said of it',
  )
  await t.rejects(client.fetch('/redirect', { redirect: 'error' }), { name: 'TypeError' })
  await t.rejects(client.fetch('/redirect', { redirect: 'follow' as 'error' }), { message: /follows no redirect/ })
  t.equal(calls.length, 3)
})

t.test('a token that was revoked is replaced, and the request sent once more', async (t) => {
  const bodies: [body: RequestInit['body'] | null, read: string | RegExp][] = [
    [undefined, ''],
    [null, ''],
    ['text', 'text'],
    [Buffer.from('bytes'), 'bytes'],
    [new Uint8Array([65]), 'A'],
    [new Uint8Array([65]).buffer, 'A'],
    [new URLSearchParams({ a: 'b' }), 'a=b'],
    [new Blob(['blob']), 'blob'],
    [Object.assign(new FormData(), {}), /--/],
  ]
  for (const [body, read] of bodies) {
    const { client, calls, state } = await openGateway(t)
    state.refuse = (token) => token === 'Bearer token-1'
    const response = await client.fetch('/x', { method: body == null ? 'GET' : 'POST', body: body ?? null })
    t.equal(response.status, 200)
    t.match(calls, [
      { authorization: 'Bearer token-1', body: read },
      { authorization: 'Bearer token-2', body: read },
    ])
    t.equal(calls.length, 2)
  }
})

t.test('a stream is sent once', async (t) => {
  const { client, calls, state } = await openGateway(t)
  state.refuse = () => true
  const init = { method: 'POST', body: new Blob(['stream']).stream(), duplex: 'half' }
  t.equal((await client.fetch('/x', init as ServiceRequest)).status, 401)
  t.equal(calls.length, 1)
})

t.test('whoever refuses every token has two, and whoever says nothing of the token one', async (t) => {
  const { client, calls, forms, state } = await openGateway(t)
  state.refuse = () => true
  t.equal((await client.fetch('/x')).status, 401)
  t.equal(calls.length, 2)
  for (let n = 0; n < 10; n++) t.equal((await client.fetch('/x')).status, 401)
  t.equal(forms.length, 2, 'a token is not asked for with each request')
  t.equal((await client.fetch('/sign-in')).status, 401)
  t.equal(calls.at(-2)?.url, '/x')
})

t.test('a service calls on behalf of its caller, with the caller’s assertion', async (t) => {
  const { client, forms, calls } = await openGateway(t)
  const request = { headers: { 'x-identity-token': 'the-assertion' } }
  const calls1 = client.onBehalfOf(request, { audience: 'appointments', scope: 'appointments:read' })
  t.equal((await calls1.fetch('/api/appointments')).status, 200)
  t.match(forms, [
    {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: 'the-assertion',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      audience: 'appointments',
      scope: 'appointments:read',
      client: 'account-1',
    },
  ])
  t.match(calls, [{ url: '/api/appointments', authorization: 'Bearer token-1' }])
  const again = client.onBehalfOf('the-assertion', { audience: 'appointments', scope: 'appointments:read' })
  t.equal(await again.token(), 'token-1', 'the same assertion has the same token')
  const others = [
    client.onBehalfOf('the-assertion', { audience: 'appointments' }),
    client.onBehalfOf('the-assertion', { audience: 'reports' }),
    client.onBehalfOf('another', { audience: 'appointments' }),
  ]
  const tokens = await Promise.all(others.map((other) => other.token()))
  t.equal(new Set([...tokens, 'token-1']).size, 4, 'others have others')
  t.equal(await client.token(), 'token-5', 'and the service its own')
})

t.test('exchanges at the same time are one', async (t) => {
  const { client, forms } = await openGateway(t)
  const all = Array.from({ length: 100 }, () => client.onBehalfOf('the-assertion', { audience: 'a' }).token())
  t.strictSame(new Set(await Promise.all(all)), new Set(['token-1']))
  t.equal(forms.length, 1)
})

t.test('whoever may not be acted for is refused, and nobody else is', async (t) => {
  const { client, forms, calls, state } = await openGateway(t)
  t.equal(await client.token(), 'token-1')
  state.answer = (_request, response) => json(response, 400, { error: 'invalid_target' })
  const refused = client.onBehalfOf('the-assertion', { audience: 'a' })
  await t.rejects(refused.fetch('/x'), { code: 'invalid_target' })
  await t.rejects(refused.fetch('/x'), { code: 'invalid_target' })
  t.equal(forms.length, 2, 'the same is not asked at once again')
  t.strictSame(calls, [], 'it does not call as itself')
  state.answer = undefined
  t.equal(await client.onBehalfOf('another', { audience: 'a' }).token(), 'token-3')
})

t.test('without an assertion there is nobody to call on behalf of', async (t) => {
  const { client, forms } = await openGateway(t)
  for (const headers of [{}, { 'x-identity-token': '' }, { 'x-identity-token': ['a', 'b'] }])
    t.throws(() => client.onBehalfOf({ headers } as never, { audience: 'a' }), { code: 'invalid_request' })
  t.strictSame(forms, [])
})

t.test('the tokens of so many callers are kept, and no more', async (t) => {
  const { client, forms } = await openGateway(t, { clientSecret: secret })
  const tokenOf = (n: number) => client.onBehalfOf(`assertion-${n}`, { audience: 'a' }).token()
  const first = await tokenOf(0)
  t.equal(await tokenOf(0), first)
  for (let n = 1; n <= 1000; n++) client.onBehalfOf(`assertion-${n}`, { audience: 'a' })
  t.not(await tokenOf(0), first)
  t.equal(forms.length, 2)
})

t.test('options that do not fit together are refused', async (t) => {
  const options = { tokenEndpoint: new URL('http://gateway.test/oauth/token'), clientId: 'x' }
  const create = (more: object) => () => createServiceClient({ ...options, ...more } as ServiceClientOptions)
  t.throws(create({}), { name: 'TypeError', message: /privateKey or clientSecret/ })
  t.throws(create({ privateKey, clientSecret: 'both' }), { name: 'TypeError', message: /one of the two/ })
  t.throws(create({ clientSecret: 'x', tokenEndpoint: '/oauth/token' }), { name: 'TypeError' })
  t.throws(create({ privateKey: 'no key' }))
})

/** Waits for something to become true; the test's own time limit ends it. */
async function until(check: () => Promise<boolean>) {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** The outcome of what fails for a while. */
async function eventually<Result>(attempt: () => Promise<Result>): Promise<void> {
  await until(() =>
    attempt().then(
      () => true,
      () => false,
    ),
  )
}
