import { observeRequest } from '@sallyport/chassis'
import type { RequestContext } from './request-context.ts'

/**
 * Calls whose answers go on for as long as the client stays, and how to end each. How long says nothing of us: they are
 * counted while open.
 */
export const openEventStreams = new Map<RequestContext, () => void>()

/**
 * Counts a call whose answer is complete, or whose client has left, with the time it took.
 *
 * @param status 0 if no answer had begun
 */
export function measure(context: RequestContext, status: number): void {
  if (openEventStreams.delete(context)) return
  const { route, method, began } = context as Partial<RequestContext> & RequestContext
  observeRequest(route?.prefix, method, status, (performance.now() - began) / 1000)
}
