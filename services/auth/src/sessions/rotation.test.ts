import fc from 'fast-check'
import t from 'tap'
import { decide, hashAttempt, type RotationState } from './rotation.ts'

const grace = 10
const now = 1_800_000_000
const session = (changes: Partial<RotationState> = {}): RotationState => ({
  generation: 7,
  attemptHash: hashAttempt('the attempt that made generation 7'),
  rotatedAt: now - 600,
  expiresAt: now + 600_000,
  revokedReason: null,
  userDisabled: false,
  ...changes,
})
const present = (generation: number, attempt?: string) => ({
  generation,
  attemptHash: attempt === undefined ? undefined : hashAttempt(attempt),
})

t.test('the newest generation rotates, with or without an attempt id', async (t) => {
  t.strictSame(decide(session(), present(7), now, grace), { kind: 'rotate' })
  t.strictSame(decide(session(), present(7, 'another attempt'), now, grace), { kind: 'rotate' })
})

t.test('a generation that a failover forgot goes on from where the client is', async (t) => {
  t.strictSame(decide(session(), present(8), now, grace), { kind: 'rotate' })
  t.strictSame(decide(session(), present(12), now, grace), { kind: 'rotate' })
})

t.test('a retry with its attempt id gets the same successor, however late', async (t) => {
  const late = session({ rotatedAt: now - 8 * 3600 })
  t.strictSame(decide(late, present(6, 'the attempt that made generation 7'), now, grace), { kind: 'repeat' })
})

t.test('without an attempt id a second use is taken for a retry within the grace, to its last moment', async (t) => {
  t.strictSame(decide(session({ rotatedAt: now - grace }), present(6), now, grace), { kind: 'repeat' })
  t.strictSame(decide(session({ rotatedAt: now - grace - 0.001 }), present(6), now, grace), { kind: 'replay' })
  t.strictSame(decide(session({ rotatedAt: now, attemptHash: null }), present(6), now, grace), { kind: 'repeat' })
})

t.test('another attempt id past the grace is reuse', async (t) => {
  t.strictSame(decide(session(), present(6, 'a thief’s'), now, grace), { kind: 'replay' })
  t.strictSame(decide(session({ attemptHash: null }), present(6), now, grace), { kind: 'replay' })
})

t.test('anything older than the predecessor is reuse at once', async (t) => {
  t.strictSame(decide(session({ rotatedAt: now }), present(5), now, grace), { kind: 'replay' })
  t.strictSame(decide(session(), present(5, 'the attempt that made generation 7'), now, grace), { kind: 'replay' })
})

t.test('what is over stays over, whatever is presented', async (t) => {
  t.strictSame(decide(undefined, present(7), now, grace), { kind: 'ended', reason: 'expired' })
  fc.assert(
    fc.property(fc.nat(20), fc.constantFrom('logout', 'reuse', 'disabled'), (generation, reason) => {
      const ended = decide(session({ revokedReason: reason }), present(generation), now, grace)
      t.strictSame(ended, { kind: 'ended', reason })
    }),
    { numRuns: 100 },
  )
  t.strictSame(decide(session({ userDisabled: true }), present(7), now, grace), { kind: 'ended', reason: 'disabled' })
  t.strictSame(decide(session({ expiresAt: now }), present(7), now, grace), { kind: 'ended', reason: 'expired' })
})
