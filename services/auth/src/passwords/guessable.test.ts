import { dictionary } from '@zxcvbn-ts/language-common'
import t from 'tap'
import { isGuessable } from './guessable.ts'

// From 12 characters on, which sufficed once; all of them would take half a minute.
t.test('each of the passwords that leaked most often can be guessed, if it is long', async (t) => {
  const usual = dictionary['passwords-common'].filter((password) => password.length >= 12)
  t.ok(usual.length > 200)
  t.strictSame(
    usual.filter((password) => !isGuessable(String(password), [])),
    [],
  )
})

t.test('words that only their owner puts together cannot, and the words of the user can', async (t) => {
  t.equal(isGuessable('correct-horse-battery-staple', []), false)
  t.equal(isGuessable('Wilhelmina Vanderbilt', []), false)
  t.equal(isGuessable('Wilhelmina Vanderbilt', ['Wilhelmina', 'Vanderbilt', 'Wilhelmina Vanderbilt']), true)
})

t.test('a short one, which a second factor goes with, withstands a million guesses', async (t) => {
  t.equal(isGuessable('tQ4)vw2K', []), false)
  t.equal(isGuessable('password1', []), true)
  t.equal(isGuessable('Zz1Zz1Zz', []), true)
})
