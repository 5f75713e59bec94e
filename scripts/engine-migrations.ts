import path from 'node:path'
import { type Migration, migrationsFolder, readMigrations } from '../src/cli/migrations/shard-migrations.ts'

/**
 * The migrations of the application that are the engine's own: views, triggers and tables that each shard needs beside
 * those of a schema. Every other folder of migrations gets the same ones, under numbers of its own.
 */
const names = ['0000_shard.sql', '0002_moves.sql', '0003_changes_by_move.sql']

export interface EngineMigration extends Migration {
  /** Its file, which has the comments too. */
  file: string
  /** `shard`, `moves`, …: its name without a number. */
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

/** True for the same statements, whatever the file's name. */
export const isSameMigration = (a: Migration, b: Migration): boolean =>
  a.statements.length === b.statements.length && a.statements.every((sql, index) => sql === b.statements[index])
