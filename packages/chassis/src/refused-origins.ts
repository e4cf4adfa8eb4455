import type { FastifyBaseLogger } from 'fastify'

/** Milliseconds in which an origin is named once. */
const window = 60_000

/** Origins named in a window at most: a client can make up any number of them. */
const most = 100

/** Characters of an origin at most: the longest host name, with scheme and port. */
const longest = 300

let begun = Number.NEGATIVE_INFINITY
const named = new Set<string>()

/** What to do if the page is one's own. */
export const listOrigin = 'if it is yours, add its origin to CORS_ORIGINS of the gateway and of auth'

/**
 * Logs the origin whose request was rejected: a browser does not say why to its developer, and the operator who sets
 * CORS_ORIGINS sees this log alone.
 *
 * @param advice what to do if the page is one's own
 * @param now milliseconds, from any beginning
 */
export function noteRefusedOrigin(
  origin: string,
  advice: string,
  log: Pick<FastifyBaseLogger, 'warn'>,
  now = performance.now(),
): void {
  if (now - begun >= window) {
    named.clear()
    begun = now
  }
  const name = origin.slice(0, longest)
  if (named.has(name) || named.size === most) return
  named.add(name)
  log.warn({ event: 'origin_refused', origin: name }, `this origin may not send requests; ${advice}`)
}
