import { ZxcvbnFactory } from '@zxcvbn-ts/core'
import { adjacencyGraphs, dictionary } from '@zxcvbn-ts/language-common'
import { isAcceptable } from './policy.ts'

/** Longer passwords are judged by their beginning, as the time to judge them grows faster than they do. */
const maxLength = 64

/** Of 0 to 4: below, a hundred million guesses would do; a million for one that is so short that a second factor goes with it. */
const acceptable = { alone: 3, withFactor: 2 }

const estimator = new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs, maxLength })

/**
 * Whether a password falls to those who try the usual ones first: 49,000 that leaked most often, patterns, rows of
 * keys, and words that belong to the user. It takes milliseconds, and with bad intent tenths of a second: it is for
 * the process that hashes.
 *
 * @param words such as the user's name
 */
export function isGuessable(password: string, words: string[]): boolean {
  const least = isAcceptable(password) ? acceptable.alone : acceptable.withFactor
  return estimator.check(password, words).score < least
}
