import { setTimeout as sleep, setImmediate as tick } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { Leases, type RequestCount } from './leases.ts'
import { Windows } from './windows.ts'

const hour = 3_600_000

/** Workers that count together, with messages between them that take so many turns. */
function open(workers: number, turns = () => 1, most = 1_000) {
  const delay = async () => {
    for (let turn = turns(); turn > 0; turn--) await tick()
  }
  let asked = 0
  const leases: Leases[] = Array.from({ length: workers }, (_, worker) => {
    return new Leases(async (key, timeWindow, max) => {
      asked += 1
      await delay()
      const grant = await windows.take(worker, key, timeWindow, max)
      await delay()
      return grant
    }, most)
  })
  const windows = new Windows({
    workers,
    most,
    async reclaim(worker, key, window) {
      await delay()
      const left = (leases[worker] as Leases).giveBack(key, window)
      await delay()
      return left
    },
  })
  return {
    leases,
    asked: () => asked,
    send: (worker: number, max: number, { key = 'key', timeWindow = hour } = {}) =>
      new Promise<RequestCount>((resolve) => (leases[worker] as Leases).count(key, timeWindow, max, resolve)),
  }
}

t.test('as many pass as may, and none less, whichever workers they come to', async (t) => {
  const requests = fc.array(fc.record({ worker: fc.nat(3), alone: fc.boolean() }), { maxLength: 120 })
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      requests,
      fc.infiniteStream(fc.nat(3)),
      async (max, sent, turns) => {
        const { send } = open(4, () => turns.next().value)
        const counts: Promise<RequestCount>[] = []
        for (const { worker, alone } of sent) {
          counts.push(send(worker, max))
          if (alone) await counts.at(-1)
        }
        const passed = (await Promise.all(counts)).filter(({ current }) => current <= max).length
        return passed === Math.min(max, sent.length)
      },
    ),
    { numRuns: 300 },
  )
  t.pass('at any times and in any order')
})

t.test('one that serves alone tells how many are left', async (t) => {
  const { send } = open(2)
  for (let at = 1; at <= 40; at++) {
    const { current, ttl } = await send(1, 30)
    t.equal(current, Math.min(at, 31))
    t.ok(ttl > 0 && ttl <= hour)
  }
})

t.test('few requests ask', async (t) => {
  const { send, asked } = open(4)
  for (let at = 0; at < 4_000; at++) await send(at % 4, 10_000)
  t.ok(asked() < 100, `${asked()} questions`)
  const before = asked()
  for (let at = 0; at < 10_000; at++) await send(0, 10_000)
  const spent = asked()
  t.ok(spent - before < 200, `${spent - before} more`)
  for (let at = 0; at < 1_000; at++) t.equal((await send(0, 10_000)).current, 10_001)
  t.equal(asked(), spent, 'none that is refused')
})

t.test('a window ends, and what was left of it with it', async (t) => {
  const { send, leases } = open(2)
  const timeWindow = 100
  const statuses = async () => {
    const counts = await Promise.all(Array.from({ length: 12 }, (_, at) => send(at % 2, 8, { timeWindow })))
    return counts.filter(({ current }) => current <= 8).length
  }
  t.equal(await statuses(), 8)
  await sleep(110)
  t.equal(await statuses(), 8)
  t.equal((leases[0] as Leases).giveBack('key', 99), 0, 'nothing of another window')
  t.equal((leases[0] as Leases).giveBack('nobody', 0), 0)
})

t.test('so many windows and leases are kept, and then the first goes', async (t) => {
  const { send, asked } = open(1, () => 0, 2)
  for (const key of ['a', 'b', 'c']) t.equal((await send(0, 8, { key })).current, 1)
  t.equal((await send(0, 8, { key: 'c' })).current, 2)
  t.equal((await send(0, 8, { key: 'b' })).current, 2)
  t.equal(asked(), 3)
  t.equal((await send(0, 8, { key: 'a' })).current, 1)
  t.equal(asked(), 4, 'for the one that is gone it asks again')
})
