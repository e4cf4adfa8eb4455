import proxyAddress from '@fastify/proxy-addr'
import type { Logger } from '@sallyport/chassis'
import { openRateLimitStore } from '@sallyport/chassis/rate-limit'
import { createAssertions } from '@sallyport/identity'
import type { Config } from './config.ts'
import { ownConnections } from './connections/client-connections.ts'
import { malformedContext } from './connections/client-error.ts'
import { createFastify, handleAll } from './connections/fastify.ts'
import { serveInOrder } from './connections/node-server.ts'
import { FastPath } from './http1/server.ts'
import { createVerifier } from './pipeline/access-token.ts'
import { openKeySet } from './pipeline/jwks.ts'
import { openEventStreams } from './pipeline/measure.ts'
import { createPipeline } from './pipeline/pipeline.ts'
import { openRateLimit } from './pipeline/rate-limit.ts'
import { openRevocations } from './pipeline/revocations.ts'
import { openRouteTable } from './pipeline/route-table.ts'
import { createTokenMonitor } from './pipeline/token-monitor.ts'
import { openBodies } from './proxy/body.ts'
import { corsHeaders, handlePreflights } from './proxy/cors.ts'
import { createRequestHandler } from './proxy/request-handler.ts'
import { createOwnHeaders } from './proxy/response-headers.ts'
import { Upstreams } from './proxy/upstreams.ts'
import { createWebSockets } from './proxy/websocket.ts'

/**
 * The gateway: every request, and every WebSocket upgrade, runs through the same pipeline (pipeline/) and is then
 * forwarded (proxy/), whichever server read it: the fast path (http1/) or, for whatever that leaves, Node's
 * (connections/).
 */
export async function buildApp(config: Config, environment: Record<string, string | undefined>, logger: Logger) {
  const isProxy = proxyAddress.compile(config.trustedProxies)
  const isTrusted = (address: string) => isProxy(address, 0)
  const app = createFastify({ ...config, isTrusted, logger })

  // What a request is checked by.
  const upstreams = new Upstreams(logger, config.connections, config.streams)
  const routes = openRouteTable(config.routesFile, environment, upstreams, logger)
  const rateLimitStore = config.redisUrl === undefined ? undefined : await openRateLimitStore(config.redisUrl, logger)
  const rateLimit = await openRateLimit(app, config, rateLimitStore)
  const keySet = openKeySet(config.keySetUrl, logger, { maxAge: config.keySetMaxAge * 1000 })
  const verifier = createVerifier(config, keySet)
  const revocations = openRevocations(config.revocations, logger)
  const assertions = createAssertions(config.identityKey)
  const run = createPipeline({ routes, rateLimit, verifier, revocations, assertions })

  // How it is forwarded, or rejected.
  const tokenMonitor = createTokenMonitor(revocations)
  const webSockets = createWebSockets({ config, tokenMonitor, logger })
  const ownHeaders = createOwnHeaders({ production: config.production, cors: corsHeaders(config) })
  const handler = createRequestHandler({ run, rateLimit, webSockets, tokenMonitor, ownHeaders, logger })

  // Who reads it.
  const takeBody = openBodies({ perClient: config.bodiesPerClient, timeout: config.bodyTimeout })
  handleAll(app, { handler, webSockets, takeBody, logger })
  await handlePreflights(app, config, { rateLimit, logger })
  const { serveByNode, byNode, begin } = ownConnections(app.server, { ...config, isTrusted, logger })
  const endIfIdle = serveInOrder(app.server, {
    handle: app.routing,
    noteUpgrade: webSockets.note,
    serve: serveByNode,
    refused: (problem, peer) => handler.explain(malformedContext(peer, isTrusted), problem),
    idleTimeout: config.idleTimeout,
    logger,
  })
  // Requests are traced by hooks of Fastify, so those take Node's server.
  const fastPath =
    config.traced || !config.fastPath
      ? undefined
      : new FastPath({
          handle: handler.handle,
          handOver: serveByNode,
          headersTimeout: config.headersTimeout,
          idleTimeout: config.idleTimeout,
          isTrusted,
          logger,
        })
  begin(fastPath ? fastPath.serve : (socket) => serveByNode(socket))

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
