import t from 'tap'
import { createTurns } from './turns.ts'

/** Work that ends when it is told to. */
function task() {
  let begin = () => {}
  let end: (outcome: string | Error) => void = () => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const ended = new Promise<string>((resolve, reject) => {
    end = (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome))
  })
  const work = () => {
    begin()
    return ended
  }
  return { work, begun, end }
}

t.test('work of one name begins when that before it has ended, also by a failure; of another at once', async (t) => {
  const takeTurn = createTurns(() => new Error('busy'))
  const begun: string[] = []
  const first = task()
  const fails = t.rejects(takeTurn('a', first.work), { message: 'failed' })
  const rest = ['second', 'third'].map((name) =>
    takeTurn('a', async () => {
      begun.push(name)
      return name
    }),
  )
  t.equal(await takeTurn('b', async () => 'another'), 'another')
  t.strictSame(begun, [])
  first.end(new Error('failed'))
  await fails
  t.strictSame(await Promise.all(rest), ['second', 'third'])
  t.strictSame(begun, ['second', 'third'])
})

t.test('fifty wait and no more, and none for longer than five seconds', async (t) => {
  const takeTurn = createTurns(() => new Error('busy'))
  const first = task()
  const holding = takeTurn('a', first.work)
  await first.begun
  const waiting = Array.from({ length: 50 }, () => takeTurn('a', async () => 'done'))
  await t.rejects(
    takeTurn('a', async () => 'done'),
    { message: 'busy' },
  )
  const later = performance.now() + 5_001
  t.intercept(performance, 'now', { value: () => later })
  first.end('done')
  t.equal(await holding, 'done')
  const outcomes = await Promise.allSettled(waiting)
  t.ok(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason.message === 'busy'))
  t.equal(await takeTurn('a', async () => 'done'), 'done', 'the next one is at once')
})
