import fastifyStatic from '@fastify/static'
import { createApplication, type Logger, Problem } from '@sallyport/chassis'
import type { Config } from './config.ts'
import type { Page } from './page.ts'
import { pageHeaders } from './page-headers.ts'

/** Serves the web app: one page for every address that a user may open, and the files that it loads. */
export function buildApp({ config, page, logger }: { config: Config; page: Page; logger: Logger }) {
  const app = createApplication({ ...config, logger, bodyLimit: 1024 })
  const headers = pageHeaders(config.gateway)
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(headers)
  })

  // Without a wildcard there is one route for each file, and no other path comes to the disk.
  app.register(fastifyStatic, {
    root: page.assets,
    prefix: '/assets/',
    wildcard: false,
    immutable: true,
    maxAge: '365d',
  })

  app.get('/*', async ({ headers, url }, reply) => {
    // A file that is missing is no page: a browser would take HTML for a broken script.
    const isFile = /^\/assets\/|\.[^/]*$/.test(url.split('?', 1)[0] as string)
    if (isFile || !headers.accept?.includes('text/html')) throw new Problem(404, 'NOT_FOUND', 'There is nothing here')
    return reply.type('text/html; charset=utf-8').send(page.html)
  })
  return app
}
