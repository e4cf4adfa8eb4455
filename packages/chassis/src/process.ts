import diagnostics from 'node:diagnostics_channel'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { createManagement } from './management.ts'
import {
  addresses,
  ConfigurationError,
  choice,
  duration,
  type Environment,
  port,
  readSettings,
  text,
  webAddress,
} from './settings.ts'

const managementPort = port({
  default: undefined,
  desc: 'the port for health and metrics (the own port + 1000 if not set)',
})

/** The settings every process has; each adds a port of its own, such as AUTH_PORT. */
export const processSettings = {
  NODE_ENV: text({ default: 'development', desc: 'production, development or test' }),
  LOG_LEVEL: choice(
    'trace',
    'debug',
    'info',
    'warn',
    'error',
    'fatal',
    'silent',
  )({
    default: 'info',
    desc: 'trace, debug, info, warn, error, fatal or silent',
  }),
  HOST: text({ default: '127.0.0.1', desc: 'the address to listen on (0.0.0.0 in a container)' }),
  MANAGEMENT_PORT: managementPort,
  SHUTDOWN_WAIT: duration({
    default: 0,
    desc: 'how long to serve on after saying that it is not ready, so that balancers see it, such as 5s (0 if not set)',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: webAddress({
    default: undefined,
    desc: 'the OpenTelemetry collector that gets traces, such as http://collector:4318',
  }),
  TRUSTED_PROXIES: addresses({
    default: [],
    desc: 'addresses or CIDR ranges of the proxies whose X-Forwarded-For is believed, separated by commas',
  }),
}

export interface ProcessConfig {
  production: boolean
  logLevel: string
  host: string
  port: number
  /** The variable that sets `port`, named to the user when the port is taken. */
  portVariable: string
  managementPort: number
  /** The variable that sets `managementPort`. */
  managementPortVariable: string
  /** Milliseconds between being unready and taking no more connections. */
  shutdownWait: number
  trustedProxies: string[]
  /** Whether a collector is told of every request. */
  traced: boolean
}

/** @param portVariable such as AUTH_PORT; AUTH_MANAGEMENT_PORT then goes before MANAGEMENT_PORT, which is for any process */
export function processConfig(environment: Environment, portVariable: string, ownPort: number): ProcessConfig {
  const ownVariable = portVariable.replace(/PORT$/, 'MANAGEMENT_PORT')
  const { [ownVariable]: ownManagementPort } = readSettings(environment, { [ownVariable]: managementPort })
  const settings = readSettings(environment, processSettings)
  const isShared = ownManagementPort === undefined && settings.MANAGEMENT_PORT !== undefined
  return {
    production: settings.NODE_ENV === 'production',
    logLevel: settings.LOG_LEVEL,
    host: settings.HOST,
    port: ownPort,
    portVariable,
    managementPort: ownManagementPort ?? settings.MANAGEMENT_PORT ?? (ownPort === 0 ? 0 : ownPort + 1000),
    managementPortVariable: isShared ? 'MANAGEMENT_PORT' : ownVariable,
    shutdownWait: settings.SHUTDOWN_WAIT * 1000,
    trustedProxies: settings.TRUSTED_PROXIES,
    traced: settings.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined,
  }
}

export interface Service {
  app: FastifyInstance
  config: ProcessConfig
  logger: Logger
  /** Resolves when requests can be served; throws with the reason when not. */
  ready: () => Promise<void>
  /** What SIGHUP asks for, if it is not to end: to read files again. */
  onHangup?: () => void
  /** Told as soon as the process is to end: from then on answers should end their connections. */
  onClosing?: () => void
}

/** How long a process may take to finish what it began once it takes no more connections, in milliseconds. */
const closeWithin = 4_500

/**
 * Runs a service as a process: it listens and says so in one log line. On SIGTERM or SIGINT it says that it is not
 * ready, waits until balancers have seen it, takes no more connections, finishes the requests under way and exits with
 * 0. A second signal ends it at once. What cannot start is one line on standard error for each thing to mend, and exit
 * code 1. Whoever starts it with a channel (child_process's `ipc`, as `npm start` does) is sent the ports once it listens,
 * and it ends when they do.
 */
export async function runProcess(name: string, build: (environment: Environment) => Promise<Service>): Promise<void> {
  // Until there is something to close, it just ends.
  let close = (): void => process.exit()
  process.once('disconnect', () => close())
  if (process.connected === false) close()
  try {
    const tracing = await traceRequests(name)
    const { app, config, logger, ready, onHangup, onClosing } = await build(process.env)
    tracing?.begin(logger)
    let closing = false
    const management = createManagement(logger, async () => {
      if (closing) throw new Error('closing')
      await ready()
    })
    if (onHangup) process.on('SIGHUP', onHangup)
    const grace = closeWithGrace(
      { delay: config.shutdownWait + closeWithin, logger, skip: onHangup ? ['SIGHUP'] : [] },
      async ({ err, signal }) => {
        closing = true
        if (err) logger.fatal({ event: 'crashed', err }, 'an error that nothing handled')
        onClosing?.()
        // From here each answer ends its connection, so that the client's next one goes to another process.
        app.server.prependListener('request', (_request, response) => {
          response.shouldKeepAlive = false
        })
        if (!err) await sleep(config.shutdownWait)
        // A connection whose request ends after this point would stay open, waiting for the next one.
        const sweep = setInterval(() => app.server.closeIdleConnections(), 50)
        await app.close()
        clearInterval(sweep)
        await management.close()
        await tracing?.close()
        logger.info({ event: 'stopped', signal })
      },
    )
    close = grace.close
    await listen(app, config.host, config.port, config.portVariable)
    await listen(management, config.host, config.managementPort, config.managementPortVariable)
    const [port, managementPort] = [app, management].map((server) => (server.server.address() as AddressInfo).port)
    const listening = { event: 'listening', host: config.host, port, managementPort }
    logger.info(listening)
    // Should they have ended just now, the channel says so by itself.
    process.send?.(listening, undefined, undefined, () => {})
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    for (const line of error.message.split('\n')) process.stderr.write(`sallyport ${name}: ${line}\n`)
    process.exit(1)
  }
}

/** Has every request to the application that is built next followed, if there is a collector to tell of it. */
async function traceRequests(name: string) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: to, TRUSTED_PROXIES: trustedProxies } = readSettings(
    process.env,
    processSettings,
  )
  if (to === undefined) return undefined
  const { openTracing } = await import('./tracing.ts')
  const tracing = openTracing(name, { to, trustedProxies })
  // An application takes hooks for all of its routes only before it has any.
  const follow = (message: unknown) => tracing.follow((message as { fastify: FastifyInstance }).fastify)
  diagnostics.subscribe('fastify.initialization', follow)
  return {
    begin(logger: Logger): void {
      diagnostics.unsubscribe('fastify.initialization', follow)
      tracing.reportTo(logger)
    },
    close: tracing.close,
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
        : `cannot listen on ${host} port ${port} (${(error as Error).message}); mend HOST or ${variable}`,
    )
  }
}
