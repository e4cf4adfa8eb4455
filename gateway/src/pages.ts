import type { IncomingMessage } from 'node:http'
import cors from '@fastify/cors'
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
  handle: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>
}

const exposed = ['retry-after', 'x-request-id', 'ratelimit', 'ratelimit-policy']

/**
 * What an answer carries for a page of ours, and for whoever caches it (the CORS protocol of the Fetch standard).
 *
 * @param origin one whose pages may call; undefined if no page makes the call
 */
export function crossOriginOf(origin: string | undefined): string[] {
  if (origin === undefined) return noPage
  return ['access-control-allow-origin', origin, ...toPages]
}
const noPage = ['vary', 'Origin']
const toPages = [
  ...['vary', 'Origin', 'access-control-allow-credentials', 'true'],
  ...['access-control-expose-headers', exposed.join(', ')],
]

/**
 * Lets pages of other origins call (CORS): it answers their preflights, and marks what their requests are answered
 * with. Requests that no page makes never come by here.
 */
export async function openToPages(app: FastifyInstance, { origins, methods, handle }: Options): Promise<void> {
  const crossOrigin = {
    origin: origins,
    credentials: true,
    methods,
    exposedHeaders: exposed,
    maxAge: 600,
  }
  await app.register(async (pages) => {
    await pages.register(cors, {
      // An OPTIONS that is no preflight is a request like any other.
      delegator: ({ headers }, callback) =>
        callback(null, { ...crossOrigin, preflight: headers['access-control-request-method'] !== undefined }),
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
