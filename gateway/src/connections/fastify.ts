import type { Logger, Problem } from '@sallyport/chassis'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { countRequest, measure } from '../pipeline/measure.ts'
import { isAllowed, methodNotAllowed } from '../pipeline/methods.ts'
import { type IsTrusted, RequestContext, sourceOf } from '../pipeline/request-context.ts'
import { requestIdOf } from '../pipeline/trace.ts'
import { hasBody, type TakeBody } from '../proxy/body.ts'
import type { RequestHandler } from '../proxy/request-handler.ts'
import type { WebSockets } from '../proxy/websocket.ts'
import { endConnection } from './contain.ts'
import { faultOf } from './message.ts'
import { NodeResponseWriter } from './node-response-writer.ts'

declare module 'fastify' {
  interface FastifyRequest {
    context: RequestContext
  }
}

interface Settings {
  trustedProxies: string[]
  /** Seconds. */
  headersTimeout: number
  idleTimeout: number
  isTrusted: IsTrusted
  logger: Logger
}

/** Fastify behind Node's server, for every request that the fast path leaves. It has no routes of its own. */
export function createFastify({
  trustedProxies,
  headersTimeout,
  idleTimeout,
  isTrusted,
  logger,
}: Settings): FastifyInstance {
  const app: FastifyInstance = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // A logger for each request would be made for nothing: only those that fail are logged.
    childLoggerFactory: (parent) => parent,
    trustProxy: trustedProxies.length > 0 ? isTrusted : false,
    genReqId: (raw) =>
      requestIdOf(raw.headers['x-request-id'] as string | undefined, raw.socket.remoteAddress as string, isTrusted),
    // A request on a connection that is still open is served until the process ends.
    return503OnClosing: false,
    // Which path a request has is for the pipeline alone to say: to Fastify every one is the same.
    rewriteUrl: () => '/',
    // Fastify has one of its own, which goes before that of Node's server.
    keepAliveTimeout: idleTimeout * 1000,
    http: {
      headersTimeout: headersTimeout * 1000,
      connectionsCheckingInterval: 500,
      requestTimeout: 0,
      // A request without Host is rejected like everything else that has more than one reading (message.ts).
      requireHostHeader: false,
    },
  })
  // Bodies are streamed, never parsed: their type is nothing to us, whether it is one or not.
  for (const method of app.supportedMethods) app.addHttpMethod(method, { overrideExisting: true })
  app.addHook('onRequest', (request, reply, done) => {
    // Fastify handles other methods in its own way, before the handlers.
    done(begin(request, reply) ?? (isAllowed(request.method) ? undefined : methodNotAllowed()))
  })
  return app

  /**
   * Notes what is known of a request when it comes, and counts it when it is over.
   *
   * @returns why it is rejected for its form, whatever it asks for
   */
  function begin(request: FastifyRequest, reply: FastifyReply): Problem | undefined {
    const { raw, id, method, originalUrl: url, trace } = request
    ;(/^websocket$/i.test(raw.headers.upgrade ?? '') ? countRequest.upgrade : countRequest.byNode).inc()
    const header = (name: string) => raw.headers[name] as string | undefined
    const source = sourceOf(raw.socket.remoteAddress as string, header, isTrusted)
    const { httpVersion, rawHeaders } = raw
    const context = new RequestContext({ id, method, url, httpVersion, rawHeaders, header, source, trace })
    request.context = context
    // It closes once, and `once` costs more.
    reply.raw.on('close', () => measure(context, reply.raw.headersSent ? reply.raw.statusCode : 0))
    return faultOf(raw)
  }
}

interface Dependencies {
  handler: RequestHandler
  webSockets: WebSockets
  takeBody: TakeBody
  logger: Logger
}

/** Gives every request, and every error of Fastify's, to the handler, which writes the response past Fastify. */
export function handleAll(app: FastifyInstance, { handler, webSockets, takeBody, logger }: Dependencies): void {
  app.setNotFoundHandler(({ raw, context }, reply) => {
    const response = reply.hijack().raw
    const writer = new NodeResponseWriter(response)
    const handled = webSockets.isUpgrade(raw)
      ? handler.upgrade(context, writer, raw, response)
      : handler.handle(context, writer, hasBody(raw) ? (limit) => takeBody(raw, response, context.ip, limit) : '')
    handled.catch((error) => endConnection(raw, error, logger))
  })
  app.setErrorHandler((error, request, reply) => {
    const writer = new NodeResponseWriter(reply.hijack().raw)
    handler.refuse(request.context, error, writer).catch((err) => endConnection(request.raw, err, logger))
  })
}
