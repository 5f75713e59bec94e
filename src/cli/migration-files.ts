import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export interface Migration {
  name: string
  statements: string[]
}

/** The numbered migrations of a folder, oldest first, cut at drizzle-kit's statement breakpoints. */
export function readMigrations(folder: string): Migration[] {
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
