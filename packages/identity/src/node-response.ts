import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Identity } from '@sallyport/verify'
import { problemHeaders, Refusal } from './refusal.ts'
import type { Headers } from './trust.ts'

export const isNodeResponse = (value: unknown): boolean =>
  typeof (value as Partial<ServerResponse> | undefined)?.setHeader === 'function'

/** Leaves who is calling on the request, or responds with the refusal and returns undefined. */
export function admit(
  decide: (request: object, headers: Headers) => Identity,
  request: IncomingMessage & { identity?: Identity },
  response: ServerResponse,
): Identity | undefined {
  try {
    request.identity = decide(request, request.headers)
    return request.identity
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    response.statusCode = error.statusCode
    for (const [name, value] of Object.entries(problemHeaders(error))) response.setHeader(name, value)
    response.end(JSON.stringify(error.problem))
    return undefined
  }
}
