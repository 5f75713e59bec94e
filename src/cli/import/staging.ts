import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { constants, DatabaseSync } from 'node:sqlite'
import { UserError } from '../shell/errors.ts'
import { CsvRecords } from './csv.ts'
import { type Field, fields, type Mapping } from './mapping.ts'
import { type ImportRecord, isRefusal, type Refusal, readRow, type SourceRow } from './records.ts'
import { SqlStatements, tableOf, withoutBlanks } from './sql-statements.ts'

const PIECE_BYTES = 1_048_576
const COLUMNS_MAX = 1_000

/** Should SQLite see two statements where one was cut: none reaches another file (VACUUM INTO attaches, too). */
function refuseOtherFiles(database: DatabaseSync): void {
  const { SQLITE_ATTACH, SQLITE_DENY, SQLITE_OK } = constants as unknown as Record<string, number>
  const guarded = database as unknown as { setAuthorizer(allow: (action: number) => number): void } // not in the types yet
  guarded.setAuthorizer((action) => (action === SQLITE_ATTACH ? SQLITE_DENY! : SQLITE_OK!))
}

/** A user of the file that may be imported. `n` counts all of the table's rows from 1. */
export interface Staged {
  n: number
  record: ImportRecord
}

export interface RefusedRow extends Refusal {
  externalId: string
  email: string
  handle: string
}

/** What the check of all rows has found. */
export interface Checked {
  read: number
  refused: number
  /** Whose password's hash isn't of a kind that is known here. */
  withoutPassword: number
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
const text = (name: string): string =>
  `CASE typeof(${quoted(name)}) WHEN 'blob' THEN lower(hex(${quoted(name)})) ELSE CAST(${quoted(name)} AS TEXT) END`

/**
 * The file's users in a temporary SQLite database: SQLite itself reads SQL, sorts, and finds what comes twice. Of a dump
 * only the statements are run that make the one table or fill it, so nothing else in the file is done. The disk needs
 * about the table's size, memory a piece of the file and its longest statement.
 */
export class Staging {
  readonly #database: DatabaseSync
  readonly #table: string
  #now = Number.NaN

  constructor(table: string) {
    this.#table = table
    // Without a name it is a temporary file that has no name either: it is gone when the process is, however that ends.
    this.#database = new DatabaseSync('', { enableForeignKeyConstraints: false })
    refuseOtherFiles(this.#database)
    this.#database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN')
  }

  /** Reads the file. Resolves to its SHA-256. Throws UserError for what can't be read, and then nothing was sent. */
  async load(file: string, told: (fraction: number) => void): Promise<string> {
    const isCsv = /\.csv$/i.test(file)
    const reader = isCsv ? this.#csvReader() : this.#sqlReader()
    const hash = createHash('sha256')
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
    let bytes = 0
    try {
      const { size } = statSync(file)
      for await (const piece of createReadStream(file, { highWaterMark: PIECE_BYTES })) {
        const chunk = piece as Buffer
        hash.update(chunk)
        reader.push(decoder.decode(chunk, { stream: true }))
        bytes += chunk.length
        told(bytes / size)
      }
      reader.end(decoder.decode())
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
        throw new UserError(`${file} is not UTF-8.`, 'Convert it first: iconv -f LATIN1 -t UTF-8')
      if ((error as NodeJS.ErrnoException).syscall)
        throw new UserError(
          `${file} can't be read: ${(error as Error).message}.`,
          'Name a .sql dump or a .csv with a header, as a file that you may read.',
        )
      throw error
    }
    return hash.digest('hex')
  }

  /** The table's columns, in order. */
  columns(): string[] {
    const rows = this.#database.prepare(`SELECT name FROM pragma_table_xinfo(?)`).all(this.#table)
    return rows.map(({ name }) => String(name))
  }

  /**
   * Takes what is mapped, in the table's order, which is the same each time, and lets the table go. `now`: what is later
   * than that, by more than a day, is no time of creation; an import that goes on must be given the same one.
   */
  stage(mapping: Mapping, now: number): void {
    this.#now = now
    const mapped = fields.filter((field) => mapping[field])
    const columns = mapped.map((field) => text(mapping[field]!))
    const { wr } = this.#database.prepare('SELECT wr FROM pragma_table_list(?)').get(this.#table)!
    const order = wr === 1 ? '1, 2, 3' : 'rowid' // WITHOUT ROWID has none
    this.#database.exec(`
      CREATE TABLE "banyan staged" (n INTEGER PRIMARY KEY, ${fields.map(quoted).join(', ')});
      INSERT INTO "banyan staged" (${mapped.map(quoted).join(', ')})
        SELECT ${columns.join(', ')} FROM ${quoted(this.#table)} ORDER BY ${order};
      CREATE INDEX "banyan staged by external id" ON "banyan staged" (externalId);
      CREATE TABLE "banyan refused" (n INTEGER PRIMARY KEY);
      CREATE TABLE "banyan taken" (value TEXT PRIMARY KEY) WITHOUT ROWID;
      DROP TABLE ${quoted(this.#table)};
    `)
  }

  /** Checks every row; `refuse` is told of each that can't be imported: it is wrong, or what it wants is an earlier one's. */
  check(refuse: (row: RefusedRow) => void): Checked {
    const checked: Checked = { read: 0, refused: 0, withoutPassword: 0 }
    const mark = this.#database.prepare('INSERT INTO "banyan refused" (n) VALUES (?)')
    const take = this.#taker()
    for (const { n, source } of this.#rows('1')) {
      checked.read++
      const read = take(readRow(source, this.#now))
      if (isRefusal(read)) {
        checked.refused++
        mark.run(n)
        const { externalId, email, handle } = source
        refuse({ externalId: externalId ?? '', email: email ?? '', handle: handle ?? '', ...read })
      } else if (!read.passwordHash?.startsWith('$scrypt$')) checked.withoutPassword++
    }
    this.#database.exec('DROP TABLE "banyan taken"')
    return checked
  }

  /** How many users may be imported. */
  importable(): number {
    const count = (table: string) =>
      Number(this.#database.prepare(`SELECT count(*) AS n FROM ${quoted(table)}`).get()!.n)
    return count('banyan staged') - count('banyan refused')
  }

  /** Users that may be imported, `limit` of them, after the one that `n` is. */
  page(n: number, limit: number): Staged[] {
    const rows = this.#rows('n > ? AND n NOT IN (SELECT n FROM "banyan refused")', n, limit)
    return [...rows].map((row) => ({ n: row.n, record: readRow(row.source, this.#now) as ImportRecord }))
  }

  /** `size` of them, evenly from all. */
  sample(size: number): Staged[] {
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

  *#rows(where: string, ...values: number[]): Generator<{ n: number; source: SourceRow }> {
    const limit = values.length > 0 ? ' LIMIT ?' : ''
    const find = this.#database.prepare(`SELECT * FROM "banyan staged" WHERE ${where} ORDER BY n${limit}`)
    for (const row of find.iterate(...values)) {
      const { n, ...source } = row as { n: number } & Record<Field, string | null>
      yield { n, source }
    }
  }

  /** Takes a user's external id, e-mail address and handle, unless an earlier one has one of them. */
  #taker() {
    const isTaken = this.#database.prepare('SELECT 1 FROM "banyan taken" WHERE value = ?')
    const take = this.#database.prepare('INSERT INTO "banyan taken" (value) VALUES (?)')
    return (read: ImportRecord | Refusal): ImportRecord | Refusal => {
      if (isRefusal(read)) return read
      const wants: [string, string, string][] = [
        ['EXTERNAL_ID_TWICE', 'external id', `i${read.externalId}`],
        ['EMAIL_TWICE', 'e-mail address', `e${read.email.trim().toLowerCase()}`],
        ['HANDLE_TWICE', 'handle', `h${read.handle.toLowerCase()}`],
      ]
      const twice = wants.find(([, , value]) => isTaken.get(value))
      if (twice) return { code: twice[0], detail: `Another user of the file has this ${twice[1]}.` }
      for (const [, , value] of wants) take.run(value)
      return read
    }
  }

  #sqlReader() {
    const statements = new SqlStatements()
    const others = new Set<string>()
    let number = 0
    let isMade = false
    const run = (statement: string) => {
      number++
      const into = tableOf(statement)
      if (!into) return
      if (into.table.toLowerCase() !== this.#table.toLowerCase()) return void others.add(into.table)
      try {
        this.#database.exec(statement)
        isMade = true
      } catch (error) {
        throw new UserError(
          `Statement ${number}, "${withoutBlanks(statement).slice(0, 60)}…": ${(error as Error).message}.`,
          'Export the table again with its schema and its rows: wrangler d1 export, or sqlite3 .dump.',
        )
      }
    }
    return {
      push: (piece: string) => statements.push(piece).forEach(run),
      end: (piece: string) => {
        statements.push(piece).forEach(run)
        const rest = statements.rest()
        if (tableOf(rest)) throw new UserError('The file ends in the middle of a statement.', 'Export it again.')
        if (!isMade)
          throw new UserError(
            `There is no table "${this.#table}" in the file.`,
            `Name it with --table. The file has: ${[...others].sort().join(', ') || 'none'}.`,
          )
      },
    }
  }

  #csvReader() {
    const records = new CsvRecords()
    let insert: ReturnType<DatabaseSync['prepare']> | null = null
    let width = 0
    let number = 0
    const add = (record: string[]) => {
      number++
      if (!insert) {
        width = record.length
        insert = this.#createFor(record.map((name, index) => (index === 0 ? name.replace(/^\ufeff/, '') : name)))
        return
      }
      if (record.length !== width)
        throw new UserError(
          `Record ${number} has ${record.length} fields, and the header has ${width}.`,
          'A field with a comma or a line break in it is quoted.',
        )
      insert.run(...record)
    }
    return {
      push: (piece: string) => records.push(piece).forEach(add),
      end: (piece: string) => {
        records.push(piece).forEach(add)
        records.end().forEach(add)
        if (!insert) throw new UserError('The file is empty.', 'Its first line names the columns.')
      },
    }
  }

  #createFor(header: string[]) {
    const names = header.map((name) => name.trim())
    if (names.length > COLUMNS_MAX || new Set(names.map((name) => name.toLowerCase())).size < names.length)
      throw new UserError(`The first line doesn't name the columns: ${names.slice(0, 10).join(', ')}.`, 'Add a header.')
    this.#database.exec(
      `CREATE TABLE ${quoted(this.#table)} (${names.map((name) => `${quoted(name)} TEXT`).join(', ')})`,
    )
    const places = names.map(() => '?').join(', ')
    return this.#database.prepare(`INSERT INTO ${quoted(this.#table)} VALUES (${places})`)
  }
}
