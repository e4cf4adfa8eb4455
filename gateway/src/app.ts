import proxyAddress from '@fastify/proxy-addr'
import type { Logger } from '@sallyport/chassis'
import { openRateLimitStore } from '@sallyport/chassis/rate-limit'
import { createAssertions } from '@sallyport/identity'
import { openRevocations } from '@sallyport/verify'
import type { Config } from './config.ts'
import { ownConnections } from './connections/client-connections.ts'
import { malformedContext } from './connections/client-error.ts'
import { createFastify, handleAll } from './connections/fastify.ts'
import { serveInOrder } from './connections/node-server.ts'
import { openForwardAuth } from './forward-auth/server.ts'
import { FastPath } from './http1/server.ts'
import { createVerifier } from './pipeline/access-token.ts'
import { openApiKeys } from './pipeline/api-keys.ts'
import { Issuers } from './pipeline/issuers.ts'
import { openEventStreams } from './pipeline/measure.ts'
import { createPipeline, type RunPipeline } from './pipeline/pipeline.ts'
import { openRateLimit } from './pipeline/rate-limit.ts'
import type { Route } from './pipeline/route-file.ts'
import { NoRoute } from './pipeline/route-lookup.ts'
import { openRouteTable } from './pipeline/route-table.ts'
import { createTokenMonitor } from './pipeline/token-monitor.ts'
import { createProxyNotice } from './pipeline/untrusted-proxy.ts'
import { openBodies } from './proxy/body.ts'
import { corsHeaders, openPreflights } from './proxy/cors.ts'
import { createOriginCheck } from './proxy/origin.ts'
import { createRequestHandler } from './proxy/request-handler.ts'
import { createOwnHeaders } from './proxy/response-headers.ts'
import { Upstreams } from './proxy/upstreams.ts'
import { createWebSockets } from './proxy/websocket.ts'
import { startReports } from './reports.ts'
import type { askPrimary } from './workers/ask-primary.ts'
import { OpenCounts } from './workers/open-counts.ts'

/**
 * The gateway: every request, and every WebSocket upgrade, runs through the same pipeline (pipeline/) and is then
 * forwarded (proxy/), whichever server read it: the fast path (http1/) or, for whatever that leaves, Node's
 * (connections/).
 *
 * @param together counts for this gateway and those beside it, where several workers are one
 */
export async function buildApp(
  config: Config,
  environment: Record<string, string | undefined>,
  logger: Logger,
  together?: ReturnType<typeof askPrimary>,
) {
  const isProxy = proxyAddress.compile(config.trustedProxies)
  const isTrusted = (address: string) => isProxy(address, 0)
  const app = createFastify({ ...config, isTrusted, logger })

  const counts = together ?? new OpenCounts()

  // What a request is checked by.
  const upstreams = new Upstreams(logger, config.connections, config.streams, counts)
  const issuers = new Issuers(config, logger)
  const { forwardAuthPort } = config
  const parts = { upstreams, issuers, forwardAuth: forwardAuthPort !== undefined, workers: config.workers }
  const routes = openRouteTable(config.routesFile, environment, parts, logger)
  const rateLimitStore = config.redisUrl === undefined ? undefined : await openRateLimitStore(config.redisUrl, logger)
  const rateLimit = await openRateLimit(app, config, rateLimitStore, together)
  const verifier = createVerifier(routes.findIssuer)
  const revocations = openRevocations(config.revocations, (err) =>
    logger.warn({ event: 'revocation_stream_lost', err }),
  )
  const apiKeys = openApiKeys(config.apiKeys, { verifier, revocations, logger })
  const assertions = createAssertions(config.identityKey)
  const stages = { rateLimit, verifier, apiKeys, revocations, assertions }
  const decide = createPipeline({ ...stages, routes: { match: forwarded } })
  const noticeProxy = createProxyNotice(isTrusted, logger)
  const run: RunPipeline = (context, isUpgrade) => {
    noticeProxy(context)
    return decide(context, isUpgrade)
  }

  // How it is forwarded, or rejected.
  const tokenMonitor = createTokenMonitor(revocations, issuers)
  const checkOrigin = createOriginCheck(config.origins, logger)
  const webSockets = createWebSockets({ config, checkOrigin, tokenMonitor })
  const ownHeaders = createOwnHeaders({ production: config.production, cors: corsHeaders(config) })
  const preflights = await openPreflights(config, { rateLimit, logger })
  const handler = createRequestHandler({ run, rateLimit, preflights, webSockets, tokenMonitor, ownHeaders, logger })

  // Who reads it.
  const takeBody = openBodies({ perClient: config.bodiesPerClient, timeout: config.bodyTimeout, counts })
  handleAll(app, { handler, webSockets, takeBody, logger })
  const { serveByNode, byNode, begin } = ownConnections(app.server, { ...config, counts, isTrusted, logger })
  const { endIfIdle, refuse } = serveInOrder(app.server, {
    handle: app.routing,
    noteUpgrade: webSockets.note,
    serve: serveByNode,
    refused: (problem, peer) => handler.explain(malformedContext(peer, isTrusted), problem),
    idleTimeout: config.idleTimeout,
    logger,
  })
  const fastPath = !config.fastPath
    ? undefined
    : new FastPath({
        handle: handler.handle,
        handOver: serveByNode,
        refuse,
        headersTimeout: config.headersTimeout,
        idleTimeout: config.idleTimeout,
        isTrusted,
        logger,
      })
  begin(fastPath ? fastPath.serve : (socket) => serveByNode(socket))

  // Or which other proxy asks about it.
  const forwardAuth =
    forwardAuthPort === undefined
      ? undefined
      : await openForwardAuth(forwardAuthPort, {
          ...{ config, checkOrigin, ownHeaders, isTrusted, counts, logger },
          run: createPipeline({ ...stages, routes }),
          explain: handler.explain,
        })

  // What the auth service hears of us.
  const stopReports = startReports(
    config.reports,
    {
      version: config.version,
      streamAge: () => (config.revocations.url ? revocations.age() : null),
      keys: () => issuers.ownKeys,
      routesDigest: () => routes.digest,
    },
    logger,
  )

  app.addHook('preClose', async () => {
    await forwardAuth?.close()
    routes.close()
    issuers.close()
    revocations.close()
    webSockets.close()
    fastPath?.close()
    for (const end of openEventStreams.values()) end()
    for (const socket of byNode) endIfIdle(socket)
  })
  app.addHook('onClose', async () => {
    rateLimitStore?.close()
    await Promise.all([upstreams.close(), stopReports()])
  })
  const onClosing = () => {
    fastPath?.beginClosing()
    forwardAuth?.beginClosing()
  }
  const state = { issuers, routes, revocations, upstreams, webSockets, verifier, apiKeys, rateLimitStore }
  return { app, ...state, forwardAuthPort: forwardAuth?.port, onClosing }

  /** A route without upstreams is there for other proxies alone. */
  function forwarded(...asked: Parameters<typeof routes.match>): Route | NoRoute {
    const found = routes.match(...asked)
    return found instanceof NoRoute || found.upstreams.length > 0 ? found : new NoRoute('none')
  }
}
