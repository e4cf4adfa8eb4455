import type pg from 'pg'

/**
 * What oidc-provider keeps, in one table of PostgreSQL: the shape of the adapters in its documents, with prepared
 * statements. There are no browser sessions and no device codes here, so nothing is looked up by their names.
 */
export async function createPostgresAdapter(pool: pg.Pool) {
  await pool.query(
    `CREATE TABLE oidc (id text PRIMARY KEY, payload jsonb NOT NULL, grant_id text, expires_at timestamptz);
     CREATE INDEX ON oidc (grant_id)`,
  )
  const run = (name: string, text: string, values: unknown[]) => pool.query({ name, text, values })

  return class PostgresAdapter {
    readonly model: string
    constructor(model: string) {
      this.model = model
    }

    key(id: string): string {
      return `${this.model}:${id}`
    }

    async upsert(id: string, payload: { grantId?: string }, expiresIn?: number): Promise<void> {
      await run(
        'upsert',
        `INSERT INTO oidc VALUES ($1, $2, $3, now() + make_interval(secs => $4))
         ON CONFLICT (id) DO UPDATE SET payload = $2, grant_id = $3, expires_at = now() + make_interval(secs => $4)`,
        [this.key(id), payload, payload.grantId ?? null, expiresIn ?? null],
      )
    }

    async find(id: string): Promise<object | undefined> {
      const text = 'SELECT payload FROM oidc WHERE id = $1 AND (expires_at IS NULL OR expires_at > now())'
      return (await run('find', text, [this.key(id)])).rows[0]?.payload
    }

    async consume(id: string): Promise<void> {
      const text = `UPDATE oidc SET payload = payload || jsonb_build_object('consumed', extract(epoch FROM now())::int) WHERE id = $1`
      await run('consume', text, [this.key(id)])
    }

    async destroy(id: string): Promise<void> {
      await run('destroy', 'DELETE FROM oidc WHERE id = $1', [this.key(id)])
    }

    async revokeByGrantId(grantId: string): Promise<void> {
      await run('revoke', 'DELETE FROM oidc WHERE grant_id = $1', [grantId])
    }
  }
}
