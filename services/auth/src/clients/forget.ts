import type { Database } from '@sallyport/database'

/**
 * Forgets client assertions that could not be used again anyway, however far the clocks are apart, and revocations that no
 * token can name any more: tokens last less than a day (JWT_EXPIRES_IN).
 */
export async function forgetOfClients(database: Database, most: number): Promise<void> {
  await database.$executeRaw`
    DELETE FROM auth.client_assertions WHERE (client_id, jti_hash) IN (
      SELECT client_id, jti_hash FROM auth.client_assertions
      WHERE expires_at < now() - interval '15 minutes' LIMIT ${most} FOR UPDATE SKIP LOCKED)`
  await database.$executeRaw`
    DELETE FROM auth.revocations WHERE id IN (
      SELECT id FROM auth.revocations WHERE at < now() - interval '1 day' LIMIT ${most} FOR UPDATE SKIP LOCKED)`
}
