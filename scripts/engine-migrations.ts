import path from 'node:path'
import { type Migration, migrationsFolder, readMigrations } from '../src/cli/migrations/shard-migrations.ts'

/**
 * The engine's own migrations: the views, triggers and tables that each shard needs besides those of a schema. Every
 * other folder of migrations gets the same ones, with its own numbers.
 */
const names = ['0000_shard.sql', '0002_moves.sql', '0003_changes_by_move.sql']

export interface EngineMigration extends Migration {
  /** The SQL file, with its comments. */
  file: string
  /** `shard`, `moves`, …: the file's name without its number. */
  title: string
}

/** The engine's migrations, oldest first. */
export function engineMigrations(): EngineMigration[] {
  const all = readMigrations()
  return names.map((name) => ({
    ...all.find((migration) => migration.name === name)!,
    file: path.join(migrationsFolder, name),
    title: name.slice('0000_'.length, -'.sql'.length),
  }))
}

/** True if both have the same statements, whatever their file names. */
export const isSameMigration = (a: Migration, b: Migration): boolean =>
  a.statements.length === b.statements.length && a.statements.every((sql, index) => sql === b.statements[index])
