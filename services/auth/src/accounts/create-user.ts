import { createLogger } from '@sallyport/chassis'
import { type Database, isUniqueViolation } from '@sallyport/database'
import { isRole, mostRoles, spellingsOf, toMailbox } from '@sallyport/identity'
import { record } from '../events/security-events.ts'
import { openBreached } from '../passwords/breached.ts'
import { createPasswords, type Passwords } from '../passwords/passwords.ts'
import { isAcceptable, longest, shortest } from '../passwords/policy.ts'

interface NewUser {
  email: string
  name: string
  roles: string[]
  password: string
}

/**
 * Makes a user, and says so in the security events.
 *
 * @param breachedPasswords the path of a file of passwords that are refused, if there is one
 * @returns the user's id
 * @throws Error with a line that says what to correct
 */
export async function createUser(
  database: Database,
  { name, password, ...given }: NewUser,
  breachedPasswords?: string,
): Promise<string> {
  const refuse = (why: string) => new Error(why)
  const email = readEmail(given.email)
  if (name.trim() === '' || name.includes('\0')) throw refuse('the name is empty')
  const roles = readRoles(given.roles)
  if (!isAcceptable(password)) throw refuse(`the password must have from ${shortest} to ${longest} characters`)

  const passwords = await createPasswords(await openBreached(breachedPasswords))
  const passwordHash = await hashUnlessWeak(passwords, { email, name, password }).finally(passwords.close)

  const taken = () => refuse(`there is a user ${given.email} already`)
  // Under the spelling that is kept the database sees to it; here, under those that earlier versions kept.
  const [, ...earlier] = spellingsOf(given.email)
  try {
    if ((await database.user.count({ where: { email: { in: earlier } } })) > 0) throw taken()
    const user = await database.user.create({ data: { email, name, roles, passwordHash } })
    const log = createLogger('create-user', 'silent')
    await record(database, log, { event: 'user_created', user: user.id, reason: 'on the command line' })
    return user.id
  } catch (error) {
    if (isUniqueViolation(error)) throw taken()
    throw error
  }
}

/** @throws Error with a line that says what to correct */
export function readEmail(text: string): string {
  const email = toMailbox(text)
  if (email !== undefined) return email
  throw new Error(`"${text}" is not an e-mail address: a local part, @ and a domain name, in all at most 254 octets`)
}

/** @throws Error with a line that says what to correct */
export function readRoles(words: string[]): string[] {
  const roles = [...new Set(words)]
  const wrong = roles.find((role) => !isRole(role))
  if (wrong !== undefined || roles.length === 0)
    throw new Error(`"${wrong ?? ''}" cannot be a role; roles are lower-case words, such as admin`)
  if (roles.length <= mostRoles) return roles
  throw new Error(`${roles.length} roles are too many; a user has at most ${mostRoles}`)
}

const weak = {
  guessable: 'the password is too easy to guess; take a few words of your own, without the e-mail address in it',
  breached: 'the password is known from a data breach; take a few words of your own',
}

async function hashUnlessWeak(passwords: Passwords, { password, ...user }: Omit<NewUser, 'roles'>) {
  const weakness = await passwords.weaknessOf(password, user)
  if (weakness) throw new Error(weak[weakness])
  return passwords.hash(password)
}
