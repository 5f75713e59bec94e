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

/** Should SQLite see two statements where one was cut: none reaches another file (VACUUM INTO attaches, too). */
function refuseOtherFiles(database: DatabaseSync): void {
  const { SQLITE_ATTACH, SQLITE_DENY, SQLITE_OK } = constants as unknown as Record<
    'SQLITE_ATTACH' | 'SQLITE_DENY' | 'SQLITE_OK',
    number
  >
  const guarded = database as unknown as { setAuthorizer(allow: (action: number) => number): void } // not in the types yet
  guarded.setAuthorizer((action) => (action === SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK))
}

/** A user of the file that may be imported. `n` counts all of the table's rows from 1. */
export interface Staged<R extends ImportRecord> {
  n: number
  record: R
}

/** What the check of all rows has found. */
export interface Checked {
  read: number
  refused: number
  /** Of how many records each remark is, by its name. */
  remarked: Record<string, number>
}

const BLOB_SQL = 'char(0xfdd2)'

/** SQL: a column as text. Of an external id the bytes are one, in hex; elsewhere they are none. */
function text(name: string, field: string): string {
  const column = quotedName(name)
  const ofBytes = field === 'externalId' ? `lower(hex(${column}))` : BLOB_SQL
  return `CASE typeof(${column}) WHEN 'blob' THEN ${ofBytes} ELSE CAST(${column} AS TEXT) END`
}

/** What is known of a file before it is read. */
export interface Reading extends CsvOptions {
  encoding: Encoding | null
}

const NOTHING_SAID: Reading = { encoding: null, delimiter: null, escape: null, nullText: null, isFilled: false }
const SQL_BEGINNING = /^\s*(?:--|\/\*|(?:pragma|begin|create|insert|replace|drop|alter|set)\b)/i

/** By the file's name, and by its beginning where the name doesn't tell. */
function isSql(file: string, beginning: string): boolean {
  const name = file.toLowerCase().replace(/\.gz$/, '')
  if (/\.(?:csv|tsv|tab)$/.test(name)) return false
  return beginning === '' || /\.(?:sql|dump)$/.test(name) || SQL_BEGINNING.test(beginning)
}

/** What of an importer the staging uses. */
type StagingImporter<R extends ImportRecord> = Pick<Importer, 'fields' | 'reported' | 'examples'> & {
  remarks: readonly { name: string; isOfRecord(record: R): boolean }[]
}

interface StagedRow {
  n: number
  source: SourceRow
  /** Why its record can't be read. */
  problem: string | null
}

/**
 * The file's users in a temporary SQLite database: SQLite itself reads SQL, sorts, and finds what comes twice. Of a dump
 * only the statements are run that make the one table or fill it, so nothing else in the file is done. The disk needs
 * about the table's size, memory a piece of the file and its longest statement.
 */
export class Staging<R extends ImportRecord> {
  readonly #importer: StagingImporter<R>
  readonly #rules: RecordRules<R>
  readonly #fields: string[]
  readonly #database: DatabaseSync
  readonly #table: string
  readonly #reading: Reading
  /** Of what is special about the file, as it is said: `gzip`, `UTF-16 LE`, `";" between fields`. */
  form: string[] = []
  #hasOddUtf8 = false
  #now = Number.NaN

  constructor(importer: StagingImporter<R>, rules: RecordRules<R>, table: string, reading: Reading = NOTHING_SAID) {
    this.#importer = importer
    this.#rules = rules
    this.#fields = Object.keys(importer.fields)
    this.#table = table
    this.#reading = reading
    // Without a name it is a temporary file that has no name either: it is gone when the process is, however that ends.
    this.#database = new DatabaseSync('', {
      enableForeignKeyConstraints: false,
      // As the sqlite3 command and D1 do: a schema's CHECK (role IN ("admin")) has a text there.
      enableDoubleQuotedStringLiterals: true,
    })
    refuseOtherFiles(this.#database)
    // With the journal, a statement that fails leaves none of its rows; it holds little, since pages that are new are not in it.
    this.#database.exec(
      'PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON; BEGIN',
    )
  }

  /** Reads the file. Resolves to its SHA-256. Throws UserError for what can't be read, and then nothing was sent. */
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
   * Takes what is mapped, in the table's order, which is the same each time, and lets the table go. `now`: what is later
   * than that, by more than a day, is no time of creation; an import that goes on must be given the same one.
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

  /** SQL: the mapped columns of a table, as text, and what is wrong with the record. */
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
   * One odd value costs one user. Where such users are more than those whose letters beyond ASCII are in order, it is the
   * file that has another encoding.
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
      `The file is not UTF-8: ${odd} users have bytes that are no text in it.`,
      'If it is Latin-1 or Windows-1252, pass --encoding windows-1252, or convert it: iconv -f LATIN1 -t UTF-8\nIf it is UTF-8 and these users are damaged, pass --encoding utf-8, which refuses them only.',
    )
  }

  /** Checks every row; `refuse` is told of each that can't be imported: it is wrong, or what it wants is an earlier one's. */
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

  /** How many users may be imported. */
  importable(): number {
    const count = (table: string) => this.#numberIn(`SELECT count(*) FROM ${quotedName(table)}`)
    return count('banyan staged') - count('banyan refused')
  }

  /** Of a query that has one row of one column. */
  #numberIn(sql: string, ...values: string[]): number {
    const [value] = Object.values(this.#database.prepare(sql).get(...values) ?? {})
    return Number(value)
  }

  #read({ source, problem }: StagedRow): R | Refusal {
    if (problem) return { code: 'RECORD_INVALID', detail: problem }
    return readRow(this.#importer.fields, this.#rules, source, this.#now)
  }

  /** Users that may be imported, `limit` of them, after the one that `n` is. */
  page(n: number, limit: number): Staged<R>[] {
    const rows = this.#rows('n > ? AND n NOT IN (SELECT n FROM "banyan refused")', n, limit)
    return [...rows].map((row) => {
      const record = this.#read(row)
      if (isRefusal(record)) throw new Error(`row ${row.n} could be imported when it was checked, and now it can't`)
      return { n: row.n, record }
    })
  }

  /** `size` of them, evenly from all. */
  sample(size: number): Staged<R>[] {
    const all = BigInt(this.importable())
    const count = all < size ? all : BigInt(size)
    // In SQL, since tens of millions of numbers don't fit into memory: of `all` the k-th one chosen is number k * all / count.
    const chosen = this.#database.prepare(`
      SELECT n FROM (
        SELECT n, row_number() OVER (ORDER BY n) - 1 AS place
        FROM "banyan staged" WHERE n NOT IN (SELECT n FROM "banyan refused")
      ) WHERE (place * :count + :all - 1) / :all * :all / :count = place`)
    return chosen.all({ all, count }).flatMap(({ n }) => this.page(Number(n) - 1, 1))
  }

  /** The server refused these: they are not verified. */
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

  /** U+FFFD may be in the file, or stand for bytes of a text that are no UTF-8: `CAST(x'ff' AS TEXT)`. */
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

  /** Takes what a record has for itself, unless an earlier one has it. */
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
