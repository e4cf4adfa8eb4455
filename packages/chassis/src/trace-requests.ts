import diagnostics from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { processSettings } from './process-config.ts'
import { readSettings } from './settings.ts'
import type { Followed, Traceable } from './tracing.ts'

let start: ((request: Traceable) => Followed) | undefined

/** Begins the span of a request that does not go through Fastify, if this process traces. */
export const startTrace = (request: Traceable): Followed | undefined => start?.(request)

/** Traces every request to the application that is built next, and to no further one, if there is a collector. */
export async function traceRequests(name: string) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: to, TRUSTED_PROXIES: trustedProxies } = readSettings(
    process.env,
    processSettings,
  )
  if (to === undefined) return undefined
  const { openTracing } = await import('./tracing.ts')
  const tracing = openTracing(name, { to, trustedProxies })
  start = tracing.start
  // An application takes hooks for all of its routes only before it has any.
  const initialization = 'fastify.initialization'
  const follow = (message: unknown) => {
    diagnostics.unsubscribe(initialization, follow)
    tracing.follow((message as { fastify: FastifyInstance }).fastify)
  }
  diagnostics.subscribe(initialization, follow)
  return {
    begin(logger: Logger): void {
      // Where other processes serve (workers.ts), this one has built none.
      diagnostics.unsubscribe(initialization, follow)
      tracing.reportTo(logger)
    },
    close: tracing.close,
  }
}
