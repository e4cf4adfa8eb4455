import t from 'tap'
import { createBackOff } from './back-off.ts'

const fail = async () => {
  throw new Error('no')
}

/** A clock that goes where it is told, and how often an attempt was made. */
function watch(concerns = (_error: unknown) => true) {
  const seen = { now: 0, attempts: 0 }
  const run = createBackOff(concerns, () => seen.now)
  const attempt = (work: () => Promise<unknown>) =>
    run(() => {
      seen.attempts++
      return work()
    })
  return { seen, attempt }
}

t.test('what fails is left alone, twice as long each time and no longer than ten seconds', async (t) => {
  const { seen, attempt } = watch()
  await t.rejects(attempt(fail))
  for (const longest of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
    const [begun, before] = [seen.now, seen.attempts]
    for (; seen.attempts === before; seen.now += 5) await attempt(fail).catch(() => {})
    const waited = seen.now - begun
    t.ok(waited >= longest / 2 && waited <= longest + 10, `${waited} ms of ${longest}`)
  }
})

t.test('all who ask meanwhile are given the same error, and one success forgets it', async (t) => {
  const { seen, attempt } = watch()
  const error: unknown = await attempt(fail).catch((error) => error)
  t.equal(await attempt(fail).catch((error) => error), error)
  t.equal(seen.attempts, 1)
  seen.now = 500
  t.equal(await attempt(async () => 'yes'), 'yes')
  await t.rejects(attempt(fail))
  seen.now = 1_000
  t.equal(await attempt(async () => 'yes'), 'yes', 'the next failure is a first one again')
})

t.test('of failures at the same time one counts', async (t) => {
  const { seen, attempt } = watch()
  await Promise.allSettled(Array.from({ length: 20 }, () => attempt(fail)))
  t.equal(seen.attempts, 20)
  seen.now = 500
  t.equal(await attempt(async () => 'yes'), 'yes')
})

t.test('errors that say nothing about the next attempt hold nobody up', async (t) => {
  const { seen, attempt } = watch(() => false)
  await t.rejects(attempt(fail))
  await t.rejects(attempt(fail))
  t.equal(seen.attempts, 2)
})
