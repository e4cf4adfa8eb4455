import type { AuthError } from './auth-error.ts'

const shortest = 1_000
const longest = 60_000
/** A server may ask for more than `longest`, but not for everything. */
const longestAsked = 300_000

/**
 * How long to wait after so many failures in a row: twice as long each time, at random so that clients do not come
 * back in step, and never shorter than the server asks (`Retry-After`). In milliseconds.
 */
export function backOff(failures: number, { retryAfter = 0 }: AuthError): number {
  const wait = Math.min(longest, shortest * 2 ** failures) * (0.5 + Math.random() / 2)
  return Math.max(wait, Math.min(retryAfter, longestAsked))
}
