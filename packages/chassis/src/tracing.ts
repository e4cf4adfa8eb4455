import proxyAddress from '@fastify/proxy-addr'
import { defaultTextMapGetter, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'

/** A request that is traced. */
export interface Followed {
  /** What the next service receives, as W3C Trace Context has it. */
  traceparent: string
  /** The route taken, where Fastify's own does not say. */
  route: string | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set while the request is traced. */
    trace?: Followed
  }
}

/** How long spans may take to be sent at the end, in milliseconds; what is not sent by then is lost. */
const flushTimeout = 1_000

/**
 * Sends a span of every request to a collector (OpenTelemetry, OTLP/HTTP): its method and route, its status and how long it took,
 * and nothing that the client chose freely: no URL, no header, no body.
 *
 * A `traceparent` is followed if a trusted proxy sent it. Anybody else's would choose what we record, and mix traces;
 * it becomes a link of a trace that begins here.
 *
 * This module brings the whole of OpenTelemetry with it: import it only where traces are wanted.
 *
 * @param to the collector, such as http://collector:4318
 */
export function openTracing(name: string, { to, trustedProxies }: { to: string; trustedProxies: string[] }) {
  const exporter = new OTLPTraceExporter({ url: `${to.replace(/\/$/, '')}/v1/traces` })
  const provider = new BasicTracerProvider({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource: resourceFromAttributes({ 'service.name': `sallyport-${name}` }).merge(
      detectResources({ detectors: [envDetector] }),
    ),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('sallyport')
  const propagator = new W3CTraceContextPropagator()
  const isTrusted = proxyAddress.compile(trustedProxies)

  return {
    /** Follows the requests of an application from now on; to be called before it has routes. */
    follow(app: FastifyInstance): void {
      app.addHook('onRequest', (request, reply, done) => {
        const { raw, method } = request
        // A WebSocket is no request that ends.
        if (raw.headers.upgrade !== undefined) return done()
        const sent = propagator.extract(ROOT_CONTEXT, raw.headers, defaultTextMapGetter)
        const before = trace.getSpanContext(sent)
        const trusted = isTrusted(raw.socket.remoteAddress as string, 0)
        const span = tracer.startSpan(
          method,
          {
            kind: SpanKind.SERVER,
            attributes: { 'http.request.method': method, 'sallyport.request.id': request.id },
            links: before && !trusted ? [{ context: before }] : [],
          },
          trusted ? sent : ROOT_CONTEXT,
        )
        const { traceId, spanId, traceFlags } = span.spanContext()
        const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
        const followed: Followed = { traceparent, route: undefined }
        request.trace = followed
        reply.raw.once('close', () => {
          const route = followed.route ?? request.routeOptions.url
          if (route !== undefined) span.updateName(`${method} ${route}`).setAttribute('http.route', route)
          const status = reply.raw.statusCode
          span.setAttribute('http.response.status_code', status)
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute('error.type', String(status))
          span.end()
        })
        done()
      })
    },

    /** Logs every batch of spans that is lost, from now on. */
    reportTo(logger: Logger): void {
      setGlobalErrorHandler((err) => logger.warn({ event: 'traces_lost', err }))
    },

    /** Sends what is left, for as long as that may take. */
    async close(): Promise<void> {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, flushTimeout)
      })
      await Promise.race([provider.shutdown(), late])
      clearTimeout(timer)
    },
  }
}
