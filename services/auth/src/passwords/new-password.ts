import { Problem } from '@sallyport/chassis'
import Type from 'typebox'
import type { Passwords } from './passwords.ts'
import { isAcceptable, longest, shortest, shortestWithFactor } from './policy.ts'

/** A password that a user chooses, for schemas. */
export const NewPassword = Type.String({
  format: 'new-password',
  description: `${shortest} to ${longest} characters, or from ${shortestWithFactor} for a user who has a second factor, counted as code points after normalization to NFC`,
})

const weak = {
  short: new Problem(400, 'PASSWORD_WEAK', 'The new password is too short', {
    detail: `It takes at least ${shortest} characters, or ${shortestWithFactor} with a second factor.`,
  }),
  guessable: new Problem(400, 'PASSWORD_WEAK', 'The new password is too easy to guess', {
    detail: 'It is a usual one, a pattern, or made of your name or e-mail address. A few words of your own are good.',
  }),
  breached: new Problem(400, 'PASSWORD_WEAK', 'The new password has leaked', {
    detail: 'It is known from a data breach, so attackers try it. A few words that you use nowhere else are good.',
  }),
}

/**
 * @param hasFactor whether the password is not all that a sign-in takes
 * @throws 400 PASSWORD_WEAK for a password that is too short for that, or that attackers would try first
 */
export async function requireStrong(
  passwords: Passwords,
  password: string,
  user: { email: string; name: string },
  hasFactor = false,
): Promise<void> {
  if (!hasFactor && !isAcceptable(password)) throw weak.short
  const weakness = await passwords.weaknessOf(password, user)
  if (weakness) throw weak[weakness]
}
