import { createHmac, createPublicKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createAssertionVerifier } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { Issuer, openGateway, Upstream } from '../support/edge.ts'
import { documented, documentedIssuer, Provider, type ProviderName, setKey } from '../support/issuers.ts'
import { makeKey, signBy } from '../support/jwt.ts'
import { eventually } from '../support/system.ts'

/** What the gateway makes of a token: the status and code, and what the service read. */
async function ask(gateway: string, upstream: Upstream, token: string, path = '/any') {
  const before = upstream.requests.length
  const response = await fetch(`${gateway}${path}`, { headers: { authorization: `Bearer ${token}` } })
  const body = (await response.json()) as { code?: string }
  const said = upstream.requests.length > before ? upstream.last.headers : undefined
  return { status: response.status, code: body.code, said }
}

/** A gateway with these issuers beside, or without, the auth service. */
async function openWith(t: Test, issuers: object[], settings: Record<string, string> = {}, more: object[] = []) {
  const upstream = await new Upstream().serve(t)
  const route = { upstreams: [upstream.url], access: 'authenticated', audience: 'api' }
  const routes = [
    { ...route, prefix: '/any' },
    { ...route, prefix: '/machines', callers: ['client'] },
    { ...route, prefix: '/doctors', roles: ['doctor'] },
    { ...route, prefix: '/scoped', scopes: ['reports:read'] },
    { ...route, prefix: '/strong', acr: 'aal2' },
    { ...route, prefix: '/maybe', access: 'optional' },
    ...more.map((entry) => ({ ...route, ...entry })),
  ]
  const edge = await openGateway(t, { routes, issuers }, settings)
  return { ...edge, upstream, routes, ask: (token: string, path?: string) => ask(edge.gateway, upstream, token, path) }
}

const none = { JWT_ISSUER: '', JWT_AUDIENCE: '', JWKS_URL: '' }

t.test('tokens of each provider, as it documents them, by the block of docs/issuers.md', async (t) => {
  const names = Object.keys(documented) as ProviderName[]
  const providers = new Map<ProviderName, Provider>()
  const issuers: object[] = []
  for (const name of names) {
    // All keys have one id: none is ever looked for at another issuer.
    const provider = await new Provider(documented[name].algorithm, 'the-same').serve(t)
    providers.set(name, provider)
    issuers.push({ ...documentedIssuer(name), jwks: `${provider.url}/keys` })
  }
  const { gateway, upstream, identityKey, ...edge } = await openWith(t, issuers)
  const publicKey = createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString()
  const readAssertion = createAssertionVerifier([publicKey], 'api')

  for (const name of names)
    await t.test(name, async (t) => {
      const provider = providers.get(name) as Provider
      const { header, person, said: expected, machine, others } = documented[name]
      const claims = person()
      const { status, said } = await edge.ask(provider.token(claims, header))
      t.equal(status, 200)
      t.match({ ...said }, { 'x-caller': 'user', 'x-issuer': claims.iss })
      for (const [header, value] of Object.entries(expected)) t.equal(said?.[header], value, header)
      const identity = await readAssertion(said?.['x-identity-token'] as string)
      t.match(identity, { issuer: claims.iss, userId: expected['x-user-id'], email: expected['x-user-email'] })
      t.equal((await edge.ask(provider.token(claims, header), '/doctors')).status, 200)
      t.match(await edge.ask(provider.token(claims, header), '/scoped'), { status: 403, code: 'SCOPE_REQUIRED' })
      t.match(await edge.ask(provider.token(claims, header), '/machines'), { status: 403, code: 'CALLER_REFUSED' })
      const strong = name === 'Supabase' ? { status: 200 } : { status: 401, code: 'STEP_UP_REQUIRED' }
      t.match(await edge.ask(provider.token(claims, header), '/strong'), strong)

      for (const [what, more] of Object.entries(others)) {
        const found = await edge.ask(provider.token({ ...claims, ...more }, header))
        t.match(found, { status: 401, code: 'TOKEN_INVALID', said: undefined }, what)
      }
      t.match(await edge.ask(provider.token({ ...claims, exp: claims.iat - 1 }, header)), { code: 'TOKEN_EXPIRED' })
      if (machine) {
        const token = provider.token({ ...claims, ...machine }, header)
        t.match(await edge.ask(token), { status: 403, code: 'CALLER_REFUSED' }, 'a machine is never taken for a person')
        const { said } = await edge.ask(token, '/machines')
        t.match({ ...said }, { 'x-caller': 'client', 'x-client-id': machine.sub, 'x-issuer': claims.iss })
        t.notOk(said?.['x-user-id'] ?? said?.['x-user-email'])
      }

      for (const other of names.filter((one) => one !== name)) {
        const foreign = providers.get(other) as Provider
        const key = foreign.algorithm === provider.algorithm ? foreign.key : makeKey(provider.algorithm)
        t.match(await edge.ask(provider.token(claims, header, key)), { code: 'TOKEN_INVALID' }, `signed by ${other}`)
        const { iss } = documented[other].person()
        t.match(await edge.ask(provider.token({ ...claims, iss }, header)), { code: 'TOKEN_INVALID' }, `as of ${other}`)
      }
    })

  await t.test('and the auth service beside them', async (t) => {
    const { status, said } = await edge.ask(edge.issuer.token())
    t.equal(status, 200)
    t.notOk(said?.['x-issuer'], 'which has no name for services')
    const [keycloak] = [documented.Keycloak.person()]
    for (const claims of [{ iss: keycloak.iss }, { token_iss: keycloak.iss }])
      t.match(await edge.ask(edge.issuer.token(claims)), { code: 'TOKEN_INVALID' })
    const provider = providers.get('Keycloak') as Provider
    for (const more of [{ iss: 'https://issuer.test' }, { sub: 'client:reports' }, { iss: undefined }, { iss: ['x'] }])
      t.match(await edge.ask(provider.token({ ...keycloak, ...more })), { status: 401, code: 'TOKEN_INVALID' })
  })
})

t.test('a token says no more than it may', async (t) => {
  const provider = await new Provider().serve(t)
  const issuer = { issuer: provider.url, jwks: `${provider.url}/keys`, audience: ['api', 'other'], types: ['JWT'] }
  const { ask } = await openWith(t, [issuer], none)
  const said = async (claims: object) => (await ask(provider.token(claims))).said ?? {}

  t.equal((await said({ email: 'a@example.com', email_verified: false }))['x-user-email'], undefined)
  for (const email_verified of ['false', 'no', 0, null, {}])
    t.equal((await said({ email: 'a@example.com', email_verified }))['x-user-email'], undefined)
  for (const email_verified of [undefined, true, 'true'])
    t.equal((await said({ email: 'a@example.com', email_verified }))['x-user-email'], 'a@example.com')
  t.equal((await said({ roles: ['Admin', 'x y', 7, 'doctor', 'doctor'] }))['x-user-roles'], 'doctor')
  t.equal((await said({ roles: 'doctor admin' }))['x-user-roles'], 'doctor,admin')
  t.equal((await said({ roles: { admin: true } }))['x-user-roles'], undefined)
  t.equal((await said({ aud: ['x', 'other'] }))['x-user-id'], 'user-1')
  t.equal((await said({ act: { sub: 'helper' } }))['x-actor-id'], 'helper')
  t.equal((await said({ acr: 'aal 2', amr: [7], auth_time: 'now' }))['x-auth-acr'], undefined)
  t.equal((await said({ scope: ['a', 'b'] }))['x-scopes'], 'a b')
  t.equal((await ask(provider.token({ scope: 'reports:read' }), '/scoped')).status, 200)
  t.equal((await ask(provider.token({}, { typ: undefined }))).status, 200, 'no type is JWT too')
  t.equal((await ask(provider.token({}, { typ: 'application/jwt' }))).status, 200)

  const refused: [string, string][] = [
    ['another type', provider.token({}, { typ: 'at+jwt' })],
    ['a header that changes how it is checked', provider.token({}, { crit: ['b64'], b64: false })],
    ['a key in the header', provider.token({}, { jwk: setKey(provider.key, 'key-1') })],
    ['an address of keys', provider.token({}, { jku: `${provider.url}/keys` })],
    ['no key id', provider.token({}, { kid: undefined })],
    ['an unknown key', provider.token({}, { kid: 'other' })],
    ['another family', signBy('ES256', makeKey('ES256'), { alg: 'ES256', typ: 'JWT', kid: 'key-1' }, {})],
    ['another hash', signBy('RS512', provider.key, { alg: 'RS512', typ: 'JWT', kid: 'key-1' }, { iss: provider.url })],
    ['PSS in place of PKCS #1', provider.token({}, { alg: 'PS256' })],
    ['the public key as a secret', hmac(provider)],
    ['no signature', `${provider.token({}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`],
    ['the route as its audience', provider.token({ aud: 'api2' })],
    ['no subject', provider.token({ sub: undefined })],
    ['a subject that is a number', provider.token({ sub: 7 })],
    ['a subject with a line break', provider.token({ sub: 'a\r\nx-user-role: admin' })],
    ['more roles than anybody has', provider.token({ roles: Array.from({ length: 33 }, (_, n) => `role-${n}`) })],
    ['scopes that are none', provider.token({ scope: 'a  b' })],
    ['an actor that is none', provider.token({ act: 'helper' })],
    ['no end', provider.token({ exp: undefined })],
    ['not yet', provider.token({ nbf: Math.floor(Date.now() / 1000) + 120 })],
    ['too long', provider.token({ groups: 'x'.repeat(8_192) })],
  ]
  for (const [what, token] of refused)
    t.match(await ask(token), { status: 401, code: 'TOKEN_INVALID', said: undefined }, what)
  t.equal((await ask(provider.token({ groups: 'x'.repeat(5_000) }))).status, 200, 'those with many groups are long')
})

t.test('a token whose subject is its own client is a machine’s, however its issuer names clients', async (t) => {
  const provider = await new Provider().serve(t)
  const { ask } = await openWith(t, [{ issuer: provider.url, audience: 'api', types: ['JWT'] }], none)
  for (const claims of [
    { sub: 'nightly', client_id: 'nightly' },
    { sub: 'nightly', azp: 'nightly' },
    { sub: 'nightly', cid: 'nightly' },
    { sub: 'nightly@clients', azp: 'nightly' },
  ]) {
    t.match(await ask(provider.token(claims)), { status: 403, code: 'CALLER_REFUSED' }, JSON.stringify(claims))
    t.match({ ...(await ask(provider.token(claims), '/machines')).said }, { 'x-client-id': claims.sub })
  }
  t.equal((await ask(provider.token({ cid: 'web', azp: 'web', client_id: 'web' }))).status, 200)
})

function hmac(provider: Provider): string {
  const [, claims] = provider.token({}).split('.')
  const header = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT', kid: 'key-1' })).toString('base64url')
  const pem = createPublicKey(provider.key).export({ type: 'spki', format: 'pem' })
  return `${header}.${claims}.${createHmac('sha256', pem).update(`${header}.${claims}`).digest('base64url')}`
}

t.test('every algorithm that can be named signs, and a key for one is for no other', async (t) => {
  const algorithms = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA']
  const provider = await new Provider().serve(t)
  const keys = new Map(algorithms.map((algorithm) => [algorithm, makeKey(algorithm)]))
  provider.keys = [...keys].map(([alg, key]) => setKey(key, `key-${alg}`, { alg }))
  const issuer = { issuer: provider.url, audience: 'api', types: ['JWT'], algorithms }
  const { ask } = await openWith(t, [issuer], none)
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: provider.url, aud: 'api', sub: 'user-1', iat: now, exp: now + 600 }
  const token = (alg: string, kid: string, key: string) =>
    signBy(alg, key, { alg, typ: 'JWT', kid: `key-${kid}` }, claims)
  for (const [alg, key] of keys) {
    t.equal((await ask(token(alg, alg, key))).status, 200, alg)
    for (const other of algorithms.filter((one) => one !== alg && one.slice(0, 2) === alg.slice(0, 2)))
      if (!alg.startsWith('ES'))
        t.match(await ask(token(other, alg, key)), { code: 'TOKEN_INVALID' }, `${other} with ${alg}`)
  }
  t.match(provider.fetches.slice(0, 2), ['/.well-known/openid-configuration', '/keys'], 'found by discovery')
})

t.test('a route takes the issuers that it names', async (t) => {
  const [one, two] = [await new Provider().serve(t), await new Provider().serve(t)]
  const entry = ({ url }: Provider) => ({ issuer: url, audience: 'api', types: ['JWT'] })
  const { ask, issuer } = await openWith(t, [entry(one), entry(two)], {}, [
    { prefix: '/one', issuers: [one.url] },
    { prefix: '/ours', issuers: ['https://issuer.test'], access: 'optional' },
  ])
  t.equal((await ask(one.token({}), '/one')).status, 200)
  t.equal((await ask(one.token({}), '/any')).status, 200)
  t.equal((await ask(two.token({}), '/any')).status, 200)
  for (const token of [two.token({}), issuer.token()])
    t.match(await ask(token, '/one'), { status: 403, code: 'ISSUER_REFUSED', said: undefined })
  t.equal((await ask(issuer.token(), '/ours')).status, 200)
  t.match(await ask(one.token({}), '/ours'), { status: 403, code: 'ISSUER_REFUSED' })
})

t.test('users of two issuers with one id are two', async (t) => {
  const [one, two] = [await new Provider().serve(t), await new Provider().serve(t)]
  const entry = ({ url }: Provider) => ({ issuer: url, audience: 'api', types: ['JWT'] })
  const { ask } = await openWith(t, [entry(one), entry(two)], { ...none, USER_RATE_LIMIT_MAX: '2' })
  for (let count = 0; count < 2; count++) t.equal((await ask(one.token({}))).status, 200)
  t.equal((await ask(one.token({}))).status, 429)
  t.equal((await ask(two.token({}))).status, 200, 'what one asks for does not count for the other')
})

const faults: Record<string, (response: ServerResponse) => void> = {
  'an error': (response) => response.writeHead(500).end('{"keys":[]}'),
  HTML: (response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>Sign in</title>'),
  'a redirect': (response) => response.writeHead(302, { location: '/keys' }).end(),
  'no connection': (response) => response.destroy(),
  'half an answer': (response) => response.write('{"keys":[', () => response.destroy()),
  'a gigabyte': (response) => {
    const chunk = Buffer.alloc(1024 * 1024, ' ')
    let left = 1024
    const send = () => {
      while (left > 0 && !response.destroyed) {
        left -= 1
        if (!response.write(chunk)) return response.once('drain', send)
      }
      return response.end()
    }
    send()
  },
}

t.test('an issuer that is away, or answers with anything else, takes no other along', async (t) => {
  const [good, bad] = [await new Provider().serve(t), await new Provider().serve(t)]
  const entry = ({ url }: Provider) => ({ issuer: url, audience: 'api', types: ['JWT'] })
  for (const [what, fault] of Object.entries(faults)) {
    bad.fault = fault
    const { ask, log } = await openWith(t, [entry(good), entry(bad)], none)
    t.equal((await ask(good.token({}))).status, 200, what)
    t.match(await ask(bad.token({})), { status: 503, code: 'UNAVAILABLE', said: undefined }, what)
    t.match(await ask(bad.token({}), '/maybe'), { status: 503 }, `${what}: never as nobody`)
    const unreachable = (keys: string) =>
      log.filter((line) => line.includes('key_set_unreachable') && line.includes(bad.url) && line.includes(keys))
    t.ok(unreachable('until its keys are fetched once').length > 0, what)
    t.equal(unreachable('the cached keys').length, 0, `${what}: there are none`)
    bad.fault = undefined
    await eventually(`${what} is over`, async () => (await ask(bad.token({}))).status === 200)
    bad.fault = fault
    t.equal((await ask(bad.token({ sub: 'user-2' }))).status, 200, `${what}: the keys stay in use`)
    t.match(await ask(bad.token({}, { kid: 'unknown' })), { status: 401, code: 'TOKEN_INVALID' })
  }
})

t.test('metadata that are of somebody else, or lead elsewhere, name no keys', async (t) => {
  const provider = await new Provider().serve(t)
  for (const metadata of [
    {},
    { jwks_uri: `${provider.url}/keys` },
    { issuer: `${provider.url}/`, jwks_uri: `${provider.url}/keys` },
    { issuer: provider.url },
    { issuer: provider.url, jwks_uri: 'keys' },
    { issuer: provider.url, jwks_uri: 'file:///etc/passwd' },
    { issuer: provider.url, jwks_uri: ['x'] },
  ]) {
    provider.metadata = metadata
    const { ask } = await openWith(t, [{ issuer: provider.url, audience: 'api', types: ['JWT'] }], none)
    t.match(await ask(provider.token({})), { status: 503, code: 'UNAVAILABLE' }, JSON.stringify(metadata))
  }
  provider.metadata = { issuer: 'https://login.example.com', jwks_uri: `${provider.url}/keys` }
  const discovery = `${provider.url}/.well-known/openid-configuration`
  const entry = { issuer: 'https://login.example.com', discovery, audience: 'api', types: ['JWT'] }
  const { ask } = await openWith(t, [entry], none)
  t.equal((await ask(provider.token({ iss: 'https://login.example.com' }))).status, 200, 'by an address of their own')
})

t.test('keys that an issuer rotates are found, and those that it withdrew end', async (t) => {
  const provider = await new Provider().serve(t)
  const entry = { issuer: provider.url, audience: 'api', types: ['JWT'] }
  const { ask, log } = await openWith(t, [entry], { ...none, JWKS_MAX_AGE: '1s' })
  const old = provider.token({})
  t.equal((await ask(old)).status, 200)
  const [before, next] = [provider.keys, makeKey('RS256')]
  provider.keys = [...before, setKey(next, 'key-2')]
  const fresh = provider.token({}, { kid: 'key-2' }, next)
  await eventually('the new key is there', async () => (await ask(fresh)).status === 200)
  t.equal((await ask(old)).status, 200)
  provider.keys = [setKey(next, 'key-2')]
  await eventually('the old one ends', async () => (await ask(old)).code === 'TOKEN_INVALID')
  t.equal((await ask(fresh)).status, 200)
  provider.keys = [setKey(makeKey('RS256'), 'key-2')]
  await eventually('also where another key takes its id', async () => (await ask(fresh)).code === 'TOKEN_INVALID')
  provider.fault = (response) => response.writeHead(500).end()
  await eventually('it is away', async () => log.some((line) => line.includes('the cached keys stay in use')))
})

t.test(
  'an issuer that is taken out of the file is refused from then on, and one that is put in is taken',
  async (t) => {
    const [one, two] = [await new Provider().serve(t), await new Provider().serve(t)]
    const entry = ({ url }: Provider, more = {}) => ({ issuer: url, audience: 'api', types: ['JWT'], ...more })
    const { ask, routes, routesFile, log } = await openWith(t, [entry(one)], none)
    const known = one.token({})
    t.equal((await ask(known)).status, 200)
    t.equal((await ask(two.token({}))).code, 'TOKEN_INVALID')
    writeFileSync(routesFile, JSON.stringify({ routes, issuers: [entry(two)] }))
    await eventually('the second is taken', async () => (await ask(two.token({}))).status === 200)
    t.equal((await ask(known)).code, 'TOKEN_INVALID', 'also a token that was seen before')
    writeFileSync(routesFile, JSON.stringify({ routes, issuers: [entry(two, { audience: 'other' })] }))
    await eventually('it is read otherwise', async () => (await ask(two.token({}))).code === 'TOKEN_INVALID')
    writeFileSync(routesFile, JSON.stringify({ routes, issuers: [] }))
    await eventually('a file that says of nobody is refused', async () =>
      log.some((line) => line.includes('routes_refused')),
    )
    t.equal((await ask(two.token({ aud: 'other' }))).status, 200, 'and the current one stays in use')
  },
)

t.test('what is open ends with the key of its token, and with its issuer', async (t) => {
  const [one, two] = [await new Provider().serve(t), await new Provider().serve(t)]
  const entry = ({ url }: Provider) => ({ issuer: url, audience: 'api', types: ['JWT'] })
  const settings = { ...none, JWKS_MAX_AGE: '1s' }
  const { gateway, upstream, routes, routesFile } = await openWith(t, [entry(one), entry(two)], settings)
  upstream.respond = (_request, response) =>
    response.setHeader('content-type', 'text/event-stream').write('data: 1\n\n')
  const stream = async (token: string) => {
    const response = await fetch(`${gateway}/any`, { headers: { authorization: `Bearer ${token}` } })
    t.equal(response.status, 200)
    const state = { isOver: false, text: response.text().finally(() => Object.assign(state, { isOver: true })) }
    return state
  }
  const key = makeKey('RS256')
  one.keys = [...one.keys, setKey(key, 'key-2')]
  const [first, second, other] = [await stream(one.token({})), await stream(two.token({})), await stream(two.token({}))]
  const third = await stream(one.token({}, { kid: 'key-2' }, key))
  one.keys = [setKey(key, 'key-2')]
  t.equal(await first.text, 'data: 1\n\n', 'in order')
  t.notOk(second.isOver || third.isOver, 'others stay')
  writeFileSync(routesFile, JSON.stringify({ routes, issuers: [entry(one)] }))
  await Promise.all([second.text, other.text])
  t.notOk(third.isOver)
})

t.test('what cannot be meant stops the boot, and says how to correct it', async (t) => {
  const issuer = { issuer: 'https://login.example.com', audience: 'api' }
  const wrong: [object, RegExp][] = [
    [{ issuers: [{ audience: 'api' }] }, /issuer 1 must have required property 'issuer'/],
    [{ issuers: [{ issuer: 'https://a.example' }] }, /must have required property 'audience'/],
    [{ issuers: [{ ...issuer, jkws: 'x' }] }, /jkws is not known/],
    [{ issuers: [{ ...issuer, algorithms: ['HS256'] }] }, /algorithms\/0 must be equal to one of/],
    [{ issuers: [{ ...issuer, claims: { role: 'x' } }] }, /claims\/role is not known/],
    [{ issuers: [{ ...issuer, issuer: 'example' }] }, /issuer example: .*not an address like/],
    [{ issuers: [{ ...issuer, issuer: 'a b', jwks: 'https://a.example/keys' }] }, /visible ASCII/],
    [{ issuers: [{ ...issuer, jwks: '/keys' }] }, /jwks "\/keys" is not an address like/],
    [{ issuers: [{ ...issuer, jwks: 'https://user:word@a.example' }] }, /is not an address like/],
    [{ issuers: [{ ...issuer, jwks: 'https://user:word@a.example' }] }, /^(?!.*word)/],
    [{ issuers: [{ ...issuer, jwks: 'ftp://${A-B}.example' }] }, /is not an address like/],
    [{ issuers: [{ ...issuer, jwks: 'https://a.example', discovery: true }] }, /keep one of the two/],
    [{ issuers: [{ ...issuer, roleMap: { Admin: 'Admin' } }] }, /"Admin", for "Admin", cannot be a role/],
    [{ issuers: [{ ...issuer, jwks: '${KEYS_URL}' }] }, /names KEYS_URL, which is not set/],
    [{ issuers: [issuer, issuer] }, /is there twice/],
    [
      { issuers: [{ ...issuer, issuer: 'https://issuer.test' }] },
      /is the auth service, which JWT_ISSUER names already/,
    ],
    [
      { issuers: [issuer], more: { issuers: ['https://other.example'] } },
      /issuer https:\/\/other.example is not known/,
    ],
    [{ issuers: [issuer], more: { issuers: [issuer.issuer], access: 'public' } }, /issuers need `access/],
    [{ issuers: [], settings: none }, /it takes tokens, and whose is not said/],
    [{ issuers: [issuer], settings: { ...none, JWT_ISSUER: 'x' } }, /JWT_AUDIENCE is not set; .*go together/],
    [
      { issuers: [issuer], settings: { ...none, REVOCATIONS_URL: 'http://a' } },
      /REVOCATIONS_URL is of .*set JWT_ISSUER/,
    ],
  ]
  for (const [{ issuers, more, settings }, message] of wrong as [
    { issuers: object[]; more?: object; settings?: Record<string, string> },
    RegExp,
  ][])
    await t.rejects(
      openWith(t, issuers, settings, more ? [{ prefix: '/x', ...more }] : []),
      { message },
      String(message),
    )
})

t.test('without any issuer public routes are served', async (t) => {
  const upstream = await new Upstream().serve(t)
  const routes = [{ prefix: '/', upstreams: [upstream.url], access: 'public' }]
  const { gateway } = await openGateway(t, routes, none, new Issuer())
  t.equal((await fetch(`${gateway}/x`)).status, 200)
})
