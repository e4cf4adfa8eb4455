import type { Client } from 'pg'

/** Bytes that a PostgreSQL server has written ahead since it was made. */
export async function writtenAhead(client: Client): Promise<number> {
  const { rows } = await client.query("SELECT pg_current_wal_insert_lsn() - '0/0' AS bytes")
  return Number(rows[0].bytes)
}
