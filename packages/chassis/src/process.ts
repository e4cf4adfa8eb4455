import cluster from 'node:cluster'
import { shutDownGracefully } from './graceful-shutdown.ts'
import { createManagement } from './management.ts'
import { serveApplication } from './serve-application.ts'
import type { Primary, Service } from './service.ts'
import { ConfigurationError, type Environment } from './settings.ts'
import { traceRequests } from './trace-requests.ts'
import { answerPrimary } from './worker.ts'

/**
 * Runs a service as a process: it listens, says so in one log line, and ends as graceful-shutdown.ts has it. What cannot
 * start prints one line on standard error for each thing to correct, and exit code 1. A parent that starts it with a
 * channel (child_process's `ipc`, as `npm start` does) is sent the ports once it listens, and it ends when the parent
 * does. A service may be served by several processes (workers.ts): then each of them runs this too.
 */
export async function runProcess(
  name: string,
  build: (environment: Environment) => Promise<Service | Primary>,
): Promise<void> {
  // Until there is something to close, it just ends.
  let close = (): void => process.exit()
  process.once('disconnect', () => close())
  if (process.connected === false) close()
  try {
    const tracing = await traceRequests(name)
    const service = await build(process.env)
    const { config, logger, onHangup } = service
    tracing?.begin(logger)
    let draining = false
    const ready = async () => {
      if (draining) throw new Error('closing')
      await service.ready()
    }
    const serving =
      'workers' in service
        ? service.workers
        : serveApplication({ ...service, ...config, variable: config.portVariable })
    // Of several processes the first one has the port for operators, and asks the others.
    const management = cluster.isWorker
      ? answerPrimary(ready, () => close())
      : serveApplication({
          app: createManagement(logger, ready, 'workers' in service ? service.workers.metrics : undefined),
          host: config.host,
          port: config.managementPort,
          variable: config.managementPortVariable,
        })
    if (onHangup) process.on('SIGHUP', onHangup)
    close = shutDownGracefully(service, serving, {
      onDrain: () => {
        draining = true
      },
      async onClosed() {
        await management.close(0)
        await tracing?.close()
      },
    })
    const port = await serving.listen()
    const managementPort = await management.listen()
    const listening = { event: 'listening', host: config.host, port, managementPort }
    if (cluster.isPrimary) logger.info(listening)
    // Should the parent have ended just now, the channel says so by itself.
    process.send?.(listening, undefined, undefined, () => {})
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    for (const line of error.message.split('\n')) process.stderr.write(`sallyport ${name}: ${line}\n`)
    process.exit(1)
  }
}
