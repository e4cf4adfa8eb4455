import { databaseSettings, port, processConfig, readSettings, readTrust } from '@sallyport/chassis'
import { readServiceAccount } from './service-account.ts'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to correct */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    NOTIFICATIONS_PORT: port({ default: 5003, desc: 'a port number (5003 if not set)' }),
    ...databaseSettings,
  })
  return {
    ...processConfig(environment, 'NOTIFICATIONS_PORT', settings.NOTIFICATIONS_PORT),
    /** It only listens. */
    databaseUrl: settings.DATABASE_DIRECT_URL ?? settings.DATABASE_URL,
    serviceAccount: readServiceAccount(environment),
    trust: readTrust(environment, 'notifications'),
  }
}
