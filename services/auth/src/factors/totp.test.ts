import type { Database } from '@sallyport/database'
import fc from 'fast-check'
import { TOTP, URI } from 'otpauth'
import decodeQR from 'qr/decode.js'
import t from 'tap'
import { createFactorKey } from './factor-key.ts'
import { keyUriOf, makeSecret, resealSecrets, stepOf } from './totp.ts'

const step = 30_000
const codeAt = (secret: string, timestamp: number) => new TOTP({ secret }).generate({ timestamp })
const secrets = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(() => makeSecret())
const times = fc.integer({ min: 0, max: 4_102_444_800_000 })

t.test('a secret has 160 bits, in base32', async (t) => {
  const made = Array.from({ length: 100 }, makeSecret)
  t.equal(new Set(made).size, 100)
  for (const secret of made) t.match(secret, /^[A-Z2-7]{32}$/)
})

t.test('a code is right in its step and in the one after it, and in no other', async (t) => {
  fc.assert(
    fc.property(secrets, times, fc.integer({ min: -4, max: 4 }), (secret, now, steps) => {
      const current = Math.floor(now / step)
      // The same digits come again, now and then.
      const code = codeAt(secret, now + steps * step)
      const right = [current, current - 1].find((at) => codeAt(secret, at * step) === code)
      return stepOf(secret, code, now) === right && (right !== undefined || (steps !== 0 && steps !== -1))
    }),
  )
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  t.equal(stepOf(secret, '287082', 59_000), 1, 'RFC 6238 appendix B')
  t.equal(stepOf(secret, '287082', 60_000), 1, 'one step late')
  t.equal(stepOf(secret, '287082', 89_999), 1)
  t.equal(stepOf(secret, '287082', 90_000), undefined, 'two steps late')
  t.equal(stepOf(secret, '287082', 29_999), undefined, 'one step early')
  t.equal(stepOf(secret, codeAt(secret, Date.now())), Math.floor(Date.now() / step), 'by the clock of the moment')
})

t.test('what is no code is none', async (t) => {
  const secret = makeSecret()
  for (const code of ['', '1', '12345', '1234567', 'abcdef', '１２３４５６', '٠١٢٣٤٥', '-12345', '1e5   '])
    t.equal(stepOf(secret, code), undefined, code)
})

/** What is dark in the picture, as a camera sees it. */
function photograph(svg: string) {
  const [, size] = /viewBox="0 0 (\d+) \1"/.exec(svg) as unknown as [string, string]
  const side = Number(size)
  const data = new Uint8Array(side * side * 4).fill(255)
  for (const [, x, y, width] of svg.matchAll(/M(\d+),(\d+)h(\d+)v\3h-\3z/g))
    for (let row = Number(y); row < Number(y) + Number(width); row++)
      for (let column = Number(x); column < Number(x) + Number(width); column++)
        data.fill(0, (row * side + column) * 4, (row * side + column) * 4 + 3)
  return { width: side, height: side, data }
}

const hostile = [
  'Sallyport',
  'A: B',
  ':',
  'a?secret=x&issuer=evil#fragment',
  '100 % sure %41%00',
  '🦊 & 🪐',
  'الاسم',
  '"><script>alert(1)</script>',
  ' spaces ',
  'e\u0301',
]

t.test('the key URI is read back, and the QR code is the URI', async (t) => {
  for (const issuer of hostile)
    for (const label of [...hostile, 'nina@example.com', `${'x'.repeat(240)}@example.com`]) {
      const secret = makeSecret()
      const { uri, qr } = keyUriOf(secret, issuer, label)
      const name = issuer.replaceAll(':', ' ')
      t.equal(decodeQR(photograph(qr)), uri, `${issuer} ${label}`)
      t.equal(new URL(uri).searchParams.get('secret'), secret)
      t.equal(new URL(uri).searchParams.get('issuer'), name)
      const read = URI.parse(uri)
      t.match(read, { label, algorithm: 'SHA1', digits: 6, period: 30 })
      t.equal(read.issuer, name)
      t.equal(read.secret.base32, secret)
    }
})

t.test('secrets that an earlier key sealed are sealed with the active one, and others are left', async (t) => {
  const factorKeyOf = (...factorKeys: [string, ...string[]]) => createFactorKey({ current: { factorKeys } })
  const [before, now] = [factorKeyOf('old'), factorKeyOf('new', 'old')]
  const row = (userId: string, factorKey = before, about = userId) =>
    ({ userId, secret: factorKey.seal(`of ${userId}`, about), keyId: factorKey.ids[0] }) as const
  const rows = [row('anna'), row('of another', before, 'berta'), row('changed'), row('carla', now)].map((row) => ({
    ...row,
  }))
  const totp = {
    findMany: async ({ where, take }: { where: { keyId: { in: string[] } }; take: number }) =>
      rows
        .filter(({ keyId }) => where.keyId.in.includes(keyId))
        .map((row) => ({ ...row }))
        .slice(0, take),
    updateMany: async ({ where, data }: { where: { userId: string; secret: string }; data: object }) => {
      const found = rows.filter(({ userId, secret }) => userId === where.userId && secret === where.secret)
      for (const row of found) Object.assign(row, data)
      return { count: found.length }
    },
  }
  const database = { totp } as unknown as Database
  const update = totp.updateMany
  totp.updateMany = async (change) => {
    // Somebody enrols another app at that moment.
    if (change.where.userId === 'changed') Object.assign(rows[2] as object, row('changed', now))
    return update(change)
  }
  t.equal(await resealSecrets(database, now, 10), 1)
  const active = factorKeyOf('new')
  t.strictSame(
    rows.map(({ userId, secret }) => active.open(secret, userId)),
    ['of anna', undefined, 'of changed', 'of carla'],
  )
  t.equal(await resealSecrets(database, now, 0), 0)
})
