import t from 'tap'
import { choose, type Share } from './mix.ts'

const people = Array.from({ length: 3_000 }, (_, index) => `person ${index}`)
const mixOf = (users: Record<string, number>) =>
  new Map<string, Share>(Object.entries(users).map(([shape, users]) => [shape, { example: shape, users }]))
const chosen = (users: Record<string, number>) => people.map((person) => choose(mixOf(users), person))

t.test(
  'who has no hash is compared as users are: as many of them with each kind, and one always with the same',
  async (t) => {
    const kinds = chosen({ argon2: 600, bcrypt: 300, scrypt: 100 })
    t.strictSame(chosen({ scrypt: 100, bcrypt: 300, argon2: 600 }), kinds)
    const share = (kind: string) => kinds.filter((one) => one === kind).length / kinds.length
    // Within six standard errors.
    for (const [kind, expected] of [
      ['argon2', 0.6],
      ['bcrypt', 0.3],
      ['scrypt', 0.1],
    ] as const)
      t.ok(Math.abs(share(kind) - expected) < 0.055, `${kind}: ${share(kind)}`)
    t.equal(choose(new Map(), 'somebody'), undefined)
  },
)

t.test('as users move to another kind, they do too, and only there', async (t) => {
  const before = chosen({ argon2: 100, bcrypt: 600, scrypt: 300 })
  const after = chosen({ argon2: 400, bcrypt: 400, scrypt: 200 })
  const moved = before.flatMap((kind, index) => (kind === after[index] ? [] : [`${kind} to ${after[index]}`]))
  t.strictSame(new Set(moved), new Set(['bcrypt to argon2', 'scrypt to argon2']))
  t.ok(moved.length > 600 && moved.length < 1_200, String(moved.length))
})
