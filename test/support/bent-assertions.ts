import { createHmac, createPublicKey, type KeyObject } from 'node:crypto'
import { makeKeyPair, signAny } from './machines.ts'

const now = () => Math.floor(Date.now() / 1000)
const encode = (part: object | string) =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
const header = { alg: 'ES256', typ: 'identity+jwt', kid: 'a' }

/** The claims of a good assertion of a doctor. */
export const doctorClaims = (audience: string) => ({
  iss: 'sallyport-gateway',
  aud: audience,
  caller: 'user',
  sub: 'user-1',
  sid: 'session-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  iat: now(),
  exp: now() + 60,
  jti: 'assertion-1',
})

/** A good assertion, but for what is to be other about it; `undefined` leaves a claim out. */
export const assertionOf = (privateKey: string, audience: string, claims: object = {}, head: object = {}) =>
  signAny(privateKey, { ...header, ...head }, { ...doctorClaims(audience), ...claims })

/** Values that no claim may have. */
const wrongClaims: Record<string, unknown[]> = {
  iss: ['', 'someone', 'sallyport-gateway/', ['sallyport-gateway'], null, 7, {}],
  aud: ['', 'another-service', [], [null], ['another-service'], { 0: 'x' }, null, 7, true],
  sub: ['', ' ', 'a b', 'a\nb', 'é', 'x'.repeat(321), null, 7, [], {}, 'client:', 'client:nightly'],
  sid: ['', 'a b', 'x'.repeat(321), null, 7, ['session-1']],
  email: ['', ' ', 'a b', 'a\r\nx-user-role: admin', 'x'.repeat(321), null, 7, {}],
  role: ['', 'patient', 'Doctor', 'doctor,admin', 'doctor ', null, 7, ['doctor']],
  roles: ['doctor', '', [], null, 7, {}, [null], [['doctor']], ['doctor', 'a,b'], ['doctor', 'Admin'], ['patient']],
  iat: [null, 'now', true, {}, [], -1, String(now()), Date.now()],
  exp: [null, 'soon', true, {}, [], -1, 1, now() - 10, String(now() + 60), [now() + 60], Date.now() + 60_000, 1e300],
  nbf: [null, 'now', true, {}, [], now() + 3_600, 1e300],
  scope: ['', ' ', 'a  b', ' a', 'a ', 'a a', 'a"b', 'a\tb', null, 7, {}, 'x'.repeat(65)],
  act: ['', 'someone', null, 7, [], {}, { sub: '' }, { sub: 'client:a' }, { sub: 'u', sid: 1 }, { sub: 'u', act: {} }],
  acr: ['', 'aal 2', null, 2, ['aal2'], 'x'.repeat(65)],
  auth_time: ['now', null, true, -1, 0.5, 1e11, String(now())],
  amr: ['pwd', null, {}, [7], ['p w'], Array(17).fill('pwd')],
}

/** Header members that change how a token is checked, or what it is. */
const wrongHeaders: Record<string, unknown[]> = {
  alg: ['none', 'None', 'HS256', 'ES384', 'RS256', 'EdDSA', 'PS256', 'es256', '', null, undefined, 7, ['ES256']],
  typ: ['JWT', 'at+jwt', 'rt+jwt', 'Identity+JWT', 'application/identity+jwt', 'identity+jwt ', '', null, undefined, 7],
  crit: [[], ['exp'], ['b64'], null],
  b64: [true, false],
  jwk: [{ kty: 'oct', k: 'AAAA' }, {}],
  jku: ['https://evil.test/jwks.json'],
  x5u: ['file:///etc/passwd'],
  x5c: [['MIIB']],
  zip: ['DEF'],
}

/** What an example of a service must refuse, as it would come in the header: each with every value of the header. */
export function bentAssertions(privateKey: string, audience: string): [what: string, values: string[]][] {
  const good = assertionOf(privateKey, audience)
  const [head, body, signature] = good.split('.') as [string, string, string]
  const bytes = Buffer.from(signature, 'base64url')
  const bent: [string, string][] = [
    ['an empty one', ''],
    ['a word', 'nonsense'],
    ['dots', '..'],
    ['a scheme', `Bearer ${good}`],
    ['quotes', `"${good}"`],
    ['two in one', `${good}, ${good}`],
    ['four parts', `${good}.${signature}`],
    ['two parts', `${head}.${body}`],
    ['no signature', `${head}.${body}.`],
    ['alg none', `${encode({ ...header, alg: 'none' })}.${body}.`],
    ['padding', `${good}==`],
    ['padding of the claims', `${head}.${body}==.${signature}`],
    ['the other alphabet', `${head}.${body}.${signature.replaceAll('-', '+').replaceAll('_', '/')}+/`],
    ['spare bits', good.slice(0, -1) + String.fromCharCode(good.charCodeAt(good.length - 1) + 1)],
    ['a space within', `${head}. ${body}.${signature}`],
    ['a character that is not of the alphabet', `${head}.${body}.${signature.slice(0, 10)}!${signature.slice(10)}`],
    ['letters that are no ASCII', `${head}.${body}.\xe9`],
    ['a key of somebody else', assertionOf(makeKeyPair().privateKey, audience)],
    ['other claims under the signature', `${head}.${encode({ ...doctorClaims(audience), sub: 'admin' })}.${signature}`],
    ['another header over the signature', `${encode({ ...header, kid: 'b' })}.${body}.${signature}`],
    ['a signature of zeros', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`],
    ['half a signature', `${head}.${body}.${bytes.subarray(0, 32).toString('base64url')}`],
    ['a longer signature', `${head}.${body}.${Buffer.concat([bytes, bytes]).toString('base64url')}`],
    ['a header of a thousand brackets', `${encode('['.repeat(3_000))}.${body}.${signature}`],
    ['claims of a thousand brackets', signAny(privateKey, header, '['.repeat(3_000))],
    [
      'claims that are endless',
      signAny(privateKey, header, `{"exp":1e400,"iat":1,"sub":"a","iss":"sallyport-gateway"}`),
    ],
    ['a long one', assertionOf(makeKeyPair().privateKey, audience, { note: 'x'.repeat(8_000) })],
    ...['null', '7', '"x"', '{', '{}', '[]', 'x', ' '].flatMap((json): [string, string][] => [
      [`claims ${json}`, signAny(privateKey, header, json)],
      [`a header ${json}`, signAny(privateKey, json, doctorClaims(audience))],
    ]),
    ...Object.entries(wrongClaims).flatMap(([name, values]) =>
      values.map((value): [string, string] => [
        `${name} ${JSON.stringify(value)}`,
        assertionOf(privateKey, audience, { [name]: value }),
      ]),
    ),
    ...['iss', 'aud', 'sub', 'sid', 'email', 'role', 'roles', 'iat', 'exp'].map((name): [string, string] => [
      `no ${name}`,
      assertionOf(privateKey, audience, { [name]: undefined }),
    ]),
    ...Object.entries(wrongHeaders).flatMap(([name, values]) =>
      values.map((value): [string, string] => [
        `${name} ${JSON.stringify(value)} in the header`,
        assertionOf(privateKey, audience, {}, { [name]: value }),
      ]),
    ),
    ...publicSecrets(privateKey).map(([what, secret]): [string, string] => {
      const content = `${encode({ ...header, alg: 'HS256' })}.${body}`
      return [`HMAC over ${what}`, `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`]
    }),
    // Every seventh character is another.
    ...Array.from({ length: Math.floor(good.length / 7) }, (_, index): [string, string] => {
      const at = index * 7
      return [`character ${at} changed`, good.slice(0, at) + (good[at] === 'A' ? 'B' : 'A') + good.slice(at + 1)]
    }),
  ]
  return [
    ...bent.map(([what, token]): [string, string[]] => [what, [token]]),
    ['two headers', [good, good]],
    ['two headers, one of them bad', [good, 'x']],
    ['two headers, one of them empty', ['', good]],
  ]
}

/** The public key, as somebody could take it for a secret. */
function publicSecrets(privateKey: string): [string, string | Buffer][] {
  const key: KeyObject = createPublicKey(privateKey)
  const pem = key.export({ type: 'spki', format: 'pem' }).toString()
  return [
    ['PEM', pem],
    ['PEM without its last newline', pem.trimEnd()],
    ['DER', key.export({ type: 'spki', format: 'der' })],
    ['a JWK', JSON.stringify(key.export({ format: 'jwk' }))],
    ['nothing', ''],
  ]
}
