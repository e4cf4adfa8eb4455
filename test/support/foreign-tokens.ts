import { createPrivateKey, createPublicKey } from 'node:crypto'
import { createServer } from 'node:http'
import type { Algorithm, OtherIssuer } from '@sallyport/verify'
import type { Test } from 'tap'
import { listen } from './edge.ts'
import { makeKey, signBy } from './jwt.ts'

const now = () => Math.floor(Date.now() / 1000)

/** Two issuers may have chosen the same id for their keys: here all did. */
const kid = 'key-1'

/** An issuer as its customers know it: how it signs, what its tokens say, and how they are read here. */
interface Foreign {
  algorithm: Algorithm
  privateKey: string
  header: object
  claims: Record<string, unknown>
  settings: Omit<OtherIssuer, 'issuer' | 'jwks' | 'discovery'>
  /** What its key set says of the key, beside the key. */
  published?: object
  hasMetadata?: true
}

const makeForeign = (): Record<string, Foreign> => ({
  'https://keycloak.test/realms/one': {
    algorithm: 'RS256',
    privateKey: makeKey('RS256'),
    header: { typ: 'JWT' },
    published: { alg: 'RS256', use: 'sig', x5c: ['MIIB'], x5t: 'AAAA' },
    hasMetadata: true,
    claims: {
      typ: 'Bearer',
      aud: ['orders', 'account'],
      azp: 'shop',
      sid: 'session-1',
      acr: '1',
      realm_access: { roles: ['offline_access', 'Shop Admin', 'buyer'] },
      scope: 'openid email',
      email: 'someone@example.com',
      email_verified: true,
    },
    settings: {
      audience: 'orders',
      types: ['JWT'],
      require: { typ: 'Bearer' },
      claims: { roles: 'realm_access.roles' },
      roleMap: { 'Shop Admin': 'admin', buyer: 'buyer' },
    },
  },
  'https://auth0.test/': {
    algorithm: 'RS256',
    privateKey: makeKey('RS256'),
    header: {},
    hasMetadata: true,
    claims: {
      aud: ['orders', 'https://auth0.test/userinfo'],
      azp: 'shop',
      'https://example.com/roles': ['buyer'],
      permissions: ['orders:read', 'orders:write'],
      scope: 'openid',
    },
    settings: {
      audience: ['orders', 'invoices'],
      types: ['at+jwt', 'JWT'],
      claims: { roles: 'https://example.com/roles', scopes: 'permissions' },
      clients: { gty: 'client-credentials' },
    },
  },
  'https://cognito.test/pool': {
    algorithm: 'RS512',
    privateKey: makeKey('RS256'),
    header: {},
    published: { alg: 'RS512', use: 'sig' },
    claims: { token_use: 'access', client_id: 'orders', 'cognito:groups': ['buyer'], scope: 'a/b' },
    settings: {
      audience: 'orders',
      types: ['JWT'],
      algorithms: ['RS512'],
      claims: { audience: 'client_id', roles: ['cognito:groups'], email: 'nothing' },
      require: { token_use: ['access'] },
    },
  },
  'https://pss.test': {
    algorithm: 'PS256',
    privateKey: makeKey('RS256'),
    header: { typ: 'at+jwt', 'x5t#S256': 'AAAA' },
    claims: { aud: 'orders', roles: 'buyer, admin', email: 'someone@example.com' },
    settings: { audience: 'orders', algorithms: ['PS256', 'RS256'] },
  },
  'https://pss512.test': {
    algorithm: 'PS512',
    privateKey: makeKey('RS256'),
    header: { typ: 'at+jwt' },
    published: { alg: 'PS512' },
    claims: { aud: 'orders', roles: ['buyer'], email: 'someone@example.com' },
    settings: { audience: 'orders', algorithms: ['RS256', 'PS512'] },
  },
  'https://p384.test': {
    algorithm: 'ES384',
    privateKey: makeKey('ES384'),
    header: { typ: 'application/at+jwt' },
    claims: { aud: 'orders', roles: [], scope: ['read', 'write', 'read'] },
    settings: { audience: 'orders', algorithms: ['ES256', 'ES384'] },
  },
  'https://p521.test': {
    algorithm: 'ES512',
    privateKey: makeKey('ES512'),
    header: { typ: 'AT+JWT' },
    claims: { aud: 'orders', groups: { deep: { roles: ['buyer'] } } },
    settings: { audience: 'orders', algorithms: ['ES512'], claims: { roles: ['groups', 'deep', 'roles'] } },
  },
  'https://ed25519.test': {
    algorithm: 'EdDSA',
    privateKey: makeKey('EdDSA'),
    header: { typ: 'at+jwt' },
    published: { key_ops: ['verify'] },
    claims: { aud: 'orders', roles: ['buyer'], email: 'ämil@example.com', auth_time: now() - 5, amr: ['pwd', 'otp'] },
    settings: { audience: 'orders' },
  },
})

/** Values of claims that an issuer should not have written, or that are none of ours. */
const oddClaims: Record<string, unknown[]> = {
  sub: ['', 'a b', 'a\nb', 'é', 'x'.repeat(321), null, 7, [], ['user-1'], {}, 'client:user-1', undefined],
  aud: ['', 'other', ['other', 'orders'], [], ['orders', 7], null, 7, {}, { 0: 'orders' }, undefined],
  iat: [undefined, null, 'now', -1, 0, 1.5, now() + 300, now() + 420, Date.now()],
  exp: [undefined, null, 'soon', -1, 0, 1, now() - 1, now() + 600.5, Date.now(), 1e300],
  nbf: [null, 'now', 0, now() - 5, now() + 20, now() + 60, {}],
  email: [null, 7, '', 'a b', 'a\r\nx-user-role: admin', ['a@b'], {}, 'b@example.com'],
  email_verified: [false, 'false', null, 0],
  sid: [null, '', 'a b', 7, ['x'], 'x'.repeat(321), 'session-2'],
  acr: [null, '', 'a b', 2, ['x'], 'urn:level:2'],
  scope: [null, '', ' ', 'a  b', ' a ', 'a b a', 'a"b', 7, {}, ['a', 7], ['a b'], 'x'.repeat(65), Array(40).fill('a')],
  act: [null, 'x', { sub: 'client:a' }, { sub: 'user-2', act: { sub: 'user-3' } }, { sub: '' }, []],
  auth_time: [null, 'x', -1, 0.5, now() - 5, now() + 420, Date.now()],
  amr: [null, 'pwd', ['pwd'], [7]],
  azp: ['user-1', 7],
  client_id: ['user-1', 'orders', 'other'],
  gty: ['client-credentials', 'password', ['client-credentials']],
  typ: ['Refresh', 'ID', 'Bearer', undefined],
  token_use: ['id', ['access'], undefined],
  token_iss: ['https://issuer.test'],
  caller: ['client'],
}

const oddRoles: unknown[] = [
  'buyer',
  'buyer admin',
  'buyer,,admin',
  '',
  null,
  7,
  {},
  [],
  [null, 'buyer', 7],
  [['buyer']],
  ['Buyer', 'buyer', 'buyer'],
  ['__proto__', 'constructor', 'buyer'],
  ['a\r\nx: y', 'buyer'],
  { __proto__: ['admin'], 0: 'admin', length: 1 },
  Array.from({ length: 32 }, (_, index) => `role${index}`),
  Array.from({ length: 33 }, (_, index) => `role${index}`),
]

const oddHeaders: Record<string, unknown[]> = {
  alg: ['none', 'HS256', 'RS256', 'RS384', 'PS256', 'PS384', 'ES256', 'EdDSA', 'Ed25519', '', null, undefined],
  typ: ['JWT', 'jwt', 'at+jwt', 'application/at+jwt', 'application/JWT', 'id_token', 'rt+jwt', '', null, undefined, 7],
  kid: ['key-2', '', '__proto__', null, undefined, 7, [kid]],
  x5t: ['AAAA', null],
  x5c: [['MIIB']],
  jwk: [{}],
  jku: ['https://evil.test'],
  crit: [['exp'], []],
  b64: [true, false],
  nonce: ['x'],
}

/** Issuers that are not Sallyport's, and what they or somebody in their name might send. */
export async function foreignTokens(t: Test): Promise<{ issuers: OtherIssuer[]; tokens: [string, string][] }> {
  const foreign = makeForeign()
  const all = Object.entries(foreign)
  const server = createServer((request, response) => {
    const [, index, what] = (request.url as string).split('/')
    const [issuer, { privateKey, published }] = all[Number(index)] as [string, Foreign]
    const key = { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid, ...published }
    const metadata = { issuer, jwks_uri: `http://${request.headers.host}/${index}/keys` }
    response.end(JSON.stringify(what === 'keys' ? { keys: [key] } : metadata))
  })
  const url = await listen(t, server)
  const issuers = all.map(([issuer, { settings, hasMetadata }], index) => ({
    issuer,
    ...(hasMetadata ? { discovery: `${url}/${index}/metadata` } : { jwks: `${url}/${index}/keys` }),
    ...settings,
  }))
  const tokens = all.flatMap(([issuer, one]) =>
    tokensOf(issuer, one, foreign).map(([what, token]): [string, string] => [`${issuer}: ${what}`, token]),
  )
  return { issuers, tokens }
}

function tokensOf(issuer: string, one: Foreign, all: Record<string, Foreign>): [what: string, token: string][] {
  const header = { alg: one.algorithm, kid, ...one.header }
  const claims = { iss: issuer, sub: 'user-1', iat: now(), exp: now() + 600, ...one.claims }
  const make = (more: object = {}, head: object = {}, by: string = one.algorithm, key = one.privateKey) =>
    signBy(by, key, { ...header, ...head }, { ...claims, ...more })
  const good = make()
  const others = Object.entries(all).filter(([name]) => name !== issuer)
  const family = { RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] }
  const isRsa = createPrivateKey(one.privateKey).asymmetricKeyType === 'rsa'
  const rolesIn = (roles: unknown) => ({
    roles,
    realm_access: { roles },
    'https://example.com/roles': roles,
    'cognito:groups': roles,
    groups: { deep: { roles } },
  })
  return [
    ['good', good],
    ['a machine', make({ sub: 'nightly', client_id: one.claims.client_id ?? 'nightly', azp: 'nightly' })],
    ['a good one again', good],
    ...Object.entries(oddClaims).flatMap(([name, values]) =>
      values.map((value): [string, string] => [`${name} ${JSON.stringify(value)}`, make({ [name]: value })]),
    ),
    ...oddRoles.map((roles): [string, string] => [`roles ${JSON.stringify(roles)}`, make(rolesIn(roles))]),
    ...Object.entries(oddHeaders).flatMap(([name, values]) =>
      values.map((value): [string, string] => [
        `${name} ${JSON.stringify(value)} in the header`,
        make({}, { [name]: value }),
      ]),
    ),
    ...(isRsa ? family.RSA : []).map((alg): [string, string] => [`by ${alg}`, make({}, { alg }, alg)]),
    ...(isRsa ? family.RSA : []).map((alg): [string, string] => [`by ${alg} under another name`, make({}, {}, alg)]),
    ...others.map(([name, { algorithm, privateKey }]): [string, string] => [
      `by the key of ${name}`,
      make({}, { alg: algorithm }, algorithm, privateKey),
    ]),
    ...[...others.map(([name]) => name), `${issuer}/`, issuer.toUpperCase(), '', null, [issuer], undefined].map(
      (iss): [string, string] => [`in the name of ${JSON.stringify(iss)}`, make({ iss })],
    ),
    [
      'a claim twice',
      signBy(one.algorithm, one.privateKey, header, `{"sub":"admin",${JSON.stringify(claims).slice(1)}`),
    ],
    ['with white space', signBy(one.algorithm, one.privateKey, header, JSON.stringify(claims, null, 2))],
    [
      'claims in __proto__',
      signBy(
        one.algorithm,
        one.privateKey,
        header,
        `{"__proto__":{"roles":["admin"],"sub":"admin"},${JSON.stringify(claims).slice(1)}`,
      ),
    ],
    [
      'deep',
      signBy(
        one.algorithm,
        one.privateKey,
        header,
        `{"a":${'['.repeat(2_000)}${']'.repeat(2_000)},${JSON.stringify(claims).slice(1)}`,
      ),
    ],
    ['as long as others write them', make({ note: 'x'.repeat(5_000) })],
    ['too long', make({ note: 'x'.repeat(8_000) })],
    ['a character changed', `${good.slice(0, -10)}${good.at(-10) === 'A' ? 'B' : 'A'}${good.slice(-9)}`],
    ['no signature', good.slice(0, good.lastIndexOf('.') + 1)],
  ]
}
