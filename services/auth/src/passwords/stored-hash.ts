/** A hash of argon2 as PHC strings have it, whose salt and tag are long enough to mean anything. */
const phc =
  /^\$argon2(?:id|i|d)\$v=(?:16|19)\$([mtp]=\d{1,6}(?:,[mtp]=\d{1,6}){2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/

/** What is stored of a user who has chosen no password yet. It compares with none. */
export const noPassword = '!'

/**
 * Whether a stored text is a hash that may be compared with. What others have put there (nothing, another system's, half
 * a hash) is none, nor is one that would take more than 128 MiB or ten passes: who wrote that into the database would
 * otherwise decide what a login costs.
 */
export function isComparable(stored: string): boolean {
  const parameters = phc
    .exec(stored)?.[1]
    ?.split(',')
    .map((one) => one.split('='))
  const { m = 0, t = 0, p = 0 } = Object.fromEntries((parameters ?? []).map(([name, value]) => [name, Number(value)]))
  return p >= 1 && p <= 16 && m >= 8 * p && m <= 131_072 && t >= 1 && t <= 10
}
