import { constants, DatabaseSync } from 'node:sqlite'
import { quotedName } from '../../core/sql-text.ts'
import { UserError } from '../shell/errors.ts'
import { type CsvOptions, nameOf } from './csv-form.ts'
import { CsvTable, PROBLEM } from './csv-table.ts'
import type { Encoding } from './encodings.ts'
import type { Mapping } from './mapping.ts'
import type { Importer, ImportRecord, RecordRules, Refusal, SourceRow } from './noun.ts'
import { NOT_TEXT, shown } from './odd-text.ts'
import type { RefusedRow } from './refused-file.ts'
import { isRefusal, readRow } from './rows.ts'
import { SourceFile } from './source-file.ts'
import { CONFLICTING, SqlTable } from './sql-table.ts'

/** Denies access to other files, in case SQLite sees two statements in a cut text. VACUUM INTO attaches a file too. */
function refuseOtherFiles(database: DatabaseSync): void {
  const { SQLITE_ATTACH, SQLITE_DENY, SQLITE_OK } = constants as unknown as Record<
    'SQLITE_ATTACH' | 'SQLITE_DENY' | 'SQLITE_OK',
    number
  >
  const guarded = database as unknown as { setAuthorizer(allow: (action: number) => number): void } // not in the types yet
  guarded.setAuthorizer((action) => (action === SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK))
}

/** A user of the file that can be imported. `n` is the row's number in the table, from 1. */
export interface Staged<R extends ImportRecord> {
  n: number
  record: R
}

/** The result of checking all rows. */
export interface Checked {
  read: number
  refused: number
  /** Number of records per remark. */
  remarked: Record<string, number>
}

const BLOB_SQL = 'char(0xfdd2)'

/** SQL for a column as text. A blob becomes hex in an external id, and `BLOB` in other fields. */
function text(name: string, field: string): string {
  const column = quotedName(name)
  const ofBytes = field === 'externalId' ? `lower(hex(${column}))` : BLOB_SQL
  return `CASE typeof(${column}) WHEN 'blob' THEN ${ofBytes} ELSE CAST(${column} AS TEXT) END`
}

/** The user's options for reading a file. */
export interface Reading extends CsvOptions {
  encoding: Encoding | null
}

const NOTHING_SAID: Reading = { encoding: null, delimiter: null, escape: null, nullText: null, isFilled: false }
const SQL_BEGINNING = /^\s*(?:--|\/\*|(?:pragma|begin|create|insert|replace|drop|alter|set)\b)/i

/** Decides by the file's name or, if the name does not show it, by the file's beginning. */
function isSql(file: string, beginning: string): boolean {
  const name = file.toLowerCase().replace(/\.gz$/, '')
  if (/\.(?:csv|tsv|tab)$/.test(name)) return false
  return beginning === '' || /\.(?:sql|dump)$/.test(name) || SQL_BEGINNING.test(beginning)
}

/** The parts of an importer that the staging uses. */
type StagingImporter<R extends ImportRecord> = Pick<Importer, 'fields' | 'reported' | 'examples'> & {
  remarks: readonly { name: string; isOfRecord(record: R): boolean }[]
}

interface StagedRow {
  n: number
  source: SourceRow
  /** Why the record is invalid, or null. */
  problem: string | null
}

/**
 * The file's users in a temporary SQLite database, which reads SQL, sorts, and finds duplicates. From a dump, it runs
 * only the statements that create or fill the one table. It needs disk space for about the table's size, and memory for
 * a piece of the file and its longest statement.
 */
export class Staging<R extends ImportRecord> {
  readonly #importer: StagingImporter<R>
  readonly #rules: RecordRules<R>
  readonly #fields: string[]
  readonly #database: DatabaseSync
  readonly #table: string
  readonly #reading: Reading
  /** The file's special properties, as text: `gzip`, `UTF-16 LE`, `";" between fields`. */
  form: string[] = []
  #hasOddUtf8 = false
  #now = Number.NaN

  constructor(importer: StagingImporter<R>, rules: RecordRules<R>, table: string, reading: Reading = NOTHING_SAID) {
    this.#importer = importer
    this.#rules = rules
    this.#fields = Object.keys(importer.fields)
    this.#table = table
    this.#reading = reading
    // An unnamed database is an unlinked temporary file, which disappears with the process, however it ends.
    this.#database = new DatabaseSync('', {
      enableForeignKeyConstraints: false,
      // The sqlite3 command and D1 also allow strings in double quotes, as in CHECK (role IN ("admin")).
      enableDoubleQuotedStringLiterals: true,
    })
    refuseOtherFiles(this.#database)
    // With the journal, a failed statement leaves no rows. The journal stays small, because it does not contain new
    // pages.
    this.#database.exec(
      'PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON; BEGIN',
    )
  }

  /** Reads the file, and resolves to its SHA-256. Throws UserError for an unreadable file, before anything is sent. */
  async load(file: string, told: (fraction: number) => void): Promise<string> {
    const source = new SourceFile(file, this.#reading.encoding, this.#importer.examples.columns)
    let reader: SqlTable | CsvTable | null = null
    for await (const piece of source.pieces(told)) {
      reader ??= this.#readerFor(file, piece)
      reader.push(piece)
    }
    reader ??= this.#readerFor(file, '')
    reader.end()
    const form = reader instanceof CsvTable ? reader.form : null
    this.form = [
      ...source.form,
      ...(form && form.delimiter !== ',' ? [`${nameOf(form.delimiter)} between fields`] : []),
    ]
    this.#hasOddUtf8 = source.hasOddUtf8
    return source.fingerprint()
  }

  #readerFor(file: string, beginning: string): SqlTable | CsvTable {
    return isSql(file, beginning)
      ? new SqlTable(this.#database, this.#table)
      : new CsvTable(this.#database, this.#table, this.#reading)
  }

  /** The table's columns, in order. */
  columns(): string[] {
    return this.#columnsOf(this.#table).filter((name) => name !== PROBLEM)
  }

  #columnsOf(table: string): string[] {
    const rows = this.#database.prepare(`SELECT name FROM pragma_table_xinfo(?)`).all(table)
    return rows.map(({ name }) => String(name))
  }

  /**
   * Copies the mapped columns in the table's order, which is the same in each run, and drops the table. Times of
   * creation more than a day after `now` are refused. A resumed import must pass the same `now`.
   */
  stage(mapping: Mapping, now: number): void {
    this.#now = now
    const fields = this.#fields
    const mapped = fields.filter((field) => mapping[field])
    const names = [...mapped, 'problem'].map(quotedName).join(', ')
    const hasNoRowid = this.#numberIn('SELECT wr FROM pragma_table_list(?)', this.#table) === 1
    this.#database.exec(`
      CREATE TABLE "banyan staged" (n INTEGER PRIMARY KEY, ${fields.map(quotedName).join(', ')}, problem);
      INSERT INTO "banyan staged" (${names})
        ${this.#selection(this.#table, mapping)} ORDER BY ${hasNoRowid ? '1, 2, 3' : 'rowid'};
      CREATE INDEX "banyan staged by external id" ON "banyan staged" (externalId);
      CREATE TABLE "banyan refused" (n INTEGER PRIMARY KEY);
      CREATE TABLE "banyan taken" (value TEXT PRIMARY KEY) WITHOUT ROWID;
      DROP TABLE ${quotedName(this.#table)};
    `) // WITHOUT ROWID has no rowid
    if (this.#columnsOf(CONFLICTING).length > 0)
      this.#database.exec(
        `INSERT INTO "banyan staged" (${names}) ${this.#selection(CONFLICTING, mapping)} ORDER BY rowid;
         DROP TABLE ${quotedName(CONFLICTING)}`,
      )
    if (this.#hasOddUtf8 && this.#reading.encoding === null) this.#refuseOtherEncoding()
  }

  /** SQL for the mapped columns of a table as text, and for the record's problem. */
  #selection(table: string, mapping: Mapping): string {
    const columns = this.#columnsOf(table)
    const has = (name: string) => columns.includes(name)
    const mapped = this.#fields.flatMap((field) => {
      const column = mapping[field]
      return column ? [has(column) ? text(column, field) : 'NULL'] : []
    })
    return `SELECT ${[...mapped, has(PROBLEM) ? quotedName(PROBLEM) : 'NULL'].join(', ')} FROM ${quotedName(table)}`
  }

  /**
   * A single invalid value only refuses its user. If more users have invalid text than valid text beyond ASCII, the
   * whole file has another encoding.
   */
  #refuseOtherEncoding(): void {
    const anyOf = (test: (column: string) => string) =>
      this.#fields.map((field) => test(quotedName(field))).join(' OR ')
    const isOdd = anyOf((column) => `instr(${column}, char(0xfdd0)) > 0`)
    const isBeyondAscii = anyOf((column) => `${column} GLOB '*[^' || char(1) || '-' || char(127) || ']*'`)
    const { odd, inOrder } = this.#database
      .prepare(
        `SELECT count(*) FILTER (WHERE coalesce(${isOdd}, 0)) AS odd,
           count(*) FILTER (WHERE NOT coalesce(${isOdd}, 0) AND (${isBeyondAscii})) AS inOrder FROM "banyan staged"`,
      )
      .get() as { odd: number; inOrder: number }
    if (odd < 2 || odd <= inOrder) return
    throw new UserError(
      `The file is not UTF-8, because ${odd} users have bytes that are invalid in it.`,
      'If it is Latin-1 or Windows-1252, pass --encoding windows-1252, or convert it: iconv -f LATIN1 -t UTF-8\nIf it is UTF-8 and only these users are damaged, pass --encoding utf-8, which refuses only them.',
    )
  }

  /** Checks every row. Calls `refuse` for each that is invalid or repeats a unique value of an earlier row. */
  check(refuse: (row: RefusedRow) => void): Checked {
    const { remarks, reported } = this.#importer
    const remarked = Object.fromEntries(remarks.map(({ name }) => [name, 0]))
    const checked: Checked = { read: 0, refused: 0, remarked }
    const mark = this.#database.prepare('INSERT INTO "banyan refused" (n) VALUES (?)')
    const take = this.#taker()
    for (const row of this.#rows('1')) {
      checked.read++
      const read = take(this.#read(row))
      if (isRefusal(read)) {
        checked.refused++
        mark.run(row.n)
        refuse({ values: reported.map((field) => shown(row.source[field] ?? '')), ...read })
        continue
      }
      for (const { name, isOfRecord } of remarks) if (isOfRecord(read)) remarked[name] = (remarked[name] ?? 0) + 1
    }
    this.#database.exec('DROP TABLE "banyan taken"')
    return checked
  }

  /** The number of users that can be imported. */
  importable(): number {
    const count = (table: string) => this.#numberIn(`SELECT count(*) FROM ${quotedName(table)}`)
    return count('banyan staged') - count('banyan refused')
  }

  /** The result of a query with one row and one column. */
  #numberIn(sql: string, ...values: string[]): number {
    const [value] = Object.values(this.#database.prepare(sql).get(...values) ?? {})
    return Number(value)
  }

  #read({ source, problem }: StagedRow): R | Refusal {
    if (problem) return { code: 'RECORD_INVALID', detail: problem }
    return readRow(this.#importer.fields, this.#rules, source, this.#now)
  }

  /** Up to `limit` users that can be imported, after row `n`. */
  page(n: number, limit: number): Staged<R>[] {
    const rows = this.#rows('n > ? AND n NOT IN (SELECT n FROM "banyan refused")', n, limit)
    return [...rows].map((row) => {
      const record = this.#read(row)
      if (isRefusal(record)) throw new Error(`row ${row.n} passed the check, but is refused now`)
      return { n: row.n, record }
    })
  }

  /** `size` users that can be imported, evenly spaced. */
  sample(size: number): Staged<R>[] {
    const all = BigInt(this.importable())
    const count = all < size ? all : BigInt(size)
    // In SQL, because tens of millions of numbers do not fit into memory. The k-th sample is number k * all / count of
    // `all`.
    const chosen = this.#database.prepare(`
      SELECT n FROM (
        SELECT n, row_number() OVER (ORDER BY n) - 1 AS place
        FROM "banyan staged" WHERE n NOT IN (SELECT n FROM "banyan refused")
      ) WHERE (place * :count + :all - 1) / :all * :all / :count = place`)
    return chosen.all({ all, count }).flatMap(({ n }) => this.page(Number(n) - 1, 1))
  }

  /** Marks users that the server refused, so that they are not verified. */
  markRefused(externalIds: string[]): void {
    const mark = this.#database.prepare(
      `INSERT INTO "banyan refused" (n)
       SELECT n FROM "banyan staged" WHERE externalId = ? AND n NOT IN (SELECT n FROM "banyan refused")`,
    )
    for (const externalId of externalIds) mark.run(externalId)
  }

  close(): void {
    this.#database.close()
  }

  *#rows(where: string, ...values: number[]): Generator<StagedRow> {
    const limit = values.length > 0 ? ' LIMIT ?' : ''
    const find = this.#database.prepare(`SELECT * FROM "banyan staged" WHERE ${where} ORDER BY n${limit}`)
    for (const row of find.iterate(...values)) {
      const { n, problem, ...source } = row as { n: number; problem: string | null } & Record<string, string | null>
      const isDoubtful = Object.values(source).some((value) => value?.includes('\ufffd'))
      yield { n, problem, source: isDoubtful ? this.#asStored(n, source) : source }
    }
  }

  /** U+FFFD may come from the file, or stand for bytes that are not UTF-8, as in `CAST(x'ff' AS TEXT)`. */
  #asStored(n: number, source: SourceRow): SourceRow {
    const columns = this.#fields.map((field) => `hex(${quotedName(field)}) AS ${quotedName(field)}`).join(', ')
    const bytes = this.#database.prepare(`SELECT ${columns} FROM "banyan staged" WHERE n = ?`).get(n) ?? {}
    const isExact = (field: string, value: string) => Buffer.from(value).toString('hex').toUpperCase() === bytes[field]
    const entries = Object.entries(source).map(([field, value]): [string, string | null] => [
      field,
      value === null || isExact(field, value) ? value : value.replaceAll('\ufffd', NOT_TEXT),
    ])
    return Object.fromEntries(entries)
  }

  /** Returns a function that reserves a record's unique values, or refuses it if an earlier record has one of them. */
  #taker() {
    const isTaken = this.#database.prepare('SELECT 1 FROM "banyan taken" WHERE value = ?')
    const take = this.#database.prepare('INSERT INTO "banyan taken" (value) VALUES (?)')
    return (read: R | Refusal): R | Refusal => {
      if (isRefusal(read)) return read
      const wants = this.#rules.uniqueIn(read).map((unique, index) => ({ ...unique, key: `${index} ${unique.value}` }))
      const twice = wants.find(({ key }) => isTaken.get(key))
      if (twice) return { code: twice.code, detail: `Another user of the file has this ${twice.called}.` }
      for (const { key } of wants) take.run(key)
      return read
    }
  }
}
