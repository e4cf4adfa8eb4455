import { randomUUID } from 'node:crypto'
import cors from '@fastify/cors'
import rateLimit from '@fastify/rate-limit'
import { answerWithProblem, type Logger, Problem, securityHeaders } from '@sallyport/chassis'
import { createAssertions } from '@sallyport/identity'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { dropRest } from './body.ts'
import { clientKey } from './client.ts'
import { answerClientError } from './client-error.ts'
import type { Config } from './config.ts'
import { createForwarder } from './forward.ts'
import { outgoingHeaders } from './headers.ts'
import { openKeySet } from './key-set.ts'
import { checkMessage } from './message.ts'
import { isInternal, normalise, type Target } from './path.ts'
import { openRevocations } from './revocations.ts'
import { openRouteTable, type Route } from './routes.ts'
import { createUpgrader } from './upgrade.ts'
import { createVerifier } from './verify.ts'
import { createWatch } from './watch.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the request goes. Set before anything else looks at it. */
    route: Route
    target: Target
  }
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * The gateway: every request, and every WebSocket upgrade, takes the same way.
 *
 *   route -> rate limit -> verify -> revocation -> role -> identity -> forward
 */
export async function buildApp(config: Config, environment: Record<string, string | undefined>, logger: Logger) {
  const routes = openRouteTable(config.routesFile, environment, logger)
  const keySet = openKeySet(config.keySetUrl, logger, { maxAge: config.keySetMaxAge * 1000 })
  const verifier = createVerifier(config, keySet)
  const revocations = openRevocations(config.revocations, logger)
  const assertions = createAssertions(config.identityKey)
  const watch = createWatch(revocations)
  const forwarder = createForwarder(watch)
  const upgrader = createUpgrader({ config, watch, logger })

  const ownHeaders = securityHeaders(config.production)
  const secured = (request: FastifyRequest, reply: FastifyReply) =>
    reply.headers(ownHeaders).header('x-request-id', request.id)

  const app: FastifyInstance = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    // Never the client's: it is an identity header.
    genReqId: () => randomUUID(),
    // A path that cannot be read never comes to the hooks.
    frameworkErrors: (error, request, reply) => answerWithProblem(error, request, secured(request, reply)),
    clientErrorHandler: answerClientError,
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 500, requestTimeout: 0, keepAliveTimeout: 72_000 },
  })
  // Bodies are streamed, never parsed.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setErrorHandler(answerWithProblem)

  app.addHook('onRequest', async (request, reply) => {
    secured(request, reply)
    checkMessage(request.raw)
  })
  app.addHook('onResponse', async ({ raw }) => dropRest(raw))
  const crossOrigin = {
    origin: config.origins,
    credentials: true,
    methods,
    exposedHeaders: ['retry-after', 'x-request-id'],
    maxAge: 600,
  }
  await app.register(cors, {
    // An OPTIONS that is no preflight is a request like any other.
    delegator: ({ headers }, callback) =>
      callback(null, { ...crossOrigin, preflight: headers['access-control-request-method'] !== undefined }),
  })

  app.addHook('onRequest', async (request) => {
    if (!methods.includes(request.method))
      throw new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
        headers: { allow: methods.join(', ') },
      })
    const target = normalise(request.raw.url as string)
    if (!target) throw new Problem(400, 'PATH_INVALID', 'The path can be read in more than one way')
    const route = isInternal(target.path) ? undefined : routes.match(target.path)
    const isUpgrade = upgrader.isUpgrade(request.raw)
    if (!route || (isUpgrade && !route.websocket)) throw new Problem(404, 'NOT_FOUND', 'There is nothing here')
    request.target = target
    request.route = route
  })
  await app.register(rateLimit, {
    global: false,
    max: ({ route }: FastifyRequest) => route.rateLimit ?? config.requestsPerMinute,
    timeWindow: '1 minute',
    keyGenerator: ({ ip, route }: FastifyRequest) => clientKey(ip) + (route.rateLimit ? route.prefix : ''),
    errorResponseBuilder: () => new Problem(429, 'RATE_LIMITED', 'Too many requests'),
  })

  // Our own table decides where a request goes, so to Fastify every request is one that it has no route for.
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, async (request, reply) => {
    const caller = await authenticate(request, verifier)
    if (caller) revocations.check(caller.identity)
    authorize(request.route, caller)
    const headers = outgoingHeaders(request, caller, assertions)
    if (upgrader.isUpgrade(request.raw)) return upgrader.forward(request, reply, headers, caller)
    return forwarder.forward(request, reply, headers, caller)
  })
  upgrader.attach(app)

  app.addHook('preClose', async () => {
    routes.close()
    keySet.close()
    revocations.close()
    upgrader.close()
  })
  app.addHook('onClose', () => forwarder.close())
  return { app, keySet, revocations, routes }
}
