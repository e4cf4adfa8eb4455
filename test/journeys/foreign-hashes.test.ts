import { createPasswords } from '@sallyport/auth/passwords/passwords'
import t from 'tap'
import { formats, vectorsOf } from '../support/foreign-hashes.ts'

// All of them, and new ones: test/operations/all-foreign-hashes.test.ts.
t.test('hashes that other libraries made', async (t) => {
  const passwords = await createPasswords()
  t.teardown(passwords.close)
  for (const format of formats)
    await t.test(`${format}: the password is right once, and then to be hashed anew; another is wrong`, async (t) => {
      const vectors = vectorsOf(format).filter((_, index) => index % 125 === 1 || index % 125 === 3)
      for (const { password, stored } of vectors) {
        t.ok(stored)
        t.equal(await passwords.verify(String(stored), password, ''), 'outdated')
        t.equal(await passwords.verify(String(stored), `-${password}`, ''), 'wrong')
      }
    })
})
