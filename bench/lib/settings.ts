import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keepSecrets } from '@sallyport/local'

/** The routes of the samples. */
export const routesFile = fileURLToPath(new URL('../../../gateway/routes.yaml', import.meta.url))

/** Where gateways find the services. */
export interface Addresses {
  auth: string
  appointments: string
  notifications: string
}

/** Settings of every process of a system under load: secrets of its own, and no limit that a bench would meet. */
export function settingsFor(folder: string, { auth, appointments, notifications }: Addresses) {
  return {
    ...process.env,
    ...keepSecrets(join(folder, 'secrets')),
    AUTH_URL: auth,
    APPOINTMENTS_URL: appointments,
    NOTIFICATIONS_URL: notifications,
    JWKS_URL: `${auth}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${auth}/internal/revocations`,
    API_KEYS_URL: `${auth}/internal/api-keys`,
    JWT_ISSUER: 'https://issuer.bench',
    JWT_AUDIENCE: 'https://api.bench',
    GATEWAY_ROUTES: routesFile,
    LOGIN_RATE_LIMIT_MAX: '1000000',
    RATE_LIMIT_MAX: '1000000',
    USER_RATE_LIMIT_MAX: '1000000',
    CONNECTIONS_PER_CLIENT: '1000000',
    STREAMS_PER_USER: '1000000',
    MANAGEMENT_PORT: '0',
    LOG_LEVEL: 'error',
  }
}
