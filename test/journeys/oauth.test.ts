import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { assertionType, basic, issuer, openMachines, signAssertion } from '../support/machines.ts'
import { claimsOf } from '../support/system.ts'

interface Sent {
  method?: string
  headers?: Record<string, string>
  /** A form, or any body. */
  body?: Record<string, string> | string
}

interface Expected {
  status: number
  error?: string
  /** Of the token. */
  scope?: string
  aud?: string | string[]
}

const formType = 'application/x-www-form-urlencoded'
const grant = { grant_type: 'client_credentials' }
const encodeAll = (text: string) => Buffer.from(text).toString('hex').replace(/../g, '%$&')
const basicOf = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })

t.test('the token endpoint does what RFC 6749 says', async (t) => {
  const machines = await openMachines(t)
  const { gateway, auth, makeMachine, administer } = machines
  const machine = await makeMachine({
    scopes: ['a:read', 'a:write'],
    audiences: ['https://api.test', 'appointments', 'notifications'],
  })
  const other = await makeMachine()
  const own = basic(machine.id, machine.secret)
  const { body: expiring } = await administer('POST', `clients/${machine.id}/credentials`, {
    ...{ kind: 'secret', name: 'short', expiresAt: new Date(Date.now() + 100_000) },
  })
  const { id, secret } = machine
  const assertion = () => ({ client_assertion_type: assertionType, client_assertion: signAssertion(machine) })

  const by = (body: Record<string, string> | string, more: Record<string, string> = {}): Sent => ({
    headers: { 'content-type': formType, ...own, ...more },
    body,
  })
  const asked = (more: Record<string, string>): Sent => by({ ...grant, ...more })
  const repeated = (more: string): Sent => by(`grant_type=client_credentials&${more}`)
  const as = (headers: Record<string, string>, more: Record<string, string> = {}): Sent => ({
    headers: { 'content-type': formType, ...headers },
    body: { ...grant, ...more },
  })
  const ok = { status: 200 }
  const all = { status: 200, scope: 'a:read a:write' }
  const invalid = { status: 400, error: 'invalid_request' }
  const unknown = { status: 401, error: 'invalid_client' }
  const invalidScope = { status: 400, error: 'invalid_scope' }
  const invalidTarget = { status: 400, error: 'invalid_target' }

  const rows: [string, Sent, Expected][] = [
    ['2.3.1: HTTP Basic', asked({}), all],
    ['2.3.1: each part of Basic is encoded as in a form', as(basicOf(`${encodeAll(id)}:${encodeAll(secret)}`)), ok],
    ['2.3.1: lower-case escapes', as(basicOf(`${id.replace('-', '%2d')}:${secret}`)), ok],
    ['2.3.1: an escape that is none', as(basicOf(`${id}:%zz`)), unknown],
    ['2.3.1: an escape that is cut short', as(basicOf(`${id}:${secret}%2`)), unknown],
    ['2.3.1: escapes that are no UTF-8', as(basicOf(`${id}:%ff`)), unknown],
    ['2.3.1: special characters in a secret', as(basic(id, ': +%&=/ü€\u0000"\\')), unknown],
    ['2.3.1: special characters in an id', as(basic(': +%&=/ü€\u0000"\\', secret)), unknown],
    ['2.3.1: encoded twice', as(basicOf(`${id.replaceAll('-', '%252d')}:${secret}`)), unknown],
    [
      '2.3.1: the name of the scheme in any case',
      as({ authorization: (own.authorization as string).replace('Basic', 'bASIC') }),
      ok,
    ],
    ['2.3.1: no secret', as(basicOf(`${id}:`)), unknown],
    ['2.3.1: no colon', as(basicOf(id)), unknown],
    ['2.3.1: no client', as(basicOf(`:${secret}`)), unknown],
    ['2.3.1: no base64', as({ authorization: 'Basic ****' }), unknown],
    ['2.3.1: nothing after Basic', as({ authorization: 'Basic' }), unknown],
    ['2.3.1: an empty Authorization', as({ authorization: '' }), unknown],
    ['2.3.1: another scheme', as({ authorization: `Bearer ${secret}` }), unknown],
    ['2.3.1: the API key as a secret', as(basic(id, machine.apiKey)), unknown],
    ["2.3.1: another's secret", as(basic(id, other.secret)), unknown],
    ['2.3.1: a client in other spelling', as(basic(id.toUpperCase(), secret)), unknown],
    ['2.3.1: a client that nobody made', as(basic('00000000-0000-0000-0000-000000000000', secret)), unknown],
    ['2.3.1: the secret in the body', as({}, { client_id: id, client_secret: secret }), invalid],
    ['2.3.1: the secret in the body too', asked({ client_secret: secret }), invalid],
    ['2.3: no client', as({}), unknown],
    ['2.3: client_id alone', as({}, { client_id: id }), unknown],
    ['2.3: client_id beside Basic, the same', asked({ client_id: id }), ok],
    ['2.3: client_id beside Basic, of another', asked({ client_id: other.id }), invalid],
    ['2.3: client_id beside an assertion, the same', as({}, { ...assertion(), client_id: id }), ok],
    ['2.3: client_id beside an assertion, of another', as({}, { ...assertion(), client_id: other.id }), invalid],
    ['2.3: more than one way at once', asked(assertion()), invalid],
    ['2.3: the type of an assertion beside Basic', asked({ client_assertion_type: assertionType }), invalid],
    ['3.2: GET', { method: 'GET', headers: own }, { status: 405 }],
    ['3.2: PUT', { ...asked({}), method: 'PUT' }, { status: 405 }],
    ['3.2: a parameter twice', repeated('grant_type=client_credentials'), invalid],
    ['3.2: scope twice', repeated('scope=a:read&scope=a:write'), invalid],
    ['3.2: scope twice, alike', repeated('scope=a:read&scope=a:read'), invalid],
    ['3.2: client_id twice', repeated(`client_id=${id}&client_id=${id}`), invalid],
    ['3.2: an empty parameter is as if it were absent', asked({ scope: '', client_id: '', client_secret: '' }), all],
    ['3.2: an empty one beside another', repeated('scope=&scope=a:read'), { ...ok, scope: 'a:read' }],
    ['3.2: an empty assertion beside Basic', asked({ client_assertion: '', client_assertion_type: '' }), ok],
    ['3.2: unknown parameters are ignored', repeated('foo=1&foo=2&__proto__=1&constructor=2&%00=3'), all],
    ['3.2: parameters in the address count for nothing', as({}, {}), unknown],
    ['3.2: JSON', by(JSON.stringify(grant), { 'content-type': 'application/json' }), invalid],
    ['3.2: multipart', by('--a--', { 'content-type': 'multipart/form-data; boundary=a' }), invalid],
    ['3.2: text', by('grant_type=client_credentials', { 'content-type': 'text/plain' }), invalid],
    ['3.2: XML with parameters', by('<a/>', { 'content-type': 'application/xml; charset=utf-8' }), invalid],
    ['3.2: a type that begins alike', by('grant_type=client_credentials', { 'content-type': `${formType}2` }), invalid],
    ['3.2: a form and its charset', by(grant, { 'content-type': `${formType}; charset=UTF-8` }), ok],
    ['3.2: the type in capitals', by(grant, { 'content-type': formType.toUpperCase() }), ok],
    ['3.2: no body', { headers: own }, invalid],
    ['3.2: an empty form', by(''), invalid],
    ['3.2: a body without a grant', by({ scope: 'a:read' }), invalid],
    ['3.2: a broken escape in the body', repeated('scope=%zz'), invalidScope],
    ['3.3: a subset of the scopes', asked({ scope: 'a:write' }), { ...ok, scope: 'a:write' }],
    ['3.3: in any order', asked({ scope: 'a:write a:read' }), { ...ok, scope: 'a:write a:read' }],
    ['3.3: each once', asked({ scope: 'a:read a:read' }), { ...ok, scope: 'a:read' }],
    ['3.3: an unknown one', asked({ scope: 'a:read b' }), invalidScope],
    ['3.3: in capitals', asked({ scope: 'A:READ' }), invalidScope],
    ['3.3: two spaces', asked({ scope: 'a:read  a:write' }), invalidScope],
    ['3.3: a space at the end', asked({ scope: 'a:read ' }), invalidScope],
    ['3.3: a comma', asked({ scope: 'a:read,a:write' }), invalidScope],
    ['3.3: a tab', asked({ scope: 'a:read\ta:write' }), invalidScope],
    ['3.3: a quote', asked({ scope: '"a:read"' }), invalidScope],
    ['3.3: letters beyond ASCII', asked({ scope: 'ä' }), invalidScope],
    [
      '4.4: the whole of its audiences',
      asked({}),
      { ...ok, aud: ['https://api.test', 'appointments', 'notifications'] },
    ],
    ['RFC 8707: one resource', asked({ resource: 'https://api.test' }), { ...ok, aud: 'https://api.test' }],
    [
      'RFC 8707: several',
      repeated('resource=appointments&resource=notifications'),
      { ...ok, aud: ['appointments', 'notifications'] },
    ],
    [
      'RFC 8707: an audience says the same',
      repeated('resource=appointments&audience=appointments'),
      { ...ok, aud: 'appointments' },
    ],
    ['RFC 8707: one that it does not have', asked({ resource: 'https://evil.test' }), invalidTarget],
    ['RFC 8707: one of two that it does not have', repeated('audience=appointments&audience=auth'), invalidTarget],
    [
      '5.2: a grant that is not supported',
      by({ grant_type: 'password', username: 'a', password: 'b' }),
      { status: 400, error: 'unsupported_grant_type' },
    ],
    [
      '5.2: a grant of a name that objects have',
      by({ grant_type: 'constructor' }),
      { status: 400, error: 'unsupported_grant_type' },
    ],
    [
      '5.2: a grant in capitals',
      by({ grant_type: 'CLIENT_CREDENTIALS' }),
      { status: 400, error: 'unsupported_grant_type' },
    ],
    [
      '5.2: who it is comes before what it wants',
      { ...as(basic(id, 'wrong')), body: { grant_type: 'password' } },
      unknown,
    ],
  ]
  for (const [name, { method = 'POST', headers = {}, body }, { status, error, scope, aud }] of rows)
    await t.test(name, async (t) => {
      const address = name.includes('in the address') ? `?${new URLSearchParams({ ...grant, ...assertion() })}` : ''
      const response = await fetch(`${gateway}/oauth/token${address}`, {
        method,
        headers,
        ...(body !== undefined && { body: typeof body === 'string' ? body : new URLSearchParams(body).toString() }),
      })
      const got = JSON.parse(await response.text())
      t.equal(response.status, status, JSON.stringify(got))
      t.match(response.headers.get('cache-control'), 'no-store')
      if (status === 405) return t.equal(response.headers.get('allow'), 'POST')
      t.equal(response.headers.get('pragma'), 'no-cache')
      t.match(response.headers.get('content-type'), /^application\/json/)
      if (status === 200) {
        t.strictSame(Object.keys(got).sort(), ['access_token', 'expires_in', 'scope', 'token_type'])
        t.equal(got.token_type, 'Bearer')
        const claims = claimsOf(got.access_token)
        t.equal(claims.scope, got.scope)
        if (scope) t.equal(got.scope, scope)
        if (aud) t.strictSame(claims.aud, aud)
        return
      }
      t.strictSame(Object.keys(got), ['error', 'error_description'])
      t.equal(got.error, error)
      t.match(got.error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, '5.2: in ASCII, without quotes and backslashes')
      t.equal(response.headers.has('www-authenticate'), status === 401)
      if (status === 401) t.match(response.headers.get('www-authenticate'), /^Basic realm=/)
    })

  await t.test('2.3: two Authorization headers are refused, straight and through the gateway', async (t) => {
    const [mine, others] = [own, basic(other.id, other.secret)].map(({ authorization }) => authorization)
    for (const base of [auth, gateway])
      for (const headers of [
        [mine, others],
        [others, mine],
        [mine, mine],
        // The gateway drops an empty one.
        ...(base === auth
          ? [
              [mine, ''],
              ['', mine],
            ]
          : []),
      ]) {
        const [first, second] = headers
        const lines = `Authorization: ${first}\r\nauthorization: ${second}\r\n`
        t.match(await sendRaw(base, lines), /^HTTP\/1\.1 400 /, JSON.stringify({ base, headers }))
      }
    for (const base of [auth, gateway])
      t.match(await sendRaw(base, `Authorization: ${mine}\r\n`), /^HTTP\/1\.1 200 /, 'one alone is taken')
    t.match(await sendRaw(auth, `Authorization: ${mine}, ${others}\r\n`), /^HTTP\/1\.1 401 /, 'two in one line')
  })

  await t.test('5.1: a token ends with its secret', async (t) => {
    const { body } = await machines.post('token', grant, basic(id, expiring.clientSecret))
    t.ok(body.expires_in <= 100 && body.expires_in > 90)
    const { exp } = claimsOf(body.access_token) as { exp: number }
    t.ok(exp * 1000 <= Date.parse(expiring.expiresAt))
  })

  await t.test('5.1: nor in the last part of a second is there one that has expired already', async (t) => {
    const brief = await machines.makeMachine()
    await machines.sql(
      `UPDATE auth.client_credentials SET expires_at = date_trunc('second', now()) + interval '0.999 s' WHERE client_id = $1`,
      [brief.id],
    )
    t.match(await machines.post('token', grant, basic(brief.id, brief.secret)), {
      status: 401,
      body: { error: 'invalid_client' },
    })
    t.match(await machines.bearing(brief.apiKey).call('GET', '/api/whoami'), {
      status: 401,
      body: { code: 'TOKEN_INVALID' },
    })
  })

  await t.test('RFC 9068: what its tokens are', async (t) => {
    const { body } = await machines.post('token', grant, own)
    const header = JSON.parse(Buffer.from(body.access_token.split('.')[0], 'base64url').toString())
    t.strictSame(Object.keys(header).sort(), ['alg', 'kid', 'typ'])
    t.equal(header.typ, 'at+jwt', 'section 2.1')
    const claims = claimsOf(body.access_token) as Record<string, number>
    for (const name of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'])
      t.ok(claims[name], `section 2.2: ${name}`)
    t.match(claims, { iss: issuer, sub: `client:${id}`, client_id: id })
    t.equal((claims.exp as number) - (claims.iat as number), body.expires_in)
    for (const name of ['email', 'auth_time', 'acr', 'amr', 'act']) t.notOk(name in claims, name)
  })
})

/** Sends a request for a token with these lines among its headers. */
async function sendRaw(base: string, lines: string): Promise<string> {
  const { hostname, port } = new URL(base)
  const socket = connect({ host: hostname, port: Number(port) })
  await once(socket, 'connect')
  const body = 'grant_type=client_credentials'
  socket.write(
    `POST /oauth/token HTTP/1.1\r\nHost: ${hostname}\r\n${lines}Content-Type: ${formType}\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )
  let text = ''
  for await (const part of socket) text += part
  return text
}
