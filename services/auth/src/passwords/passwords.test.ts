import { hash } from 'argon2'
import t from 'tap'
import { createPasswords } from './passwords.ts'

t.test('a password is compared with whatever stands in place of a hash', async (t) => {
  const passwords = await createPasswords()
  t.teardown(passwords.close)
  const today = await passwords.hash('mañana')
  t.equal(await passwords.verify(today, 'mañana', 'somebody'), 'right')
  t.equal(await passwords.verify(today, 'mañana'.normalize('NFD'), 'somebody'), 'right', 'both spellings are one')
  t.equal(await passwords.verify(today, 'manana', 'somebody'), 'wrong')
  t.equal(await passwords.verify(undefined, 'mañana', 'somebody'), 'wrong')

  const weaker = await hash('mañana', { memoryCost: 1024, timeCost: 1, parallelism: 1 })
  t.equal(await passwords.verify(weaker, 'mañana', 'somebody'), 'outdated')
  const asTyped = await hash('mañana'.normalize('NFD'))
  t.equal(await passwords.verify(asTyped, 'mañana'.normalize('NFD'), 'somebody'), 'outdated')
  t.equal(await passwords.verify(asTyped, 'mañana', 'somebody'), 'wrong')

  for (const none of ['', '!', today.slice(0, -30), today.replace('m=19456', 'm=999999'), today.replace('t=2', 't=99')])
    for (const typed of ['mañana', 'mañana'.normalize('NFD')])
      t.equal(await passwords.verify(none, typed, 'somebody'), 'unreadable', none)

  for (const stored of [undefined, '', '!', today]) {
    const comparing = passwords.verify(stored, 'x', 'somebody')
    t.equal(passwords.running + passwords.waiting, 1, 'a hash is computed whatever is stored, so that all take as long')
    await comparing
  }
})
