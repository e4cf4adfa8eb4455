import proxyAddress from '@fastify/proxy-addr'
import { type Logger, noteProblem, type Problem, securityHeaders, sendProblem } from '@sallyport/chassis'
import { createAssertions } from '@sallyport/identity'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Config } from './config.ts'
import { ownConnections } from './connections/client-connections.ts'
import { countContained } from './connections/contain.ts'
import { faultOf } from './connections/message.ts'
import { NodeResponseWriter } from './connections/node-response-writer.ts'
import { serveInOrder } from './connections/node-server.ts'
import { FastPath } from './http1/server.ts'
import { createVerifier } from './pipeline/access-token.ts'
import { openKeySet } from './pipeline/jwks.ts'
import { measure, openEventStreams } from './pipeline/measure.ts'
import { createPipeline, isAllowed, methodNotAllowed, methods } from './pipeline/pipeline.ts'
import { openRateLimit, rateLimitHeaders } from './pipeline/rate-limit.ts'
import { openRateLimitStore } from './pipeline/rate-limit-store.ts'
import { RequestContext, sourceOf } from './pipeline/request-context.ts'
import { openRevocations } from './pipeline/revocations.ts'
import { openRouteTable } from './pipeline/route-table.ts'
import { createTokenMonitor } from './pipeline/token-monitor.ts'
import { requestIdOf } from './pipeline/trace.ts'
import { discardRest, hasBody, openBodies } from './proxy/body.ts'
import { crossOrigin, exposedHeaders, fromPage, openToPages } from './proxy/cors.ts'
import { forward } from './proxy/forward.ts'
import { Upstreams } from './proxy/upstreams.ts'
import { createWebSockets } from './proxy/websocket.ts'

declare module 'fastify' {
  interface FastifyRequest {
    context: RequestContext
  }
}

/** What is known of a message that could not be read. */
const header = () => undefined
const nothingKnown = { method: '', url: '', httpVersion: '', rawHeaders: [], header, trace: undefined }

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
  const tokenMonitor = createTokenMonitor(revocations)
  const webSockets = createWebSockets({ config, tokenMonitor, logger })
  const rateLimitStore = config.redisUrl === undefined ? undefined : await openRateLimitStore(config.redisUrl, logger)
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
      refuse(begin(request, reply) ?? error, request, reply)
    },
    // Fastify has one of its own, which goes before that of Node's server.
    keepAliveTimeout: config.idleTimeout * 1000,
    routerOptions: { constraints: { fromPage } },
    http: {
      headersTimeout: 5_000,
      connectionsCheckingInterval: 500,
      requestTimeout: 0,
      // What has no Host is refused like everything else that has more than one reading (message.ts).
      requireHostHeader: false,
    },
  })
  // Bodies are streamed, never parsed: their type is nothing to us, whether it is one or not.
  for (const method of app.supportedMethods) app.addHttpMethod(method, { overrideExisting: true })
  app.addHook('onRequest', (request, reply, done) => {
    // Of other methods Fastify has ideas of its own, before it comes to the handlers.
    done(begin(request, reply) ?? (isAllowed(request.method) ? undefined : methodNotAllowed()))
  })
  const beginBody = openBodies({ perClient: config.bodiesPerClient, timeout: config.bodyTimeout })
  const exposed = exposedHeaders(config.exposedHeaders)
  const crossOriginOf = crossOrigin(exposed)
  const security = Object.entries(securityHeaders(config.production)).flat()

  const rateLimit = await openRateLimit(app, config, rateLimitStore)
  const run = createPipeline({ routes, rateLimit, verifier, revocations, assertions })

  /**
   * Notes what is known of a request when it comes, and counts it when it is over.
   *
   * @returns why it is refused for its form, whatever it asks for
   */
  function begin(request: FastifyRequest, reply: FastifyReply): Problem | undefined {
    const { raw, id, method, trace } = request
    const header = (name: string) => raw.headers[name] as string | undefined
    const source = sourceOf(raw.socket.remoteAddress as string, header, isTrusted)
    const { httpVersion, rawHeaders } = raw
    const context = new RequestContext({
      id,
      method,
      url: raw.url as string,
      httpVersion,
      rawHeaders,
      header,
      source,
      trace,
    })
    request.context = context
    // It closes once, and `once` costs more.
    reply.raw.on('close', () => measure(context, reply.raw.headersSent ? reply.raw.statusCode : 0))
    return faultOf(raw)
  }

  /** The way of a request that Node's server has read. */
  async function handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { raw, context } = request
    const isUpgrade = webSockets.isUpgrade(raw)
    const headers = await run(context, isUpgrade)
    if (isUpgrade) return webSockets.forward(request, reply, headers, ownHeaders(context, setByCors(reply)))
    const body = hasBody(raw) ? await beginBody(raw, reply.raw, context.source.ip, context.route.bodyLimit) : ''
    const writer = new NodeResponseWriter(reply.raw)
    await forward({ context, writer, headers, body, ownHeaders: ownHeaders(context, setByCors(reply)), tokenMonitor })
    reply.hijack()
    return reply
  }

  /** What an answer carries beside what the upstream gives it. */
  function ownHeaders(context: RequestContext, forPages: string[]): string[] {
    return security.concat(['x-request-id', context.id], rateLimitHeaders(context.limit), forPages)
  }

  /** A request that goes nowhere. What goes wrong while it is answered ends its connection, and not the process. */
  async function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    try {
      const problem = noteProblem(await rateLimit.refused(request.context, error), request.context, logger)
      const headers = ownHeaders(request.context, setByCors(reply))
      for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1])
      discardRest(request.raw)
      return sendProblem(problem, reply)
    } catch (err) {
      countContained()
      logger.error({ event: 'connection_ended', err }, 'a request could not be answered')
      request.raw.destroy()
      return reply.hijack()
    }
  }

  /** What @fastify/cors, which sees the requests of pages, has set for the answer. */
  function setByCors(reply: FastifyReply): string[] {
    if (reply.request.raw.headers.origin === undefined) return crossOriginOf(undefined)
    return Object.entries(reply.getHeaders()).flatMap(([name, value]) => [name, String(value)])
  }

  app.setErrorHandler(refuse)
  app.setNotFoundHandler(handle)
  const countPreflight = ({ context }: FastifyRequest) => rateLimit.client(context)
  await openToPages(app, { origins: config.origins, methods, exposed, handle, countPreflight, logger })
  const isOurs = (origin: string) => config.origins.includes(origin)
  const { serveByNode, byNode, begin: beginServing } = ownConnections(app.server, { ...config, isTrusted, logger })
  const endIfIdle = serveInOrder(app.server, {
    handle: app.routing,
    noteUpgrade: webSockets.note,
    serve: serveByNode,
    refused: async (problem, peer) => {
      const source = sourceOf(peer, header, isTrusted)
      const context = new RequestContext({ ...nothingKnown, id: requestIdOf(undefined, peer, isTrusted), source })
      return noteProblem(await rateLimit.refused(context, problem), context, logger)
    },
    idleTimeout: config.idleTimeout,
    logger,
  })
  // Traced requests are followed on their way through Node's server.
  const fastPath =
    config.traced || !config.fastPath
      ? undefined
      : new FastPath({
          isTrusted,
          isOurs,
          tokenMonitor,
          logger,
          run,
          idleTimeout: config.idleTimeout,
          ownHeaders: (context) => ownHeaders(context, crossOriginOf(context.header('origin'))),
          handOver: serveByNode,
        })
  beginServing(fastPath ? fastPath.serve : (socket) => serveByNode(socket))

  app.addHook('preClose', async () => {
    routes.close()
    keySet.close()
    revocations.close()
    webSockets.close()
    fastPath?.close()
    for (const end of openEventStreams.values()) end()
    for (const socket of byNode) endIfIdle(socket)
  })
  app.addHook('onClose', async () => {
    rateLimitStore?.close()
    await upstreams.close()
  })
  const onClosing = () => fastPath?.beginClosing()
  return { app, keySet, routes, revocations, upstreams, webSockets, verifier, rateLimitStore, onClosing }
}
