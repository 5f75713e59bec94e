import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { quotedName } from '../../core/sql-text.ts'
import { UserError } from '../errors.ts'
import { type CsvForm, type CsvRecord, CsvRecords } from './csv.ts'
import { type CsvOptions, csvFormOf } from './csv-form.ts'
import { CUT_OFF } from './odd-text.ts'

/** The column that says why a record is no user's. */
export const PROBLEM = 'banyan problem'
const COLUMNS_MAX = 1_000

/** Fills a table from a file of records, whose first one names the columns. */
export class CsvTable {
  readonly #database: DatabaseSync
  readonly #table: string
  readonly #options: CsvOptions
  #reader: { records: CsvRecords; form: CsvForm } | null = null
  #insert: StatementSync | null = null
  #width = 0
  #number = 0
  #whole = 0
  #firstProblem: string | null = null
  #hasNull = false
  #hasBackslash = false

  constructor(database: DatabaseSync, table: string, options: CsvOptions) {
    this.#database = database
    this.#table = table
    this.#options = options
  }

  /** How the file is written; the RFC's form until its beginning was read. */
  get form(): CsvForm | null {
    return this.#reader?.form ?? null
  }

  /** The first piece must have the whole header. Throws UserError. */
  push(piece: string): void {
    let text = piece
    if (!this.#reader) {
      const { form, skipped } = csvFormOf(piece, this.#options)
      this.#reader = { records: new CsvRecords(form), form }
      text = piece.slice(skipped)
    }
    for (const record of this.#reader.records.push(text)) this.#add(record)
  }

  end(): void {
    for (const record of this.#reader?.records.end() ?? []) this.#add(record)
    if (!this.#insert) throw new UserError('The file is empty.', 'Its first line names the columns.')
    if (this.#whole === 0 && this.#firstProblem)
      throw new UserError(
        `No record has as many fields as the header. ${this.#firstProblem}`,
        'If another character is between the fields, name it with --delimiter. A field with it, or with a line break, is quoted.',
      )
  }

  #add(record: CsvRecord): void {
    this.#number++
    if (!this.#insert) {
      this.#insert = this.#createFor(record)
      return
    }
    if (this.#options.escape === null) this.#refuseUnclearEscapes(record)
    const problem = this.#problemOf(record)
    if (problem) this.#firstProblem ??= problem
    else this.#whole++
    const fields = Array.from({ length: this.#width }, (_, index) => record[index] ?? null)
    this.#insert.run(problem, ...fields)
  }

  /** Why the record can't be a user's. It costs this user only. */
  #problemOf(record: CsvRecord): string | null {
    if (record.at(-1) === CUT_OFF) return `Record ${this.#number} has more than a million characters.`
    // Excel writes delimiters behind the last column, too.
    const isShort = record.length < this.#width && !this.#options.isFilled
    const isWhole = !isShort && record.slice(this.#width).every((field) => !field)
    if (isWhole) return null
    const counts = `Record ${this.#number} has ${record.length} fields, and the header has ${this.#width}:`
    const fix = 'a field with the delimiter or a line break in it must be quoted.'
    return isShort ? `${counts} ${fix} If only empty fields at its end are missing, pass --fill.` : `${counts} ${fix}`
  }

  /** A file with `\N` is PostgreSQL's or MySQL's. Whether its other backslashes are escapes nothing in it says. */
  #refuseUnclearEscapes(record: CsvRecord): void {
    this.#hasNull ||= record.includes(null)
    this.#hasBackslash ||= record.some((field) => field?.includes('\\'))
    if (this.#hasNull && this.#hasBackslash)
      throw new UserError(
        `Record ${this.#number}: the file has \\N for NULL, and other fields with a backslash.`,
        'Pass --escape backslash if MySQL or COPY without CSV has written it (\\n is a line break, \\\\ a backslash); otherwise --escape none.',
      )
  }

  #createFor(header: CsvRecord): StatementSync {
    const names = header.map((name) => (name ?? '').trim())
    while (names.at(-1) === '') names.pop()
    const isOdd = names.length === 0 || names.some((name) => name.includes('\0'))
    const isTwice = new Set([PROBLEM, ...names].map((name) => name.toLowerCase())).size <= names.length
    if (names.length > COLUMNS_MAX || isOdd || isTwice)
      throw new UserError(`The first line doesn't name the columns: ${names.slice(0, 10).join(', ')}.`, 'Add a header.')
    this.#width = names.length
    const columns = [PROBLEM, ...names].map((name) => `${quotedName(name)} TEXT`)
    this.#database.exec(`CREATE TABLE ${quotedName(this.#table)} (${columns.join(', ')})`)
    return this.#database.prepare(
      `INSERT INTO ${quotedName(this.#table)} VALUES (${columns.map(() => '?').join(', ')})`,
    )
  }
}
