/** D1's binding over a database of the double, for the stand-in. Words SQLite's errors as D1 does, or differently. */
import type { Engine } from './databases.ts'

/** Changes an error's text on its way to the Worker. */
export type Wording = (text: string) => string

const extended: Record<number, string> = {
  275: 'SQLITE_CONSTRAINT_CHECK',
  1299: 'SQLITE_CONSTRAINT_NOTNULL',
  1555: 'SQLITE_CONSTRAINT_PRIMARYKEY',
  1811: 'SQLITE_CONSTRAINT_TRIGGER',
  2067: 'SQLITE_CONSTRAINT_UNIQUE',
}

export function wordedDatabase(engine: Engine, wording: Wording): D1Database {
  const database = {
    prepare: (sql: string) => ({ sql }),
    async batch(statements: { sql: string }[]) {
      try {
        return await engine.batch(statements)
      } catch (error) {
        throw new Error(wording(textOf(error as Error & { errcode?: number })))
      }
    },
  }
  return database as unknown as D1Database
}

function textOf({ message, errcode = 1 }: { message: string; errcode?: number }): string {
  const code = extended[errcode]
  return `D1_ERROR: ${message}: ${code ? `SQLITE_CONSTRAINT (extended: ${code})` : 'SQLITE_ERROR'}`
}
