import pg from 'pg'

/** A statement that runs so often that Prisma's own work would be half of its cost. */
export interface Statement {
  /** Under which each connection prepares it, once. */
  name: string
  /** With `$1` and so on for its values. */
  text: string
}

interface Column {
  name: string
  parse: (value: string) => unknown
}

/** How pg writes values, which its types leave out. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): string | Buffer | null } }).utils

/**
 * The columns of every statement that a connection has prepared, by its text. Postgres refuses to run a statement whose
 * columns have changed since, and the pool closes a connection on which one failed: the next describes it anew.
 */
const prepared = new WeakMap<pg.Connection, Map<string, Column[]>>()

function preparedOn(connection: pg.Connection): Map<string, Column[]> {
  const statements = prepared.get(connection) ?? new Map<string, Column[]>()
  prepared.set(connection, statements)
  return statements
}

/**
 * One run of a prepared statement, which a pool of pg takes in place of a query of its own. Postgres describes the columns
 * only to a connection that prepares the statement, and not with every answer: that takes a quarter of the time.
 */
export class PreparedQuery<Row extends pg.QueryResultRow> implements pg.Submittable {
  /** Set by pg, and told how the run ended. */
  callback!: (error: Error | null) => void
  readonly #statement: Statement
  readonly #values: (string | Buffer | null)[]
  readonly #answers: (string | null)[][] = []
  #columns: Column[] | undefined

  /** @throws for a value that cannot be written, before a connection hears of it */
  constructor(statement: Statement, values: unknown[]) {
    this.#statement = statement
    this.#values = values.map(prepareValue)
  }

  /** What the run gave, once it has ended well. */
  get rows(): Row[] {
    const columns = this.#columns as Column[]
    return this.#answers.map((answer) => {
      const row: Record<string, unknown> = {}
      for (const [index, { name, parse }] of columns.entries()) {
        const value = answer[index] as string | null
        row[name] = value === null ? null : parse(value)
      }
      return row as Row
    })
  }

  submit(connection: pg.Connection): void {
    const { name, text } = this.#statement
    this.#columns = preparedOn(connection).get(text)
    connection.stream.cork()
    if (!this.#columns) connection.parse({ name, text, types: [] }, true)
    connection.bind({ statement: name, values: this.#values }, true)
    if (!this.#columns) connection.describe({ type: 'P' }, true)
    connection.execute(null, true)
    connection.sync()
    connection.stream.uncork()
  }

  handleRowDescription({ fields }: { fields: pg.FieldDef[] }): void {
    this.#columns = fields.map(({ name, dataTypeID }) => ({ name, parse: pg.types.getTypeParser(dataTypeID, 'text') }))
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.#answers.push(fields)
  }

  handleCommandComplete(): void {}

  handleEmptyQuery(): void {}

  handleReadyForQuery(connection: pg.Connection): void {
    this.#columns ??= []
    preparedOn(connection).set(this.#statement.text, this.#columns)
    this.callback(null)
  }

  handleError(error: Error): void {
    this.callback(error)
  }
}
