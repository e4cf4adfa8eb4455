import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { ConfigurationError, type Logger, Problem } from '@sallyport/chassis'
import type { Config } from '../config.ts'
import { ownConnections } from '../connections/client-connections.ts'
import { malformed, malformedContext, respondAndClose } from '../connections/client-error.ts'
import { endConnection } from '../connections/contain.ts'
import { faultOf } from '../connections/message.ts'
import { NodeResponseWriter } from '../connections/node-response-writer.ts'
import { measure } from '../pipeline/measure.ts'
import { isAllowed, methodNotAllowed } from '../pipeline/methods.ts'
import type { RunPipeline } from '../pipeline/pipeline.ts'
import { type IsTrusted, RequestContext, sourceOf } from '../pipeline/request-context.ts'
import { discardRest } from '../proxy/body.ts'
import { writeProblem } from '../proxy/problem-response.ts'
import type { Counts } from '../workers/open-counts.ts'
import { asksForAnotherProtocol, asksForWebSocket, hasSecondReading, isInNormalForm, originalOf } from './check.ts'

/** More than proxies let through of a header by default: what is too long for us is an error of the proxy's to its client. */
const longestHead = 65_536

interface Dependencies {
  config: Config
  run: RunPipeline
  /** Counts and logs why a request is refused. */
  explain(context: RequestContext, error: unknown): Promise<Problem>
  checkOrigin(context: RequestContext): void
  ownHeaders(context: RequestContext): string[]
  isTrusted: IsTrusted
  counts: Counts
  logger: Logger
}

/**
 * Answers other proxies whether a request may pass, and as whose: nginx's `auth_request`, Traefik's ForwardAuth, Caddy's
 * `forward_auth`, Envoy's ext_authz over HTTP. The same pipeline decides as for what the gateway forwards itself.
 *
 * 200 has the identity headers; 401 and 403 are refusals, the only ones that nginx knows; at 5xx every proxy refuses too.
 *
 * @throws ConfigurationError when it cannot listen
 */
export async function openForwardAuth(port: number, dependencies: Dependencies) {
  const { config, run, explain, checkOrigin, ownHeaders, isTrusted, counts, logger } = dependencies
  let isClosing = false
  const server = createServer(
    {
      keepAliveTimeout: config.idleTimeout * 1_000,
      headersTimeout: config.headersTimeout * 1_000,
      connectionsCheckingInterval: 500,
      maxHeaderSize: longestHead,
      // Without one it is refused like everything else that has more than one reading.
      requireHostHeader: false,
    },
    (request, response) => {
      answer(request, response).catch((error) => endConnection(request, error, logger))
    },
  )
  server.on('clientError', (error: Error & { code: string }, socket: Socket) => {
    // On a silent connection the proxy would take it for the answer to the check that it sends just then.
    if (!socket.writable || socket.bytesRead === 0) socket.destroy()
    else refuseMalformed(error, socket).catch(() => socket.destroy())
  })
  const { serveByNode, begin } = ownConnections(server, { ...config, counts, isTrusted, logger })
  begin((socket) => serveByNode(socket))
  try {
    server.listen(port, config.host)
    await once(server, 'listening')
  } catch (error) {
    throw new ConfigurationError(
      `cannot listen on ${config.host} port ${port} (${(error as Error).message}); correct HOST or FORWARD_AUTH_PORT`,
    )
  }
  const address = server.address() as AddressInfo
  logger.info({ event: 'forward_auth_listening', host: config.host, port: address.port })
  return {
    port: address.port,

    /** From now on each answer ends its connection, so that the next check goes to another process. */
    beginClosing(): void {
      isClosing = true
    },

    /** Resolves once every check has its answer. */
    async close(): Promise<void> {
      isClosing = true
      const closed = once(server, 'close')
      server.close()
      const sweep = setInterval(() => server.closeIdleConnections(), 50)
      await closed
      clearInterval(sweep)
    },
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const context = contextOf(request)
    response.on('close', () => measure(context, response.headersSent ? response.statusCode : 0))
    const decision = await check(request, context).catch((error: unknown) => explain(context, error))
    if (isClosing) response.shouldKeepAlive = false
    if (decision instanceof Problem) {
      const problem = toRefusal(decision)
      const { reason } = problem.options.members ?? {}
      const headers = ownHeaders(context).concat('x-sallyport-code', problem.code)
      // For proxies that drop the body.
      if (typeof reason === 'string') headers.push('x-sallyport-reason', reason)
      writeProblem(problem, request.method as string, headers, new NodeResponseWriter(response))
    } else {
      response.writeHead(200, [...decision, 'x-request-id', context.id, ...onPass])
      response.end()
      discardRest(request)
    }
  }

  /** Some proxies pass on what is no valid HTTP to us. Any status but a refusal would be an error of theirs to the client. */
  async function refuseMalformed(error: { code: string }, socket: Socket): Promise<void> {
    const context = malformedContext(socket.remoteAddress as string, isTrusted)
    const { code, message } = await explain(context, malformed(error))
    if (socket.writable) respondAndClose(refused(code, message, { 'x-sallyport-code': code }), socket)
  }

  /** @throws the Problem that the original request is refused for */
  async function check(request: IncomingMessage, context: RequestContext): Promise<readonly string[]> {
    if (!isTrusted(request.socket.remoteAddress as string))
      throw refused('PROXY_UNTRUSTED', 'This is for the proxies in TRUSTED_PROXIES', { connection: 'close' })
    const fault = faultOf(request)
    if (fault) throw fault
    const { method, url, rawHeaders, header } = context
    if (url === '') throw refused('CHECK_INVALID', 'The check does not say which request it is about, in one way')
    if (!isAllowed(method)) throw methodNotAllowed()
    if (hasSecondReading(rawHeaders))
      throw refused(
        'MESSAGE_AMBIGUOUS',
        'The name of a header could be read as that of another one, or names another method',
      )
    if (asksForAnotherProtocol(header))
      throw refused('MESSAGE_AMBIGUOUS', 'There is no upgrade to another protocol than a WebSocket')
    const isUpgrade = asksForWebSocket(header)
    if (isUpgrade && method !== 'GET') throw refused('MESSAGE_AMBIGUOUS', 'An upgrade is asked for by a GET')
    const identity = await run(context, isUpgrade)
    if (!isInNormalForm(url, context.target.path))
      throw refused('PATH_INVALID', 'The path can be read in more than one way')
    if (isUpgrade) checkOrigin(context)
    return identity
  }

  /** Method and target are empty where the check does not say them. */
  function contextOf({ method, url, httpVersion, rawHeaders, headers, socket }: IncomingMessage): RequestContext {
    const original = originalOf({ method: method as string, url: url as string, rawHeaders }) ?? { method: '', url: '' }
    const header = (name: string) => headers[name] as string | undefined
    const source = sourceOf(socket.remoteAddress, header, isTrusted)
    // What names itself a request id may be the client's: nothing says that the proxy wrote it.
    const id = randomUUID()
    return new RequestContext({ ...original, id, httpVersion, rawHeaders, header, source, trace: undefined })
  }
}

const onPass = ['cache-control', 'no-store', 'content-length', '0']

/** nginx knows 401 and 403 alone; any other status below 500 is told by its code. */
function toRefusal(problem: Problem): Problem {
  const { statusCode, code, message, options } = problem
  return statusCode === 401 || statusCode >= 500 ? problem : new Problem(403, code, message, options)
}

function refused(code: string, title: string, headers: Record<string, string> = {}): Problem {
  return new Problem(403, code, title, { headers })
}
