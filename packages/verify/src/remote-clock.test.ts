import t from 'tap'
import { followClock } from './remote-clock.ts'

t.test('a time of another process is read as what it was, however late it arrives', async (t) => {
  // Theirs says 100 s when ours says 5 s.
  const read = followClock(5_000, 100)
  const almost = (found: number, wanted: number, when: string) =>
    t.ok(found >= wanted && found < wanted + 50, `${when}: ${found}`)
  almost(read(101, 6_010), 6_000, 'received at once')
  almost(read(102, 37_000), 7_000, 'received 30 seconds late')
  almost(read(103, 38_000), 8_000, 'and the next as well')
  t.equal(read(140, 44_900), 44_900, 'nothing is of the future')
})

t.test('clocks that drift apart are followed', async (t) => {
  for (const rate of [0.9999, 1.0001]) {
    const read = followClock(0, 0)
    let worst = 0
    for (let now = 1_000; now < 30 * 86_400_000; now += 60_000)
      worst = Math.max(worst, Math.abs(now - read((now * rate) / 1000, now)))
    t.ok(worst < 100, `at ${rate}, after a month: ${worst} ms`)
  }
})
