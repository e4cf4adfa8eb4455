import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { routesFile } from '@sallyport/bench/settings'
import { apiKeyId, makeApiKey } from '@sallyport/identity'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { parse } from 'yaml'
import { Issuer, listen, openGateway, Upstream } from '../support/edge.ts'
import { claimsOf, eventually } from '../support/system.ts'

/** A route as the file has it. */
interface Entry {
  prefix: string
  access: string
  audience: string
  callers?: string[]
  websocket?: boolean
}

/** What a token of a service account says; without an address, and of itself without a role. */
const machine = (id: string, claims: object = {}) => ({
  sub: `client:${id}`,
  client_id: id,
  sid: `credential-of-${id}`,
  scope: '',
  email: undefined,
  role: undefined,
  roles: [],
  ...claims,
})

/** The part of the auth service that gateways ask, with keys that the test registers. */
class Auth {
  readonly issuer = new Issuer()
  /** The claims of each API key. */
  readonly keys = new Map<string, Record<string, unknown>>()
  readonly secret = 'what gateways present'
  calls = 0
  isAway = false
  url = ''
  readonly #streams = new Set<ServerResponse>()

  async serve(t: Test): Promise<this> {
    const server = createServer(async (request, response) => {
      const isGateway = request.headers.authorization === `Bearer ${this.secret}`
      if (!isGateway) return response.writeHead(401).end('{"code":"GATEWAY_ONLY"}')
      if (request.url === '/internal/revocations') {
        this.#streams.add(response.writeHead(200, { 'content-type': 'text/event-stream' }))
        return response.write('event: current\ndata: {}\n\n')
      }
      let body = ''
      for await (const chunk of request) body += chunk
      this.calls += 1
      const claims = this.keys.get(JSON.parse(body).key)
      if (this.isAway) return response.writeHead(503).end('{"code":"UNAVAILABLE"}')
      if (!claims) return response.writeHead(401).end('{"code":"API_KEY_INVALID"}')
      return response.end(JSON.stringify({ accessToken: this.issuer.token(claims) }))
    })
    this.url = await listen(t, server)
    return this
  }

  get settings() {
    return {
      REVOCATIONS_URL: `${this.url}/internal/revocations`,
      API_KEYS_URL: `${this.url}/internal/api-keys`,
      REVOCATIONS_SECRET: this.secret,
    }
  }

  /** A new API key of a service account. */
  apiKey(id: string, claims: object = {}): string {
    const sid = randomUUID()
    const key = makeApiKey(sid)
    this.keys.set(key, machine(id, { sid, ...claims }))
    return key
  }

  revoke(revocation: object): void {
    for (const stream of this.#streams)
      stream.write(`event: revoked\ndata: ${JSON.stringify({ holds: 900, ...revocation })}\n\n`)
  }

  /** Tokens of every kind that is a service account's own. */
  tokens(claims: object = {}): Record<string, string> {
    const act = { sub: 'client:bot', sid: 'credential-of-bot', grant: 'exchange-1' }
    return {
      'a token for a secret or a key': this.issuer.token(machine('reports', claims)),
      'an API key': this.apiKey('reports', claims),
      'a token for acting for a service account': this.issuer.token({
        ...machine('reports', claims),
        client_id: 'bot',
        act,
      }),
    }
  }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

async function get(url: string, token: string) {
  const response = await fetch(url, { headers: bearer(token) })
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  const body: any = await response.json().catch(() => undefined)
  return { status: response.status, code: body?.code, challenge: response.headers.get('www-authenticate'), body }
}

t.test('a service account reaches no route that does not name service accounts', async (t) => {
  const auth = await new Auth().serve(t)
  const api = await new Upstream().serve(t)
  const { routes }: { routes: Entry[] } = parse(readFileSync(routesFile, 'utf8'))
  const upstreams = { AUTH_URL: api.url, APPOINTMENTS_URL: api.url, NOTIFICATIONS_URL: api.url }
  const { gateway } = await openGateway(t, routes, { ...auth.settings, ...upstreams }, auth.issuer)
  const closed = routes.filter(({ access, callers }) => access !== 'public' && !callers?.includes('client'))
  t.ok(closed.length >= 3)
  t.notOk(
    routes.some(({ audience, callers }) => audience === 'auth' && callers),
    'those of auth are for people alone',
  )
  const rights = [{}, { role: 'admin', roles: ['admin', 'doctor', 'nurse'], scope: 'appointments:read admin' }]
  for (const [what, token] of rights.flatMap((claims) => Object.entries(auth.tokens(claims))))
    for (const { prefix, websocket } of closed) {
      t.match(await get(gateway + prefix, token), { status: 403, code: 'CALLER_REFUSED' }, `${what} at ${prefix}`)
      if (!websocket) continue
      const socket = new WebSocket(gateway.replace('http', 'ws') + prefix, ['app', `sallyport.bearer.${token}`])
      socket.on('error', () => {})
      const [, { statusCode }] = await once(socket, 'unexpected-response')
      t.equal(statusCode, 403, `${what} at ${prefix}, as a WebSocket`)
      socket.terminate()
    }
  t.equal(api.requests.length, 0)

  await t.test(
    'the token endpoint gets what a client authenticates with, and an API key is nothing there',
    async (t) => {
      const authorization = `Basic ${Buffer.from('reports:secret').toString('base64')}`
      await fetch(`${gateway}/oauth/token`, { method: 'POST', headers: { authorization }, body: 'grant_type=x' })
      t.match(api.last, { url: '/oauth/token', headers: { authorization }, body: 'grant_type=x' })
      await get(`${gateway}/oauth/introspect`, auth.apiKey('reports'))
      t.equal(api.last.url, '/oauth/introspect')
      t.notOk('authorization' in api.last.headers)
      await fetch(`${gateway}/.well-known/oauth-authorization-server`)
      t.equal(api.last.url, '/.well-known/oauth-authorization-server')
    },
  )
})

t.test('the rules of a route are for service accounts as they are for people', async (t) => {
  const auth = await new Auth().serve(t)
  const api = await new Upstream().serve(t)
  const route = { upstreams: [api.url], access: 'authenticated' }
  const both = ['user', 'client']
  const { gateway, log } = await openGateway(
    t,
    [
      { ...route, prefix: '/people', audience: 'a' },
      { ...route, prefix: '/machines', audience: 'a', callers: ['client'] },
      { ...route, prefix: '/all', audience: 'a', callers: both },
      { ...route, prefix: '/other', audience: 'b', callers: both },
      { ...route, prefix: '/nurses', audience: 'a', callers: both, roles: ['nurse'] },
      { ...route, prefix: '/reading', audience: 'a', callers: both, scopes: ['a:read'] },
      { ...route, prefix: '/writing', audience: 'a', callers: both, roles: ['nurse'], scopes: ['a:read', 'a:write'] },
      { ...route, prefix: '/proved', audience: 'a', callers: both, acr: 'aal2' },
      { ...route, prefix: '/maybe', audience: 'a', access: 'optional' },
      { ...route, prefix: '/public', audience: 'a', access: 'public' },
    ],
    auth.settings,
    auth.issuer,
  )
  const outcomes = async (token: string) => {
    const paths = ['people', 'machines', 'all', 'other', 'nurses', 'reading', 'writing', 'maybe', 'public']
    const found = await Promise.all(paths.map((path) => get(`${gateway}/${path}`, token)))
    return Object.fromEntries(paths.map((path, at) => [path, found[at]?.code ?? found[at]?.status]))
  }
  const refusedAsKind = 'CALLER_REFUSED'

  await t.test('kinds, roles and scopes', async (t) => {
    const nurse = { role: 'nurse', roles: ['nurse'] }
    const cases: [claims: object, nurses: unknown, reading: unknown, writing: unknown][] = [
      [{}, 'ROLE_REQUIRED', 'SCOPE_REQUIRED', 'ROLE_REQUIRED'],
      [nurse, 200, 'SCOPE_REQUIRED', 'SCOPE_REQUIRED'],
      [{ ...nurse, scope: 'a:read' }, 200, 200, 'SCOPE_REQUIRED'],
      [{ ...nurse, scope: 'a:read a:write' }, 200, 200, 200],
      [{ scope: 'a:read a:write' }, 'ROLE_REQUIRED', 200, 'ROLE_REQUIRED'],
    ]
    for (const [claims, nurses, reading, writing] of cases) {
      const expected = { all: 200, other: 200, public: 200, nurses, reading, writing }
      for (const [what, token] of Object.entries(auth.tokens(claims)))
        t.strictSame(
          await outcomes(token),
          { people: refusedAsKind, machines: 200, maybe: refusedAsKind, ...expected },
          `${what} with ${JSON.stringify(claims)}`,
        )
      const act = { sub: 'client:reports', sid: 'credential-of-reports', grant: 'exchange-1' }
      const acting = auth.issuer.token({
        role: 'patient',
        roles: ['patient'],
        scope: '',
        ...claims,
        act,
        client_id: 'reports',
      })
      t.strictSame(
        await outcomes(acting),
        { people: 200, machines: refusedAsKind, maybe: 200, ...expected },
        `acting for a person with ${JSON.stringify(claims)}`,
      )
    }
    const own = await outcomes(auth.issuer.token(nurse))
    t.match(own, { people: 200, machines: refusedAsKind, all: 200, reading: 200, writing: 200, maybe: 200 })
    const { challenge } = await get(`${gateway}/writing`, auth.issuer.token(machine('a', nurse)))
    t.equal(challenge, 'Bearer error="insufficient_scope", scope="a:read a:write"')
  })

  await t.test('a token for one audience is good there alone, also once it is known', async (t) => {
    for (const aud of ['a', ['a'], ['a', 'https://other.test']])
      for (const [what, token] of Object.entries(auth.tokens({ aud })))
        for (const round of [1, 2])
          t.match(
            await outcomes(token),
            { all: 200, other: 'TOKEN_INVALID', public: 200 },
            `${round}: ${what} for ${aud}`,
          )
    for (const token of Object.values(auth.tokens({ aud: ['a', 'b'] })))
      t.match(await outcomes(token), { all: 200, other: 200 })
    for (const token of Object.values(auth.tokens({ aud: 'c' })))
      t.match(await outcomes(token), { all: 'TOKEN_INVALID', maybe: 'TOKEN_INVALID', public: 200 })
    const person = auth.issuer.token({ aud: 'a' })
    t.match(await outcomes(person), { people: 200, other: 'TOKEN_INVALID' })
  })

  await t.test('a service is told who is calling, whatever the client says of itself', async (t) => {
    const forged = {
      'x-caller': 'user',
      'x-client-id': 'admin',
      'x-scopes': 'admin',
      'x-actor-id': 'admin',
      'x-user-id': 'u',
    }
    for (const [what, token] of Object.entries(auth.tokens({ scope: 'a:read a:write' }))) {
      await fetch(`${gateway}/all`, { headers: { ...forged, ...bearer(token) } })
      const { headers } = api.last
      t.match(headers, { 'x-caller': 'client', 'x-client-id': 'reports', 'x-scopes': 'a:read a:write' }, what)
      t.equal(headers['x-actor-id'], what.includes('acting') ? 'client:bot' : undefined)
      t.notOk('x-user-id' in headers || 'x-user-email' in headers || 'authorization' in headers)
      const assertion = claimsOf(headers['x-identity-token'] as string)
      t.match(assertion, { sub: 'client:reports', caller: 'client', client_id: 'reports', scope: 'a:read a:write' })
      t.match(assertion.act, what.includes('acting') ? { sub: 'client:bot', grant: 'exchange-1' } : undefined)
    }
    const act = { sub: 'client:b', sid: 'b', grant: 'g', act: { sub: 'client:c', act: { sub: 'admin-1', sid: 's' } } }
    const acting = auth.issuer.token({ scope: '', act, client_id: 'b' })
    await fetch(`${gateway}/all`, { headers: { ...forged, ...bearer(acting) } })
    t.match(api.last.headers, { 'x-caller': 'user', 'x-user-id': 'user-1', 'x-scopes': '', 'x-actor-id': 'client:b' })
    t.strictSame(claimsOf(api.last.headers['x-identity-token'] as string).act, act)
  })

  await t.test('a line of the log names the service account, and everybody who acts for whom', async (t) => {
    const act = { sub: 'client:b', sid: 'b', grant: 'g', act: { sub: 'admin-1', sid: 's' } }
    // With a code that no request before had: of one there are ten lines a second.
    for (const token of Object.values(auth.tokens())) await get(`${gateway}/proved`, token)
    await get(`${gateway}/proved`, auth.issuer.token({ scope: '', act, client_id: 'b' }))
    const lines = log.map((line) => JSON.parse(line)).filter(({ code }) => code === 'STEP_UP_REQUIRED')
    t.match(lines.slice(0, 3), [
      { client: 'reports' },
      { client: 'reports' },
      { client: 'reports', act: { sub: 'client:bot' } },
    ])
    t.strictSame(lines[3]?.act, act)
  })
})

t.test('who acts for a user uses up nothing of what the user may do', async (t) => {
  const upstream = await new Upstream().serve(t)
  const { gateway, issuer } = await openGateway(
    t,
    [{ prefix: '/', upstreams: [upstream.url], access: 'authenticated' }],
    { USER_RATE_LIMIT_MAX: '3' },
  )
  const statuses = async (token: string) => {
    const found = []
    for (let sent = 0; sent < 4; sent++) found.push((await get(gateway, token)).status)
    return found
  }
  const limited = [200, 200, 200, 429]
  const acting = (sub: string) => issuer.token({ act: { sub, sid: `session-of-${sub}` } })
  t.strictSame(await statuses(acting('helper-1')), limited)
  t.strictSame(await statuses(acting('helper-2')), limited, 'nor does one who acts use up what another may')
  t.strictSame(await statuses(issuer.token()), limited)
})

t.test('a token ends with whatever it belongs to, and what is open with it', async (t) => {
  const auth = await new Auth().serve(t)
  const api = await new Upstream().serve(t)
  const live = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => live.close())
  await once(live, 'listening')
  const route = { access: 'authenticated', callers: ['user', 'client'] }
  const { gateway } = await openGateway(
    t,
    [
      { ...route, prefix: '/api', upstreams: [api.url] },
      {
        ...route,
        prefix: '/live',
        upstreams: [`http://127.0.0.1:${(live.address() as AddressInfo).port}`],
        websocket: true,
      },
    ],
    auth.settings,
    auth.issuer,
  )
  api.respond = ({ url }, response) => {
    if (url !== '/api/stream') return response.end('{}')
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  }
  /** Opens one of each kind with a token. @returns how both end */
  async function stayOpen(token: string) {
    const socket = new WebSocket(`${gateway.replace('http', 'ws')}/live`, ['app', `sallyport.bearer.${token}`])
    await once(socket, 'open')
    const response = await fetch(`${gateway}/api/stream`, { headers: bearer(token) })
    return { ends: Promise.all([once(socket, 'close').then(([code, reason]) => `${code} ${reason}`), response.text()]) }
  }

  const act = {
    sub: 'client:b',
    sid: 'key-b',
    grant: 'grant-b',
    act: { sub: 'client:c', sid: 'key-c', grant: 'grant-c' },
  }
  for (const id of ['sid', 'jti', 'key-b', 'grant-b', 'key-c', 'grant-c'])
    await t.test(id, async (t) => {
      const own = Object.fromEntries(
        ['key-b', 'grant-b', 'key-c', 'grant-c'].map((name) => [name, `${name}-${randomUUID()}`]),
      )
      const [sid, jti] = [randomUUID(), randomUUID()]
      const chain = JSON.parse(JSON.stringify(act), (_, value) => own[value] ?? value)
      const token = auth.issuer.token({ sid, jti, scope: '', act: chain, client_id: 'b' })
      const another = auth.issuer.token({ sid: randomUUID(), scope: '', act: { sub: 'client:b' }, client_id: 'b' })
      const { ends } = await stayOpen(token)
      auth.revoke({ session: { sid, jti, ...own }[id], reason: 'revoked' })
      t.strictSame(await ends, ['4401 session ended', 'data: 1\n\n'])
      t.match(await get(`${gateway}/api`, token), { status: 401, code: 'SESSION_ENDED', body: { reason: 'revoked' } })
      t.match(await get(`${gateway}/api`, another), { status: 200 })
    })

  await t.test('a token that says what its service account may no longer have is stale', async (t) => {
    const token = auth.issuer.token(machine('stale', { scope: 'read write' }))
    const less = auth.issuer.token(machine('stale', { scope: 'read' }))
    const { ends } = await stayOpen(token)
    auth.revoke({ user: 'client:stale', roles: [], scopes: ['read'], audiences: ['https://api.test'] })
    t.strictSame(await ends, ['4401 roles changed', 'data: 1\n\n'])
    t.match(await get(`${gateway}/api`, token), { status: 401, code: 'TOKEN_STALE' })
    t.match(await get(`${gateway}/api`, less), { status: 200 })
  })

  await t.test('an API key is refused once it was revoked, and what is open ends', async (t) => {
    const key = auth.apiKey('revoked')
    const { ends } = await stayOpen(key)
    auth.revoke({ session: apiKeyId(key), reason: 'credential_revoked' })
    t.strictSame(await ends, ['4401 session ended', 'data: 1\n\n'])
    const refusal = { status: 401, code: 'SESSION_ENDED', body: { reason: 'credential_revoked' } }
    t.match(await get(`${gateway}/api`, key), refusal)
  })
})

for (const fastPath of ['on', 'off'])
  t.test(`API keys, fast path ${fastPath}`, async (t) => {
    const auth = await new Auth().serve(t)
    const api = await new Upstream().serve(t)
    const route = { upstreams: [api.url], callers: ['client'], access: 'authenticated' }
    const { gateway, log } = await openGateway(
      t,
      [
        { ...route, prefix: '/api' },
        { ...route, prefix: '/passing', forwardAuthorization: true },
        { prefix: '/public', upstreams: [api.url], access: 'public', forwardAuthorization: true },
      ],
      { ...auth.settings, HTTP1_FAST_PATH: fastPath, LOG_LEVEL: 'trace' },
      auth.issuer,
    )

    await t.test('a hundred requests at once share one call to auth, and later ones make none', async (t) => {
      const key = auth.apiKey('busy')
      const calls = auth.calls
      const ask = () => get(`${gateway}/api`, key)
      const found = await Promise.all(Array.from({ length: 100 }, ask))
      t.ok(found.every(({ status }) => status === 200))
      t.match(await ask(), { status: 200 })
      t.equal(auth.calls, calls + 1)
    })

    await t.test('a key that is made up is refused without a call, and one that is unknown after one', async (t) => {
      const calls = auth.calls
      const made = makeApiKey(randomUUID())
      const wrong = [made.slice(0, -1), `${made}0`, made.replace(/.$/, (last) => (last === '0' ? '1' : '0')), 'sp_']
      for (const key of wrong) t.match(await get(`${gateway}/api`, key), { status: 401, code: 'TOKEN_INVALID' }, key)
      t.equal(auth.calls, calls)
      const refusal = { status: 401, code: 'TOKEN_INVALID', challenge: 'Bearer error="invalid_token"' }
      for (let count = 0; count < 5; count++) t.match(await get(`${gateway}/api`, made), refusal)
      t.equal(auth.calls, calls + 1)
    })

    await t.test('a changed service account has a new token at once', async (t) => {
      const key = auth.apiKey('changed', { scope: 'read write' })
      t.match(await get(`${gateway}/api`, key), { status: 200 })
      auth.keys.set(key, { ...auth.keys.get(key), scope: 'read' })
      auth.revoke({ user: 'client:changed', roles: [], scopes: ['read'], audiences: ['https://api.test'] })
      await eventually('it is known', async () => {
        t.match(await get(`${gateway}/api`, key), { status: 200 })
        return api.last.headers['x-scopes'] === 'read'
      })
    })

    await t.test('while auth is away known keys go on, and others are 503', async (t) => {
      const [known, unknown] = [auth.apiKey('known'), auth.apiKey('unknown')]
      t.match(await get(`${gateway}/api`, known), { status: 200 })
      auth.isAway = true
      t.match(await get(`${gateway}/api`, known), { status: 200 })
      const response = await fetch(`${gateway}/api`, { headers: bearer(unknown) })
      t.match([response.status, response.headers.get('retry-after')], [503, '1'])
      auth.isAway = false
      t.match(await get(`${gateway}/api`, unknown), { status: 200 })
    })

    await t.test('no upstream and no line of the log has one', async (t) => {
      const key = auth.apiKey('hidden')
      await get(`${gateway}/passing/${key}`, key)
      const { authorization } = api.last.headers
      t.match(claimsOf(authorization?.replace('Bearer ', '') as string), { sub: 'client:hidden', sid: apiKeyId(key) })
      for (const authorization of [`Bearer ${key}`, `bearer  ${key}`, `Basic ${key}`, key, `Bearer x ${key}`]) {
        await fetch(`${gateway}/public`, { headers: { authorization } })
        t.notOk('authorization' in api.last.headers, authorization)
      }
      const jwt = auth.issuer.token(machine('plain'))
      await get(`${gateway}/passing`, jwt)
      t.equal(api.last.headers.authorization, `Bearer ${jwt}`, 'a token of its own is passed on as it is')
      auth.isAway = true
      const lost = auth.apiKey('lost')
      t.match(await get(`${gateway}/api/${lost}`, lost), { status: 503 })
      auth.isAway = false
      const leaks = [
        ...api.requests.filter(({ url }) => !url.includes('sp_')).map(({ headers }) => JSON.stringify(headers)),
        ...log,
      ]
      t.ok(log.some((line) => line.includes('UNAVAILABLE')))
      t.notOk(leaks.some((text) => /sp_[0-9a-f]{32}_/.test(text)))
    })
  })
