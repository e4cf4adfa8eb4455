import proxyAddress from '@fastify/proxy-addr'
import { answerWithProblem, type Logger, Problem, securityHeaders } from '@sallyport/chassis'
import { createAssertions } from '@sallyport/identity'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HTTPMethods,
  LogController,
} from 'fastify'
import { authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { discardRest } from './body.ts'
import { answerClientError } from './client-error.ts'
import type { Config } from './config.ts'
import { forward } from './forward.ts'
import { outgoingHeaders } from './headers.ts'
import { openKeySet } from './key-set.ts'
import { measure } from './measure.ts'
import { checkMessage } from './message.ts'
import { fromPage, openToPages } from './pages.ts'
import { isInternal, normalise, type Target } from './path.ts'
import { openRateLimit, rateLimitHeaders } from './rate-limit.ts'
import { openRevocations } from './revocations.ts'
import { openRouteTable, type Route } from './routes.ts'
import { openSharedCounts } from './shared-counts.ts'
import { requestIdOf } from './trace.ts'
import { createUpgrader } from './upgrade.ts'
import { Upstreams } from './upstreams.ts'
import { createVerifier } from './verify.ts'
import { createWatch } from './watch.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the request goes. Set before anything else looks at it. */
    route: Route
    target: Target
  }
}

const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * The gateway: every request, and every WebSocket upgrade, takes the same way.
 *
 *   route -> rate limit -> verify -> revocation -> role -> identity -> forward
 */
export async function buildApp(config: Config, environment: Record<string, string | undefined>, logger: Logger) {
  const upstreams = new Upstreams(logger)
  const routes = openRouteTable(config.routesFile, environment, upstreams, logger)
  const keySet = openKeySet(config.keySetUrl, logger, { maxAge: config.keySetMaxAge * 1000 })
  const verifier = createVerifier(config, keySet)
  const revocations = openRevocations(config.revocations, logger)
  const assertions = createAssertions(config.identityKey)
  const watch = createWatch(revocations)
  const upgrader = createUpgrader({ config, watch, logger })
  const sharedCounts = config.redisUrl === undefined ? undefined : await openSharedCounts(config.redisUrl, logger)
  const isProxy = proxyAddress.compile(config.trustedProxies)
  const isTrusted = (address: string) => isProxy(address, 0)

  const app: FastifyInstance = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // A logger for each request would be made for nothing: only those that fail are logged.
    childLoggerFactory: (parent) => parent,
    trustProxy: config.trustedProxies.length > 0 ? isTrusted : false,
    genReqId: (raw) => requestIdOf(raw, isTrusted),
    // A request that comes over a connection still open is served to the end of the process.
    return503OnClosing: false,
    // A path that cannot be read never comes to the handlers.
    frameworkErrors: (error, request, reply) => {
      measure(request, reply)
      return refuse(error, request, reply)
    },
    routerOptions: { constraints: { fromPage } },
    clientErrorHandler: answerClientError,
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 500, requestTimeout: 0, keepAliveTimeout: 72_000 },
  })
  // Bodies are streamed, never parsed.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.addHook('onRequest', (request, reply, done) => {
    measure(request, reply)
    done()
  })
  const security = Object.entries(securityHeaders(config.production)).flat()

  const rateLimit = await openRateLimit(app, config, sharedCounts)

  /** The way of a request. */
  async function handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    checkMessage(request.raw)
    if (!methods.includes(request.method as HTTPMethods))
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
    if (request.trace) request.trace.route = route.prefix

    await rateLimit.client(request)
    const caller = await authenticate(request, verifier)
    if (caller) {
      request.caller = caller
      await rateLimit.user(request)
      revocations.check(caller.identity)
    }
    authorize(route, caller)
    const headers = outgoingHeaders(request, caller, assertions)
    if (isUpgrade) return upgrader.forward(request, reply, headers, caller)
    await forward({ request, reply, headers, ownHeaders: ownHeaders(request, reply), caller, watch })
    return reply
  }

  /** What an answer carries beside what the upstream gives it. */
  function ownHeaders(request: FastifyRequest, reply: FastifyReply): string[] {
    const headers = [...security, 'x-request-id', request.id, ...rateLimitHeaders(request)]
    if (request.raw.headers.origin === undefined) headers.push('vary', 'Origin')
    else for (const [name, value] of Object.entries(reply.getHeaders())) headers.push(name, String(value))
    return headers
  }

  /** A request that goes nowhere. */
  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const headers = ownHeaders(request, reply)
    for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1])
    discardRest(request.raw)
    return answerWithProblem(error, request, reply)
  }

  app.setErrorHandler(refuse)
  app.setNotFoundHandler(handle)
  await openToPages(app, { origins: config.origins, methods, handle })
  upgrader.attach(app)
  // Node would ask every client to go on with its body at once; here that waits until the body is wanted (body.ts).
  app.server.on('checkContinue', app.routing)

  app.addHook('preClose', async () => {
    routes.close()
    keySet.close()
    revocations.close()
    upgrader.close()
  })
  app.addHook('onClose', async () => {
    sharedCounts?.close()
    await upstreams.close()
  })
  return { app, keySet, routes, revocations, upstreams, upgrader, verifier, sharedCounts }
}
