/** Seconds from one failed attempt to the next, as Standard Webhooks has them. */
const waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]

/** Seconds from when a delivery was queued to its last attempt. */
export const lifetime = 259_200

/** The most seconds that a receiver can put the next attempt off by `Retry-After`. */
export const longestPause = 3_600

/**
 * @param failures how many attempts have failed, from 1
 * @param age seconds since the delivery was queued
 * @param pause seconds that the receiver asked for
 * @param random from 0 to 1: events that failed together are not tried again together
 * @returns seconds to the next attempt; undefined if there is none
 */
export function nextAttempt(failures: number, age: number, pause = 0, random = Math.random()): number | undefined {
  if (age >= lifetime) return undefined
  const wait = (waits[Math.min(failures, waits.length) - 1] as number) * (1 + random / 10)
  return Math.min(Math.max(wait, pause), lifetime - age)
}

/** @returns the seconds of a `Retry-After` (RFC 9110 section 10.2.3), within bounds; undefined if it says none */
export function readRetryAfter(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - now) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), longestPause)
}
