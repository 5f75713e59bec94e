/**
 * D1 over node:sqlite: the binding's behaviour, texts and refusals, with the network left to the caller. Errors, types
 * and counts were taken from the local D1. test/workerd/sharding/answers.test.ts checks the texts that the router
 * reads.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { FIND_TABLES } from '../../src/resharding/tables.ts'
import { d1Binding, d1Error, type SentCall, type Shape } from '../support/d1-binding.ts'
import { limitLikeD1 } from '../support/d1-limits.ts'

export type SimulatedCall = Pick<SentCall, 'statements'>

/**
 * The network of a round trip. It may wait, fail before or after `execute`, or call it much later, several times or
 * never. `execute` runs the whole call as one synchronous transaction. It returns its answers or throws D1's error. The
 * answers are passed through unchanged. For `raw()`, their rows are arrays, the first of which has the names.
 */
export type Transport = (call: SimulatedCall, execute: () => D1Result<unknown>[]) => Promise<D1Result<unknown>[]>

type Row = unknown[]

/** A simulated application has a few hundred texts. */
const preparedMax = 2_000

interface Prepared {
  statement: StatementSync
  isRead: boolean
  /** A statement about the schema, whose answer stays the same until the schema changes. */
  asksSchema: boolean
  changesSchema: boolean
  parameters: number
  names: string[]
}

/** One database, shared by many connections. Nothing else writes to it while a call runs, so a call is one step. */
export class SimulatedShard {
  readonly #sqlite: DatabaseSync
  readonly #prepared = new Map<string, Prepared>()
  /** By the statement and its values. */
  readonly #schemaAnswers = new Map<string, Row[]>()
  readonly #totalChanges: StatementSync
  readonly #savepoint: StatementSync
  readonly #release: StatementSync
  readonly #undo: StatementSync
  #commits = 0
  #marked: { commits: number } | null = null
  #schemaChanged = false

  constructor(sqlite: DatabaseSync) {
    limitLikeD1(sqlite)
    this.#sqlite = sqlite
    this.#totalChanges = sqlite.prepare('SELECT total_changes()')
    returnArrays(this.#totalChanges)
    this.#savepoint = sqlite.prepare('SAVEPOINT batch')
    this.#release = sqlite.prepare('RELEASE batch')
    this.#undo = sqlite.prepare('ROLLBACK TO batch')
  }

  /** A `D1Database` as one process sees it. */
  connection(transport: Transport): D1Database {
    return d1Binding(async (call) => {
      let bookmark = ''
      const results = await transport(call, () => {
        const executed = this.execute(call, call.shape)
        bookmark = this.bookmark
        return executed
      })
      return { results, bookmark }
    })
  }

  /** How many calls changed something. There is one copy of the data, so it meets every session's constraint. */
  get bookmark(): string {
    return String(this.#commits).padStart(12, '0')
  }

  /** Remembers the current state for `reset()`. */
  mark(): void {
    if (this.#marked) this.#sqlite.exec('COMMIT')
    this.#sqlite.exec('BEGIN')
    this.#marked = { commits: this.#commits }
    this.#schemaChanged = false
  }

  /** Returns to the state at `mark()`. Costs only the pages written since then, and prepared statements stay valid. */
  reset(): void {
    if (!this.#marked) throw new Error('reset() needs an earlier mark()')
    this.#sqlite.exec('ROLLBACK')
    this.#sqlite.exec('BEGIN')
    this.#commits = this.#marked.commits
    if (this.#schemaChanged) this.#forgetSchema()
    this.#schemaChanged = false
  }

  /** Runs the statements as one transaction. If it throws D1's error, none of them has taken effect. */
  execute({ statements }: SimulatedCall, shape: Shape = 'objects'): D1Result<unknown>[] {
    const answers: D1Result<unknown>[] = []
    const last = statements.length - 1
    let changesBefore = -1
    let changed = 0
    let isOpen = false
    try {
      for (let index = 0; index <= last; index++) {
        const { sql, values } = statements[index]!
        const prepared = this.#prepared.get(sql) ?? this.#prepare(sql)
        if (values.length !== prepared.parameters)
          throw new D1Refusal('Wrong number of parameter bindings for SQL query.')
        if (prepared.isRead) {
          const rows = prepared.asksSchema ? this.#readSchema(sql, prepared, values) : read(prepared, values)
          answers.push(answer(shaped(prepared, rows, shape), 0))
          continue
        }
        if (changesBefore < 0) changesBefore = this.#countChanges()
        // A failing statement undoes itself. Only earlier writes of the same call need the savepoint.
        if (!isOpen && index < last) {
          this.#savepoint.get()
          isOpen = true
        }
        const rows = write(prepared, values)
        const changesAfter = this.#countChanges()
        answers.push(answer(shaped(prepared, rows, shape), changesAfter - changesBefore))
        changed += changesAfter - changesBefore
        changesBefore = changesAfter
        if (prepared.changesSchema) this.#forgetSchema()
      }
    } catch (error) {
      if (isOpen) {
        this.#undo.get()
        this.#release.get()
        if (this.#schemaChanged) this.#forgetSchema()
      }
      throw asD1Error(error)
    }
    if (isOpen) this.#release.get()
    if (changed > 0) this.#commits++
    return answers
  }

  /** Includes rows written by triggers, which D1's meta counts and changes() does not. */
  #countChanges(): number {
    return (this.#totalChanges.get() as unknown as [number])[0]
  }

  #prepare(sql: string): Prepared {
    refuseStatement(sql)
    const statement = this.#sqlite.prepare(sql)
    refuseRest(sql.slice(statement.sourceSQL.length))
    const names = statement.columns().map(({ name }) => name)
    const isRead = READ.test(sql)
    returnArrays(statement)
    // node:sqlite does not round an integer over 2^53. A read that finds one is run again; a write can't be.
    if (!isRead) statement.setReadBigInts(true)
    const prepared = {
      statement,
      isRead,
      asksSchema: sql === FIND_TABLES,
      changesSchema: SCHEMA.test(sql),
      parameters: countParameters(sql),
      names,
    }
    if (this.#prepared.size >= preparedMax) this.#prepared.clear()
    this.#prepared.set(sql, prepared)
    return prepared
  }

  /** `SELECT *` may return other columns from now on. */
  #forgetSchema(): void {
    this.#schemaChanged = true
    this.#prepared.clear()
    this.#schemaAnswers.clear()
  }

  /** Every incarnation of a mover asks this, and SQLite reads every table's description each time. */
  #readSchema(sql: string, prepared: Prepared, values: unknown[]): Row[] {
    const question = `${sql} ${JSON.stringify(values)}`
    let rows = this.#schemaAnswers.get(question)
    if (!rows) {
      rows = read(prepared, values)
      this.#schemaAnswers.set(question, rows)
    }
    return rows
  }
}

/** The text has no word that writes, so meta.changes is 0 without counting. Every other text is treated as a write. */
const READ = /^\s*(?:select\b|with\b(?![\s\S]*\b(?:insert|update|delete|replace)\b))/i
const SCHEMA = /^\s*(?:create|alter|drop)\b/i
const TRANSACTION = /^\s*(?:begin|commit|end|rollback|savepoint|release)\b/i
const UNAUTHORIZED = /^\s*(?:(?:attach|detach|vacuum)\b|pragma\b[^(]*=)/i

function refuseStatement(sql: string): void {
  if (sql.trim() === '') throw new D1Refusal('No SQL statements detected.')
  if (TRANSACTION.test(sql))
    throw new D1Refusal('To execute a transaction, please use the state.storage.transaction() or …')
  if (UNAUTHORIZED.test(sql)) throw new D1Refusal('not authorized: SQLITE_AUTH')
}

/** SQLite would silently ignore the rest. D1 accepts several statements and answers with the last one's rows. */
function refuseRest(rest: string): void {
  if (rest.trim() === '') return
  if (/^\s*(?:--|\/\*)/.test(rest)) throw new D1Refusal('SQL code did not contain a statement.')
  throw new D1Refusal('the simulation takes one statement at a time: SQLITE_ERROR')
}

const PLACES = /'(?:[^']|'')*'|"[^"]*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|\?(\d*)/g

/**
 * The highest number of a place for a value; `?` takes the next one. node:sqlite does not report it, and accepts too
 * few values.
 */
function countParameters(sql: string): number {
  let count = 0
  for (const [, digits] of sql.matchAll(PLACES))
    if (digits !== undefined) count = Math.max(count, digits === '' ? count + 1 : Number(digits))
  return count
}

/** In Node since 24; its types here are older. */
function returnArrays(statement: StatementSync): void {
  const newer = statement as StatementSync & { setReturnArrays(enabled: boolean): void }
  newer.setReturnArrays(true)
}

function read({ statement }: Prepared, values: unknown[]): Row[] {
  try {
    return statement.all(...(values as SQLInputValue[])) as unknown as Row[]
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_OUT_OF_RANGE') throw error
    statement.setReadBigInts(true)
    return statement.all(...(values as SQLInputValue[])) as unknown as Row[]
  }
}

const NO_ROWS: Row[] = []

function write({ statement, names }: Prepared, values: unknown[]): Row[] {
  if (names.length > 0) return statement.all(...(values as SQLInputValue[])) as unknown as Row[]
  // Without RETURNING, the first step runs the whole statement.
  statement.get(...(values as SQLInputValue[]))
  return NO_ROWS
}

// ── answers ─────────────────────────────────────────────────────────────────────────────────────

function shaped({ names }: Prepared, rows: Row[], shape: Shape): unknown[] {
  if (shape === 'arrays') return [[...names], ...rows.map((row) => row.map(asJson))]
  const objects: unknown[] = []
  for (const row of rows) {
    const object: Record<string, unknown> = {}
    for (let index = 0; index < names.length; index++) object[names[index]!] = asJson(row[index])
    objects.push(object)
  }
  return objects
}

/** An answer travels as JSON: blobs are arrays of bytes, integers are rounded, and infinity does not exist. */
function asJson(value: unknown): unknown {
  if (typeof value === 'string' || value === null) return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  return typeof value === 'bigint' ? Number(value) : Array.from(value as Uint8Array)
}

const answer = (results: unknown[], changes: number): D1Result<unknown> => ({
  success: true,
  meta: {
    changes,
    rows_written: changes,
    rows_read: 0,
    duration: 0,
    last_row_id: 0,
    size_after: 0,
    changed_db: changes > 0,
  },
  results,
})

// ── errors ──────────────────────────────────────────────────────────────────────────────────────

/** Refuses what D1 refuses and SQLite would accept. */
class D1Refusal extends Error {}

const resultCodes: Record<number, string> = {
  7: 'SQLITE_NOMEM',
  8: 'SQLITE_READONLY',
  13: 'SQLITE_FULL',
  18: 'SQLITE_TOOBIG',
  20: 'SQLITE_MISMATCH',
  23: 'SQLITE_AUTH',
  25: 'SQLITE_RANGE',
}

const constraintCodes: Record<number, string> = {
  275: 'SQLITE_CONSTRAINT_CHECK',
  787: 'SQLITE_CONSTRAINT_FOREIGNKEY',
  1299: 'SQLITE_CONSTRAINT_NOTNULL',
  1555: 'SQLITE_CONSTRAINT_PRIMARYKEY',
  1811: 'SQLITE_CONSTRAINT_TRIGGER',
  2067: 'SQLITE_CONSTRAINT_UNIQUE',
  2579: 'SQLITE_CONSTRAINT_ROWID',
  3091: 'SQLITE_CONSTRAINT_DATATYPE',
}

/**
 * An error with D1's text. An error that neither D1 nor SQLite would raise is a fault of this file, and stays
 * unchanged.
 */
function asD1Error(error: unknown): unknown {
  if (error instanceof D1Refusal) return d1Error(error.message)
  const { code, errcode, message } = error as { code?: string; errcode?: number; message: string }
  if (code === 'ERR_INVALID_ARG_VALUE') return d1Error('SQL code did not contain a statement.')
  if (code !== 'ERR_SQLITE_ERROR' || errcode === undefined) return error
  return d1Error(`${message}: ${sqliteCode(errcode)}`)
}

function sqliteCode(errcode: number): string {
  // The extended code has the plain code in its low byte; 19 is SQLITE_CONSTRAINT.
  if ((errcode & 0xff) !== 19) return resultCodes[errcode & 0xff] ?? 'SQLITE_ERROR'
  const extended = constraintCodes[errcode]
  return extended ? `SQLITE_CONSTRAINT (extended: ${extended})` : 'SQLITE_CONSTRAINT'
}
