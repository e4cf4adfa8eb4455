import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import { Problem } from '@sallyport/chassis'
import { countTogether, type RateLimitStore } from '@sallyport/chassis/rate-limit'
import type { FastifyInstance } from 'fastify'
import { Counter } from 'prom-client'
import type { askPrimary } from '../workers/ask-primary.ts'
import type { Caller } from './access-token.ts'
import { callerKeyOf, type RateLimitStatus, type RequestContext } from './request-context.ts'
import type { Route } from './route-file.ts'

/** Seconds that a limit is for. */
const window = 60

/** Counts kept in this process at most; the one that was not used for longest goes first. */
const mostCounts = 50_000

const limited = new Counter({
  name: 'sallyport_rate_limited_total',
  help: 'Requests refused for being too many, by what they were counted by',
  labelNames: ['limit'],
})

interface Settings {
  /** Requests a minute from one client address, and by one user from whatever address. */
  requestsPerMinute: number
  userRequestsPerMinute: number
}

type Name = NonNullable<RateLimitStatus['name']>

interface Limit {
  max: number | ((context: RequestContext) => number)
  keyGenerator?: (context: RequestContext) => string
}

export type RateLimit = Awaited<ReturnType<typeof openRateLimit>>

/**
 * Counts requests with @fastify/rate-limit: by the true address of the client, before anything else is done for it,
 * and by user once that is known, so that neither many users behind one address nor one user with many get around it.
 *
 * Each gateway counts for itself and, where they share a store, asks for the count of all of them too. While the store
 * is unavailable, the gateway's own count still applies. The workers of one gateway count together in any case.
 */
export async function openRateLimit(
  app: FastifyInstance,
  settings: Settings,
  shared: RateLimitStore | undefined,
  workers?: Pick<ReturnType<typeof askPrimary>, 'storeOf'>,
) {
  async function openLimiter(name: Name, limit: Limit) {
    limited.inc({ limit: name }, 0)
    const store = shared ? countTogether(shared, `sallyport:${name}:`, mostCounts) : workers?.storeOf(name)
    const options = { ...limit, timeWindow: window * 1000, cache: mostCounts, ...(store && { store }) }
    const countOf = await openCounter(app, options)

    return async (context: RequestContext): Promise<void> => {
      const count = await countOf(context)
      count.name = name
      if (!context.limit || count.remaining < context.limit.remaining) context.limit = count
      if (!count.isExceeded) return
      limited.inc({ limit: name })
      throw new Problem(429, 'RATE_LIMITED', 'Too many requests', {
        headers: { 'retry-after': String(count.ttlInSeconds) },
      })
    }
  }

  // What the plugin takes for a key by itself is an address, or of an IPv6 address the /64 that one subscriber has.
  const common = await openLimiter('client', { max: settings.requestsPerMinute })
  const ofRoute = await openLimiter('client', {
    max: ({ route }) => route.rateLimit as number,
    keyGenerator: ({ ip, route }) => `${normalizeIP(ip)} ${route.name}`,
  })
  /** A request whose route is not known, or has no limit, counts towards the common limit. */
  const client = (context: RequestContext): Promise<void> =>
    (context.route as Route | undefined)?.rateLimit ? ofRoute(context) : common(context)
  return {
    /** @throws 429 RATE_LIMITED */
    client,
    /**
     * Counts a request that is refused before it was rate limited, so that an invalid one costs its sender as much.
     *
     * @returns the error that is its response: what it was refused for, or that there are too many
     */
    refused: async (context: RequestContext, error: unknown): Promise<unknown> =>
      context.limit
        ? error
        : client(context).then(
            () => error,
            (tooMany) => tooMany,
          ),
    /** @throws 429 RATE_LIMITED */
    user: await openLimiter('user', {
      max: settings.userRequestsPerMinute,
      keyGenerator: ({ caller }) => callerKeyOf(caller as Caller),
    }),
  }
}

/** How a limit stands, as the `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers say it. */
export function rateLimitHeaders(limit: RateLimitStatus | undefined): string[] {
  if (!limit) return []
  const { name, max, remaining, ttlInSeconds } = limit
  return [
    'ratelimit-policy',
    `"${name}";q=${max};w=${window}`,
    'ratelimit',
    `"${name}";r=${remaining};t=${ttlInSeconds}`,
  ]
}

/**
 * The plugin keeps one store for each context it is registered in, so every counter has a context. It takes a request
 * where rate-limiter-flexible would take a key, but that keeps every key in memory: a million addresses are 405 MiB
 * there, and 11 MiB in the plugin's LRU of the last 50,000.
 */
async function openCounter(app: FastifyInstance, options: object) {
  let count: ReturnType<FastifyInstance['createRateLimit']> | undefined
  await app.register(async (context) => {
    await context.register(rateLimit, { ...options, global: false })
    count = context.createRateLimit()
  })
  // Of a request it takes what a RequestContext has too.
  return count as unknown as (context: RequestContext) => Promise<RateLimitStatus>
}
