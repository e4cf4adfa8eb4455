import { makeSecret } from '@sallyport/cli/secrets'
import { createDatabase, type Database, migrate } from '@sallyport/database'

/** DATABASE_URL of each service. */
export interface DatabaseUrls {
  auth: string
  appointments: string
  notifications: string
}

/**
 * Prepares a database that is ours alone: brings it up to date, puts in it what there is to be, and gives each service a
 * role that may do what the service does.
 *
 * @param fill makes the first users, unless they are there
 */
export async function prepareOwnDatabase(
  url: string,
  fill: (database: Database) => Promise<void>,
): Promise<DatabaseUrls> {
  const auth = { name: 'sallyport_auth', password: makeSecret() }
  const appointments = { name: 'sallyport_appointments', password: makeSecret() }
  await migrate(url, { auth, appointments })
  const database = createDatabase(url, { connections: 1, onError: process.emitWarning })
  await fill(database).finally(() => database.$disconnect())
  const as = ({ name, password }: typeof auth) => Object.assign(new URL(url), { username: name, password }).toString()
  return { auth: as(auth), appointments: as(appointments), notifications: as(appointments) }
}
