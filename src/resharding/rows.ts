import type { MovedTable } from './tables.ts'

/**
 * Rows travel as text that is exact, made and read in SQL only: through JavaScript, 64-bit integers and some REALs would
 * lose digits, and text that isn't UTF-8, or holds a NUL, would change.
 *
 * A row is a JSON array with one text a column, whose first character is its storage class:
 * `i` decimal, `r` decimal with 17 significant digits (enough to tell any two doubles apart, IEEE 754-2019 §5.12.2; an infinity is
 * 9e999, which SQLite reads as one), `t` and `b` hex. NULL is JSON's null. Keys are JSON arrays of text and integers, as the fence's capture writes them.
 */

const quoted = (column: string): string => `"${column.replaceAll('"', '""')}"`

const encoded = (column: string): string =>
  `CASE typeof(${column}) WHEN 'integer' THEN 'i' || ${column} WHEN 'real' THEN 'r' || replace(format('%!.17g', ${column}), 'Inf', '9e999')
   WHEN 'text' THEN 't' || hex(${column}) WHEN 'blob' THEN 'b' || hex(${column}) END`

const decoded = (text: string): string =>
  `CASE substr(${text}, 1, 1) WHEN 'i' THEN CAST(substr(${text}, 2) AS INTEGER) WHEN 'r' THEN CAST(substr(${text}, 2) AS REAL)
   WHEN 't' THEN CAST(unhex(substr(${text}, 2)) AS TEXT) WHEN 'b' THEN unhex(substr(${text}, 2)) END`

const rowJson = ({ columns }: MovedTable): string =>
  `json_array(${columns.map((column) => encoded(quoted(column))).join(', ')})`

const keyJson = ({ key }: MovedTable): string => `json_array(${key.map(quoted).join(', ')})`

const keyTuple = ({ key }: MovedTable): string => `(${key.map(quoted).join(', ')})`

/** The key columns out of a key's JSON. */
const keyColumns = ({ key }: MovedTable, json: string): string =>
  key.map((_, place) => `json_extract(${json}, '$[${place}]')`).join(', ')

/**
 * The next chunk in key order: `?1` first slot, `?2` the slot after the last, `?3` the cursor (the last key, or null),
 * `?4` how many rows at the most. Answers with `key` and `row`.
 */
export const chunkSql = (table: MovedTable): string =>
  `SELECT ${keyJson(table)} AS key, ${rowJson(table)} AS row FROM ${quoted(table.name)}
   WHERE ${quoted(table.key[0]!)} >= ?1 AND ${quoted(table.key[0]!)} < ?2
     AND (?3 IS NULL OR ${keyTuple(table)} > (${keyColumns(table, '?3')}))
   ORDER BY ${table.key.map(quoted).join(', ')} LIMIT ?4`

/** The rows with the keys in `?1` (a JSON array of keys) as they are now. A key that has none is missing in the answer. */
export const namedSql = (table: MovedTable): string =>
  `SELECT ${keyJson(table)} AS key, ${rowJson(table)} AS row FROM ${quoted(table.name)}
   WHERE ${keyTuple(table)} IN (SELECT ${keyColumns(table, 'value')} FROM json_each(?1))`

/** Inserts the rows in `?1` (a JSON array of rows), or makes the rows with their keys equal to them. */
export function upsertSql(table: MovedTable): string {
  const values = table.columns.map((_, place) => decoded(`json_extract(value, '$[${place}]')`))
  const others = table.columns.filter((column) => !table.key.includes(column))
  const update = others.map((column) => `${quoted(column)} = excluded.${quoted(column)}`).join(', ')
  return `INSERT INTO ${quoted(table.name)} (${table.columns.map(quoted).join(', ')})
   SELECT ${values.join(', ')} FROM json_each(?1) WHERE true
   ON CONFLICT ${keyTuple(table)} DO ${update === '' ? 'NOTHING' : `UPDATE SET ${update}`}`
}

/** Deletes the rows with the keys in `?1` (a JSON array of keys). */
export const deleteSql = (table: MovedTable): string =>
  `DELETE FROM ${quoted(table.name)}
   WHERE ${keyTuple(table)} IN (SELECT ${keyColumns(table, 'value')} FROM json_each(?1))`

/** Rows or keys, which are JSON already, as one JSON parameter. */
export const jsonParameter = (texts: string[]): string => `[${texts.join(',')}]`
