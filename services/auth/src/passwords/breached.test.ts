import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'
import t from 'tap'
import { addTo, type Breached, blockBytes, digestOf, headerOf, openBreached } from './breached.ts'
import { createPasswords } from './passwords.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-breached-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const file = join(folder, 'set')

/** A file of one password. */
function setOf(password: string): Buffer {
  const block = Buffer.alloc(blockBytes)
  addTo(block, digestOf(password))
  return Buffer.concat([headerOf(1, 1), block])
}

t.test('a set of breached passwords that is no such file is refused with what helps', async (t) => {
  const set = setOf('one')
  const refused: [string, Buffer | string, RegExp][] = [
    ['empty', '', /is no set of breached passwords of this version/],
    ['foreign', 'password\n'.repeat(5000), /is no set/],
    [
      'of another version',
      Buffer.from(set.toString('latin1').replace('version=1', 'version=2'), 'latin1'),
      /is no set/,
    ],
    ['without a block', headerOf(0, 0), /is no set/],
    ['cut', set.subarray(0, -1), /is not all there/],
    ['cut after its header', set.subarray(0, blockBytes), /is not all there/],
    ['too long', Buffer.concat([set, set]), /is not all there/],
  ]
  for (const [what, content, why] of refused) {
    writeFileSync(file, content)
    const error: Error = await openBreached(file).then(
      () => new Error('it was opened'),
      (fault) => fault,
    )
    t.type(error, ConfigurationError, what)
    t.match(error.message, why, what)
    t.match(
      error.message,
      /^BREACHED_PASSWORDS names \S+set, which [^\n]+`npm run breached -- build SOURCE FILE`/,
      what,
    )
  }
  for (const unreadable of [join(folder, 'none'), folder])
    await t.rejects(openBreached(unreadable), { name: 'ConfigurationError', message: /which cannot be read; make it/ })
  t.equal(await openBreached(undefined), undefined)
})

t.test('a new password is looked up in both its spellings, and never in half a file', async (t) => {
  const leaked = 'el mañana de los tucanes'
  writeFileSync(file, setOf(leaked))
  const passwords = await createPasswords((await openBreached(file)) as Breached)
  t.teardown(passwords.close)
  const user = { email: 'someone@example.com', name: 'Some One' }
  t.equal(await passwords.weaknessOf(leaked, user), 'breached')
  t.equal(await passwords.weaknessOf(leaked.normalize('NFD'), user), 'breached')
  t.equal(await passwords.weaknessOf('el mañana de las tortugas', user), undefined)
  t.equal(await passwords.weaknessOf('x'.repeat(20), user), 'guessable')
  truncateSync(file, blockBytes + 1)
  await t.rejects(passwords.weaknessOf(leaked, user), /was cut while it is in use/)
})
