import { createPublicKey } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { formatKeys, kinds, makeNewKey } from './key-file.ts'
import { files } from './rotate-keys.ts'
import { makeKey, makeSecret } from './secrets.ts'

/**
 * Makes what is missing of the secrets of a system, each a file: a folder for each secret of Kubernetes, whose mounts
 * docker-compose.yml copies. What is there stays. Values in the settings, such as those of an earlier .env, are taken over.
 *
 * The processes in containers run as another user than who makes the files. So everybody may read the files, and nobody
 * but their owner comes into the folder: a container has those that are mounted into it.
 *
 * @returns the files that were made
 */
export function makeSecretFiles(folder: string, settings: Record<string, string | undefined>): string[] {
  const made: string[] = []
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o700)

  /** @returns the content of the file, which is made if it is not there */
  function keep(name: string, make: () => string): string {
    const file = join(folder, name)
    if (existsSync(file)) return readFileSync(file, 'utf8')
    const content = make()
    mkdirSync(dirname(file), { recursive: true })
    chmodSync(dirname(file), 0o755)
    writeFileSync(file, content, { flag: 'wx' })
    chmodSync(file, 0o644)
    made.push(file)
    return content
  }
  const given = (name: string, make: () => string) => settings[name]?.replaceAll('\\n', '\n') || make()

  for (const kind of ['signing', 'refresh', 'factor'] as const)
    keep(`auth-keys/${files[kind]}`, () => given(kinds[kind].setting, () => formatKeys([makeNewKey(kind)])))
  keep('revocations/secret', () => given('REVOCATIONS_SECRET', makeSecret))
  const identity = keep('identity-private-key/identity.pem', () => given('IDENTITY_PRIVATE_KEY', makeKey))
  keep('identity-public-key/identity.pub.pem', () =>
    createPublicKey(identity).export({ type: 'spki', format: 'pem' }).toString(),
  )
  // Each role signs in to the database by an address with its password.
  const roles = {
    owner: { user: 'sallyport', setting: 'POSTGRES_PASSWORD' },
    auth: { user: 'auth', setting: 'AUTH_DATABASE_PASSWORD' },
    appointments: { user: 'appointments', setting: 'APPOINTMENTS_DATABASE_PASSWORD' },
  }
  for (const [role, { user, setting }] of Object.entries(roles)) {
    keep(`postgres-${role}/username`, () => user)
    const password = keep(`postgres-${role}/password`, () => given(setting, makeSecret))
    keep(`database-urls/${role}`, () => `postgresql://${user}:${encodeURIComponent(password)}@postgres:5432/sallyport`)
  }
  return made
}
