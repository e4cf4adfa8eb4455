import { join } from 'node:path'
import type { Ports } from './ports.ts'
import type { Project, Settings } from './project.ts'

interface SettingsSources {
  folder: string
  ports: Ports
  secrets: Record<string, string>
  /** The origin that browsers open. */
  page: string
  /** Origins allowed to send cross-origin requests, beside our own. */
  origins: string[]
}

export const local = (port: number) => `http://127.0.0.1:${port}`
export const named = (port: number) => `http://localhost:${port}`

/** The settings of all processes. What is set from outside wins, but for ports and origins, which are complete here. */
export function settingsOf(
  { name, routes, services, signIn }: Project,
  environment: NodeJS.ProcessEnv,
  { folder, ports, secrets, page, origins }: SettingsSources,
): NodeJS.ProcessEnv {
  const portOf = (name: string) => ports.of[name] as number
  const gateway = portOf('gateway')
  const { JWT_PRIVATE_KEY: _key, JWT_REFRESH_SECRET: _secret, ...others } = secrets
  const ofAuth = () => ({
    JWT_ISSUER: named(gateway),
    JWT_AUDIENCE: named(gateway),
    AUTH_URL: local(portOf('auth')),
    JWKS_URL: `${local(portOf('auth'))}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${local(portOf('auth'))}/internal/revocations`,
    API_KEYS_URL: `${local(portOf('auth'))}/internal/api-keys`,
    REPLICAS_URL: `${local(portOf('auth'))}/internal/replicas`,
    SMTP_URL: `smtp://127.0.0.1:${ports.mailbox.smtp}`,
    MAIL_FROM: `${name} <no-reply@sallyport.localhost>`,
    APP_NAME: name,
    APP_ORIGIN: page,
    REGISTRATION: 'open',
    // By file, so that `npm run keys` moves them while the system runs.
    JWT_PRIVATE_KEY_FILE: join(folder, 'secrets/jwt-private-key.pem'),
    JWT_REFRESH_SECRET_FILE: join(folder, 'secrets/jwt-refresh-secret'),
  })
  const defaults = {
    TRUSTED_PROXIES: '127.0.0.1',
    GATEWAY_ORIGIN: named(gateway),
    GATEWAY_ROUTES: routes,
    ...Object.fromEntries(Object.keys(services).map((name) => [`${name.toUpperCase()}_URL`, local(portOf(name))])),
    ...(signIn === 'auth' && ofAuth()),
    ...others,
  }
  const own = [page, ...['gateway', 'auth'].filter((name) => name in ports.of).map((name) => named(portOf(name)))]
  const complete = {
    ...ports.settings,
    MANAGEMENT_PORT: undefined,
    // Its own, of those that need it.
    DATABASE_URL: undefined,
    CORS_ORIGINS: [...own.flatMap((origin) => [origin, origin.replace('localhost', '127.0.0.1')]), ...origins].join(),
  }
  return {
    ...environment,
    ...unlessSet(environment, defaults),
    ...Object.fromEntries(Object.keys(complete).map((name) => [`${name}_FILE`, undefined])),
    ...complete,
  }
}

/** The settings among these that are not set from outside. */
export const unlessSet = (environment: NodeJS.ProcessEnv, settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => !isSet(environment, name)))

/** By its value or by a file that holds it. */
function isSet(environment: NodeJS.ProcessEnv, name: string): boolean {
  const setting = name.replace(/_FILE$/, '')
  return Boolean(environment[setting] || environment[`${setting}_FILE`])
}
