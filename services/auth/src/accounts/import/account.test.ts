import t from 'tap'
import { prepare, type Rules, requireRole } from './account.ts'
import { readFirebaseParameters } from './firebase-parameters.ts'
import { fromAuth0, fromText } from './hashes.ts'
import type { Person } from './person.ts'
import { readerOf } from './sources.ts'
import { readTotp } from './totp.ts'

const person: Person = {
  id: 'auth0|1',
  email: 'Nina@Example.com',
  verified: true,
  name: ' Nina ',
  locale: 'de-AT',
  roles: ['Doctor', 'Guest'],
  disabled: false,
  gone: false,
  createdAt: '2020-01-02 03:04:05.6+00',
  hash: undefined,
  totp: undefined,
}
const rules: Rules = {
  source: 'auth0',
  roles: new Map([['Doctor', 'doctor']]),
  defaultRole: undefined,
  includeUnverified: false,
}
const factorKey = {
  ids: ['key'] as [string],
  seal: (text: string, about: string) => `${text} ${about}`,
  open: () => '',
}
const accountOf = (more: Partial<Person> = {}, rule: Partial<Rules> = {}) =>
  prepare({ ...person, ...more }, { ...rules, ...rule }, factorKey)

t.test(
  'an account has the address as it is kept, mapped roles and no other, and an id that is always the same',
  async (t) => {
    const { account, leftOut } = accountOf()
    t.match(account, {
      ...{ email: 'nina@example.com', name: 'Nina', roles: ['doctor'], locale: 'de-AT', hash: '!', disabled: false },
      createdAt: '2020-01-02T03:04:05.600Z',
      id: /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    })
    t.strictSame(leftOut, [
      { what: 'role', why: 'not in the map: "Guest"' },
      { what: 'password', why: 'no password' },
    ])
    t.equal(accountOf({ email: 'other@example.com' }).account?.id, account?.id)
    t.not(accountOf({ id: undefined }).account?.id, account?.id)
    t.not(accountOf({}, { source: 'csv' }).account?.id, account?.id)
    const id = '0a1B2c3d-0000-4000-8000-000000000000'
    t.equal(accountOf({ id }).account?.id, id.toLowerCase(), 'a UUID is kept')
  },
)

t.test('who cannot have an account is left out, and it is said why', async (t) => {
  const why = (more: Partial<Person>, rule?: Partial<Rules>) => accountOf(more, rule).leftOut.at(-1)
  t.match(why({ gone: true }), { what: 'user', why: /deleted/ })
  t.match(why({ email: undefined }), { what: 'user', why: 'no address' })
  t.match(why({ email: 'a@b@c' }), { what: 'user', why: 'invalid address' })
  t.match(why({ verified: false }), { what: 'user', why: 'unverified address' })
  t.ok(accountOf({ verified: false }, { includeUnverified: true }).account)
  t.match(why({ roles: ['Guest'] }), { what: 'user', why: 'no role' })
  t.strictSame(accountOf({ roles: ['Guest'] }, { defaultRole: 'patient' }).account?.roles, ['patient'])
  const many = Array.from({ length: 40 }, (_, index) => `r${index}`)
  const roles = new Map(many.map((role) => [role, role]))
  t.equal(accountOf({ roles: many }, { roles }).account?.roles.length, 32, 'as many roles as a token may have')
})

t.test('what cannot be taken over is left out of the account', async (t) => {
  const left = (more: Partial<Person>) => accountOf({ roles: ['Doctor'], ...more })
  t.match(left({ hash: null }), { account: { hash: '!' }, leftOut: [{ what: 'password', why: /unknown form/ }] })
  t.match(left({ totp: null, hash: 'x' }), { account: { secret: null }, leftOut: [{ what: 'totp' }] })
  t.match(left({ name: 'a\u202eb', hash: 'x' }), { account: { name: 'nina' }, leftOut: [{ what: 'name' }] })
  t.match(left({ name: undefined, hash: 'x' }), { account: { name: 'nina' }, leftOut: [] })
  t.equal(left({ locale: 'de_AT' }).account?.locale, null)
  for (const createdAt of [undefined, 'x', '9999-01-01', Number.NaN, -1])
    t.equal(left({ createdAt }).account?.createdAt, null, String(createdAt))
  for (const createdAt of [1_577_934_245_600, '1577934245600', '2020-01-02T03:04:05.600Z'])
    t.equal(left({ createdAt }).account?.createdAt, '2020-01-02T03:04:05.600Z')
})

t.test('the secret of an authenticator app is sealed for its user, or nothing is imported', async (t) => {
  const { account } = accountOf({ totp: 'GEZDGNBVGY3TQOJQ' })
  t.match(account, { secret: `GEZDGNBVGY3TQOJQ ${account?.id}`, keyId: 'key' })
  t.throws(() => prepare({ ...person, totp: 'GEZDGNBVGY3TQOJQ' }, rules, undefined), { message: /set FACTOR_KEY/ })
})

t.test('secrets are read that make the codes of this system', async (t) => {
  const secret = 'GEZDGNBVGY3TQOJQ'
  const uri = `otpauth://totp/x:nina?secret=${secret}&issuer=x`
  for (const text of [secret, 'gezd gnbv gy3t qojq', 'GEZDGNBV-GY3TQOJQ', `${secret}======`, uri])
    t.equal(readTotp(text), secret, text)
  const others = ['', 'GEZDGNBV', '0189', secret.repeat(20), `${uri}&digits=8`, `${uri}&period=60`, 'otpauth://x']
  for (const text of [...others, `${uri}&algorithm=SHA256`, uri.replace('totp', 'hotp')])
    t.equal(readTotp(text), null, text)
})

t.test('hashes of other systems are read in the form of each', async (t) => {
  const hash = 'dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE='
  const plain = hash.slice(0, -1)
  const bcrypt = '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
  t.equal(fromText(`{CRYPT}${bcrypt}`), bcrypt)
  t.match(fromText('{ssha}dGFndGFndGFndGFndGFndGFndGFzYWx0c2FsdA=='), /^\{SSHA\}/)
  t.equal(
    fromText(`$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=${hash}$c2FsdHNhbHQ=$${hash}`),
    `$firebase-scrypt$ln=14,r=8$c2FsdHNhbHQ$Bw$${plain}$${plain}`,
  )
  t.equal(fromText('$2z$05$x'), null)

  const custom = { hash: { value: hash }, salt: { value: 'saltsalt' } }
  t.equal(fromAuth0({ algorithm: 'scrypt', ...custom }), `$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$${plain}`)
  t.equal(fromAuth0({ algorithm: 'scrypt', keylen: 32, ...custom }), `$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$${plain}`)
  t.equal(fromAuth0({ algorithm: 'scrypt', keylen: 64, ...custom }), null)
  t.equal(fromAuth0({ algorithm: 'scrypt', cost: 1000, ...custom }), null)
  const hex = { hash: { value: 'ab'.repeat(32), encoding: 'hex' }, salt: { value: 'abcdefabcdef', encoding: 'hex' } }
  t.match(
    fromAuth0({ algorithm: 'scrypt', cost: 1024, blockSize: 4, parallelization: 2, ...hex }),
    /^\$scrypt\$ln=10,r=4,p=2\$q83vq83v\$/,
  )
  t.equal(fromAuth0({ algorithm: 'bcrypt', hash: { value: bcrypt } }), bcrypt)
  t.match(
    fromAuth0({ algorithm: 'ldap', hash: { value: '{SSHA}dGFndGFndGFndGFndGFndGFndGFzYWx0c2FsdA==' } }),
    /^\{SSHA\}/,
  )
  t.equal(fromAuth0({ algorithm: 'md5' }), null)

  const keycloak = readerOf('keycloak', undefined)
  const hashOf = (credentialData: object, secretData: object = { value: hash, salt: 'c2FsdHNhbHQ=' }) =>
    keycloak({ credentials: [{ type: 'password', secretData: JSON.stringify(secretData), credentialData }] }).hash
  t.equal(hashOf({ hashIterations: 27500, algorithm: 'pbkdf2-sha256' }), `$pbkdf2-sha256$27500$c2FsdHNhbHQ$${plain}`)
  t.equal(hashOf({ hashIterations: 20000, algorithm: 'pbkdf2' }), `$pbkdf2$20000$c2FsdHNhbHQ$${plain}`)
  const argon2 = (version: string) =>
    hashOf({
      ...{ hashIterations: 5, algorithm: 'argon2' },
      additionalParameters: {
        hashLength: ['32'],
        memory: ['7168'],
        type: ['id'],
        version: [version],
        parallelism: ['1'],
      },
    })
  t.equal(argon2('1.3'), `$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ$${plain}`)
  t.equal(argon2('1.0'), `$argon2id$v=16$m=7168,t=5,p=1$c2FsdHNhbHQ$${plain}`)
  t.equal(hashOf({ hashIterations: 5, algorithm: 'custom' }), null)
  t.equal(hashOf({ hashIterations: 5, algorithm: 'pbkdf2' }, {}), null)
  const totpOf = (data: object) =>
    keycloak({ credentials: [{ type: 'otp', secretData: '{"value":"12345678901234567890"}', credentialData: data }] })
      .totp
  t.equal(totpOf({ subType: 'totp' }), 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ')
  t.equal(totpOf({ subType: 'totp', secretEncoding: 'BASE32' }), null)
  for (const other of [
    { subType: 'hotp' },
    { subType: 'totp', digits: 8 },
    { subType: 'totp', algorithm: 'HmacSHA256' },
  ])
    t.equal(totpOf(other), null)
})

t.test('the parameters of a Firebase project are read as its console shows them', async (t) => {
  const shown =
    'hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: abc+/w==,\n  base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: 14,\n}'
  t.strictSame(readFirebaseParameters(shown), { signerKey: 'abc+/w==', saltSeparator: 'Bw==', rounds: 8, memCost: 14 })
  t.throws(() => readFirebaseParameters('rounds: 8'), { message: /no base64_signer_key/ })
  const { hash } = readerOf('firebase', undefined)({ passwordHash: 'x', salt: 'y' })
  t.equal(hash, null)
  t.throws(() => requireRole('Admin'), { message: /cannot be a role/ })
})
