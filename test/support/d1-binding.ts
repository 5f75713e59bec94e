/** The shape in which a statement's rows travel. Of `arrays`, the first has the names of the columns. */
export type Shape = 'objects' | 'arrays'

export interface SentStatement {
  sql: string
  /** Values as they travel: numbers, texts, blobs and nulls. */
  values: unknown[]
}

/** One round trip: one transaction. */
export interface SentCall {
  statements: SentStatement[]
  shape: Shape
  /** The session's bookmark, or its constraint until the first answer. Null without a session. */
  start: string | null
}

export interface SentAnswer {
  results: D1Result<unknown>[]
  /** The state that the answer was read from or that it left behind. */
  bookmark: string | null
}

type Send = (call: SentCall) => Promise<SentAnswer>

export const d1Error = (text: string): Error => new Error(`D1_ERROR: ${text}`, { cause: new Error(text) })

/** A `D1Database` like the runtime's own, with its sessions. `send` makes the round trips. */
export const d1Binding = (send: Send): D1Database => new Binding(send)

class Binding implements D1Database {
  readonly #send: Send

  constructor(send: Send) {
    this.#send = send
  }

  prepare(sql: string): Statement {
    return new Statement(this, null, sql, [])
  }

  batch<T = unknown>(statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    return this.batchIn<T>(null, statements)
  }

  withSession(constraintOrBookmark?: string): D1DatabaseSession {
    const session: Session = { start: constraintOrBookmark?.trim() || 'first-unconstrained' }
    return {
      prepare: (sql) => new Statement(this, session, sql, []),
      batch: (statements) => this.batchIn(session, statements),
      getBookmark: () => bookmarkOf(session),
    }
  }

  async batchIn<T>(session: Session | null, statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    if (statements.length === 0) throw d1Error('No SQL statements detected.')
    const own = statements.map((statement) => {
      if (statement instanceof Statement && statement.binding === this) return statement
      throw new Error('D1_TYPE_ERROR: a batch takes statements that were prepared on its own connection')
    })
    return (await this.send(session, own, 'objects')) as D1Result<T>[]
  }

  async send(session: Session | null, statements: Statement[], shape: Shape): Promise<D1Result<unknown>[]> {
    const sent = statements.map(({ sql, values }) => ({ sql, values }))
    const { results, bookmark } = await this.#send({ statements: sent, shape, start: session?.start ?? null })
    // Concurrent queries of one session keep the latest bookmark.
    if (session && bookmark !== null) {
      const known = bookmarkOf(session)
      if (known === null || known < bookmark) session.start = bookmark
    }
    return results
  }

  async exec(_sql: string): Promise<D1ExecResult> {
    throw new Error('a double of D1 has no exec()')
  }

  async dump(): Promise<ArrayBuffer> {
    throw new Error('a double of D1 has no dump()')
  }
}

interface Session {
  start: string
}

export const isConstraint = (start: string): boolean => start === 'first-primary' || start === 'first-unconstrained'

const bookmarkOf = ({ start }: Session): string | null => (isConstraint(start) ? null : start)

class Statement implements D1PreparedStatement {
  readonly binding: Binding
  readonly session: Session | null
  readonly sql: string
  readonly values: unknown[]

  constructor(binding: Binding, session: Session | null, sql: string, values: unknown[]) {
    this.binding = binding
    this.session = session
    this.sql = sql
    this.values = values
  }

  bind(...values: unknown[]): Statement {
    return new Statement(this.binding, this.session, this.sql, values.map(asBound))
  }

  async all<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    const [result] = await this.binding.send(this.session, [this], 'objects')
    return result as D1Result<T>
  }

  run<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    return this.all<T>()
  }

  async first<T = unknown>(column: string): Promise<T | null>
  async first<T = Record<string, unknown>>(): Promise<T | null>
  async first<T>(column?: string): Promise<T | null> {
    const { results } = await this.all<Record<string, unknown>>()
    const row = results[0]
    if (row === undefined) return null
    if (column === undefined) return row as T
    if (!(column in row)) throw new Error(`D1_COLUMN_NOTFOUND: Column not found (${column})`)
    return row[column] as T
  }

  async raw<T = unknown[]>(options: { columnNames: true }): Promise<[string[], ...T[]]>
  async raw<T = unknown[]>(options?: { columnNames?: false }): Promise<T[]>
  async raw<T>(options?: { columnNames?: boolean }): Promise<T[] | [string[], ...T[]]> {
    const [result] = await this.binding.send(this.session, [this], 'arrays')
    const rows = result!.results as [string[], ...T[]]
    return options?.columnNames ? rows : (rows.slice(1) as T[])
  }
}

const isByte = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < 256

/** A value as it travels, as JSON. Blobs are copied, because a call may run much later. */
function asBound(value: unknown): unknown {
  if (typeof value === 'string' || value === null) return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'boolean') return value ? 1 : 0
  if (Array.isArray(value) && value.every(isByte)) return Uint8Array.from(value)
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0))
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice()
  throw new Error(`D1_TYPE_ERROR: Type '${typeof value}' not supported for value '${value}'`)
}
