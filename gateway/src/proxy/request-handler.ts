import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Logger, noteProblem, type Problem } from '@sallyport/chassis'
import type { RunPipeline } from '../pipeline/pipeline.ts'
import type { RateLimit } from '../pipeline/rate-limit.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import type { TokenMonitor } from '../pipeline/token-monitor.ts'
import { type Body, tooLarge } from './body.ts'
import type { Preflights } from './cors.ts'
import { forward } from './forward.ts'
import { writeProblem } from './problem-response.ts'
import { requestHeaders } from './request-headers.ts'
import type { ResponseWriter } from './response-writer.ts'
import type { WebSockets } from './websocket.ts'

interface Dependencies {
  run: RunPipeline
  rateLimit: RateLimit
  preflights: Preflights
  webSockets: WebSockets
  tokenMonitor: TokenMonitor
  /** What the gateway says on every response, unless the upstream says it. */
  ownHeaders(context: RequestContext): string[]
  logger: Logger
}

/** Takes in a body of at most so many bytes. */
type ReadBody = (limit: number) => Promise<Body>

export type RequestHandler = ReturnType<typeof createRequestHandler>

/**
 * What becomes of a request once it was read, by whichever server: the pipeline decides, then it is forwarded, or a problem
 * is its response. A preflight concerns no route.
 *
 * A promise is rejected only if no response could be written; the owner of the connection then ends it.
 */
export function createRequestHandler(dependencies: Dependencies) {
  const { run, rateLimit, preflights, webSockets, tokenMonitor, ownHeaders, logger } = dependencies

  /** @param body in latin1, if all of it came with the request */
  async function handle(context: RequestContext, writer: ResponseWriter, body: string | ReadBody): Promise<void> {
    try {
      if (preflights.is(context)) return await preflights.respond(context, writer)
      const headers = requestHeaders(context, await run(context))
      const { bodyLimit } = context.route
      if (typeof body === 'string' && body.length > bodyLimit) throw tooLarge()
      const forwarded = typeof body === 'string' ? body : await body(bodyLimit)
      await forward({ context, writer, headers, body: forwarded, ownHeaders: ownHeaders(context), tokenMonitor })
    } catch (error) {
      await refuse(context, error, writer)
    }
  }

  async function upgrade(
    context: RequestContext,
    writer: ResponseWriter,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    try {
      const headers = requestHeaders(context, await run(context, true))
      await webSockets.forward({ context, request, response, headers, ownHeaders: ownHeaders(context) })
    } catch (error) {
      await refuse(context, error, writer)
    }
  }

  async function refuse(context: RequestContext, error: unknown, writer: ResponseWriter): Promise<void> {
    const problem = await explain(context, error)
    // The client has left, or what was sent to it cannot be taken back.
    if (!writer.isOpen || writer.status !== 0) writer.cut()
    else writeProblem(problem, context.method, ownHeaders(context), writer)
  }

  /** Counts and logs why a request is rejected. @returns what its client is shown */
  async function explain(context: RequestContext, error: unknown): Promise<Problem> {
    return noteProblem(await rateLimit.refused(context, error), context, logger)
  }

  return { handle, upgrade, refuse, explain }
}
