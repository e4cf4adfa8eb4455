import fc from 'fast-check'
import t from 'tap'
import { compareForeign } from './foreign-hash.ts'
import { readStored, type StoredHash, shapeOf, withSalt } from './stored-hash.ts'

/** Published by those who invented the forms. */
const known: [password: string, stored: string][] = [
  // github.com/firebase/scrypt, README.
  [
    'user1password',
    '$firebase-scrypt$ln=14,r=8$42xEC+ixf3L2lw$Bw$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ',
  ],
  // RFC 7914, section 12, and RFC 6070, section 2.
  [
    'password',
    '$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA',
  ],
  ['password', '$pbkdf2$4096$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE'],
  // phpass' own tests.
  ['test12345', '$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0'],
  // Openwall's tests of bcrypt.
  ['U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
]
const salt = 'c2FsdHNhbHRzYWx0'
const tag = 'dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE'
const firebase = known[0]?.[1] as string

const read = (stored: string) => {
  const hash = readStored(stored)
  if (!hash || hash.kind === 'argon2') throw new Error(`${stored} is of no other system`)
  return hash
}

t.test('hashes whose passwords are published compare', async (t) => {
  for (const [password, stored] of known) {
    t.ok(await compareForeign(read(stored), password), stored)
    t.notOk(await compareForeign(read(stored), `${password}.`), stored)
    t.notOk(await compareForeign(read(withSalt(stored, (length) => 'a'.repeat(length))), password), stored)
  }
})

t.test('bcrypt knows no octet after the 72nd', async (t) => {
  const { hash } = await import('bcrypt')
  const long = 'ä'.repeat(36)
  for (const kind of ['a', 'b', 'y']) {
    const stored = (await hash(`${long}-`, 4)).replace('$2b$', `$2${kind}$`)
    t.ok(await compareForeign(read(stored), `${long}!`))
    t.notOk(await compareForeign(read(stored), long.slice(1)))
  }
})

t.test('what would cost too much, or is no hash, is not compared with', async (t) => {
  const wrong = [
    '',
    '!',
    `$argon2id$v=19$m=131073,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=19456,t=11,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=19456,t=0,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=19456,t=2,p=17$${salt}$${tag}`,
    `$argon2id$v=19$m=19456,m=19456,t=2$${salt}$${tag}`,
    '$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW',
    '$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW',
    '$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW',
    '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe',
    `$scrypt$ln=18,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=14,r=8,p=17$${salt}$${tag}`,
    `$scrypt$ln=99,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=0,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=14,r=0,p=1$${salt}$${tag}`,
    `$scrypt$ln=14,r=8,p=0$${salt}$${tag}`,
    firebase.replace('ln=14', 'ln=18'),
    firebase.replace('r=8', 'r=999'),
    firebase.slice(0, -10),
    `$pbkdf2-sha256$2000001$${salt}$${tag}`,
    `$pbkdf2-sha1$1000001$${salt}$${tag}`,
    `$pbkdf2-sha256$0$${salt}$${tag}`,
    `$pbkdf2-md5$1000$${salt}$${tag}`,
    '$P$FIQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0',
    '$P$4IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0',
    '{SSHA}dGFndGFndGFndGFndGFndGFndGE=',
    '{SSHA512}dGFndGFndGFndGFndGFndGFndGFndGFndGFndGE=',
    '{SHA}dGFndGFndGFndGFndGFndGFndGE=',
  ]
  for (const stored of wrong) t.equal(readStored(stored), undefined, stored)
})

/** What a comparison takes, as a part of what it may take. */
function costOf(hash: StoredHash): number {
  switch (hash.kind) {
    case 'argon2': {
      const [m = 0, time = 0] = ['m', 't'].map((name) => Number(new RegExp(`${name}=(\\d+)`).exec(hash.text)?.[1]))
      return Math.max(m / 131_072, time / 10)
    }
    case 'bcrypt':
      return Number(hash.text.slice(4, 6)) / 14
    case 'scrypt':
    case 'firebase-scrypt': {
      const { N, r, p } = hash.cost
      return Math.max((N * r) / 2 ** 20, (N * r * p) / 2 ** 21)
    }
    case 'pbkdf2':
      return (hash.iterations * Math.ceil(hash.tag.length / 64)) / 2_000_000
    case 'phpass':
      return hash.rounds / 2 ** 16
    case 'ssha':
      return hash.salt.length / 64
  }
}

t.test('whatever stands there, it is read without an error, and costs no more than is bounded', async () => {
  const number = fc.oneof(fc.nat(30), fc.nat(9_999_999), fc.constantFrom('', '-1', '1e3', '08'))
  const base64 = fc.oneof(fc.base64String(), fc.constantFrom(salt, tag, '.'.repeat(53)))
  const text = fc.oneof(number, base64, fc.constantFrom('argon2id', '2b', 'scrypt', 'firebase-scrypt', 'pbkdf2', 'P'))
  const part = fc.oneof(
    text,
    fc.tuple(number, number, number).map(([a, b, c]) => `m=${a},t=${b},p=${c}`),
    fc.tuple(number, number, number).map(([a, b, c]) => `ln=${a},r=${b},p=${c}`),
    fc.tuple(number, number).map(([a, b]) => `ln=${a},r=${b}`),
    fc.constant('v=19'),
  )
  const stored = fc.oneof(
    fc.string(),
    fc.array(part, { maxLength: 7 }).map((parts) => `$${parts.join('$')}`),
    base64.map((all) => `{SSHA}${all}`),
    fc.tuple(number, fc.constantFrom(salt, tag), fc.constant(tag)).map((all) => `$pbkdf2-sha512$${all.join('$')}`),
    fc.tuple(number, number, number).map(([a, b, c]) => `$scrypt$ln=${a},r=${b},p=${c}$${salt}$${tag}`),
    fc.tuple(number, number, number).map(([a, b, c]) => `$argon2id$v=19$m=${a},t=${b},p=${c}$${salt}$${tag}`),
  )
  fc.assert(
    fc.property(stored, (one) => {
      const hash = readStored(one)
      return hash === undefined || costOf(hash) <= 1
    }),
    { numRuns: 5_000 },
  )
})

t.test('another salt leaves a hash as it is in all that takes time', async (t) => {
  const argon2 = `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${tag}`
  const better = `$scrypt$ln=14,r=16,p=1,u=nfkc$${salt}$${tag}`
  for (const stored of [
    argon2,
    better,
    ...known.map(([, one]) => one),
    '{SSHA}dGFndGFndGFndGFndGFndGFndGFzYWx0c2FsdA==',
  ]) {
    const other = withSalt(stored, (length) => 'Q'.repeat(length))
    t.not(other, stored)
    t.equal(other.length, stored.length)
    t.equal(shapeOf(other), shapeOf(stored))
    t.equal(readStored(other)?.kind, readStored(stored)?.kind)
    t.notOk(shapeOf(stored).includes(salt), 'a shape says nothing of the hash')
  }
  t.equal(
    withSalt('!', () => 'x'),
    '!',
  )
})
