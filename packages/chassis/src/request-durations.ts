import { Histogram } from 'prom-client'

const durations = new Histogram({
  name: 'sallyport_request_duration_seconds',
  help: 'How long requests took, by route',
  labelNames: ['route', 'method', 'status'],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
})

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** By the first digit of a status; the first one is for a client that left before a response began. */
const statuses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx']

/**
 * Counts a request that is over, in the histogram `sallyport_request_duration_seconds`.
 *
 * No client can make up a series: what it is free to choose of `method` and `status` is folded here. It is for the
 * caller to take `route` from a list of its own, never from a URL.
 *
 * @param route undefined if there is none for the request: it counts as `none`
 * @param status 0 if the client left before a response began
 */
export function observeRequest(route: string | undefined, method: string, status: number, seconds: number): void {
  const labels = {
    route: route ?? 'none',
    method: methods.has(method) ? method : 'other',
    status: statuses[Math.min(Math.trunc(status / 100), 5)] as string,
  }
  durations.observe(labels, seconds)
}
