import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { shutDownGracefully } from './graceful-shutdown.ts'
import { createManagement } from './management.ts'
import type { Service } from './service.ts'
import { ConfigurationError, type Environment } from './settings.ts'
import { traceRequests } from './trace-requests.ts'

/**
 * Runs a service as a process: it listens, says so in one log line, and ends as graceful-shutdown.ts has it. What cannot
 * start prints one line on standard error for each thing to correct, and exit code 1. A parent that starts it with a
 * channel (child_process's `ipc`, as `npm start` does) is sent the ports once it listens, and it ends when the parent
 * does.
 */
export async function runProcess(name: string, build: (environment: Environment) => Promise<Service>): Promise<void> {
  // Until there is something to close, it just ends.
  let close = (): void => process.exit()
  process.once('disconnect', () => close())
  if (process.connected === false) close()
  try {
    const tracing = await traceRequests(name)
    const service = await build(process.env)
    const { app, config, logger, ready, onHangup } = service
    tracing?.begin(logger)
    let draining = false
    const management = createManagement(logger, async () => {
      if (draining) throw new Error('closing')
      await ready()
    })
    if (onHangup) process.on('SIGHUP', onHangup)
    close = shutDownGracefully(service, {
      onDrain: () => {
        draining = true
      },
      async onClosed() {
        await management.close()
        await tracing?.close()
      },
    })
    await listen(app, config.host, config.port, config.portVariable)
    await listen(management, config.host, config.managementPort, config.managementPortVariable)
    const [port, managementPort] = [app, management].map((server) => (server.server.address() as AddressInfo).port)
    const listening = { event: 'listening', host: config.host, port, managementPort }
    logger.info(listening)
    // Should the parent have ended just now, the channel says so by itself.
    process.send?.(listening, undefined, undefined, () => {})
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    for (const line of error.message.split('\n')) process.stderr.write(`sallyport ${name}: ${line}\n`)
    process.exit(1)
  }
}

async function listen(app: FastifyInstance, host: string, port: number, variable: string): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    const taken = (error as { code?: string }).code === 'EADDRINUSE'
    throw new ConfigurationError(
      taken
        ? `port ${port} is taken; set ${variable} to a free one, or stop what listens there`
        : `cannot listen on ${host} port ${port} (${(error as Error).message}); correct HOST or ${variable}`,
    )
  }
}
