import type { DatabaseSync } from 'node:sqlite'
import { quotedName } from '../../core/sql-text.ts'
import { afterBrackets, isSign, isWord, type SqlToken, sqlTokens } from '../../core/sql-tokens.ts'
import { UserError } from '../shell/errors.ts'
import { NUL } from './odd-text.ts'
import { retargeted, SqlStatements, tableOf, withoutBlanks } from './sql-statements.ts'

/** Holds the rows of statements that the table's own constraints refuse. */
export const CONFLICTING = 'banyan conflicting'
const SQLITE_CONSTRAINT = 19

/** Fills a table from a dump. Runs only the statements that create the table or insert rows into it. */
export class SqlTable {
  readonly #database: DatabaseSync
  readonly #table: string
  readonly #statements: SqlStatements
  readonly #others = new Set<string>()
  #number = 0
  #isMade = false
  #hasConflicting = false

  constructor(database: DatabaseSync, table: string) {
    this.#database = database
    this.#table = table
    this.#statements = new SqlStatements((statement) => this.#isOwn(tableOf(statement)?.table))
  }

  push(piece: string): void {
    for (const statement of this.#statements.push(piece)) this.#run(statement)
  }

  end(): void {
    if (tableOf(this.#statements.rest()))
      throw new UserError(
        'The file ends in the middle of a statement, so the export is incomplete.',
        'Export the table again.',
      )
    if (!this.#isMade)
      throw new UserError(
        `The file has no table "${this.#table}".`,
        `Pass the users’ table with --table. The file has these tables: ${[...this.#others].sort().join(', ') || 'none'}.`,
      )
  }

  /** SQLite compares names without regard to case. */
  #isOwn = (table: string | undefined): boolean => table?.toLowerCase() === this.#table.toLowerCase()

  #run(statement: string): void {
    this.#number++
    const into = tableOf(statement)
    if (!into) return
    if (!this.#isOwn(into.table)) return void this.#others.add(into.table)
    // SQLite would stop reading at a NUL.
    const text = statement.replaceAll('\0', NUL)
    try {
      if (into.makes) this.#create(text)
      else this.#insert(text)
    } catch (error) {
      throw new UserError(
        `Statement ${this.#number}, "${withoutBlanks(text).slice(0, 60)}…": ${(error as Error).message}.`,
        'Export the table again with its schema and its rows: wrangler d1 export, or sqlite3 .dump.',
      )
    }
    this.#isMade = true
  }

  /** If a schema uses functions or collations that only its application has, keeps only the columns' names. */
  #create(statement: string): void {
    try {
      this.#database.exec(statement)
    } catch (error) {
      const columns = plainColumns(statement)
      if (!columns || !/^(?:no such|unknown) (?:function|collation)/.test((error as Error).message)) throw error
      this.#database.exec(`CREATE TABLE ${quotedName(this.#table)} (${columns.join(', ')})`)
    }
  }

  /**
   * A conflicting row must not stop the import. The rows of its statement go into a table without constraints, and the
   * later check of the rows decides.
   */
  #insert(statement: string): void {
    try {
      this.#database.exec(statement)
    } catch (error) {
      if (((error as { errcode?: number }).errcode ?? 0) % 256 !== SQLITE_CONSTRAINT) throw error
      this.#createConflicting()
      this.#database.exec(retargeted(statement, CONFLICTING))
    }
  }

  /** Without generated columns, because a dump's rows do not contain them. */
  #createConflicting(): void {
    if (this.#hasConflicting) return
    this.#hasConflicting = true
    const columns = this.#database.prepare('SELECT name FROM pragma_table_info(?)').all(this.#table)
    this.#database.exec(
      `CREATE TABLE ${quotedName(CONFLICTING)} (${columns.map(({ name }) => quotedName(String(name))).join(', ')})`,
    )
  }
}

/** The columns of a CREATE TABLE that are not generated; null if they can't be determined. */
function plainColumns(statement: string): string[] | null {
  const tokens = sqlTokens(statement)
  const open = tokens.findIndex((token) => isSign(token, '('))
  if (open < 0) return null
  const inside = tokens.slice(open + 1, afterBrackets(tokens, open) - 1)
  const definitions = splitAtCommas(inside).filter((definition) => !isConstraint(definition[0]))
  return definitions.filter((definition) => !isGenerated(definition)).map(plainColumn)
}

function splitAtCommas(tokens: SqlToken[]): SqlToken[][] {
  let part: SqlToken[] = []
  const parts = [part]
  for (let at = 0; at < tokens.length; ) {
    const after = isSign(tokens[at], '(') ? afterBrackets(tokens, at) : at + 1
    if (isSign(tokens[at], ',')) {
      part = []
      parts.push(part)
    } else part.push(...tokens.slice(at, after))
    at = after
  }
  return parts
}

const isConstraint = (token: SqlToken | undefined): boolean =>
  isWord(token, 'CONSTRAINT', 'PRIMARY', 'UNIQUE', 'CHECK', 'FOREIGN')

const isGenerated = (definition: SqlToken[]): boolean =>
  definition.some((token, at) => isWord(token, 'AS') && isSign(definition[at + 1], '('))

/** Keeps INTEGER PRIMARY KEY, which orders the rows and numbers those without a value. */
function plainColumn([name, type, ...more]: SqlToken[]): string {
  if (!name) throw new Error('a column has no name')
  const isKey =
    isWord(type, 'INTEGER') && more.some((token, at) => isWord(token, 'PRIMARY') && isWord(more[at + 1], 'KEY'))
  return `${quotedName(name.value)}${isKey ? ' INTEGER PRIMARY KEY' : ''}`
}
