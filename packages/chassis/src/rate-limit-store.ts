import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import LocalStore from '@fastify/rate-limit/store/LocalStore.js'
import RedisStore from '@fastify/rate-limit/store/RedisStore.js'
import type { Redis } from 'ioredis'
import { Gauge } from 'prom-client'
import type { Logger } from './logging.ts'

/** Milliseconds for the store to respond before a request goes on without it, and between two attempts to connect. */
const commandTimeout = 200
const retryInterval = 1_000

/** The store in which processes count together. */
export interface RateLimitStore {
  redis: Redis
  /** Whether it takes commands. */
  readonly isConnected: boolean
  /** Notes that it did not respond: no request waits for it again until it has reconnected. */
  markUnavailable(): void
  close(): void
}

/** Keeps a connection to Redis or Valkey, and logs when it is lost and when it is back. */
export async function openRateLimitStore(url: string, logger: Logger): Promise<RateLimitStore> {
  // Most processes have none, and start sooner without its client.
  const { Command, Redis } = await import('ioredis')
  for (const name of ['eval', 'evalsha']) Command.setReplyTransformer(name, readCount)
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeout,
    retryStrategy: () => retryInterval,
  })
  let isConnected: boolean | undefined
  const note = (connected: boolean, err?: Error) => {
    if (isConnected === connected) return
    isConnected = connected
    if (connected) logger.info({ event: 'rate_limit_shared' }, 'requests are counted together with the other processes')
    else
      logger.warn(
        { event: 'rate_limit_local', err },
        'the store of REDIS_URL is unavailable: this process counts alone',
      )
  }
  redis.on('ready', () => note(true))
  redis.on('error', (error) => note(false, error))
  redis.on('close', () => note(false))
  return {
    redis,
    get isConnected() {
      return isConnected === true
    },
    markUnavailable() {
      if (!isConnected) return
      note(false)
      redis.disconnect(true)
    },
    close() {
      isConnected = false
      redis.disconnect()
    },
  }
}

/**
 * What the script that counts gives back: a count and milliseconds. @fastify/rate-limit does not look, and would throw where
 * nobody catches it, or let everybody through.
 */
function readCount(reply: unknown): unknown {
  if (Array.isArray(reply) && reply.length === 2 && reply.every(Number.isSafeInteger)) return reply
  throw new Error('the store of REDIS_URL gives no count')
}

/**
 * A store for @fastify/rate-limit, whose own two count in one process, or in Redis and not at all without it. This one
 * counts here, and asks for the count of all processes too. While that is not to be had, the count here still applies.
 *
 * @param nameSpace what keys begin with; each route has its own behind it
 * @param cache how many counts are kept here at most; the one that was not used for longest goes first
 */
export function countTogether(shared: RateLimitStore, nameSpace: string, cache?: number): FastifyRateLimitStoreCtor {
  return class CountingStore {
    readonly #here: FastifyRateLimitStore
    readonly #together: FastifyRateLimitStore

    constructor(_options: object, route = '') {
      this.#here = new LocalStore(false, false, cache)
      this.#together = new RedisStore(false, false, shared.redis, nameSpace + route)
    }

    incr: FastifyRateLimitStore['incr'] = (key, done, timeWindow, max) =>
      this.#here.incr(
        key,
        (_, counted) => {
          // The store goes on counting in what it gave.
          const here = { ...(counted as { current: number; ttl: number }) }
          if (here.current > max || !shared.isConnected) return done(null, here)
          const onCount: typeof done = (error, count) => {
            if (error) shared.markUnavailable()
            done(null, error ? here : count)
          }
          this.#together.incr(key, onCount, timeWindow, max)
        },
        timeWindow,
        max,
      )

    child(options: object): CountingStore {
      const { method, url } = (options as { routeInfo: { method?: string; url?: string } }).routeInfo
      return new CountingStore(options, url === undefined ? '' : `${method} ${url} `)
    }
  }
}

/** Shows whether this process counts together with the others. */
export function showRateLimitStore(store: RateLimitStore): void {
  new Gauge({
    name: 'sallyport_rate_limit_shared',
    help: 'Whether requests are counted together with the other processes (1), or here alone (0)',
    collect() {
      this.set(Number(store.isConnected))
    },
  })
}
