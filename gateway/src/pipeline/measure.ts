import { observeRequest } from '@sallyport/chassis'
import { Counter } from 'prom-client'
import type { RequestContext } from './request-context.ts'

const requests = new Counter({
  name: 'sallyport_http1_requests_total',
  help: 'Requests by who read them: the fast path, Node’s server, or that for a WebSocket (docs/performance.md)',
  labelNames: ['reader'],
})
for (const reader of ['fast_path', 'node', 'upgrade']) requests.inc({ reader }, 0)

/** Counts a request by who read it. */
export const countRequest = {
  byFastPath: requests.labels('fast_path'),
  byNode: requests.labels('node'),
  /** Node's server reads what asks for a WebSocket, always. */
  upgrade: requests.labels('upgrade'),
}

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
  observeRequest(route?.name, method, status, (performance.now() - began) / 1000)
}
