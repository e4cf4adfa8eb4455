import type { Database, Statement } from '@sallyport/database'

/** A user as a sign-in needs them. */
export interface SigningIn {
  id: string
  email: string
  name: string
  locale: string | null
  roles: string[]
  passwordHash: string
  passwordVersion: number
  disabled: boolean
  /** When the account is to be erased, as the database writes it. */
  deletion: string | null
}

const columns = `
  id, email, name, locale, roles, password_hash AS "passwordHash", password_version AS "passwordVersion",
  disabled_at IS NOT NULL AS disabled, delete_after::text AS deletion`

const byEmail: Statement = {
  name: 'find_user',
  text: `SELECT ${columns} FROM auth.users WHERE email = ANY($1) ORDER BY array_position($1, email) LIMIT 1`,
}

const byId: Statement = { name: 'find_user_by_id', text: `SELECT ${columns} FROM auth.users WHERE id = $1` }

/** @param spellings of the address, the one of today first */
export async function findUserByEmail(database: Database, spellings: string[]): Promise<SigningIn | undefined> {
  const [user] = await database.run<SigningIn>(byEmail, [spellings])
  return user
}

export async function findUserById(database: Database, id: string): Promise<SigningIn | undefined> {
  const [user] = await database.run<SigningIn>(byId, [id])
  return user
}
