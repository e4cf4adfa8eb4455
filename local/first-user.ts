import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createUser } from '@sallyport/auth/accounts/create-user'
import { makeSecret } from '@sallyport/cli/secrets'
import type { Database } from '@sallyport/database'
import { keepText } from './keep-secrets.ts'
import type { ProjectUsers } from './project.ts'

const email = 'admin@example.com'

/**
 * Makes the user that a new database begins with: an administrator, whose password is random and kept beside the other
 * secrets. Who has deleted that file wants to read of it no more.
 *
 * @param folder of the secrets
 */
export async function makeFirstUser(database: Database, folder: string): Promise<ProjectUsers> {
  const file = join(folder, 'first-password')
  const isNew = (await database.user.count()) === 0
  if (!isNew && !existsSync(file)) return { emails: [], password: '' }
  const password = keepText(file, makeSecret)
  if (isNew) await createUser(database, { email, name: 'Admin', roles: ['admin'], password })
  return { emails: [email], password }
}
