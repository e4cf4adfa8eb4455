import cors from '@fastify/cors'
import { type Logger, listOrigin, noteRefusedOrigin } from '@sallyport/chassis'
import Fastify from 'fastify'
import { methods } from '../pipeline/methods.ts'
import type { RateLimit } from '../pipeline/rate-limit.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import type { ResponseWriter } from './response-writer.ts'

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

/** Whether a page asks if it may send a request. Either header may be empty. Any other OPTIONS is a request like any other. */
const isPreflight = ({ method, header }: RequestContext) =>
  method === 'OPTIONS' && header('origin') !== undefined && header('access-control-request-method') !== undefined

/** What a preflight's response says, of what @fastify/cors has in it. */
const isOfCors = (name: string) => name === 'vary' || name.startsWith('access-control-')

export type Preflights = Awaited<ReturnType<typeof openPreflights>>

/**
 * Responds to preflights, whichever server read them, with what @fastify/cors says of them. The plugin has an application of its
 * own, which is reached from here alone, so that none of them leaves the way that its connection is read by.
 */
export async function openPreflights(
  { origins, exposedHeaders }: Settings,
  { rateLimit, logger }: { rateLimit: RateLimit; logger: Logger },
) {
  const app = Fastify()
  await app.register(cors, {
    origin: origins,
    credentials: true,
    methods: [...methods],
    exposedHeaders: exposed(exposedHeaders),
    maxAge: 600,
    strictPreflight: false,
  })
  await app.ready()

  return {
    is: isPreflight,
    /** @throws 429 RATE_LIMITED */
    async respond(context: RequestContext, writer: ResponseWriter): Promise<void> {
      await rateLimit.client(context)
      const origin = context.header('origin') as string
      if (!origins.includes(origin)) noteRefusedOrigin(origin, listOrigin, logger)
      const asked = ['access-control-request-method', 'access-control-request-headers']
      const sent = asked.flatMap((name) => {
        const value = context.header(name)
        return value === undefined ? [] : [[name, value]]
      })
      const { headers } = await app.inject({
        method: 'OPTIONS',
        url: '/',
        headers: { origin, ...Object.fromEntries(sent) },
      })
      const said = Object.entries(headers).filter(([name]) => isOfCors(name))
      writer.begin(
        204,
        'No Content',
        said.flatMap(([name, value]) => [name, String(value)]),
      )
      writer.end()
    },
  }
}
