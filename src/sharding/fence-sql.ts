import { getTableConfig, type SQLiteTable } from 'drizzle-orm/sqlite-core'
import { limits } from '../core/limits.ts'
import { findRegistration, type ShardObject } from './sharded-table.ts'

/** What the generator must know of a table: taken from its Drizzle definition, never written by hand. */
export interface FencedTable {
  name: string
  keyspace: string
  /** Primary key columns in key order; the first starts with the owner's slot. */
  key: string[]
  columns: string[]
  objects: ShardObject[]
}

/** Reads a sharded table's shape, and throws an error that says how to mend it where a shard could not hold the table. */
export function fencedTable(table: SQLiteTable): FencedTable {
  const config = getTableConfig(table)
  const { name } = config
  const refuse = (why: string): never => {
    throw new Error(`Table ${name} can't be sharded: ${why} (docs/building.md, "Sharded tables")`)
  }
  const registration = findRegistration(table) ?? refuse("declare it with sharded('users' | 'claims', sqliteTable(…))")
  if (config.foreignKeys.length > 0) refuse('foreign keys break moves; check in the noun instead')
  if (config.uniqueConstraints.length > 0 || config.columns.some((column) => column.isUnique))
    refuse('a secondary UNIQUE holds in one shard only; use a claim')
  if (config.indexes.some((index) => index.config.unique)) refuse('a unique index holds in one shard only; use a claim')
  if (config.columns.some((column) => 'autoIncrement' in column && column.autoIncrement))
    refuse('AUTOINCREMENT ids collide across shards; use an owned id')
  const key = primaryKey(table)
  const first = config.columns.find((column) => column.name === key[0])
  if (!first) refuse('it has no primary key')
  if (first!.getSQLType() !== 'text')
    refuse(`its primary key starts with ${key[0]}, which isn't an owner-slotted text id`)
  for (const column of config.columns.filter((one) => key.includes(one.name))) {
    if (!column.notNull) refuse(`${column.name} is in the primary key and may be NULL; add notNull()`)
    if (!['text', 'integer'].includes(column.getSQLType()))
      refuse(`${column.name} is in the primary key and neither text nor integer`)
  }
  return {
    name,
    keyspace: registration.keyspace,
    key,
    columns: config.columns.map((column) => column.name),
    objects: registration.objects,
  }
}

function primaryKey(table: SQLiteTable): string[] {
  const { columns, primaryKeys } = getTableConfig(table)
  const composite = primaryKeys[0]?.columns.map((column) => column.name)
  return composite ?? columns.filter((column) => column.primary).map((column) => column.name)
}

/**
 * The triggers that fence, capture and bound one table, as name and CREATE statement.
 *
 * The `WHEN` of each is one primary-key look-up in `slots`; while the slot is active nothing more runs.
 * - `moving`: the row's key is appended to `slot_changes` (capture).
 * - `importing`, `moved`: only the mover writes, inside a batch that opened its window.
 * - `fenced`: nobody. No row: nobody.
 */
export function fenceTriggers(table: FencedTable): ShardObject[] {
  return [
    trigger(table, 'INSERT', 'NEW', tooLarge(table)),
    trigger(table, 'UPDATE', 'NEW', `${tooLarge(table)} OR ${keyChanged(table)}`),
    trigger(table, 'DELETE', 'OLD', null),
  ]
}

function trigger(table: FencedTable, event: string, row: 'NEW' | 'OLD', bound: string | null): ShardObject {
  const slot = `keyspace = '${table.keyspace}' AND slot = substr(${row}."${table.key[0]}", 1, 4)`
  const state = `(SELECT state FROM slots WHERE ${slot})`
  const name = `${table.name}_fence_${event.toLowerCase()}`
  const refusals = [
    event === 'UPDATE' ? `  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE ${keyChanged(table)};` : null,
    bound ? `  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE ${tooLarge(table)};` : null,
  ].filter((line) => line !== null)
  const sql = [
    `CREATE TRIGGER ${name} BEFORE ${event} ON "${table.name}"`,
    `WHEN ${state} IS NOT 'active'${bound ? ` OR ${bound}` : ''} BEGIN`,
    ...refusals,
    `  SELECT CASE ${state}`,
    `    WHEN 'active' THEN NULL`,
    `    WHEN 'moving' THEN NULL`,
    `    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')`,
    `    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END`,
    `    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END`,
    `    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')`,
    `  END;`,
    `  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), '${table.name}', ${keyJson(table, row)}`,
    `    FROM slots WHERE ${slot} AND state = 'moving';`,
    `END`,
  ].join('\n')
  return { name, sql }
}

const keyJson = (table: FencedTable, row: string) =>
  `json_array(${table.key.map((column) => `${row}."${column}"`).join(', ')})`

const keyChanged = (table: FencedTable) =>
  table.key.map((column) => `NEW."${column}" IS NOT OLD."${column}"`).join(' OR ')

/** A trigger and not a CHECK: a CHECK can't learn of a column that is added later without rebuilding the table. */
const tooLarge = (table: FencedTable) =>
  `${table.columns.map((column) => `coalesce(length(CAST(NEW."${column}" AS BLOB)), 0)`).join(' + ')} > ${limits.rowBytesMax}`
