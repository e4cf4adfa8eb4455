import { databaseAddress, port, processConfig, readSettings, readTrust } from '@sallyport/chassis'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to correct */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    NOTIFICATIONS_PORT: port({ default: 5003, desc: 'a port number (5003 if not set)' }),
    DATABASE_URL: databaseAddress({ desc: 'postgresql://user:password@host:5432/database' }),
  })
  return {
    ...processConfig(environment, 'NOTIFICATIONS_PORT', settings.NOTIFICATIONS_PORT),
    databaseUrl: settings.DATABASE_URL,
    trust: readTrust(environment, 'notifications'),
  }
}
