import { createHmac, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { createDerivedKeys } from '../tokens/derived-keys.ts'
import { createChallengeTokens, type Purpose } from './challenges.ts'

const tokensOf = (...refreshSecrets: [string, ...string[]]) =>
  createChallengeTokens(createDerivedKeys({ current: { refreshSecrets } }))
const tokens = tokensOf('secret')
const id = randomUUID()
const invalid = { code: 'CHALLENGE_INVALID' }

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const [key] = createDerivedKeys({ current: { refreshSecrets: ['secret'] } }).challengeKeys
function signed(header: object, claims: object) {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}
const now = () => Math.floor(Date.now() / 1000)
const header = { alg: 'HS256', typ: 'challenge+jwt' }
const claims = () => ({ jti: id, aud: 'login', iat: now(), exp: now() + 300 })

t.test('a challenge is read by the keys of the moment, for its purpose', async (t) => {
  t.equal(tokens.read(tokens.sign({ id, purpose: 'login' }), 'login'), id)
  t.equal(tokens.read(signed(header, claims()), 'login'), id, 'one that is made by hand, as those below')
  const old = tokens.sign({ id, purpose: 'password_reset' })
  t.equal(tokensOf('new', 'secret').read(old, 'password_reset'), id)
  t.throws(() => tokensOf('new').read(old, 'password_reset'), invalid)
  const purposes: Purpose[] = ['login', 'password_reset', 'passkey_login', 'step_up', 'totp', 'passkey']
  for (const purpose of purposes)
    for (const other of purposes.filter((other) => other !== purpose))
      t.throws(() => tokens.read(tokens.sign({ id, purpose }), other), invalid, `${purpose} as ${other}`)
})

t.test('it is good for five minutes, one of an authenticator app for ten', async (t) => {
  const begun = Date.now()
  for (const [purpose, seconds] of [
    ['login', 300],
    ['totp', 600],
  ] as const) {
    const token = tokens.sign({ id, purpose })
    for (const [passed, isGood] of [
      [seconds - 2, true],
      [seconds + 2, false],
    ] as const) {
      const restore = Date.now
      Date.now = () => begun + passed * 1000
      try {
        if (isGood) t.equal(tokens.read(token, purpose), id)
        else t.throws(() => tokens.read(token, purpose), invalid)
      } finally {
        Date.now = restore
      }
    }
  }
})

t.test('nothing else is read', async (t) => {
  const [head, body, signature] = tokens.sign({ id, purpose: 'login' }).split('.') as [string, string, string]
  const refused: Record<string, string> = {
    'no algorithm': `${encode({ ...header, alg: 'none' })}.${body}.`,
    'no algorithm, and a signature': signed({ ...header, alg: 'none' }, claims()),
    'another algorithm': signed({ ...header, alg: 'HS512' }, claims()),
    'another type': signed({ ...header, typ: 'at+jwt' }, claims()),
    'no type': signed({ alg: 'HS256' }, claims()),
    'no audience': signed(header, { ...claims(), aud: undefined }),
    'another audience': signed(header, { ...claims(), aud: 'logins' }),
    'no expiry': signed(header, { ...claims(), exp: undefined }),
    'no id': signed(header, { ...claims(), jti: undefined }),
    'an id that is none': signed(header, { ...claims(), jti: 'x' }),
    'an id that is a number': signed(header, { ...claims(), jti: 7 }),
    expired: signed(header, { ...claims(), exp: now() - 1 }),
    'no signature': `${head}.${body}.`,
    'two parts': `${head}.${body}`,
    'four parts': `${head}.${body}.${signature}.`,
    'another body': `${head}.${encode(claims())}x.${signature}`,
    'claims that are no object': signed(header, []),
    nothing: '',
  }
  for (const [what, token] of Object.entries(refused)) t.throws(() => tokens.read(token, 'login'), invalid, what)
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (token) => {
      try {
        tokens.read(token, 'login')
        return false
      } catch (error) {
        return (error as { code: string }).code === 'CHALLENGE_INVALID'
      }
    }),
  )
})
