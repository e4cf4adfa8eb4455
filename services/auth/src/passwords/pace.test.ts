import { hash as hashBcrypt } from 'bcrypt'
import t from 'tap'
import type { Share } from './mix.ts'
import { createPasswords } from './passwords.ts'
import { shapeOf } from './stored-hash.ts'

t.setTimeout(120_000)

t.test('nothing tells who was imported', async (t) => {
  const passwords = await createPasswords()
  t.teardown(passwords.close)
  const slow = await hashBcrypt('x', 10)
  const quick = '{SSHA}dGFndGFndGFndGFndGFndGFndGFzYWx0c2FsdA=='
  const follow = (example: string) =>
    passwords.follow(new Map<string, Share>([[shapeOf(example), { example, users: 9 }]]))

  /** What one takes as a part of what both do, each at its quickest, which no speed and no load of the machine changes. */
  async function share(of: () => Promise<unknown>, beside: () => Promise<unknown>): Promise<number> {
    let [one, other] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (let time = 0; time < 8; time++) {
      const began = performance.now()
      await of()
      const middle = performance.now()
      await beside()
      one = Math.min(one, middle - began)
      other = Math.min(other, performance.now() - middle)
    }
    return one / (one + other)
  }
  const isEven = (part: number) => part > 0.2 && part < 0.8
  const imported = () => passwords.verify(slow, 'wrong', 'user')
  const unknown = () => passwords.verify(undefined, 'wrong', 'nobody')
  const throttled = () => passwords.compareInVain(slow, 'x', 'user')

  follow(slow)
  t.ok(isEven(await share(unknown, imported)), 'an unknown address takes as long as the users there are')
  t.ok(isEven(await share(() => passwords.verify('!', 'wrong', 'user'), imported)), 'and so does who has no password')
  follow(quick)
  t.ok((await share(unknown, imported)) < 0.35, 'whatever these have')
  t.ok(isEven(await share(throttled, imported)), 'who is throttled is compared as ever, and in vain')
})
