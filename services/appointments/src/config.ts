import { databaseSettings, duration, port, positive, processConfig, readSettings, readTrust } from '@sallyport/chassis'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to correct */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    APPOINTMENTS_PORT: port({ default: 5002, desc: 'a port number (5002 if not set)' }),
    ...databaseSettings,
    DATABASE_CONNECTIONS: positive({ default: 10, desc: 'the most connections to open (10 if not set)' }),
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database at start, such as 10s' }),
  })
  return {
    ...processConfig(environment, 'APPOINTMENTS_PORT', settings.APPOINTMENTS_PORT),
    databaseUrl: settings.DATABASE_URL,
    databasePooled: settings.DATABASE_DIRECT_URL !== undefined,
    databaseConnections: settings.DATABASE_CONNECTIONS,
    databaseWait: settings.DATABASE_WAIT,
    trust: readTrust(environment, 'appointments'),
  }
}
