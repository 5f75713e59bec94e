import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { sqlTokens } from '../../core/sql-tokens.ts'
import { UserError } from '../shell/errors.ts'
import { root } from '../shell/root.ts'

export const migrationsFolder = path.join(root, 'migrations/shard')

export interface Migration {
  name: string
  statements: string[]
}

/**
 * The numbered migrations, oldest first, split at drizzle-kit's statement breakpoints, without comments before
 * statements. CRLF becomes LF. Throws UserError for any other carriage return.
 */
export function readMigrations(folder = migrationsFolder): Migration[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({ name, statements: splitStatements(name, readFileSync(path.join(folder, name), 'utf8')) }))
}

function splitStatements(name: string, text: string): string[] {
  const sql = text.replaceAll('\r\n', '\n')
  if (sql.includes('\r'))
    throw new UserError(
      `${name} has a carriage return, at which D1's API would split triggers.`,
      'Save the file with LF line ends. In a string, write char(13) for a carriage return.',
    )
  return sql.split('--> statement-breakpoint').flatMap((piece) => {
    const [first] = sqlTokens(piece)
    return first ? [piece.slice(first.start).trim()] : []
  })
}
