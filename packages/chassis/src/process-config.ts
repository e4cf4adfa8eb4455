import { addresses, choice, duration, type Environment, port, readSettings, text, webAddress } from './settings.ts'

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
    desc: 'how long to serve on after saying that it is not ready, so that load balancers see it, such as 5s (0 if not set)',
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
  }
}
