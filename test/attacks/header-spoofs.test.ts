import { createPublicKey } from 'node:crypto'
import { createAssertionVerifier, type Identity, identityHeaders } from '@sallyport/identity'
import t from 'tap'
import { each, exchange, openGateway, type Recorded, Upstream } from '../support/edge.ts'
import { headerSpoofs, identityFaults, names } from '../support/header-spoofs.ts'

t.test('no header of a client’s arrives as identity, in whatever shape', async (t) => {
  const api = await new Upstream().serve(t)
  const { port, issuer, identityKey } = await openGateway(
    t,
    [
      { prefix: '/closed', upstreams: [api.url], access: 'authenticated', audience: 'api' },
      { prefix: '/machines', upstreams: [api.url], access: 'authenticated', audience: 'api', callers: ['client'] },
      { prefix: '/maybe', upstreams: [api.url], access: 'optional', audience: 'api' },
      { prefix: '/live', upstreams: [api.url], access: 'authenticated', audience: 'api', websocket: true },
      { prefix: '/open', upstreams: [api.url], access: 'public', audience: 'api' },
    ],
    { LOG_LEVEL: 'warn' },
  )
  const publicKey = createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString()
  const identityOf = createAssertionVerifier([publicKey], 'api')
  /** By a token that does not say how its user proved who they are. */
  const older: Identity = {
    caller: 'user',
    userId: 'user-1',
    email: 'someone@example.com',
    role: 'doctor',
    roles: ['doctor', 'patient'],
    sessionId: 'session-1',
  }
  const user: Identity = { ...older, acr: 'aal1', authTime: Math.floor(Date.now() / 1000), amr: ['pwd'] }

  const machine: Identity = {
    caller: 'client',
    userId: 'client:reports',
    clientId: 'reports',
    roles: [],
    sessionId: 'credential-1',
    scopes: ['read'],
  }
  const acting: Identity = { ...older, scopes: [], act: { sub: 'client:reports', sid: 'credential-1' } }

  const proof = { acr: user.acr, auth_time: user.authTime, amr: user.amr }
  const signedIn = [`Authorization: Bearer ${issuer.token(proof)}`]
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: x']
  const clients = [
    { path: '/closed', authorization: signedIn, user, of: names },
    {
      path: '/closed',
      authorization: [`Authorization: Bearer ${issuer.token()}`],
      user: older,
      of: [identityHeaders.acr, identityHeaders.authTime],
    },
    {
      path: '/machines',
      authorization: [
        `Authorization: Bearer ${issuer.token({ sub: machine.userId, client_id: 'reports', sid: machine.sessionId, scope: 'read', roles: [], role: undefined, email: undefined })}`,
      ],
      user: machine,
      of: names,
    },
    {
      path: '/closed',
      authorization: [`Authorization: Bearer ${issuer.token({ scope: '', act: acting.act, client_id: 'reports' })}`],
      user: acting,
      of: [identityHeaders.caller, identityHeaders.clientId, identityHeaders.scopes, identityHeaders.actorId],
    },
    { path: '/open', authorization: [], user: undefined, of: names },
    { path: '/maybe', authorization: [], user: undefined, of: [identityHeaders.userId] },
    {
      path: '/live',
      authorization: [...signedIn, ...upgrade],
      user,
      of: [identityHeaders.userId, identityHeaders.authTime, identityHeaders.assertion],
    },
  ]
  const attempts = clients.flatMap(({ of, ...client }) =>
    headerSpoofs.filter(({ name }) => of.includes(name)).map((attack) => ({ ...attack, ...client })),
  )
  let passed = 0
  let refused = 0
  let count = 0
  await each(attempts, async ({ name, how, lines, body, path, authorization, user }) => {
    const what = `${how}: ${name} at ${path}${user ? ' with a token' : ''}`
    const target = `${path}/${count++}`
    const head = [
      `${body === '' ? 'GET' : 'POST'} ${target} HTTP/1.1`,
      ...(how.includes('first line') ? lines : []),
      'Host: gateway',
      ...authorization,
      ...(how.includes('first line') ? [] : lines),
      // A fold or an opening must not swallow this.
      'X-End: end',
      'Connection: close',
    ]
    const response = await exchange(port, Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
    const seen = api.of(target)
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1])
    const requestId = /\r\nx-request-id: (\S+)/.exec(response)?.[1]
    if (status === 200) passed += 1
    else refused += 1
    const wrong =
      status === 200 && seen.length === 1
        ? identityFaults(seen[0] as Recorded, user, identityOf, requestId)
        : seen.length === 0 && status >= 400 && status < 500
          ? []
          : [`${status} and ${seen.length} requests upstream`]
    if (wrong.length > 0) t.fail(what, { wrong, seen: seen[0]?.rawHeaders })
  })
  t.ok(headerSpoofs.length >= 40 * names.length)
  t.ok(passed > 0 && refused > 0, `${passed} arrived as ours, ${refused} were refused`)
  t.equal(passed + refused, attempts.length)

  await t.test('a header with the name of an Object.prototype property is like any other', async (t) => {
    for (const { path, authorization } of clients) {
      const odd = ['constructor: a', 'constructor: b', 'toString: c', '__proto__: d', 'hasOwnProperty: e']
      const target = `${path}/odd`
      const head = [`GET ${target} HTTP/1.1`, 'Host: gateway', ...authorization, ...odd, 'Connection: close']
      await exchange(port, `${head.join('\r\n')}\r\n\r\n`)
      t.match(api.of(target)[0]?.headers, { constructor: 'a, b', tostring: 'c', hasownproperty: 'e' }, path)
    }
  })
})
