import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createUser } from '@sallyport/auth/accounts/create-user'
import { makeSecret } from '@sallyport/cli/secrets'
import { createDatabase } from '@sallyport/database'
import type { Project, Settings } from './project.ts'
import { type RunningSystem, runSystem } from './run-system.ts'

export interface TestedProject extends RunningSystem {
  /** Makes a user that nobody else knows. @throws Error where no auth service runs */
  makeUser(roles: string[]): Promise<{ email: string; password: string }>
  /** Ends all of it, and deletes its data. */
  stop(): Promise<void>
}

/**
 * Runs a project for a test: on free ports, in a folder of its own, and with a database of its own.
 *
 * @param settings from outside
 * @throws what kept it from starting
 */
export async function testProject(project: Project, settings: Settings = {}): Promise<TestedProject> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-'))
  const names = ['gateway', 'auth', 'mailbox', 'mailbox_smtp', 'embedded_pg', ...Object.keys(project.services)]
  const ports = Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_PORT`, '0']))
  const own = { DATA_DIR: folder, DATABASE_URL: undefined, MANAGEMENT_PORT: '0' }
  const end = new AbortController()
  let ended: Promise<unknown> = Promise.resolve()
  const stop = async () => {
    end.abort()
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const system = await new Promise<RunningSystem>((resolve, reject) => {
      const environment = { ...process.env, ...ports, ...own, ...settings }
      ended = runSystem(project, environment, end, () => {}, resolve).catch(reject)
    })
    return { ...system, makeUser: (roles) => makeUser(system, roles), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function makeUser({ databaseUrl }: RunningSystem, roles: string[]) {
  if (databaseUrl === undefined) throw new Error('users are those of the issuers in the route file')
  const user = { email: `${randomUUID()}@example.com`, password: makeSecret() }
  const database = createDatabase(databaseUrl, { connections: 1, onError: process.emitWarning })
  await createUser(database, { ...user, name: 'Some One', roles }).finally(() => database.$disconnect())
  return user
}
