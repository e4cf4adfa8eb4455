import t from 'tap'
import { versionOf } from './version.ts'

t.test('a process says its version, and in an image of which commit it is', async (t) => {
  const version = versionOf({})
  t.match(version, /^\d+\.\d+\.\d+/)
  t.equal(versionOf({ REVISION: 'b240573f55ab7252f2d99a33765cf91ffb2c9bf5' }), `${version}+b240573`)
  for (const none of ['unknown', '', 'b24', '../etc']) t.equal(versionOf({ REVISION: none }), version, none)
})
