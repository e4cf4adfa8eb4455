import cors from '@fastify/cors'
import { type Logger, listOrigin, noteRefusedOrigin } from '@sallyport/chassis'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { methods } from '../pipeline/methods.ts'
import type { RateLimit } from '../pipeline/rate-limit.ts'
import { discardRest } from './body.ts'

interface Settings {
  /** Origins that may send cross-origin requests. */
  origins: string[]
  /** Names of response headers of services that these origins may read. */
  exposedHeaders: string[]
}

/** What the gateway itself says of a request. */
const ownNames = ['retry-after', 'x-request-id', 'ratelimit', 'ratelimit-policy']

/** The headers of responses that an allowed origin may read: the gateway's own, and those of services. */
const exposed = (ofServices: string[]) => [...new Set([...ownNames, ...ofServices])]

/**
 * The CORS headers of a response, for the origin of the request and for caches (the CORS protocol of the Fetch
 * standard). Preflights have a response of their own.
 *
 * @returns a function from the `Origin` of a request, if it has one, to names and values of headers
 */
export function corsHeaders({ origins, exposedHeaders }: Settings): (origin: string | undefined) => string[] {
  const noOrigin = ['vary', 'Origin']
  const anyOrigin = [
    ...['vary', 'Origin', 'access-control-allow-credentials', 'true'],
    ...['access-control-expose-headers', exposed(exposedHeaders).join(', ')],
  ]
  const byOrigin = new Map(origins.map((origin) => [origin, ['access-control-allow-origin', origin, ...anyOrigin]]))
  return (origin) => (origin === undefined ? noOrigin : (byOrigin.get(origin) ?? anyOrigin))
}

const isPreflight = ({ method, headers }: FastifyRequest) =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined

/** Responds to preflights. Any other OPTIONS is a request like any other. */
export async function handlePreflights(
  app: FastifyInstance,
  { origins, exposedHeaders }: Settings,
  { rateLimit, logger }: { rateLimit: RateLimit; logger: Logger },
): Promise<void> {
  const options = {
    origin: origins,
    credentials: true,
    methods: [...methods],
    exposedHeaders: exposed(exposedHeaders),
    maxAge: 600,
    preflightContinue: true,
    // A request with both headers is a preflight, though one may be empty; the plugin's own response is no problem
    // details.
    strictPreflight: false,
  }
  await app.register(async (preflights) => {
    await preflights.register(cors, {
      delegator: (request, callback) => callback(null, isPreflight(request) ? options : { origin: false }),
    })
    preflights.addHook('onRequest', async (request, reply) => {
      if (!isPreflight(request)) return
      await rateLimit.client(request.context)
      const origin = request.headers.origin as string
      if (!origins.includes(origin)) noteRefusedOrigin(origin, listOrigin, logger)
      return reply.code(204).send()
    })
    // A preflight has no use for a body.
    preflights.addHook('onResponse', async ({ raw }) => discardRest(raw))
  })
}
