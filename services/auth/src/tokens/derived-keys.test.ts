import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { createDerivedKeys } from './derived-keys.ts'

type Secrets = [string, ...string[]]
const secret = () => randomBytes(48).toString('base64')
const keysOf = (...refreshSecrets: Secrets) => createDerivedKeys({ current: { refreshSecrets } })

t.test(
  'what is sealed is opened with the same secret, whichever of those of the moment it is, and with no other',
  async (t) => {
    const [old, next, foreign] = [secret(), secret(), secret()] as const
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const sealed = keysOf(old).seal(text)
        return (
          keysOf(next, old).open(sealed) === Buffer.from(text).toString() &&
          keysOf(next).open(sealed) === undefined &&
          keysOf(foreign, next).open(sealed) === undefined
        )
      }),
    )
    t.not(keysOf(old).seal('the same'), keysOf(old).seal('the same'))
  },
)

t.test('what was cut, changed or never sealed is not opened', async (t) => {
  const keys = keysOf(secret())
  const sealed = Buffer.from(keys.seal('a ticket'), 'base64')
  for (let length = 0; length < sealed.length; length++)
    t.equal(keys.open(sealed.subarray(0, length).toString('base64')), undefined, `${length} bytes`)
  for (let index = 0; index < sealed.length; index++) {
    const changed = Buffer.from(sealed)
    changed[index] = (changed[index] as number) ^ 1
    t.equal(keys.open(changed.toString('base64')), undefined, `byte ${index}`)
  }
  for (const text of ['', 'not base64 at all!', '{}']) t.equal(keys.open(text), undefined, text)
})

t.test('digests go by use and secret, that of the active one first', async (t) => {
  const [old, next] = [secret(), secret()] as const
  const [before] = keysOf(old).digests('codes', 'id 12345678')
  const digests = keysOf(next, old).digests('codes', 'id 12345678')
  t.equal(digests.length, 2)
  t.strictSame(digests[1], before)
  t.notSame(digests[0], before)
  t.notSame(keysOf(old).digests('guessing', 'id 12345678')[0], before)
  t.notSame(keysOf(old).digests('codes', 'id 12345679')[0], before)
})

t.test('secrets that are replaced count from then on', async (t) => {
  const keys = { current: { refreshSecrets: [secret()] as Secrets } }
  const derived = createDerivedKeys(keys)
  const sealed = derived.seal('before')
  keys.current = { refreshSecrets: [secret(), keys.current.refreshSecrets[0]] }
  t.equal(derived.open(sealed), 'before')
  keys.current = { refreshSecrets: [secret()] }
  t.equal(derived.open(sealed), undefined)
})
