import diagnostics from 'node:diagnostics_channel'
import { Ajv } from 'ajv'
import type { FastifyInstance, RouteOptions } from 'fastify'
import t from 'tap'
import { openSystem } from '../support/system.ts'

t.test(
  'every schema of the auth service is one, and can be compiled, which it leaves to the first request',
  async (t) => {
    const routes: [FastifyInstance, RouteOptions][] = []
    const follow = (message: unknown) => {
      const { fastify } = message as { fastify: FastifyInstance }
      fastify.addHook('onRoute', (route) => {
        routes.push([fastify, route])
      })
    }
    diagnostics.subscribe('fastify.initialization', follow)
    t.teardown(() => diagnostics.unsubscribe('fastify.initialization', follow))
    await openSystem(t)

    const ajv = new Ajv()
    let checked = 0
    for (const [app, { method, url, schema = {}, ...route }] of routes) {
      const { response = {}, ...parts } = schema as Record<string, object>
      for (const httpPart of ['body', 'params', 'querystring', 'headers'] as const) {
        const part = parts[httpPart]
        if (part === undefined) continue
        const where = `${method} ${url} ${httpPart}`
        t.ok(ajv.validateSchema(part), where)
        const compile = route.validatorCompiler ?? app.validatorCompiler
        t.doesNotThrow(() => compile?.({ schema: part, method: '', url, httpPart } as never)({}), where)
        checked++
      }
      for (const [status, { content, ...whole }] of Object.entries(response as Record<string, { content?: object }>)) {
        if (content !== undefined) continue
        const where = `${method} ${url} ${status}`
        t.ok(ajv.validateSchema(whole), where)
        checked++
      }
    }
    t.ok(checked > 100, `${checked} were`)
  },
)
