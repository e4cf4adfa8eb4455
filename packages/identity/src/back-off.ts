/** Milliseconds without an attempt after the first failure; doubled by each further one, up to the longest. */
const shortest = 500
const longest = 10_000

/**
 * Runs attempts, and after one that failed none for a while: whoever asks then is given the same error at once. At random,
 * so that clients that failed together do not come back together.
 *
 * @param concerns which errors count; others are passed on, and the next attempt may follow at once
 * @param now milliseconds of a clock that never goes back
 */
export function createBackOff(concerns: (error: unknown) => boolean, now = () => performance.now()) {
  let failures = 0
  let last: { error: unknown; until: number } | undefined

  return async function run<Result>(attempt: () => Promise<Result>): Promise<Result> {
    if (last && now() < last.until) throw last.error
    const before = last
    try {
      const result = await attempt()
      failures = 0
      last = undefined
      return result
    } catch (error) {
      // Of attempts that went on at the same time one counts.
      if (last === before && concerns(error)) {
        const wait = Math.min(longest, shortest * 2 ** failures++)
        last = { error, until: now() + wait * (0.5 + Math.random() / 2) }
      }
      throw error
    }
  }
}
