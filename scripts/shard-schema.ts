import { globSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { is } from 'drizzle-orm'
import { SQLiteTable } from 'drizzle-orm/sqlite-core'
import { readMigrations } from '../src/cli/migrations/shard-migrations.ts'
import { UserError } from '../src/cli/shell/errors.ts'
import { limits } from '../src/core/limits.ts'
import { boundTailSql } from '../src/resharding/rows.ts'
import { type ColumnRow, FIND_TABLES, type MovedTable, readTables } from '../src/resharding/tables.ts'
import { type FencedTable, fencedTable, fenceTriggers, statementBytesMax } from '../src/sharding/fence-sql.ts'
import { isUnsharded, keyspaces, type ShardObject } from '../src/sharding/sharded-table.ts'

const root = path.resolve(import.meta.dirname, '..')

/** The application's schemas, including the engine's. */
export const applicationSchemas = ['./src/**/schema.ts']

/** The tables that the engine adds to every schema. */
export const engineSchema = './src/sharding/schema.ts'

/**
 * All sharded tables of these schemas (globs, relative to the project's folder), checked. Tables declared as
 * `unsharded` are skipped. Throws if a table cannot be sharded.
 */
export async function shardedTables(schemas = applicationSchemas): Promise<FencedTable[]> {
  const tables: FencedTable[] = []
  for (const file of globSync(schemas, { cwd: root }).sort()) {
    const module: Record<string, unknown> = await import(path.resolve(root, file))
    for (const value of Object.values(module))
      if (is(value, SQLiteTable) && !isUnsharded(value)) tables.push(fencedTable(value))
  }
  refuseLongTails(tables)
  return tables
}

/**
 * Each move has one statement that names each column of each table of its keyspace. Throws UserError if it is too long.
 */
export function refuseLongTails(tables: Pick<FencedTable, keyof MovedTable>[]): void {
  for (const keyspace of keyspaces) {
    const moved = tables.filter((table) => table.keyspace === keyspace).map((table) => ({ ...table, keyspace }))
    const bytes = Buffer.byteLength(boundTailSql(moved, limits.moveTailRowsMax))
    if (bytes > statementBytesMax)
      throw new UserError(
        `The ${moved.length} tables of the keyspace ${keyspace} need a statement of ${bytes} bytes in each move; D1's limit is ${statementBytesMax}.`,
        'Use fewer columns or shorter names: for example one JSON column instead of many columns that are read together.',
      )
  }
}

/** The tables whose rows a move carries. They include tables that have no schema any more. */
export function movedTables(database: DatabaseSync): MovedTable[] {
  const find = database.prepare(FIND_TABLES)
  return keyspaces.flatMap((keyspace) => readTables(keyspace, find.all(keyspace) as unknown as ColumnRow[]))
}

/** The views and triggers that each shard must have for its tables, in the order of their creation. */
export const wantedObjects = (tables: FencedTable[]): ShardObject[] =>
  tables.flatMap((table) => [...table.objects, ...fenceTriggers(table)])

/** An empty SQLite database with these migrations applied. */
export function migratedDatabase(migrations = readMigrations()): DatabaseSync {
  const database = new DatabaseSync(':memory:')
  for (const migration of migrations) for (const statement of migration.statements) database.exec(statement)
  return database
}

/** The wanted views and triggers that a migrated database lacks or has in another form. */
export function missingObjects(database: DatabaseSync, wanted: ShardObject[]): ShardObject[] {
  const find = database.prepare("SELECT sql FROM sqlite_master WHERE name = ? AND type IN ('view', 'trigger')")
  return wanted.filter((object) => (find.get(object.name) as { sql: string } | undefined)?.sql !== object.sql)
}
