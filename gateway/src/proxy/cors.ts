import type { IncomingMessage } from 'node:http'
import cors from '@fastify/cors'
import { type Logger, listOrigin, noteRefusedOrigin } from '@sallyport/chassis'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { discardRest } from './body.ts'

/** Tells requests that a page makes, by their `Origin`, from all others. */
export const fromPage = {
  name: 'fromPage',
  storage: () => new Map(),
  deriveConstraint: ({ headers }: IncomingMessage) => (headers.origin === undefined ? '' : 'page'),
}

interface Options {
  /** Origins whose pages may call. */
  origins: string[]
  methods: HTTPMethods[]
  /** Names of headers that they may read. */
  exposed: string[]
  handle: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>
  /** Counts a preflight; throws what it is refused with. */
  countPreflight: (request: FastifyRequest) => Promise<void>
  logger: Logger
}

/** What the gateway itself says of a request. */
const ownNames = ['retry-after', 'x-request-id', 'ratelimit', 'ratelimit-policy']

/** The headers of answers that a page may read: the gateway's own, and those of services. */
export function exposedHeaders(ofServices: string[]): string[] {
  return [...new Set([...ownNames, ...ofServices])]
}

/**
 * What an answer carries for a page of ours, and for whoever caches it (the CORS protocol of the Fetch standard).
 *
 * @param exposed names of the headers that pages may read
 * @returns a function of the origin: one whose pages may call, or undefined if no page makes the call
 */
export function crossOrigin(exposed: string[]): (origin: string | undefined) => string[] {
  const noPage = ['vary', 'Origin']
  const toPages = [
    ...['vary', 'Origin', 'access-control-allow-credentials', 'true'],
    ...['access-control-expose-headers', exposed.join(', ')],
  ]
  return (origin) => (origin === undefined ? noPage : ['access-control-allow-origin', origin, ...toPages])
}

const isPreflight = ({ method, headers }: FastifyRequest) =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined

/**
 * Lets pages of other origins call (CORS): it answers their preflights, and marks what their requests are answered
 * with. Of requests that no page makes only OPTIONS come by here, as the plugin has a route for them.
 */
export async function openToPages(
  app: FastifyInstance,
  { origins, methods, exposed, handle, countPreflight, logger }: Options,
): Promise<void> {
  const options = {
    origin: origins,
    credentials: true,
    methods,
    exposedHeaders: exposed,
    maxAge: 600,
    preflightContinue: true,
    // What has both of its headers is a preflight, though one may be empty; the plugin's own answer is no problem details.
    strictPreflight: false,
  }
  const none = { origin: false }
  await app.register(async (pages) => {
    await pages.register(cors, {
      // An OPTIONS that is no preflight is a request like any other.
      delegator: (request, callback) =>
        callback(null, request.headers.origin === undefined ? none : { ...options, preflight: isPreflight(request) }),
    })
    // By now the answer has its headers: a page can read that there were too many.
    pages.addHook('onRequest', async (request, reply) => {
      if (!isPreflight(request)) return
      await countPreflight(request)
      const origin = request.headers.origin as string
      if (!origins.includes(origin)) noteRefusedOrigin(origin, listOrigin, logger)
      return reply.code(204).send()
    })
    // A preflight has no use for a body.
    pages.addHook('onResponse', async ({ raw }) => discardRest(raw))
    pages.route({
      // The plugin has a route for OPTIONS of its own, and leaves what is no preflight to the handler of the rest.
      method: methods.filter((method) => method !== 'OPTIONS'),
      url: '*',
      constraints: { fromPage: 'page' },
      handler: handle,
    })
  })
}
