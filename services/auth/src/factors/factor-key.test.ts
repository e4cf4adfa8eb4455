import fc from 'fast-check'
import t from 'tap'
import { createFactorKey } from './factor-key.ts'

const keyOf = (...factorKeys: [string, ...string[]]) => createFactorKey({ current: { factorKeys } })

t.test('what is sealed for a user is opened for them, with the same key, and for nobody else', async (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (text, user, other) => {
      const sealed = keyOf('old').seal(text, user)
      return (
        keyOf('old').open(sealed, user) === text &&
        keyOf('new', 'old').open(sealed, user) === text &&
        keyOf('new').open(sealed, user) === undefined &&
        (user === other || keyOf('old').open(sealed, other) === undefined)
      )
    }),
  )
  t.not(keyOf('old').seal('the same', 'anna'), keyOf('old').seal('the same', 'anna'))
})

t.test('the first key seals, and the ids name the keys in their order without saying them', async (t) => {
  const [current, old] = keyOf('new', 'old').ids
  t.strictSame([current, old], [...keyOf('new').ids, ...keyOf('old').ids])
  t.not(current, old)
  for (const id of [current, old]) t.match(id, /^[\w-]{11}$/)
  t.equal(keyOf('old').open(keyOf('new', 'old').seal('x', 'anna'), 'anna'), undefined)
})

t.test('keys that are replaced while it runs are used from then on', async (t) => {
  const keys = { current: { factorKeys: ['old'] as [string, ...string[]] } }
  const factorKey = createFactorKey(keys)
  const sealed = factorKey.seal('x', 'anna')
  keys.current = { factorKeys: ['new', 'old'] }
  t.equal(factorKey.open(sealed, 'anna'), 'x')
  t.equal(factorKey.ids.length, 2)
  keys.current = { factorKeys: ['new'] }
  t.equal(factorKey.open(sealed, 'anna'), undefined)
})
