import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type ProvisionedClient, provisionClient } from '@sallyport/auth/clients/provision'
import { makeKey } from '@sallyport/cli/secrets'
import { createDatabase } from '@sallyport/database'
import { isUuid, publicJwk } from '@sallyport/identity'
import { keep, keepText } from './keep-secrets.ts'

/** As whom a sample calls others. */
export interface KeptAccount {
  id: string
  privateKey: string
}

export interface KeptAccounts {
  notifications: KeptAccount
  nightly: KeptAccount
}

/**
 * The service accounts of the samples, made once and kept beside the other secrets.
 *
 * @throws ConfigurationError with the file that holds none
 */
export function keepServiceAccounts(folder: string): KeptAccounts {
  const keepAccount = (name: string): KeptAccount => ({
    id: keep(join(folder, `${name}-client-id`), (file) => {
      const id = keepText(file, randomUUID)
      if (!isUuid(id)) throw new Error('it holds no UUID')
      return id
    }),
    privateKey: keep(join(folder, `${name}-private-key.pem`), (file) => {
      const key = keepText(file, makeKey)
      publicJwk(key)
      return key
    }),
  })
  return { notifications: keepAccount('notifications'), nightly: keepAccount('nightly') }
}

/**
 * Makes the accounts in the database of the auth service, or brings them to this.
 *
 * @param audience JWT_AUDIENCE
 */
export async function provisionServiceAccounts(url: string, accounts: KeptAccounts, audience: string): Promise<void> {
  const scopes = ['appointments:read']
  const describe = (name: keyof KeptAccounts, exchanges: ProvisionedClient['exchanges']): ProvisionedClient => {
    const { id, privateKey } = accounts[name]
    const jwks = { keys: [publicJwk(privateKey)] }
    return { id, name, roles: [], scopes, audiences: [audience], jwks, exchanges }
  }
  const database = createDatabase(url, { connections: 1, onError: process.emitWarning })
  try {
    await provisionClient(
      database,
      describe('notifications', [
        { from: 'notifications', audience: 'appointments', roles: ['patient', 'doctor'], scopes },
      ]),
    )
    await provisionClient(database, describe('nightly', []))
  } finally {
    await database.$disconnect()
  }
}
