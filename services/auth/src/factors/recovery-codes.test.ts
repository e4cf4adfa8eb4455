import { createHash } from 'node:crypto'
import type { Prisma } from '@sallyport/database'
import fc from 'fast-check'
import t from 'tap'
import { makeRecoveryCodes, readRecoveryCode, useRecoveryCode } from './recovery-codes.ts'

const user = '018f4e6e-9d5c-7cc1-a1b5-0d6f0f5d7c11'

/** A table of them, in memory. */
function table() {
  let rows: { userId: string; hash: Uint8Array }[] = []
  const matches = (row: (typeof rows)[number], { userId, hash }: { userId: string; hash?: Uint8Array }) =>
    row.userId === userId && (hash === undefined || Buffer.from(row.hash).equals(hash))
  const recoveryCode = {
    createMany: async ({ data }: { data: typeof rows }) => void rows.push(...data),
    deleteMany: async ({ where }: { where: { userId: string; hash?: Uint8Array } }) => {
      const before = rows.length
      rows = rows.filter((row) => !matches(row, where))
      return { count: before - rows.length }
    },
  }
  return { transaction: { recoveryCode } as unknown as Prisma.TransactionClient, rows: () => rows }
}

t.test('ten are made of 120 random bits each, which only their hashes are kept of', async (t) => {
  const { transaction, rows } = table()
  const codes = await makeRecoveryCodes(transaction, user)
  t.equal(codes.length, 10)
  for (const code of codes) t.match(code, /^[0-9a-hjkmnp-tv-z]{6}(-[0-9a-hjkmnp-tv-z]{6}){3}$/)
  const hashes = codes.map((code) => createHash('sha256').update(code.replaceAll('-', '')).digest('hex'))
  t.strictSame(
    rows().map(({ hash }) => Buffer.from(hash).toString('hex')),
    hashes,
  )

  const many = await Promise.all(Array.from({ length: 200 }, () => makeRecoveryCodes(table().transaction, user)))
  t.equal(new Set(many.flat()).size, 2_000)
  const letters = many.flat().map((code) => code.replaceAll('-', ''))
  for (let at = 0; at < 24; at++)
    t.equal(new Set(letters.map((code) => code[at])).size, 32, `every letter comes at place ${at}: 5 bits are in it`)
})

t.test('the ten before are void, and each is used once, by whom it was made for', async (t) => {
  const { transaction } = table()
  const read = (code: string) => readRecoveryCode(code) as string
  const [before] = (await makeRecoveryCodes(transaction, user)) as [string]
  const [code, another] = (await makeRecoveryCodes(transaction, user)) as [string, string]
  const others = await makeRecoveryCodes(transaction, 'another')
  t.equal(await useRecoveryCode(transaction, user, read(before)), false)
  t.equal(await useRecoveryCode(transaction, 'another', read(code)), false)
  t.equal(await useRecoveryCode(transaction, user, read(code)), true)
  t.equal(await useRecoveryCode(transaction, user, read(code)), false)
  t.equal(await useRecoveryCode(transaction, user, read(another)), true)
  t.equal(await useRecoveryCode(transaction, 'another', read(others[0] as string)), true)
})

t.test('a code is read however it was typed, with letters that look like digits', async () => {
  const [code] = (await makeRecoveryCodes(table().transaction, user)) as [string]
  const plain = code.replaceAll('-', '')
  const typed = fc.array(fc.constantFrom('', ' ', '-', '\t', '\n', ' - ', '\u00a0'), { minLength: 25, maxLength: 25 })
  fc.assert(
    fc.property(typed, fc.infiniteStream(fc.nat(3)), (gaps, choices) => {
      const looks: Record<string, string[]> = { 0: ['0', 'o', 'O'], 1: ['1', 'i', 'I', 'l', 'L'] }
      const letters = [...plain].map((letter) => {
        const forms = looks[letter] ?? [letter, letter.toUpperCase()]
        return forms[(choices.next().value as number) % forms.length]
      })
      return readRecoveryCode(gaps.map((gap, index) => gap + (letters[index] ?? '')).join('')) === plain
    }),
  )
})

t.test('what is no recovery code is none', async (t) => {
  const zeros = '0'.repeat(24)
  t.equal(readRecoveryCode(zeros), zeros)
  for (const typed of [
    '',
    '123456',
    zeros.slice(1),
    `${zeros}0`,
    `${zeros.slice(1)}u`,
    `${zeros.slice(1)}_`,
    `${zeros.slice(1)}٠`,
  ])
    t.equal(readRecoveryCode(typed), undefined, typed)
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (typed) => {
      const read = readRecoveryCode(typed)
      return read === undefined || /^[0-9a-hjkmnp-tv-z]{24}$/.test(read)
    }),
  )
})
