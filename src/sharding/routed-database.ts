import { BanyanError } from '../core/errors.ts'
import type { Router, Shape } from './router.ts'
import { isPlainlyRead } from './statement-kind.ts'

/** A statement for the slot of its database; what it is sent to is decided when it runs. */
export class RoutedStatement implements D1PreparedStatement {
  readonly router: Router
  readonly sql: string
  readonly values: unknown[]
  readonly isRead: boolean

  constructor(router: Router, sql: string, values: unknown[]) {
    this.router = router
    this.sql = sql
    this.values = values
    this.isRead = isPlainlyRead(sql)
  }

  bind(...values: unknown[]): RoutedStatement {
    return new RoutedStatement(this.router, this.sql, values)
  }

  async all<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    return (await this.#run<T>('objects')) as D1Result<T>
  }

  async run<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    return (await this.#run<T>('objects')) as D1Result<T>
  }

  async first<T = unknown>(column: string): Promise<T | null>
  async first<T = Record<string, unknown>>(): Promise<T | null>
  async first<T>(column?: string): Promise<T | null> {
    const result = await this.#run<Record<string, unknown>>('objects')
    const row = (result as D1Result<Record<string, unknown>>).results[0]
    if (row === undefined) return null
    if (column === undefined) return row as T
    if (!(column in row))
      throw new BanyanError('DATABASE_ERROR', `D1_COLUMN_NOTFOUND: no column ${column} in the answer`)
    return row[column] as T
  }

  async raw<T = unknown[]>(options: { columnNames: true }): Promise<[string[], ...T[]]>
  async raw<T = unknown[]>(options?: { columnNames?: false }): Promise<T[]>
  async raw<T>(options?: { columnNames?: boolean }): Promise<T[] | [string[], ...T[]]> {
    const rows = (await this.#run<T>(options?.columnNames ? 'named-arrays' : 'arrays')) as [string[], ...T[]]
    return options?.columnNames ? rows : (rows.slice(1) as T[])
  }

  #run<T>(shape: Shape): Promise<D1Result<T> | [string[], ...T[]]> {
    return this.router.single<T>(this, shape)
  }
}

/**
 * A `D1Database` for the owner of one slot: Drizzle, Kysely and raw SQL work on it unchanged. A batch is atomic, as
 * D1's; `exec` and `dump` are refused, since neither can be guarded.
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
    return this.#router.batch<T>(statements.map((statement) => ownStatement(this.#router, statement)))
  }

  /**
   * A session on the shard that owns the slot. Its bookmark names that shard; should the slot move, the session goes
   * on at the new owner's primary.
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
    throw new BanyanError('DATABASE_ERROR', 'exec() runs statements without the guard; use prepare() and batch()')
  }

  async dump(): Promise<ArrayBuffer> {
    throw new BanyanError('DATABASE_ERROR', 'dump() is not available on a routed database')
  }
}

function ownStatement(router: Router, statement: D1PreparedStatement): RoutedStatement {
  if (statement instanceof RoutedStatement && statement.router.hasSameRoute(router)) return statement
  throw new BanyanError(
    'DATABASE_ERROR',
    'A batch takes statements prepared on the same routed database only: one batch, one slot',
  )
}
