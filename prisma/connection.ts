import pg from 'pg'

/**
 * What every statement of ours is written and tested under, whatever the server, the database or the role has for a
 * default. Times come and go as text: in UTC, and in the one format that Prisma and pg read. Without the last one a
 * server may end the connection that listens, which has nothing to say for hours.
 *
 * Not here: how long a statement or a lock may take, and whether a transaction may write, are for operators to say.
 */
const sessionSettings = `
  SET TimeZone TO 'UTC';
  SET DateStyle TO 'ISO, MDY';
  SET IntervalStyle TO postgres;
  SET extra_float_digits TO 1;
  SET default_transaction_isolation TO 'read committed';
  SET default_transaction_deferrable TO off;
  SET search_path TO public;
  SET idle_session_timeout TO 0;
  SHOW transaction_read_only`

/** The SQLSTATE of a server that takes no writes. */
const readOnly = '25006'

/**
 * A connection to PostgreSQL as all of ours are, in a pool or alone. The settings are statements and no startup
 * parameters: a pooler refuses or drops those it does not know, and these win over what is set for a database or role.
 */
export class Connection extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config)
    // A connection that is lost fails what runs on it, and whatever comes next. Where nobody else listens yet (a pool
    // does once we are connected), the event would end the process.
    this.on('error', () => {})
  }

  override connect(): Promise<this>
  override connect(callback: (error: Error) => void): void
  override connect(callback?: (error: Error) => void): Promise<this> | undefined {
    const ready = this.#open()
    if (!callback) return ready
    // pg tells of success by calling back without an error, which its types leave out.
    ready.then(() => (callback as () => void)(), callback)
    return undefined
  }

  async #open(): Promise<this> {
    await super.connect()
    // A server that has become a standby behind an address that leads to another one by now: the next connection does.
    this.connection.on('errorMessage', ({ code }: pg.DatabaseError) => {
      if (code === readOnly) void this.end()
    })
    try {
      await this.prepare()
    } catch (error) {
      this.connection.stream.destroy()
      throw error
    }
    return this
  }

  /** What a connection says first. One to a server that takes no writes is none: a pool would keep it. */
  protected async prepare(): Promise<void> {
    // One for each statement.
    const results = [await this.query<{ transaction_read_only?: string }>(sessionSettings)].flat()
    if (results.at(-1)?.rows[0]?.transaction_read_only === 'on')
      throw Object.assign(new pg.DatabaseError('the server takes no writes', 0, 'error'), {
        severity: 'FATAL',
        code: readOnly,
      })
  }
}

/**
 * A connection to a pooler that gives each transaction any of its own connections: what is said here would be heard by
 * somebody else. waitForDatabase looks whether the pooler's connections are as ours are.
 */
export class PooledConnection extends Connection {
  protected override async prepare(): Promise<void> {}
}
