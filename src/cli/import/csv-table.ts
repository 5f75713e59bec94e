import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { quotedName } from '../../core/sql-text.ts'
import { UserError } from '../shell/errors.ts'
import { type CsvForm, type CsvRecord, CsvRecords } from './csv.ts'
import { type CsvOptions, csvFormOf } from './csv-form.ts'
import { CUT_OFF } from './odd-text.ts'

/** The column with the reason why a record is invalid. */
export const PROBLEM = 'banyan problem'
const COLUMNS_MAX = 1_000

/** Fills a table from a file of records. The first record names the columns. */
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

  /** The file's form; null until its first piece was read. */
  get form(): CsvForm | null {
    return this.#reader?.form ?? null
  }

  /** The first piece must contain the whole header. Throws UserError. */
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
    if (!this.#insert) throw new UserError('The file is empty.', 'Pass a file whose first line names the columns.')
    if (this.#whole === 0 && this.#firstProblem)
      throw new UserError(
        `No record has as many fields as the header. ${this.#firstProblem}`,
        'If the fields have another delimiter, pass it with --delimiter. Quote fields that contain the delimiter or a line break.',
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

  /** Why the record is invalid, or null. Only this record is refused. */
  #problemOf(record: CsvRecord): string | null {
    if (record.at(-1) === CUT_OFF) return `Record ${this.#number} has more than a million characters.`
    // Excel may write delimiters after the last column.
    const isShort = record.length < this.#width && !this.#options.isFilled
    const isWhole = !isShort && record.slice(this.#width).every((field) => !field)
    if (isWhole) return null
    const counts = `Record ${this.#number} has ${record.length} fields, but the header has ${this.#width}.`
    const fix = 'A field that contains the delimiter or a line break must be quoted.'
    return isShort ? `${counts} ${fix} If only empty fields at the end are missing, pass --fill.` : `${counts} ${fix}`
  }

  /** A file with `\N` comes from PostgreSQL or MySQL. It does not show whether its other backslashes are escapes. */
  #refuseUnclearEscapes(record: CsvRecord): void {
    this.#hasNull ||= record.includes(null)
    this.#hasBackslash ||= record.some((field) => field?.includes('\\'))
    if (this.#hasNull && this.#hasBackslash)
      throw new UserError(
        `Record ${this.#number}: the file has \\N for NULL and other backslashes, which may be escapes.`,
        'Pass --escape backslash if MySQL or COPY without CSV wrote the file (\\n is a line break, \\\\ a backslash), otherwise --escape none.',
      )
  }

  #createFor(header: CsvRecord): StatementSync {
    const names = header.map((name) => (name ?? '').trim())
    while (names.at(-1) === '') names.pop()
    const isOdd = names.length === 0 || names.some((name) => name.includes('\0'))
    const isTwice = new Set([PROBLEM, ...names].map((name) => name.toLowerCase())).size <= names.length
    if (names.length > COLUMNS_MAX || isOdd || isTwice)
      throw new UserError(
        `The first line does not name the columns: ${names.slice(0, 10).join(', ')}.`,
        `Add a header with at most ${COLUMNS_MAX.toLocaleString('en')} different names.`,
      )
    this.#width = names.length
    const columns = [PROBLEM, ...names].map((name) => `${quotedName(name)} TEXT`)
    this.#database.exec(`CREATE TABLE ${quotedName(this.#table)} (${columns.join(', ')})`)
    return this.#database.prepare(
      `INSERT INTO ${quotedName(this.#table)} VALUES (${columns.map(() => '?').join(', ')})`,
    )
  }
}
