import t from 'tap'
import { algorithmsOf, type ForeignIssuer, foreignIssuer, ownIssuer } from './issuer.ts'
import type { KeySet } from './key-set.ts'

const keySet = {} as KeySet<unknown>
const usual: ForeignIssuer = { issuer: 'https://login.test', audience: 'orders' }
const good = { iss: 'https://login.test', sub: 'user-1', aud: 'orders' }

/** Who the caller is by these claims, with nothing that is the same for all. */
function identityOf(claims: Record<string, unknown>, settings: Partial<ForeignIssuer> = {}) {
  const found = foreignIssuer({ ...usual, ...settings }, keySet).identityOf({ ...good, ...claims })
  if (typeof found === 'string') return undefined
  const { caller, issuer, ...identity } = found
  return { ...identity, ...(caller === 'client' && { caller }) }
}
const nobody = { userId: 'user-1', roles: [], sessionId: '', scopes: [] }

t.test('what a token of another issuer does not say is left out', async (t) => {
  t.strictSame(foreignIssuer(usual, keySet).identityOf(good), {
    caller: 'user',
    issuer: 'https://login.test',
    ...nobody,
  })
  t.strictSame(
    identityOf({
      roles: ['buyer', 'admin'],
      email: 'someone@example.com',
      sid: 'session-1',
      scope: 'read write',
      acr: '1',
      auth_time: 5,
      amr: ['pwd'],
      act: { sub: 'client:nightly', name: 'x' },
    }),
    {
      userId: 'user-1',
      email: 'someone@example.com',
      role: 'buyer',
      roles: ['buyer', 'admin'],
      sessionId: 'session-1',
      scopes: ['read', 'write'],
      act: { sub: 'client:nightly' },
      acr: '1',
      authTime: 5,
      amr: ['pwd'],
    },
  )
})

t.test('claims stand where the settings say: at a name, or at a path', async (t) => {
  const places: [ForeignIssuer['claims'], Record<string, unknown>, object][] = [
    [{ roles: 'realm_access.roles' }, { realm_access: { roles: ['buyer'] } }, { roles: ['buyer'] }],
    [{ roles: 'realm_access.roles' }, { 'realm_access.roles': ['buyer'] }, { roles: [] }],
    [{ roles: ['realm_access.roles'] }, { 'realm_access.roles': ['buyer'] }, { roles: ['buyer'] }],
    [{ roles: 'https://a.test/roles' }, { 'https://a.test/roles': ['buyer'] }, { roles: ['buyer'] }],
    [{ roles: 'cognito:groups' }, { 'cognito:groups': ['buyer'] }, { roles: ['buyer'] }],
    [
      { roles: ['resource_access', 'my.app', 'roles'] },
      { resource_access: { 'my.app': { roles: ['a'] } } },
      { roles: ['a'] },
    ],
    [{ roles: 'a.b.c' }, { a: { b: null } }, { roles: [] }],
    [{ roles: 'a.b.c' }, { a: 'b' }, { roles: [] }],
    [{ roles: 'a.0' }, { a: [['buyer']] }, { roles: ['buyer'] }],
    [{ roles: 'a.length' }, { a: ['buyer'] }, { roles: [] }],
    [{ subject: 'oid' }, { oid: 'user-2' }, { userId: 'user-2' }],
    [{ email: 'upn' }, { upn: 'a@example.com', email: 'b@example.com' }, { email: 'a@example.com' }],
    [{ session: 'session_state' }, { session_state: 's', sid: 'x' }, { sessionId: 's' }],
    [{ scopes: 'scp' }, { scp: 'read', scope: 'write' }, { scopes: ['read'] }],
    [{ acr: 'level' }, { level: '2' }, { acr: '2' }],
  ]
  for (const [claims, values, expected] of places)
    t.match(identityOf(values, { claims: claims ?? {} }), expected, JSON.stringify([claims, values]))
  t.strictSame(foreignIssuer({ ...usual, claims: { audience: 'client_id' } }, keySet).audiencesOf({ client_id: 'a' }), [
    'a',
  ])
  for (const path of ['__proto__', 'constructor.name', '__proto__.roles', 'toString'])
    t.strictSame(identityOf({}, { claims: { roles: path } })?.roles, [], `nothing that every object has: ${path}`)
})

t.test('roles are those of the map, or whatever has the form of one', async (t) => {
  const held: [unknown, string[]][] = [
    [
      ['buyer', 'admin', 'buyer'],
      ['buyer', 'admin'],
    ],
    ['buyer admin', ['buyer', 'admin']],
    ['buyer, admin,', ['buyer', 'admin']],
    ['', []],
    [['Buyer', 'a b', 'a,b', '', 'x'.repeat(33), 'buyer'], ['buyer']],
    [[null, 7, {}, ['admin'], 'buyer'], ['buyer']],
    [{ 0: 'admin', length: 1 }, []],
    [{ buyer: true }, []],
    [null, []],
    [7, []],
    [true, []],
    [undefined, []],
  ]
  for (const [roles, expected] of held) {
    t.strictSame(identityOf({ roles })?.roles, expected, JSON.stringify(roles))
    t.equal(identityOf({ roles })?.role, expected[0])
  }
  const roleMap = { 'Shop Admin': 'admin', Buyers: 'buyer', Customers: 'buyer' }
  t.strictSame(identityOf({ roles: ['Customers', 'Shop Admin', 'Buyers', 'root'] }, { roleMap })?.roles, [
    'buyer',
    'admin',
  ])
  t.strictSame(identityOf({ roles: ['__proto__', 'constructor', 'toString'] }, { roleMap })?.roles, [])
  const many = Array.from({ length: 33 }, (_, index) => `role${index}`)
  t.equal(identityOf({ roles: many }), undefined, 'more than anybody may have')
  t.equal(identityOf({ roles: many.slice(1) })?.roles?.length, 32)
  for (const ours of ['Admin', '', 'a b'])
    t.throws(() => foreignIssuer({ ...usual, roleMap: { x: ours } }, keySet), /for "x", cannot be a role/)
})

t.test('an address is passed on if it is one and the issuer does not doubt it', async (t) => {
  const email = 'someone@example.com'
  for (const email_verified of [undefined, true, 'true']) t.equal(identityOf({ email, email_verified })?.email, email)
  for (const email_verified of [false, 'false', null, 0, 1, {}, ['true']])
    t.notOk('email' in (identityOf({ email, email_verified }) ?? {}), JSON.stringify(email_verified))
  t.equal(identityOf({ email: [email, 'other@example.com'] })?.email, email, 'the first of several')
  for (const wrong of ['', 'a b', 'a\r\nx-user-role: admin', 7, null, [], [[email]], [7, email], {}])
    t.strictSame(identityOf({ email: wrong }), nobody, JSON.stringify(wrong))
})

t.test('what has another form is left out, unless it limits the caller or says who that is', async (t) => {
  for (const claims of [
    { acr: 2 },
    { acr: 'a b' },
    { auth_time: 'now' },
    { auth_time: 0.5 },
    { amr: 'pwd' },
    { amr: [7] },
    { token_iss: 'https://issuer.test' },
    { caller: 'client' },
    { role: 'admin' },
    { clientId: 'nightly' },
    { sid: null },
  ])
    t.strictSame(identityOf(claims), nobody, JSON.stringify(claims))
  for (const claims of [
    { sub: undefined },
    { sub: null },
    { sub: 7 },
    { sub: ['user-1'] },
    { sub: '' },
    { sub: 'a b' },
    { sub: 'client:nightly' },
    { sid: 7 },
    { sid: 'a b' },
    { scope: 7 },
    { scope: {} },
    { scope: 'a"b' },
    { scope: 'a  b' },
    { scope: [7] },
    { act: 'client:nightly' },
    { act: {} },
  ])
    t.equal(identityOf(claims), undefined, JSON.stringify(claims))
  for (const [scope, scopes] of [
    [undefined, []],
    [null, []],
    ['', []],
    [' read ', ['read']],
    ['read read write', ['read', 'write']],
    [['read', 'read'], ['read']],
  ])
    t.strictSame(identityOf({ scope })?.scopes, scopes, JSON.stringify(scope))
})

t.test('a machine is told by its claims, and has no address', async (t) => {
  const machine = {
    caller: 'client',
    userId: 'client:nightly',
    clientId: 'nightly',
    roles: [],
    sessionId: '',
    scopes: [],
  }
  for (const name of ['client_id', 'azp'])
    t.strictSame(identityOf({ sub: 'nightly', [name]: 'nightly', email: 'a@example.com' }), machine, name)
  const named = { ...machine, userId: 'client:nightly@clients', clientId: 'nightly@clients' }
  t.strictSame(identityOf({ sub: 'nightly@clients', azp: 'nightly' }), named, 'as Auth0 writes it')
  t.strictSame(identityOf({ azp: 'shop' }), nobody)
  const clients = { gty: 'client-credentials', machine: true } as const
  t.strictSame(identityOf({ sub: 'nightly', gty: 'client-credentials' }, { clients }), machine)
  t.strictSame(identityOf({ sub: 'nightly', gty: ['password', 'client-credentials'] }, { clients }), machine)
  t.strictSame(identityOf({ sub: 'nightly', machine: false }, { clients }), machine, 'any value')
  t.strictSame(identityOf({ gty: 'password' }, { clients }), nobody)
  t.equal(identityOf({ sub: 'a b', azp: 'a b' }), undefined)
})

t.test('where other tokens look the same, claims tell which are for access', async (t) => {
  const require = { token_use: 'access', typ: ['Bearer', 'at'], 'a.b': 'c' }
  const right = { token_use: 'access', typ: 'at', a: { b: 'c' } }
  t.ok(identityOf(right, { require }))
  t.ok(identityOf({ ...right, token_use: ['id', 'access'] }, { require }), 'one of a list')
  t.ok(identityOf({ ...right, token_use: 'id access' }, { require }), 'one of several words')
  const machines = { require: { anonymous: false } }
  t.ok(identityOf({ anonymous: false }, machines))
  for (const anonymous of [true, 'false', 0, undefined, null])
    t.equal(identityOf({ anonymous }, machines), undefined, String(anonymous))
  for (const wrong of [
    { token_use: 'id' },
    { token_use: undefined },
    { typ: 'Refresh' },
    { a: { b: ['d'] } },
    { a: null },
  ])
    t.equal(identityOf({ ...right, ...wrong }, { require }), undefined, JSON.stringify(wrong))
})

t.test('types, audiences and algorithms are those of the settings', async (t) => {
  const taken = (types?: string[]) => {
    const { takesType } = foreignIssuer({ ...usual, ...(types && { types }) }, keySet)
    return [undefined, 'JWT', 'jwt', 'application/jwt', 'at+jwt', 'application/AT+JWT', 'rt+jwt', ''].filter(takesType)
  }
  t.strictSame(taken(), ['at+jwt', 'application/AT+JWT'])
  t.strictSame(taken(['JWT']), [undefined, 'JWT', 'jwt', 'application/jwt'])
  t.strictSame(taken(['application/rt+jwt']), ['rt+jwt'])
  const { audiencesOf, audiences, idsOf, hasRouteAudiences } = foreignIssuer({ ...usual, audience: ['a', 'b'] }, keySet)
  t.strictSame([audiences, hasRouteAudiences], [['a', 'b'], false])
  for (const aud of [undefined, null, 7, {}, [7], ['a', 7], { 0: 'a' }]) t.equal(audiencesOf({ aud }), undefined)
  t.strictSame([audiencesOf({ aud: 'a' }), audiencesOf({ aud: ['a', 'b'] })], [['a'], ['a', 'b']])
  t.strictSame(idsOf(identityOf({ sid: 's' }) as never, { jti: 'x' }), [], 'no stream tells of them')
  t.strictSame(algorithmsOf(usual), ['ES256', 'RS256', 'EdDSA'])
  t.strictSame(algorithmsOf({ ...usual, algorithms: ['PS256'] }), ['PS256'])
})

t.test('a token of Sallyport says all of it, or is none', async (t) => {
  const own = ownIssuer('https://issuer.test', 'https://api.test', keySet)
  const claims = {
    sub: 'user-1',
    sid: 's',
    email: 'a@example.com',
    role: 'a',
    roles: ['a'],
    jti: 't',
    client_id: 'web',
  }
  const machine = { sub: 'client:nightly', sid: 'c', roles: [], scope: 'read', jti: 't', client_id: 'nightly' }
  t.ok(own.identityOf(claims))
  t.ok(own.identityOf(machine))
  const act = { sub: 'client:other', sid: 'c2', grant: 'g', act: { sub: 'user-2' } }
  t.ok(own.identityOf({ ...machine, client_id: 'other', act }), 'who acts for it asked for the token')
  for (const wrong of [
    { ...claims, jti: undefined },
    { ...claims, client_id: 7 },
    { ...claims, token_iss: 'https://login.test' },
    { ...claims, sid: undefined },
    { ...machine, client_id: 'other' },
  ])
    t.equal(own.identityOf(wrong), 'wrong claims', JSON.stringify(wrong))
  t.strictSame(own.idsOf(own.identityOf(claims) as never, claims), ['s', 't'])
  const acting = { ...claims, scope: 'read', act }
  t.strictSame(own.idsOf(own.identityOf(acting) as never, acting), ['s', 't', 'c2', 'g'])
  t.strictSame([undefined, 'JWT', 'at+jwt', 'AT+JWT'].filter(own.takesType), ['at+jwt'])
  t.strictSame(own.audiencesOf({ aud: 'a' }), ['a'])
})
