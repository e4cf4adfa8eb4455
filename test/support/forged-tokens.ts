import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto'
import { algorithmOf, createAssertions, publicJwk } from '@sallyport/identity'
import { Issuer } from './edge.ts'

const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const generate = (pair: { privateKey: string }) => createPrivateKey(pair.privateKey)

/** Who signs the good ones. */
export const issuer = new Issuer()
const ours = createPrivateKey(issuer.privateKey)
const strangers = {
  'another P-256 key': generate(
    generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }),
  ),
  'a P-384 key': generate(generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding, privateKeyEncoding })),
  'a P-521 key': generate(generateKeyPairSync('ec', { namedCurve: 'P-521', publicKeyEncoding, privateKeyEncoding })),
  'a secp256k1 key': generate(
    generateKeyPairSync('ec', { namedCurve: 'secp256k1', publicKeyEncoding, privateKeyEncoding }),
  ),
  'an RSA key': generate(generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding })),
  'an Ed25519 key': generate(generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })),
}
export const stranger = strangers['another P-256 key']
const { kid } = publicJwk(issuer.privateKey)

export const now = () => Math.floor(Date.now() / 1000)
const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const header = () => ({ alg: 'ES256', typ: 'at+jwt', kid }) as Record<string, unknown>
const claims = () =>
  ({
    iss: 'https://issuer.test',
    aud: 'https://api.test',
    sub: 'user-1',
    client_id: 'web',
    iat: now(),
    exp: now() + 600,
    jti: 'token-1',
    sid: 'session-1',
    email: 'someone@example.com',
    role: 'admin',
    roles: ['admin'],
  }) as Record<string, unknown>

function signature(input: string, key: KeyObject = ours): Buffer {
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
}

/** Signs whatever it is given, regardless of what it means: objects, or JSON verbatim. */
function signed(head: unknown = header(), body: unknown = claims(), key: KeyObject = ours): string {
  const input = `${encode(head)}.${encode(body)}`
  return `${input}.${signature(input, key).toString('base64url')}`
}
export const withHeader = (more: object, key?: KeyObject) => signed({ ...header(), ...more }, claims(), key)
export const withClaims = (more: object, key?: KeyObject) => signed(header(), { ...claims(), ...more }, key)
const withSignature = (made: Buffer) => `${encode(header())}.${encode(claims())}.${made.toString('base64url')}`

/** Names for cases that differ in a value. */
const named = <T>(what: string, values: T[], make: (value: T) => string): [string, string][] =>
  values.map((value) => [`${what} ${String(JSON.stringify(value) ?? value).slice(0, 60)}`, make(value)])

const attacks: Record<string, [what: string, token: string][]> = {}

const cases = (word: string): string[] =>
  [...word].reduce<string[]>(
    (all, letter) => all.flatMap((begun) => [begun + letter, begun + letter.toUpperCase()]),
    [''],
  )
attacks['no signature at all'] = [
  ...named('alg', cases('none'), (alg) => `${encode({ ...header(), alg })}.${encode(claims())}.`),
  ...named('alg with a signature', ['none', 'None', 'NONE'], (alg) => withHeader({ alg })),
  ...named('alg without a key id', ['none', 'NONE'], (alg) => `${encode({ alg, typ: 'at+jwt' })}.${encode(claims())}.`),
  ...named(
    'alg',
    ['', ' none', 'none ', 'none\0', 'nonе', 'null', null, undefined, false, 0, [], ['none'], {}],
    (alg) => `${encode({ ...header(), alg })}.${encode(claims())}.`,
  ),
  ['and the last dot is missing', `${encode({ ...header(), alg: 'none' })}.${encode(claims())}`],
  ['alg ES256 all the same', `${encode(header())}.${encode(claims())}.`],
  ['alg ES256, one byte', `${encode(header())}.${encode(claims())}.AA`],
]

const publicKey = createPublicKey(ours as never)
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
const der = publicKey.export({ type: 'spki', format: 'der' })
const jwk = publicKey.export({ format: 'jwk' })
const point = Buffer.concat([Buffer.from(jwk.x as string, 'base64url'), Buffer.from(jwk.y as string, 'base64url')])
const secrets: Record<string, string | Buffer> = {
  PEM: pem,
  'PEM without the last newline': pem.trimEnd(),
  'PEM with CRLF': pem.replaceAll('\n', '\r\n'),
  'PEM on one line': pem.replaceAll('\n', ''),
  'PEM with \\n': pem.replaceAll('\n', '\\n'),
  'what PEM holds': pem.replace(/-----[^-]+-----|\n/g, ''),
  DER: der,
  'DER in base64url': der.toString('base64url'),
  'DER in hexadecimal': der.toString('hex'),
  'a JWK': JSON.stringify(jwk),
  'the JWK as it is published': JSON.stringify(publicJwk(issuer.privateKey)),
  'the JWK set': JSON.stringify({ keys: issuer.keys }),
  'the point': Buffer.concat([Buffer.from([4]), point]),
  'the point without its first byte': point,
  'the compressed point': Buffer.concat([Buffer.from([2 + ((point.at(-1) as number) & 1)]), point.subarray(0, 32)]),
  x: point.subarray(0, 32),
  'x in base64url': jwk.x as string,
  'the key id': kid,
  nothing: '',
  'a NUL': '\0',
  'a word': 'secret',
}
attacks['HMAC over what everybody knows'] = ['HS256', 'HS384', 'HS512'].flatMap((alg) =>
  Object.entries(secrets).map(([what, secret]): [string, string] => {
    const input = `${encode({ ...header(), alg })}.${encode(claims())}`
    const hash = alg.replace('HS', 'sha')
    const made = createHmac(hash, createSecretKey(Buffer.from(secret as string)))
      .update(input)
      .digest('base64url')
    return [`${alg} over ${what}`, `${input}.${made}`]
  }),
)

attacks['another algorithm'] = [
  ...named(
    'alg',
    [
      'ES384',
      'ES512',
      'ES256K',
      'RS256',
      'RS512',
      'PS256',
      'EdDSA',
      'Ed25519',
      'HS256',
      'es256',
      'ES-256',
      'ES256 ',
      'SHA256',
    ],
    (alg) => withHeader({ alg }),
  ),
  ...named('alg', [256, true, null, ['ES256'], { alg: 'ES256' }, undefined], (alg) => withHeader({ alg })),
  ...Object.entries(strangers).flatMap(([what, key]): [string, string][] => [
    [`${what} under our key id`, withClaims({}, key)],
    [`${what} under our key id, by its own algorithm`, withHeader({ alg: algorithmName(key) }, key)],
    [`${what} under an id of its own`, withHeader({ kid: 'other' }, key)],
  ]),
]

const evil = 'https://evil.test/jwks.json'
attacks['a key that the token brings or names'] = [
  ['jwk', withHeader({ jwk: publicJwk(stranger) }, stranger)],
  ['jwk without an id', signed({ alg: 'ES256', typ: 'at+jwt', jwk: publicJwk(stranger) }, claims(), stranger)],
  ['jwk of ours', withHeader({ jwk })],
  ['jwk, symmetric', withHeader({ jwk: { kty: 'oct', k: 'AAAA' } })],
  ...named('jku', [evil, 'http://127.0.0.1:1/', 'file:///etc/passwd', '//evil.test', '', null], (jku) =>
    withHeader({ jku }, stranger),
  ),
  ...named('x5u', [evil, 'file:///dev/null'], (x5u) => withHeader({ x5u }, stranger)),
  ...named('x5c', [['MIIB'], [], 'MIIB', [der.toString('base64')]], (x5c) => withHeader({ x5c }, stranger)),
  ['x5t', withHeader({ x5t: 'AAAA' })],
  ['x5t#S256', withHeader({ 'x5t#S256': 'AAAA' })],
  ['jku, though we signed it', withHeader({ jku: evil })],
  ...named(
    'kid',
    [
      '../../../../../../dev/null',
      '/dev/null',
      '..\\..\\windows\\win.ini',
      'file:///etc/passwd',
      evil,
      "' OR '1'='1",
      "x' UNION SELECT 'key'--",
      '$(id)',
      '`id`',
      '; id',
      '| id',
      `${kid}\0`,
      `${kid} `,
      ` ${kid}`,
      `${kid}\n`,
      kid.toLowerCase(),
      kid.slice(0, -1),
      '',
      '*',
      '__proto__',
      'constructor',
      'toString',
      'x'.repeat(2_000),
      '\u0000',
      '\ud800',
      '{"kid":1}',
    ],
    (id) => withHeader({ kid: id }, stranger),
  ),
  ...named('kid', [7, 0, -1, true, null, undefined, [], [kid], {}, { kid }], (id) => withHeader({ kid: id })),
]

attacks['a header that says more or other than ours'] = [
  ...named('crit', [[], ['exp'], ['b64'], ['x'], 'b64', null, {}], (crit) => withHeader({ crit })),
  ['b64 false', withHeader({ b64: false, crit: ['b64'] })],
  ['b64 false, unannounced', withHeader({ b64: false })],
  ['b64 true', withHeader({ b64: true })],
  ['zip', withHeader({ zip: 'DEF' })],
  ['cty JWT', withHeader({ cty: 'JWT' })],
  ['enc', withHeader({ enc: 'A256GCM', alg: 'dir' })],
  ['epk', withHeader({ epk: publicJwk(stranger) })],
  ['a claim in it', withHeader({ exp: now() + 600 })],
  ['__proto__', signed(`{"alg":"ES256","typ":"at+jwt","kid":"${kid}","__proto__":{}}`)],
  ['alg twice, none last', signed(`{"alg":"ES256","typ":"at+jwt","kid":"${kid}","alg":"none"}`)],
  ['alg twice, none first', signed(`{"alg":"none","typ":"at+jwt","kid":"${kid}","alg":"ES256"}`)],
  ['kid twice', signed(`{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"${kid}"}`)],
  ['typ twice, once encoded', signed(`{"alg":"ES256","typ":"rt+jwt","kid":"${kid}","\\u0074yp":"at+jwt"}`)],
  ...named(
    'typ',
    [
      'JWT',
      'jwt',
      'AT+JWT',
      'At+Jwt',
      'at+jwt ',
      ' at+jwt',
      'at jwt',
      'at+jwt;x',
      'rt+jwt',
      'identity+jwt',
      'id+jwt',
      'dpop+jwt',
    ],
    (typ) => withHeader({ typ }),
  ),
  ...named('typ', ['logout+jwt', 'secevent+jwt', '', null, undefined, 7, ['at+jwt'], {}], (typ) => withHeader({ typ })),
]

const wrongTexts = [null, 7, 0, true, false, {}, [], ['user-1'], '', undefined]
attacks['claims that are missing or of the wrong kind'] = [
  ...Object.keys(claims()).map((name): [string, string] => [`no ${name}`, withClaims({ [name]: undefined })]),
  ...['sub', 'sid', 'email', 'role', 'client_id', 'jti'].flatMap((name) =>
    named(name, wrongTexts.slice(0, -2), (value) => withClaims({ [name]: value })),
  ),
  ...['sub', 'sid', 'email', 'role'].flatMap((name) =>
    named(
      name,
      [
        '',
        ' ',
        'a b',
        'a\r\nx-user-role: admin',
        'a\nb',
        'a\rb',
        'a\0b',
        'a\tb',
        // Letters of whatever alphabet can be in an address, and in nothing else.
        ...(name === 'email' ? [] : ['é', 'а']),
        '\u2028',
        '\u0085',
        'x'.repeat(321),
        '\x7f',
      ],
      (value) => withClaims({ [name]: value }),
    ),
  ),
  ...named(
    'roles',
    [
      null,
      'admin',
      7,
      {},
      [],
      [null],
      [7],
      [['admin']],
      [''],
      ['Admin'],
      ['admin', 'a,b'],
      ['admin', 'a b'],
      ['admin\r\nx: y'],
    ],
    (roles) => withClaims({ roles }),
  ),
  ...named('roles', [['patient'], ['patient', 'admin'], Array(33).fill('admin'), { 0: 'admin', length: 1 }], (roles) =>
    withClaims({ roles }),
  ),
  ...named('acr', [null, '', 2, {}, ['aal2'], 'aal 2', 'a\r\nx-user-role: admin', 'é', 'x'.repeat(65)], (acr) =>
    withClaims({ acr }),
  ),
  ...named(
    'auth_time',
    [null, '', 'soon', String(now()), true, {}, [now()], -1, 0.5, 1e11, 1e300, Date.now(), now() + 400],
    (auth_time) => withClaims({ auth_time }),
  ),
  ...named('amr', [null, 'pwd', {}, [7], [''], ['p w'], ['é'], ['x'.repeat(33)], Array(17).fill('pwd')], (amr) =>
    withClaims({ amr }),
  ),
  ...named('role', ['doctor', 'Admin', 'admin,doctor', 'admin '], (role) => withClaims({ role })),
  ...named(
    'iss',
    [
      '',
      'https://evil.test',
      'https://issuer.test/',
      'HTTPS://issuer.test',
      ' https://issuer.test',
      'issuer.test',
      null,
      7,
    ],
    (iss) => withClaims({ iss }),
  ),
  ...named('iss', [['https://issuer.test'], {}], (iss) => withClaims({ iss })),
  ...named(
    'aud',
    ['', 'https://evil.test', 'https://api.test/', 'https://api.test.evil.test', 'https://API.test', null, 7, true, {}],
    (aud) => withClaims({ aud }),
  ),
  ...named('aud', [[], [null], [['https://api.test']], ['https://evil.test'], { 0: 'https://api.test' }, [7]], (aud) =>
    withClaims({ aud }),
  ),
  ...['exp', 'iat'].flatMap((name) =>
    named(name, [null, '', String(now() + 60), 'soon', true, {}, [], [now() + 60], -1, -1e300, 1e300], (value) =>
      withClaims({ [name]: value }),
    ),
  ),
  ...['nbf'].flatMap((name) =>
    named(name, [null, '', 'now', String(now()), true, {}, [], now() + 60, 1e300], (value) =>
      withClaims({ [name]: value }),
    ),
  ),
  ['exp in milliseconds', withClaims({ exp: Date.now() + 600_000 })],
  ['exp without end', signed(header(), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e400'))],
  ['exp NaN', signed(header(), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":NaN'))],
  ['iat seven minutes ahead', withClaims({ iat: now() + 420 })],
  ['iat a year ahead', withClaims({ iat: now() + 31_536_000, exp: now() + 31_536_600 })],
  [
    'claims in __proto__',
    signed(
      header(),
      JSON.stringify({ ...claims(), role: undefined, roles: undefined }).replace(
        '{',
        '{"__proto__":{"role":"admin","roles":["admin"]},',
      ),
    ),
  ],
  ['roles twice', signed(header(), JSON.stringify(claims()).replace('{', '{"roles":["patient"],'))],
  ['sub twice', signed(header(), JSON.stringify(claims()).replace(/}$/, ',"sub":"user-2"}'))],
  ['sub twice, once encoded', signed(header(), JSON.stringify(claims()).replace(/}$/, ',"\\u0073ub":"user-2"}'))],
  ['exp twice', signed(header(), JSON.stringify(claims()).replace('{', '{"exp":1,'))],
  [
    'a claim within another, twice',
    signed(header(), JSON.stringify({ ...claims(), cnf: {} }).replace('{}', '{"a":1,"a":2}')),
  ],
  ['claims in a list', signed(header(), [claims()])],
  ['claims within claims', signed(header(), { claims: claims() })],
  ...named(
    'claims',
    ['null', '7', '"x"', '{', '{}', '[]', 'x', ' ', '\ufeff{}', `${JSON.stringify(claims())},`],
    (json) => signed(header(), json),
  ),
  ...named('header', ['null', '7', '"x"', '{', '{}', '[]', 'x', ' ', `[${JSON.stringify(header())}]`], (json) =>
    signed(json),
  ),
  ['too long', withClaims({ note: 'x'.repeat(5_000) })],
]

/** What is altered here is good. */
export const good = signed()
const [head, body, made] = good.split('.') as [string, string, string]
const bytes = Buffer.from(made, 'base64url')
const r = bytes.subarray(0, 32)
const s = bytes.subarray(32)
const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')
const zero = Buffer.alloc(32)
const one = Buffer.concat([Buffer.alloc(31), Buffer.from([1])])
const pairs: [string, Buffer][] = [
  ['zeros', Buffer.alloc(64)],
  ['r zero', Buffer.concat([zero, s])],
  ['s zero', Buffer.concat([r, zero])],
  ['ones', Buffer.concat([one, one])],
  ['r the order', Buffer.concat([order, s])],
  ['s the order', Buffer.concat([r, order])],
  ['both the order', Buffer.concat([order, order])],
  ['all bits', Buffer.alloc(64, 0xff)],
  ['r and s exchanged', Buffer.concat([s, r])],
  ['half', r],
  ['a byte less', bytes.subarray(0, 63)],
  ['a byte more', Buffer.concat([bytes, Buffer.from([0])])],
  ['a byte before', Buffer.concat([Buffer.from([0]), bytes])],
  ['twice', Buffer.concat([bytes, bytes])],
  ['as DER', sign('sha256', Buffer.from(`${head}.${body}`), { key: ours, dsaEncoding: 'der' })],
  ['of the hash', signature(Buffer.from(`${head}.${body}`).toString('hex'))],
  ['of the claims alone', signature(body)],
  ['of the header alone', signature(head)],
  ['with a dot more', signature(`${head}.${body}.`)],
  ['a bit changed', Buffer.concat([Buffer.from([(bytes[0] as number) ^ 1]), bytes.subarray(1)])],
  ['as hexadecimal text', Buffer.from(bytes.toString('hex'))],
]
attacks['a signature that is none'] = [
  ...pairs.map(([what, pair]): [string, string] => [what, `${head}.${body}.${pair.toString('base64url')}`]),
  ['empty', `${head}.${body}.`],
  ['of another token', `${head}.${encode({ ...claims(), sub: 'user-2' })}.${made}`],
  ['under another header', `${encode({ ...header(), note: 1 })}.${body}.${made}`],
  [
    'of this token by SHA-512',
    withSignature(sign('sha512', Buffer.from(`${head}.${body}`), { key: ours, dsaEncoding: 'ieee-p1363' })),
  ],
]

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const spare = `${made.slice(0, -1)}${alphabet.charAt(alphabet.indexOf(made.slice(-1)) + 1)}`
attacks['another spelling of a good token'] = [
  ['spare bits', `${head}.${body}.${spare}`],
  ['padding', `${good}==`],
  ['padding of the header', `${head}=.${body}.${made}`],
  ['padding of the claims', `${head}.${body}==.${made}`],
  ['the other alphabet', `${head}.${body}.${made.replaceAll('-', '+').replaceAll('_', '/')}+/`],
  ['encoded as in a URL', good.replaceAll('.', '%2e')],
  ['a space within', `${head}. ${body}.${made}`],
  ['a tab within', `${head}.\t${body}.${made}`],
  ['quotes', `"${good}"`],
  ['a comma after', `${good},`],
  ['another after a comma', `${good},${good}`],
  ['another scheme and token after a comma', `${good}, Bearer ${good}`],
  ['a parameter after', `${good};x=y`],
  ['a dot before', `.${good}`],
  ['a dot after', `${good}.`],
  ['two dots between', `${head}..${body}.${made}`],
  ['four parts', `${good}.${made}`],
  ['five parts, as of a JWE', `${head}.${body}.${made}.${made}.${made}`],
  ['a JWE', `${encode({ alg: 'dir', enc: 'A256GCM' })}..${encode('iv')}.${encode('text')}.${encode('tag')}`],
  ['two parts', `${head}.${body}`],
  ['one part', head],
  ['dots', '..'],
  ['a dot', '.'],
  ['JSON', JSON.stringify({ payload: body, protected: head, signature: made })],
  ['general JSON', JSON.stringify({ payload: body, signatures: [{ protected: head, signature: made }] })],
  ['detached claims', `${head}..${made}`],
  ['claims as they are', `${head}.${JSON.stringify(claims())}.${made}`],
  ['bytes that are no UTF-8', `${head}.${body}.\xff\xfe`],
  ['letters that are no ASCII', `${head}.${body}.\xe9`],
  ['upper case', good.toUpperCase()],
  ['reversed', [...good].reverse().join('')],
  ['encoded twice', encode(good)],
  ['a scheme twice', `Bearer ${good}`],
  ['nothing', ''],
  ['null', 'null'],
  ['undefined', 'undefined'],
  ['[object Object]', '[object Object]'],
]

const refreshToken = () => {
  const refresh = { sub: 'user-1', sid: 'session-1', gen: 0, iat: now(), exp: now() + 600, type: 'refresh' }
  const input = `${encode({ alg: 'HS256', typ: 'rt+jwt' })}.${encode(refresh)}`
  return `${input}.${createHmac('sha256', 'secret').update(input).digest('base64url')}`
}
const assertion = (key: string) =>
  createAssertions(key).sign(
    {
      caller: 'user',
      userId: 'user-1',
      email: 'someone@example.com',
      role: 'admin',
      roles: ['admin'],
      sessionId: 'session-1',
    },
    'https://api.test',
  ).token

function algorithmName(key: KeyObject): string {
  try {
    return algorithmOf(key)
  } catch {
    return { secp384r1: 'ES384', secp521r1: 'ES512' }[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'ES256K'
  }
}

/** Every one that is to be refused. */
export function forgedTokens(identityKey: string): { how: string; what: string; token: string }[] {
  attacks['a token for something else'] = [
    ['a refresh token', refreshToken()],
    ['an identity assertion', assertion(identityKey)],
    ['an identity assertion by the key of access tokens', assertion(issuer.privateKey)],
    ['another issuer’s token', new Issuer().token()],
    ['another issuer’s token under our key id', new Issuer().token({}, { kid })],
    ['an id token', signed({ ...header(), typ: 'JWT' }, { ...claims(), nonce: 'x' })],
  ]
  return Object.entries(attacks).flatMap(([how, tokens]) => tokens.map(([what, token]) => ({ how, what, token })))
}

/** Those that were good until now. */
export const expiredTokens = (): [what: string, token: string][] =>
  [
    [now() - 600, now() - 1],
    [now() - 600, now()],
    [0, 1],
    [now(), 0],
  ].map(([iat, exp]) => [`exp ${exp}`, withClaims({ iat, exp })])

const lowered = Buffer.from(
  (BigInt(`0x${order.toString('hex')}`) - BigInt(`0x${s.toString('hex')}`)).toString(16).padStart(64, '0'),
  'hex',
)

/** Unusual, and as good as others. */
export const oddTokens: [what: string, token: string][] = [
  ['the other signature of ECDSA', `${head}.${body}.${Buffer.concat([r, lowered]).toString('base64url')}`],
  ['several audiences', withClaims({ aud: ['https://other.test', 'https://api.test'] })],
  ['a time with a fraction', withClaims({ exp: now() + 600.5 })],
  ['white space', signed(header(), JSON.stringify(claims(), null, 2))],
  ['members within members', withClaims({ cnf: { a: { b: [{ a: 1 }, { a: ':' }] } }, note: '"a":{' })],
  ['issued by a clock that is ahead', withClaims({ iat: now() + 20 })],
]
