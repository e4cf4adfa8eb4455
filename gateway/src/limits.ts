import { Counter } from 'prom-client'

/** Bounds that a client meets, as docs/limits.md lists them; requests a minute are counted in rate-limit.ts. */
const names = [
  'connections_per_client',
  'header_time',
  'header_size',
  'header_lines',
  'pipelined_requests',
  'idle_time',
  'send_time',
  'path_length',
  'path_marks',
  'token_length',
  'api_key_queue',
  'api_key_time',
  'bodies_per_client',
  'body_time',
  'body_size',
  'upstream_queue',
  'upstream_queue_time',
  'upstream_time',
  'response_header',
  'response_trailers',
  'informational_responses',
  'streams_per_user',
  'streams_max',
] as const

export type LimitName = (typeof names)[number]

const reached = new Counter({
  name: 'sallyport_limit_reached_total',
  help: 'How often a limit of docs/limits.md was reached',
  labelNames: ['limit'],
})
for (const limit of names) reached.inc({ limit }, 0)

export function countLimit(limit: LimitName): void {
  reached.inc({ limit })
}
