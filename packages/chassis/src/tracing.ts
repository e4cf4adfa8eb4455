import proxyAddress from '@fastify/proxy-addr'
import { type Context, defaultTextMapGetter, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'

/** A request as a trace begins with it. */
export interface Traceable {
  id: string
  method: string
  /** A header by its name in lower case. */
  header(name: string): string | undefined
  /** The address at the other end of its connection. */
  peer: string
}

/** A request that is traced. */
export interface Followed {
  /** What the next service receives, as W3C Trace Context has it. */
  traceparent: string
  /** The route taken, where Fastify's own does not say. */
  route: string | undefined
  /** Its response is complete, or its client has left. @param status 0 if none had begun */
  end(status: number): void
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

  /** The context that a request came with, if it came with any. */
  function contextOf(header: Traceable['header']): Context {
    const traceparent = header('traceparent')
    if (traceparent === undefined) return ROOT_CONTEXT
    return propagator.extract(ROOT_CONTEXT, { traceparent, tracestate: header('tracestate') }, defaultTextMapGetter)
  }

  function start({ id, method, header, peer }: Traceable): Followed {
    const sent = contextOf(header)
    const before = trace.getSpanContext(sent)
    const trusted = before !== undefined && isTrusted(peer, 0)
    const span = tracer.startSpan(
      method,
      {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': method, 'sallyport.request.id': id },
        links: before && !trusted ? [{ context: before }] : [],
      },
      trusted ? sent : ROOT_CONTEXT,
    )
    const { traceId, spanId, traceFlags } = span.spanContext()
    return {
      traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
      route: undefined,
      end(status) {
        // Most are not, where only some are sampled.
        if (!span.isRecording()) return
        if (this.route !== undefined) span.updateName(`${method} ${this.route}`).setAttribute('http.route', this.route)
        if (status > 0) span.setAttribute('http.response.status_code', status)
        if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute('error.type', String(status))
        span.end()
      },
    }
  }

  return {
    start,

    /** Follows the requests of an application from now on; to be called before it has routes. */
    follow(app: FastifyInstance): void {
      app.addHook('onRequest', (request, reply, done) => {
        const { raw, id, method } = request
        // A WebSocket is no request that ends.
        if (raw.headers.upgrade !== undefined) return done()
        const header = (name: string) => raw.headers[name] as string | undefined
        const followed = start({ id, method, header, peer: raw.socket.remoteAddress as string })
        request.trace = followed
        reply.raw.once('close', () => {
          followed.route ??= request.routeOptions.url
          followed.end(reply.raw.statusCode)
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
