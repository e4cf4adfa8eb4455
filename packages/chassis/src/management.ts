import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { collectDefaultMetrics, Gauge, register } from 'prom-client'

/**
 * What operators ask a process, on a port of its own that no route of the gateway leads to: `/healthz` (it is
 * alive), `/readyz` (it can serve) and `/metrics` (Prometheus).
 *
 * @param ready resolves when the process can serve, and throws with the reason when it cannot
 * @param metrics what is counted, if that is not by this process alone
 */
export function createManagement(
  logger: FastifyBaseLogger,
  ready: () => Promise<void>,
  metrics = (): Promise<string> => register.metrics(),
) {
  const app = Fastify({ loggerInstance: logger, logController: new LogController({ disableRequestLogging: true }) })
  collectDefaultMetrics()
  new Gauge({
    name: 'sallyport_ready',
    help: 'Whether the process can serve (1) or not (0), as /readyz says',
    async collect() {
      this.set(
        await ready().then(
          () => 1,
          () => 0,
        ),
      )
    },
  })
  app.get('/healthz', async () => ({ status: 'alive' }))
  app.get('/readyz', async (_request, reply) => {
    try {
      await ready()
      return { status: 'ready' }
    } catch (err) {
      app.log.warn({ event: 'not_ready', err })
      return reply.code(503).header('retry-after', '1').send({ status: 'not ready' })
    }
  })
  app.get('/metrics', async (_request, reply) => reply.type(register.contentType).send(await metrics()))
  return app
}
