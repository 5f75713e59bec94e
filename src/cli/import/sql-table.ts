import type { DatabaseSync } from 'node:sqlite'
import { quotedName } from '../../core/sql-text.ts'
import { afterBrackets, isSign, isWord, type SqlToken, sqlTokens } from '../../core/sql-tokens.ts'
import { UserError } from '../shell/errors.ts'
import { NUL } from './odd-text.ts'
import { retargeted, SqlStatements, tableOf, withoutBlanks } from './sql-statements.ts'

/** Holds the rows of statements that the table's own constraints refuse. */
export const CONFLICTING = 'banyan conflicting'
const SQLITE_CONSTRAINT = 19

/** Fills a table from a dump: only the statements are run that make it or put rows into it. */
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
      throw new UserError('The file ends in the middle of a statement.', 'Export it again.')
    if (!this.#isMade)
      throw new UserError(
        `There is no table "${this.#table}" in the file.`,
        `Name it with --table. The file has: ${[...this.#others].sort().join(', ') || 'none'}.`,
      )
  }

  /** SQLite takes names for equal whose letters differ in case only. */
  #isOwn = (table: string | undefined): boolean => table?.toLowerCase() === this.#table.toLowerCase()

  #run(statement: string): void {
    this.#number++
    const into = tableOf(statement)
    if (!into) return
    if (!this.#isOwn(into.table)) return void this.#others.add(into.table)
    // SQLite would read no further than a NUL.
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

  /** A schema may use what only its application has: functions, collations. Then the columns' names have to do. */
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
   * A row that conflicts with another costs itself, not the import: its statement's rows go into a table without
   * constraints, and the check of the rows decides.
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

  /** Generated columns are left out, as a dump's rows leave them out. */
  #createConflicting(): void {
    if (this.#hasConflicting) return
    this.#hasConflicting = true
    const columns = this.#database.prepare('SELECT name FROM pragma_table_info(?)').all(this.#table)
    this.#database.exec(
      `CREATE TABLE ${quotedName(CONFLICTING)} (${columns.map(({ name }) => quotedName(String(name))).join(', ')})`,
    )
  }
}

/** The columns of CREATE TABLE that hold something of their own, by name; null where they can't be told. */
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

/** An INTEGER PRIMARY KEY orders the rows, and numbers those without a number of their own. */
function plainColumn([name, type, ...more]: SqlToken[]): string {
  if (!name) throw new Error('a column has no name')
  const isKey =
    isWord(type, 'INTEGER') && more.some((token, at) => isWord(token, 'PRIMARY') && isWord(more[at + 1], 'KEY'))
  return `${quotedName(name.value)}${isKey ? ' INTEGER PRIMARY KEY' : ''}`
}
