import { present } from '../../core/present.ts'
import { type Platform, PlatformError } from './api.ts'

export interface Statement {
  sql: string
  params?: (string | number | null)[]
}

interface StatementResult<T> {
  results: T[]
  success: boolean
}

/** Runs statements in one database, in one call and one transaction. Throws PlatformError, with SQLite's message. */
export async function runBatch<T = Record<string, unknown>>(
  platform: Platform,
  databaseId: string,
  statements: Statement[],
): Promise<T[][]> {
  const path = `/d1/database/${databaseId}/query`
  const results = await platform.call<StatementResult<T>[]>({ method: 'POST', path, body: { batch: statements } })
  return results.map((result) => result.results)
}

/** Makes a call that may take effect twice, and repeats it once if the answer is lost. Throws PlatformError. */
export async function repeatable<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof PlatformError) || error.isCertain) throw error
    return call()
  }
}

/** Reads rows, and repeats the read once if the answer is lost. */
export const readRows = <T>(
  platform: Platform,
  databaseId: string,
  sql: string,
  params: (string | number | null)[] = [],
): Promise<T[]> =>
  repeatable(async () => {
    const [rows] = await runBatch<T>(platform, databaseId, [{ sql, params }])
    return present(rows, 'an answer to the statement')
  })

/** Names of a database's migrations, from the table that wrangler also uses. */
export async function appliedMigrations(platform: Platform, databaseId: string): Promise<string[]> {
  try {
    const rows = await readRows<{ name: string }>(platform, databaseId, 'SELECT name FROM d1_migrations ORDER BY id')
    return rows.map(({ name }) => name)
  } catch (error) {
    if (error instanceof PlatformError && /no such table: d1_migrations/.test(error.message)) return []
    throw error
  }
}

const MIGRATIONS_TABLE =
  'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)'

/**
 * Applies one migration and records it in one transaction, so that a database has all of it or nothing. If the answer
 * is lost, the record shows which. Throws PlatformError.
 */
export async function applyMigration(
  platform: Platform,
  databaseId: string,
  migration: { name: string; statements: string[] },
): Promise<void> {
  const apply = () =>
    runBatch(platform, databaseId, [
      { sql: MIGRATIONS_TABLE },
      ...migration.statements.map((sql) => ({ sql })),
      { sql: 'INSERT INTO d1_migrations (name) VALUES (?)', params: [migration.name] },
    ])
  try {
    await apply()
  } catch (error) {
    if (!(error instanceof PlatformError) || error.isCertain) throw error
    const applied = await appliedMigrations(platform, databaseId)
    if (!applied.includes(migration.name)) await apply()
  }
}
