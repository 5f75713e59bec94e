import { BanyanError } from '../core/errors.ts'
import { DatabaseError, misuse } from './answers.ts'
import { copyBound } from './bound-values.ts'
import type { Router } from './router.ts'
import { statementKind } from './statement-kind.ts'

/** A statement for the slot of its database. Its shard is chosen when it runs. */
export class RoutedStatement implements D1PreparedStatement {
  readonly router: Router
  readonly sql: string
  readonly values: unknown[]

  constructor(router: Router, sql: string, values: unknown[]) {
    this.router = router
    this.sql = sql
    this.values = values
  }

  get isRead(): boolean {
    return statementKind(this.sql).isRead
  }

  /**
   * Throws at once what D1 would throw. Copies buffers and arrays, because their bytes may change before the statement
   * is sent.
   */
  bind(...values: unknown[]): RoutedStatement {
    return new RoutedStatement(this.router, this.sql, copyBound(values))
  }

  async all<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    return this.router.single<T>(this)
  }

  async run<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    return this.router.single<T>(this)
  }

  async first<T = unknown>(column: string): Promise<T | null>
  async first<T = Record<string, unknown>>(): Promise<T | null>
  async first<T>(column?: string): Promise<T | null> {
    const { results } = await this.router.single<Record<string, unknown>>(this)
    const [row] = results
    if (row === undefined) return null
    if (column === undefined) return row as T
    if (row[column] === undefined) throw columnNotFound(column)
    return row[column] as T
  }

  async raw<T = unknown[]>(options: { columnNames: true }): Promise<[string[], ...T[]]>
  async raw<T = unknown[]>(options?: { columnNames?: false }): Promise<T[]>
  async raw<T>(options?: { columnNames?: boolean }): Promise<T[] | [string[], ...T[]]> {
    const rows = await this.router.arrays<T>(this, options?.columnNames ? 'named-arrays' : 'arrays')
    return options?.columnNames ? rows : (rows.slice(1) as T[])
  }
}

function columnNotFound(column: string): DatabaseError {
  const error = new Error(`D1_COLUMN_NOTFOUND: Column not found (${column})`, { cause: new Error('Column not found') })
  return new DatabaseError('DATABASE_ERROR', 'SQLITE_MISUSE', error)
}

/**
 * A `D1Database` for the owner of one slot. Drizzle, Kysely and raw SQL work on it unchanged. A batch is atomic, as in
 * D1. `exec` and `dump` are refused, because neither can be guarded.
 */
export class RoutedDatabase implements D1Database {
  readonly #router: Router

  constructor(router: Router) {
    this.#router = router
  }

  prepare(sql: string): RoutedStatement {
    return new RoutedStatement(this.#router, sql, [])
  }

  async batch<T = unknown>(statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    if (statements.length === 0) throw misuse('No SQL statements detected.')
    return this.#router.batch<T>(statements.map((statement) => ownStatement(this.#router, statement)))
  }

  /**
   * A session on the shard that owns the slot. Its bookmark names that shard. When the slot moves, the session
   * continues at the new owner's primary.
   */
  withSession(constraintOrBookmark?: string): D1DatabaseSession {
    const router = this.#router.withSession(constraintOrBookmark ?? 'first-unconstrained')
    const database = new RoutedDatabase(router)
    return {
      prepare: (sql) => database.prepare(sql),
      batch: (statements) => database.batch(statements),
      getBookmark: () => router.bookmark(),
    }
  }

  async exec(_sql: string): Promise<D1ExecResult> {
    throw new BanyanError(
      'DATABASE_ERROR',
      'exec() is not available on a routed database, because its statements can’t be guarded. Use prepare(sql).run() for one statement, and batch([…]) for several.',
    )
  }

  async dump(): Promise<ArrayBuffer> {
    throw new BanyanError(
      'DATABASE_ERROR',
      'dump() is not available on a routed database, because one database holds many users. Use wrangler d1 export for a whole database.',
    )
  }
}

function ownStatement(router: Router, statement: D1PreparedStatement): RoutedStatement {
  if (statement instanceof RoutedStatement && statement.router.mayGoBy(router)) return statement
  throw new BanyanError(
    'DATABASE_ERROR',
    'A batch accepts only statements prepared on the same routed database, because a batch writes to one slot.',
  )
}
