import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { ConfigurationError } from '@sallyport/chassis'
import pg from 'pg'

/** A role of Postgres that a service signs in as. It owns nothing, and can change rows but no table. */
export interface Role {
  name: string
  /** If given (in ASCII), the role is made if it is not there, and this is its password from now on. */
  password?: string | undefined
}

/** The roles that the services run as. `appointments` is also for notifications, which only listens. */
export interface Roles {
  auth?: Role | undefined
  appointments?: Role | undefined
}

/** What a role may do in the schema of its service; nothing anywhere else. */
const rights = (schema: string, role: string) => [
  `GRANT USAGE ON SCHEMA ${schema} TO ${role}`,
  `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM ${role}`,
  `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
  // Read at the start, to see whether the tables are those of this version.
  `GRANT SELECT ON _prisma_migrations TO ${role}`,
]

/**
 * What was written stays written: the service that writes it can have it forgotten by two functions alone, and chained by
 * one.
 */
const appendOnly = (role: string) => [
  `REVOKE INSERT, UPDATE, DELETE ON auth.security_events, auth.event_chain, auth.event_chain_state FROM ${role}`,
  // Not when it happened, nor its place among the others.
  `GRANT INSERT (event, user_id, client_id, session_id, ip, reason, act) ON auth.security_events TO ${role}`,
  `GRANT EXECUTE ON FUNCTION auth.erase_user, auth.forget_security_events, auth.seal_security_events TO ${role}`,
]

/** Where graphile-worker has its tables, whatever the environment says. */
export const queueSchema = 'graphile_worker'

/** What adding a job and running it takes. A job that ran is deleted; nothing else of the queue is. */
const queueRights = (role: string) => [
  `GRANT USAGE ON SCHEMA ${queueSchema} TO ${role}`,
  `REVOKE ALL ON ALL TABLES IN SCHEMA ${queueSchema} FROM ${role}`,
  `GRANT SELECT ON ${queueSchema}.migrations TO ${role}`,
  // Read at the start, and again until it can be, though nothing of ours is in it.
  `GRANT SELECT ON ${queueSchema}._private_known_crontabs TO ${role}`,
  `GRANT SELECT, INSERT ON ${queueSchema}._private_tasks TO ${role}`,
  `GRANT SELECT, INSERT, UPDATE ON ${queueSchema}._private_job_queues TO ${role}`,
  `GRANT SELECT, INSERT, UPDATE, DELETE ON ${queueSchema}._private_jobs TO ${role}`,
]

/**
 * graphile-worker closes its tables to everyone but their owner, by row level security without a policy. This is one
 * that leaves it to the rights above. Made once: making it locks the table.
 */
async function openQueueRows(owner: pg.Client): Promise<void> {
  const { rows } = await owner.query<{ table: string }>(
    `SELECT relname AS table FROM pg_class WHERE relnamespace = $1::regnamespace AND relrowsecurity
       AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)`,
    [queueSchema],
  )
  for (const { table } of rows)
    await owner.query(`CREATE POLICY by_rights ON ${queueSchema}.${table} USING (true) WITH CHECK (true)`)
}

/**
 * Gives each role exactly its rights, whatever it had in these schemas before. Doing it twice changes nothing.
 *
 * @param owner a connection as the role that migrates
 * @throws ConfigurationError if a role is not there, or has the owner's rights anyway
 */
export async function grantRights(owner: pg.Client, roles: Roles): Promise<void> {
  const database = pg.escapeIdentifier(owner.database as string)
  await owner.query('BEGIN')
  // Postgres lets everyone make tables that last as long as a connection.
  await owner.query(`REVOKE TEMPORARY ON DATABASE ${database} FROM PUBLIC`)
  await openQueueRows(owner)
  for (const schema of ['auth', 'appointments'] as const) {
    const role = roles[schema]
    if (!role) continue
    await ensureRole(owner, role)
    const name = pg.escapeIdentifier(role.name)
    await owner.query(`GRANT CONNECT ON DATABASE ${database} TO ${name}`)
    for (const statement of rights(schema, name)) await owner.query(statement)
    if (schema === 'auth') {
      for (const statement of [...appendOnly(name), ...queueRights(name)]) await owner.query(statement)
    }
  }
  await owner.query('COMMIT')
}

async function ensureRole(owner: pg.Client, { name, password }: Role): Promise<void> {
  const { rows } = await owner.query<{ owns: boolean }>(
    "SELECT pg_has_role(oid, current_user, 'MEMBER') AS owns FROM pg_roles WHERE rolname = $1",
    [name],
  )
  const [found] = rows
  if (found?.owns)
    throw new ConfigurationError(`the role ${name} owns the tables, or may do as their owner does; name another`)
  if (!found && !password)
    throw new ConfigurationError(`there is no role ${name}; make it, or set its password too and it will be made`)
  if (!password) return
  const verb = found ? 'ALTER' : 'CREATE'
  const verifier = pg.escapeLiteral(verifierOf(password))
  await owner.query(`${verb} ROLE ${pg.escapeIdentifier(name)} LOGIN PASSWORD ${verifier}`)
}

/**
 * What Postgres keeps of a password (SCRAM-SHA-256, RFC 5802), made here so that no statement, and so no log of the
 * server, holds the password itself.
 */
function verifierOf(password: string): string {
  const [salt, iterations] = [randomBytes(16), 4096]
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const keyOf = (side: string) => createHmac('sha256', salted).update(side).digest()
  const storedKey = createHash('sha256').update(keyOf('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${keyOf('Server Key').toString('base64')}`
}
