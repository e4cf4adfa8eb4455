import { databaseSettings, duration, readSettings } from '@sallyport/chassis'
import { createDatabase, type Database, waitForDatabase } from '@sallyport/database'
import type { Io } from './io.ts'

/**
 * Does work on the database of DATABASE_URL, and leaves it.
 *
 * @throws ConfigurationError if the setting is missing or wrong
 */
export async function withDatabase<Outcome>(
  { env }: Io,
  work: (database: Database) => Promise<Outcome>,
): Promise<Outcome> {
  const settings = readSettings(env, {
    ...databaseSettings,
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database, such as 10s' }),
  })
  const database = createDatabase(settings.DATABASE_DIRECT_URL ?? settings.DATABASE_URL, {
    connections: 1,
    onError: process.emitWarning,
  })
  try {
    await waitForDatabase(database, settings.DATABASE_WAIT)
    return await work(database)
  } finally {
    await database.$disconnect()
  }
}
