import { getTableConfig, type SQLiteTable } from 'drizzle-orm/sqlite-core'
import { limits } from '../core/limits.ts'
import { chainOf, foldedName, jsonArrayOf, quotedName, textLiteral } from '../core/sql-text.ts'
import { findRegistration, type ShardObject } from './sharded-table.ts'

/** A table's shape as the generator needs it. Taken from its Drizzle definition, never written by hand. */
export interface FencedTable {
  name: string
  keyspace: string
  /** Primary key columns in key order; the first starts with the owner's slot. */
  key: [string, ...string[]]
  /** Without generated columns, which each shard computes. */
  columns: string[]
  objects: ShardObject[]
}

/** D1's limits: https://developers.cloudflare.com/d1/platform/limits/ */
const columnsMax = 100
export const statementBytesMax = 100_000

/** SQLite functions have at most 32 arguments, and a key is one `json_array`. */
const keyColumnsMax = 32

/** The limit for the names of a table and its columns together. It keeps each statement of a move below 100 KB. */
const nameBytesMax = 12_000

/** Names that every shard already uses. The platform owns the last two kinds. */
const reservedNames =
  /^(slots|slot_changes|mover|slot_guard|mover_step|slot_expectation|shard_identity|d1_migrations|sqlite_.*|_cf_.*)$/i

/** Reads a sharded table's shape. Throws an error with a fix if a shard could not hold or move the table. */
export function fencedTable(table: SQLiteTable): FencedTable {
  const config = getTableConfig(table)
  const { name } = config
  const columns = config.columns.filter((column) => column.generated === undefined)
  const refuse = (why: string): never => {
    throw new Error(`Table ${name} can't be sharded: ${why} (docs/building/tables.md, "Sharded tables")`)
  }
  const registration = findRegistration(table) ?? refuse("declare it with sharded('users' | 'claims', sqliteTable(…))")
  if (config.foreignKeys.length > 0) refuse('foreign keys break moves; check references in the noun instead')
  if (config.uniqueConstraints.length > 0 || config.columns.some((column) => column.isUnique))
    refuse('a secondary UNIQUE is enforced in one shard only; use a claim')
  if (config.indexes.some((index) => index.config.unique))
    refuse('a unique index is enforced in one shard only; use a claim')
  if (config.columns.some((column) => 'autoIncrement' in column && column.autoIncrement))
    refuse('AUTOINCREMENT ids collide across shards; use an owned id')
  refuseNames(
    name,
    config.columns.map((column) => column.name),
    refuse,
  )
  const key = primaryKey(table)
  const first = config.columns.find((column) => column.name === key[0])
  if (!first) return refuse('it has no primary key')
  if (key.length > keyColumnsMax) refuse(`its primary key has ${key.length} columns, and the limit is ${keyColumnsMax}`)
  if (first.getSQLType() !== 'text')
    refuse(`its primary key starts with ${key[0]}, which isn't an owner-slotted text id`)
  for (const column of config.columns.filter((one) => key.includes(one.name))) {
    if (column.generated !== undefined)
      refuse(`${column.name} is in the primary key and generated, which SQLite does not allow`)
    if (!column.notNull) refuse(`${column.name} is in the primary key and may be NULL; add notNull()`)
    if (!['text', 'integer'].includes(column.getSQLType()))
      refuse(`${column.name} is in the primary key and neither text nor integer`)
  }
  const fenced: FencedTable = {
    name,
    keyspace: registration.keyspace,
    key: [first.name, ...key.slice(1)],
    columns: columns.map((column) => column.name),
    objects: registration.objects,
  }
  for (const trigger of fenceTriggers(fenced))
    if (Buffer.byteLength(trigger.sql) > statementBytesMax)
      refuse(
        `its fence ${trigger.name} has more than ${statementBytesMax} bytes, which is D1's limit; shorten its names`,
      )
  return fenced
}

function refuseNames(name: string, columns: string[], refuse: (why: string) => never): void {
  if (reservedNames.test(name))
    refuse('every shard has a table or view of that name, or the platform reserves it; rename it')
  if (columns.length > columnsMax)
    refuse(
      `it has ${columns.length} columns, and D1's limit is ${columnsMax}; move some to a second table with the same key`,
    )
  const names = [name, ...columns]
  const bad = names.find((one) => one === '' || controlOrBacktick.test(one) || !one.isWellFormed())
  if (bad !== undefined)
    refuse(
      `${JSON.stringify(bad)} is not a usable name; rename it without control characters and backticks (drizzle-kit writes names between backticks)`,
    )
  if (names.some((one) => one.includes('--> statement-breakpoint')))
    refuse('a name contains "--> statement-breakpoint", which separates the statements of a migration; rename it')
  const seen = new Set(columns.map(foldedName))
  if (seen.size < columns.length) refuse('two columns differ only in case, which SQLite ignores; rename one')
  const bytes = names.reduce((sum, one) => sum + Buffer.byteLength(quotedName(one)), 0)
  if (bytes > nameBytesMax)
    refuse(
      `the names of the table and its columns have ${bytes} bytes together, and the limit is ${nameBytesMax}; shorten them`,
    )
}

const controlOrBacktick = /[\p{Cc}`]/u

function primaryKey(table: SQLiteTable): string[] {
  const { columns, primaryKeys } = getTableConfig(table)
  const composite = primaryKeys[0]?.columns.map((column) => column.name)
  return composite ?? columns.filter((column) => column.primary).map((column) => column.name)
}

/**
 * The triggers that fence, capture and bound one table, each with its name and CREATE statement.
 *
 * The `WHEN` of each is one primary-key look-up in `slots`. While the slot is active, nothing more runs.
 * - `moving`: appends the row's key to `slot_changes` (capture).
 * - `importing`, `moved`: only the mover writes, inside a batch that opened its window.
 * - `fenced`, or no row: no writes.
 *
 * Each trigger is one line, with upper-case keywords and each CASE in parentheses. D1's HTTP API splits a text into
 * statements itself, and there are reports that it splits triggers in other forms (docs/decisions/0019).
 */
export function fenceTriggers(table: FencedTable): ShardObject[] {
  return [
    trigger(table, 'INSERT', 'NEW', [tooLarge(table)]),
    trigger(table, 'UPDATE', 'NEW', [keyChanged(table), tooLarge(table)]),
    trigger(table, 'DELETE', 'OLD', []),
  ]
}

/** A row that meets the condition is refused with the code, whatever the state of its slot. */
interface Bound {
  code: 'PRIMARY_KEY_CHANGED' | 'ROW_TOO_LARGE'
  condition: string
}

function trigger(table: FencedTable, event: string, row: 'NEW' | 'OLD', bounds: Bound[]): ShardObject {
  const slot = `keyspace = '${table.keyspace}' AND slot = substr(${row}.${quotedName(table.key[0])}, 1, 4)`
  const state = `(SELECT state FROM slots WHERE ${slot})`
  const name = `${table.name}_fence_${event.toLowerCase()}`
  const unlessOpen = (code: string) =>
    `(CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, '${code}') END)`
  const sql = [
    `CREATE TRIGGER ${quotedName(name)} BEFORE ${event} ON ${quotedName(table.name)}`,
    `WHEN ${[`${state} IS NOT 'active'`, ...bounds.map(({ condition }) => condition)].join(' OR ')} BEGIN`,
    ...bounds.map(({ code, condition }) => `SELECT RAISE(ABORT, '${code}') WHERE ${condition};`),
    `SELECT (CASE ${state}`,
    `WHEN 'active' THEN NULL`,
    `WHEN 'moving' THEN NULL`,
    `WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')`,
    `WHEN 'importing' THEN ${unlessOpen('SLOT_FENCED')}`,
    `WHEN 'moved' THEN ${unlessOpen('SLOT_NOT_OWNED')}`,
    `ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END);`,
    `INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), ${textLiteral(table.name)}, ${keyJson(table, row)}`,
    `FROM slots WHERE ${slot} AND state = 'moving';`,
    'END',
  ].join(' ')
  return { name, sql }
}

const keyJson = (table: FencedTable, row: string) =>
  jsonArrayOf(table.key.map((column) => `${row}.${quotedName(column)}`))

const keyChanged = (table: FencedTable): Bound => ({
  code: 'PRIMARY_KEY_CHANGED',
  condition: chainOf(
    table.key.map((column) => `NEW.${quotedName(column)} IS NOT OLD.${quotedName(column)}`),
    'OR',
  ),
})

/** A trigger, not a CHECK, because a CHECK cannot cover a column added later without rebuilding the table. */
function tooLarge(table: FencedTable): Bound {
  const sizes = table.columns.map((column) => `coalesce(length(CAST(NEW.${quotedName(column)} AS BLOB)), 0)`)
  return { code: 'ROW_TOO_LARGE', condition: `${chainOf(sizes, '+')} > ${limits.rowBytesMax}` }
}
