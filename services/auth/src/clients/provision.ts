import { isDeepStrictEqual } from 'node:util'
import type { Database } from '@sallyport/database'
import { readJwks } from './jwks.ts'

/** A service account as a deployment has it written down. */
export interface ProvisionedClient {
  id: string
  name: string
  roles: string[]
  scopes: string[]
  audiences: string[]
  /** Its public keys (RFC 7517). */
  jwks: { keys: object[] }
  exchanges: Exchange[]
}

interface Exchange {
  from: string
  audience: string
  roles: string[]
  scopes: string[]
}

/**
 * Brings a service account to what is written down, whatever it was before: with these keys, and no other credential of
 * its kind; with these exchanges, and no other. Doing it twice changes nothing.
 *
 * @throws if one of the keys is of no use
 */
export async function provisionClient(database: Database, client: ProvisionedClient): Promise<void> {
  const { id, jwks, exchanges, ...data } = client
  const keys = readJwks(jwks)
  await database.$transaction(async (transaction) => {
    await transaction.client.upsert({ where: { id }, create: { id, ...data }, update: data })
    const credentials = await transaction.clientCredential.findMany({ where: { clientId: id, kind: 'keys' } })
    const isSame = ({ jwks }: { jwks: unknown }) => isDeepStrictEqual(jwks, keys)
    await transaction.clientCredential.deleteMany({
      where: { id: { in: credentials.filter((credential) => !isSame(credential)).map((credential) => credential.id) } },
    })
    if (!credentials.some(isSame))
      await transaction.clientCredential.create({
        data: { clientId: id, kind: 'keys', name: 'provisioned', jwks: { ...keys } },
      })
    // One that is written down otherwise now is another, so that tokens with more roles and scopes end with the one before.
    const found = await transaction.clientExchange.findMany({ where: { clientId: id } })
    const isWritten = (other: Exchange) => exchanges.some((exchange) => isSameExchange(exchange, other))
    const others = found.filter((exchange) => !isWritten(exchange)).map((exchange) => exchange.id)
    await transaction.clientExchange.deleteMany({ where: { id: { in: others } } })
    const missing = exchanges.filter((exchange) => !found.some((other) => isSameExchange(exchange, other)))
    await transaction.clientExchange.createMany({ data: missing.map((exchange) => ({ clientId: id, ...exchange })) })
  })
}

const isSameExchange = (one: Exchange, other: Exchange) =>
  (['from', 'audience', 'roles', 'scopes'] as const).every((member) => isDeepStrictEqual(one[member], other[member]))
