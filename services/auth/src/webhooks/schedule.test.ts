import t from 'tap'
import { lifetime, longestPause, nextAttempt, readRetryAfter } from './schedule.ts'

t.test('what fails is tried again for three days, less and less often', async (t) => {
  const at: number[] = []
  for (let age = 0, failures = 1; ; failures++) {
    const wait = nextAttempt(failures, age, 0, 0)
    if (wait === undefined) break
    age += wait
    at.push(age)
  }
  const hours = at.map((age) => Math.round(age / 360) / 10)
  t.strictSame(hours, [0, 0.1, 0.6, 2.6, 7.6, 17.6, 31.6, 51.6, 72])
  t.equal(at.at(-1), lifetime, 'the last time when they are over')
})

t.test('what failed together is not tried again together', async (t) => {
  t.equal(nextAttempt(2, 0, 0, 0.5), 315)
  const waits = new Set(Array.from({ length: 50 }, () => nextAttempt(3, 0)))
  t.ok(waits.size > 40)
  t.ok([...waits].every((wait) => wait !== undefined && wait >= 1_800 && wait <= 1_980))
})

t.test('what waited so long behind another one has one attempt', async (t) => {
  t.equal(nextAttempt(1, lifetime, 0, 0), undefined)
  t.equal(nextAttempt(99, 0, 0, 0), 86_400, 'and what is older than the schedule waits as its last')
})

t.test('a receiver puts the next attempt off, and never forward', async (t) => {
  t.equal(nextAttempt(1, 0, 60, 0), 60)
  t.equal(nextAttempt(4, 0, 60, 0), 7_200)
  t.equal(nextAttempt(1, lifetime - 10, 60, 0), 10)
})

t.test('Retry-After is read as seconds or as a date, within bounds', async (t) => {
  const now = Date.parse('2026-11-30T12:00:00Z')
  t.equal(readRetryAfter('120', now), 120)
  t.equal(readRetryAfter('Mon, 30 Nov 2026 12:02:00 GMT', now), 120)
  t.equal(readRetryAfter('Mon, 30 Nov 2026 11:00:00 GMT', now), 0)
  for (const header of ['99999999999', 'Mon, 30 Nov 2099 12:00:00 GMT'])
    t.equal(readRetryAfter(header, now), longestPause)
  for (const header of [undefined, '', 'soon', '-x']) t.equal(readRetryAfter(header, now), undefined)
})
