import { observeRequest } from '@sallyport/chassis'
import type { RequestContext } from './request-context.ts'

/**
 * Requests whose responses last as long as the client stays, and how to end each. Their duration says nothing of the
 * gateway: they are counted while open.
 */
export const openEventStreams = new Map<RequestContext, () => void>()

/**
 * Counts a request whose response is complete, or whose client has left, with the time it took.
 *
 * @param status 0 if no response had begun
 */
export function measure(context: RequestContext, status: number): void {
  if (openEventStreams.delete(context)) return
  const { route, method, began } = context as Partial<RequestContext> & RequestContext
  observeRequest(route?.prefix, method, status, (performance.now() - began) / 1000)
}
