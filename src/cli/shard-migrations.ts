import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { UserError } from './errors.ts'

export const migrationsFolder = path.resolve(import.meta.dirname, '../../migrations/shard')

export interface Migration {
  name: string
  statements: string[]
}

/** The numbered migrations, oldest first, cut at drizzle-kit's statement breakpoints. */
export function readMigrations(folder = migrationsFolder): Migration[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({ name, statements: splitStatements(readFileSync(path.join(folder, name), 'utf8')) }))
}

const splitStatements = (sql: string): string[] =>
  sql
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')

/** Throws where a migration would do to a sharded table what a move can't survive. */
export function refuseRebuilds(migration: Migration): void {
  for (const statement of migration.statements) {
    if (/\b__new_|\bDROP TABLE\b|\bRENAME TO\b|PRAGMA foreign_keys/i.test(statement))
      throw new UserError(
        `${migration.name} rebuilds or drops a table, which would drop its fence and lose rows under a move:\n  ${statement.split('\n')[0]}`,
        'Migrations of sharded tables only add. Add a new column or table, and stop reading the old one (docs/building.md).',
      )
    if (/\bDROP COLUMN\b/i.test(statement))
      throw new UserError(
        `${migration.name} drops a column, and the version before this one still reads it: ${statement}`,
        'Stop reading it first; drop it never, or when every shard and version is past it (docs/building.md).',
      )
  }
}
