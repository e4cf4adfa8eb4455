import { createDatabase, migrate, type Roles, seed } from '@sallyport/database'
import { makeSecret } from './secrets.ts'

/** DATABASE_URL of each service. */
export interface DatabaseUrls {
  auth: string
  appointments: string
  notifications: string
}

/** Brings a database up to date, and makes the demo users. */
export async function prepareDatabase(url: string, roles: Roles = {}): Promise<void> {
  await migrate(url, roles)
  const database = createDatabase(url, { connections: 1, onError: process.emitWarning })
  await seed(database)
  await database.$disconnect()
}

/** Prepares a database that is ours alone: each service gets a role that may do what the service does. */
export async function prepareOwnDatabase(url: string): Promise<DatabaseUrls> {
  const auth = { name: 'sallyport_auth', password: makeSecret() }
  const appointments = { name: 'sallyport_appointments', password: makeSecret() }
  await prepareDatabase(url, { auth, appointments })
  const as = ({ name, password }: typeof auth) => Object.assign(new URL(url), { username: name, password }).toString()
  return { auth: as(auth), appointments: as(appointments), notifications: as(appointments) }
}
