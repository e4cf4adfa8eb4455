import proxyAddress from '@fastify/proxy-addr'
import { answerWithProblem, type Logger, securityHeaders } from '@sallyport/chassis'
import { createAssertions } from '@sallyport/identity'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { ServedAnswer } from './answer.ts'
import { beginBody, discardRest, hasBody } from './body.ts'
import { Call, sourceOf } from './call.ts'
import { answerClientError } from './client-error.ts'
import type { Config } from './config.ts'
import { forward } from './forward.ts'
import { openKeySet } from './key-set.ts'
import { measure } from './measure.ts'
import { checkMessage } from './message.ts'
import { crossOriginOf, fromPage, openToPages } from './pages.ts'
import { openRateLimit, rateLimitHeaders } from './rate-limit.ts'
import { openRevocations } from './revocations.ts'
import { openRouteTable } from './routes.ts'
import { openSharedCounts } from './shared-counts.ts'
import { ShortWay } from './short-way.ts'
import { createSteps, methods } from './steps.ts'
import { requestIdOf } from './trace.ts'
import { createUpgrader } from './upgrade.ts'
import { Upstreams } from './upstreams.ts'
import { createVerifier } from './verify.ts'
import { createWatch } from './watch.ts'

declare module 'fastify' {
  interface FastifyRequest {
    call: Call
  }
}

/**
 * The gateway: every request, and every WebSocket upgrade, takes the same steps (steps.ts), and is then sent on.
 *
 * Most come in by the short way (short-way.ts), all others by Node's server and Fastify.
 */
export async function buildApp(config: Config, environment: Record<string, string | undefined>, logger: Logger) {
  const upstreams = new Upstreams(logger, config.connections, config.streams)
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
    genReqId: (raw) =>
      requestIdOf(raw.headers['x-request-id'] as string | undefined, raw.socket.remoteAddress as string, isTrusted),
    // A request that comes over a connection still open is served to the end of the process.
    return503OnClosing: false,
    // A path that cannot be read never comes to the handlers.
    frameworkErrors: (error, request, reply) => {
      begin(request, reply)
      return refuse(error, request, reply)
    },
    routerOptions: { constraints: { fromPage } },
    clientErrorHandler: answerClientError,
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 500, requestTimeout: 0, keepAliveTimeout: 72_000 },
  })
  // Bodies are streamed, never parsed: their type is nothing to us, whether it is one or not.
  for (const method of app.supportedMethods) app.addHttpMethod(method, { overrideExisting: true })
  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply)
    done()
  })
  const security = Object.entries(securityHeaders(config.production)).flat()

  const rateLimit = await openRateLimit(app, config, sharedCounts)
  const admit = createSteps({ routes, rateLimit, verifier, revocations, assertions })

  /** Notes what is known of a request when it comes, and counts it when it is over. */
  function begin(request: FastifyRequest, reply: FastifyReply): void {
    const { raw, id, method, trace } = request
    const header = (name: string) => raw.headers[name] as string | undefined
    const source = sourceOf(raw.socket.remoteAddress as string, header, isTrusted)
    const { httpVersion, rawHeaders } = raw
    const call = new Call({ id, method, url: raw.url as string, httpVersion, rawHeaders, header, source, trace })
    request.call = call
    // It closes once, and `once` costs more.
    reply.raw.on('close', () => measure(call, reply.raw.headersSent ? reply.raw.statusCode : 0))
  }

  /** The way of a request that Node's server has read. */
  async function handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { raw, call } = request
    checkMessage(raw)
    const isUpgrade = upgrader.isUpgrade(raw)
    const headers = await admit(call, isUpgrade)
    if (isUpgrade) return upgrader.forward(request, reply, headers, ownHeaders(call, crossOrigin(reply)))
    const body = hasBody(raw) ? (await beginBody(raw, reply.raw, call.route.bodyLimit))() : ''
    const answer = new ServedAnswer(reply.raw)
    await forward({ call, answer, headers, body, ownHeaders: ownHeaders(call, crossOrigin(reply)), watch })
    reply.hijack()
    return reply
  }

  /** What an answer carries beside what the upstream gives it. */
  function ownHeaders(call: Call, crossOrigin: string[]): string[] {
    return security.concat(['x-request-id', call.id], rateLimitHeaders(call.limit), crossOrigin)
  }

  /** A request that goes nowhere. */
  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const headers = ownHeaders(request.call, crossOrigin(reply))
    for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1])
    discardRest(request.raw)
    return answerWithProblem(error, request, reply)
  }

  /** What @fastify/cors, which sees the requests of pages, has set for the answer. */
  function crossOrigin(reply: FastifyReply): string[] {
    if (reply.request.raw.headers.origin === undefined) return crossOriginOf(undefined)
    return Object.entries(reply.getHeaders()).flatMap(([name, value]) => [name, String(value)])
  }

  app.setErrorHandler(refuse)
  app.setNotFoundHandler(handle)
  await openToPages(app, { origins: config.origins, methods, handle })
  upgrader.attach(app)
  const isOurs = (origin: string) => config.origins.includes(origin)
  const shortWay = config.traced
    ? undefined
    : new ShortWay(app.server, {
        isTrusted,
        isOurs,
        watch,
        logger,
        admit,
        ownHeaders: (call) => ownHeaders(call, crossOriginOf(call.header('origin'))),
      })
  // A client that has reset its connection before it was accepted has no address, and waits for nothing.
  app.server.prependListener('connection', (socket) => {
    if (socket.remoteAddress === undefined) socket.destroy()
  })
  // Node would ask every client to go on with its body at once; here that waits until the body is wanted (body.ts).
  app.server.on('checkContinue', app.routing)

  app.addHook('preClose', async () => {
    routes.close()
    keySet.close()
    revocations.close()
    upgrader.close()
    shortWay?.close()
  })
  app.addHook('onClose', async () => {
    sharedCounts?.close()
    await upstreams.close()
  })
  const onClosing = () => shortWay?.beginClosing()
  return { app, keySet, routes, revocations, upstreams, upgrader, verifier, sharedCounts, onClosing }
}
