import t from 'tap'
import { startHashing } from './hashing.ts'

t.test('a task that fails is an error of its own, and the next one is carried out', async (t) => {
  const hashing = startHashing(1)
  t.teardown(() => hashing.close())
  await t.rejects(hashing.perform({ kind: 'verify', password: 'x', stored: 'none' }), Error)
  const stored = String(await hashing.perform({ kind: 'hash', password: 'x', parameters: { memoryCost: 1024 } }))
  t.equal(await hashing.perform({ kind: 'verify', password: 'x', stored }), true)
})
