import { randomBytes } from 'node:crypto'
import type { Database, Prisma } from '@sallyport/database'
import type { FactorKey } from '../factors/factor-key.ts'

/** How long the secret before the latest one signs too, in milliseconds. */
const overlap = 86_400_000

const about = (webhookId: string) => `webhook ${webhookId}`

/**
 * Makes a secret that signs from now on. The one before it signs too, for a day; one that did so already does no more.
 *
 * @returns it, as Standard Webhooks writes it
 */
export async function addSecret(
  transaction: Prisma.TransactionClient,
  factorKey: FactorKey,
  webhookId: string,
): Promise<string> {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const expiresAt = new Date(Date.now() + overlap)
  await transaction.webhookSecret.deleteMany({ where: { webhookId, expiresAt: { not: null } } })
  await transaction.webhookSecret.updateMany({ where: { webhookId }, data: { expiresAt } })
  const sealed = { secret: factorKey.seal(secret, about(webhookId)), keyId: factorKey.ids[0] }
  await transaction.webhookSecret.create({ data: { webhookId, ...sealed } })
  return secret
}

/** @returns those that are sealed with one of the keys */
export const openSecrets = (factorKey: FactorKey, webhookId: string, sealed: string[]): string[] =>
  sealed.flatMap((secret) => factorKey.open(secret, about(webhookId)) ?? [])

/**
 * Seals with the active key what is sealed with an earlier one, which is then no longer needed.
 *
 * @returns how many it did so for
 */
export async function resealWebhookSecrets(database: Database, factorKey: FactorKey, most: number): Promise<number> {
  const [active, ...earlier] = factorKey.ids
  const outdated = await database.webhookSecret.findMany({ where: { keyId: { in: earlier } }, take: most })
  let resealed = 0
  for (const { id, webhookId, secret: sealed } of outdated) {
    const [secret] = openSecrets(factorKey, webhookId, [sealed])
    if (secret === undefined) continue
    const data = { secret: factorKey.seal(secret, about(webhookId)), keyId: active }
    const { count } = await database.webhookSecret.updateMany({ where: { id, secret: sealed }, data })
    resealed += count
  }
  return resealed
}
