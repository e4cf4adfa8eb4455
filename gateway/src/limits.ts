import { Counter } from 'prom-client'

/** Bounds that a client meets, as docs/limits.md lists them; requests a minute are counted in rate-limit.ts. */
const names = ['connections_per_client', 'pipelined_requests', 'bodies_per_client', 'body_time', 'send_time'] as const

const reached = new Counter({
  name: 'sallyport_limit_reached_total',
  help: 'How often a limit of docs/limits.md was reached',
  labelNames: ['limit'],
})
for (const limit of names) reached.inc({ limit }, 0)

export function countLimit(limit: (typeof names)[number]): void {
  reached.inc({ limit })
}
