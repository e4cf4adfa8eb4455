import type { Logger } from '@sallyport/chassis'
import type { Redis } from 'ioredis'

/** Milliseconds for the store to respond before a request goes on without it, and between two attempts to connect. */
const commandTimeout = 200
const retryInterval = 1_000

/** The store in which gateways count together. */
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
  // Most gateways have none, and start sooner without its client.
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
    if (connected) logger.info({ event: 'rate_limit_shared' }, 'requests are counted together with the other gateways')
    else
      logger.warn(
        { event: 'rate_limit_local', err },
        'the store of REDIS_URL is unavailable: this gateway counts alone',
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
