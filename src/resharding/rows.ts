import { limits } from '../core/limits.ts'
import type { MovedTable } from './tables.ts'

/**
 * Rows travel as text that is made and read in SQL only; JavaScript passes it on. A stretch of rows is one JSON text, an
 * array of rows, each an array with one value a column:
 *
 * - *plain* rows hold what JSON and JavaScript carry unharmed: integers up to 2^53, NULL, text of ASCII without a NUL.
 *   They are most rows, and cost little more than any copy by way of `json_each`.
 * - *tagged* rows hold anything, each value as text whose first character is its storage class: `i` decimal, `r` decimal
 *   with 17 significant digits (enough to tell any two doubles apart, IEEE 754-2019 §5.12.2; an infinity is 9e999, which
 *   SQLite reads as one), `t` and `b` hex. Text that isn't UTF-8, or holds a NUL, arrives as it left.
 *
 * Keys are JSON arrays of text and integers, as the fence's capture writes them. They are compared in SQL only: SQLite
 * and JavaScript order some strings differently.
 */
export interface PackedRows {
  rows: number
  plain: string | null
  tagged: string | null
}

/** `mixed`: plain where a row may be. `tagged`: no row is plain. */
export type Packing = 'mixed' | 'tagged'

/**
 * True when the rows must be packed anew, all tagged. SQL takes text for plain that has as many characters as bytes. Then
 * it is ASCII, or a byte in it is no UTF-8, and what JavaScript got is U+FFFD (which itself has three bytes: never plain).
 * Control characters, which JSON writes with six, may make the text too long for a parameter; hex has two.
 */
export const isMangled = ({ plain }: PackedRows): boolean =>
  plain !== null && (plain.length > limits.moveTextBytesMax || plain.includes('\ufffd'))

const quoted = (column: string): string => `"${column.replaceAll('"', '""')}"`
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

const keyList = ({ key }: MovedTable): string => key.map(quoted).join(', ')
const keyTuple = (table: MovedTable): string => `(${keyList(table)})`
const keyJson = (table: MovedTable): string => `json_array(${keyList(table)})`

/** The key columns out of a key's JSON. */
const keyColumns = ({ key }: MovedTable, json: string): string =>
  key.map((_, place) => `json_extract(${json}, '$[${place}]')`).join(', ')

/** The bytes of a row as it travels, about; SQLite knows the values' lengths without reading them. */
const rowBytes = ({ columns }: MovedTable): string =>
  `${columns.map((column) => `coalesce(octet_length(${quoted(column)}), 0)`).join(' + ')} + ${8 * columns.length}`

/** A table's statements are made once: they are long, and are sent in every round. */
function perTable<A extends (string | number | boolean)[]>(build: (table: MovedTable, ...args: A) => string) {
  const made = new WeakMap<MovedTable, Map<string, string>>()
  return (table: MovedTable, ...args: A): string => {
    const key = args.join()
    const known = made.get(table) ?? new Map<string, string>()
    made.set(table, known)
    const sql = known.get(key) ?? build(table, ...args)
    known.set(key, sql)
    return sql
  }
}

// ── packing and unpacking ─────────────────────────────────────────────────────────────────────────

/** `length` counts characters and stops at a NUL. Looking for other characters (GLOB) takes five times as long. */
const isPlain = (column: string): string =>
  `CASE typeof(${column}) WHEN 'text' THEN length(${column}) = octet_length(${column})
   WHEN 'integer' THEN ${column} BETWEEN -9007199254740991 AND 9007199254740991 WHEN 'null' THEN 1 ELSE 0 END`

const tagged = (column: string): string =>
  `CASE typeof(${column}) WHEN 'integer' THEN 'i' || ${column} WHEN 'real' THEN 'r' || replace(format('%!.17g', ${column}), 'Inf', '9e999')
   WHEN 'text' THEN 't' || hex(${column}) WHEN 'blob' THEN 'b' || hex(${column}) END`

const untagged = (text: string): string =>
  `CASE substr(${text}, 1, 1) WHEN 'i' THEN CAST(substr(${text}, 2) AS INTEGER) WHEN 'r' THEN CAST(substr(${text}, 2) AS REAL)
   WHEN 't' THEN CAST(unhex(substr(${text}, 2)) AS TEXT) WHEN 'b' THEN unhex(substr(${text}, 2)) END`

/** The columns of `PackedRows` over the rows that satisfy `where`, in key order. */
function packed(table: MovedTable, packing: Packing, where: string): string {
  const columns = table.columns.map(quoted)
  const plain = packing === 'tagged' ? '0' : columns.map((column) => `(${isPlain(column)})`).join(' AND ')
  return `count(*) AS rows,
   '[' || group_concat(CASE WHEN banyan_plain THEN json_array(${columns.join(', ')}) END) || ']' AS plain,
   '[' || group_concat(CASE WHEN NOT banyan_plain THEN json_array(${columns.map(tagged).join(', ')}) END) || ']' AS tagged
   FROM (SELECT ${columns.join(', ')}, ${plain} AS banyan_plain
         FROM ${quoted(table.name)} WHERE ${where} ORDER BY ${keyList(table)})`
}

/** Inserts the packed rows in `?1`, or makes the rows with their keys equal to them. */
export const upsertSql = perTable((table: MovedTable, form: 'plain' | 'tagged'): string => {
  const values = table.columns.map((_, place) => {
    const value = `json_extract(value, '$[${place}]')`
    return form === 'plain' ? value : untagged(value)
  })
  const others = table.columns.filter((column) => !table.key.includes(column))
  const update = others.map((column) => `${quoted(column)} = excluded.${quoted(column)}`).join(', ')
  return `INSERT INTO ${quoted(table.name)} (${table.columns.map(quoted).join(', ')})
   SELECT ${values.join(', ')} FROM json_each(?1) WHERE true
   ON CONFLICT ${keyTuple(table)} DO ${update === '' ? 'NOTHING' : `UPDATE SET ${update}`}`
})

/** Deletes the rows with the keys in `?1` (a JSON array of keys). */
export const deleteSql = perTable(
  (table: MovedTable): string =>
    `DELETE FROM ${quoted(table.name)}
   WHERE ${keyTuple(table)} IN (SELECT ${keyColumns(table, 'value')} FROM json_each(?1))`,
)

/** The rows with the keys in `?1` (a JSON array of keys), packed. */
export const namedSql = perTable(
  (table: MovedTable, packing: Packing): string =>
    `SELECT ${packed(table, packing, `${keyTuple(table)} IN (SELECT ${keyColumns(table, 'value')} FROM json_each(?1))`)}`,
)

// ── a table's rows in key order, stretch by stretch ───────────────────────────────────────────────

/** `?1` first slot, `?3` the key of the last row before, where there is one. Never by OR: it would hide the index. */
const afterCursor = (table: MovedTable, hasCursor: boolean): string =>
  hasCursor ? `${keyTuple(table)} > (${keyColumns(table, '?3')})` : `?3 IS NULL AND ${quoted(table.key[0]!)} >= ?1`

const keysBackwards = (table: MovedTable): string => table.key.map((column) => `${quoted(column)} DESC`).join(', ')

/** `?2` the slot after the last. */
const beforeEnd = (table: MovedTable): string => `${quoted(table.key[0]!)} < ?2`

/**
 * Where the next stretch ends: its last row's key, as `end`, or null where no row is left. `?1` to `?3` as above, `?4` how
 * many bytes at the most (one row comes in any case). Keys and sizes are all that is read. How many rows at the most
 * stands in the text: SQLite plans a statement anew for each value bound as its LIMIT.
 */
const stretchEndSql = (table: MovedTable, hasCursor: boolean, rowsMax: number): string =>
  `SELECT ${keyJson(table)} AS "end" FROM (
     SELECT ${keyList(table)}, size, sum(size) OVER (ORDER BY ${keyList(table)} ROWS UNBOUNDED PRECEDING) AS bytes
     FROM (SELECT ${keyList(table)}, ${rowBytes(table)} AS size FROM ${quoted(table.name)}
           WHERE ${afterCursor(table, hasCursor)} AND ${beforeEnd(table)} ORDER BY ${keyList(table)} LIMIT ${rowsMax}))
   WHERE bytes <= ?4 OR bytes = size ORDER BY ${keysBackwards(table)} LIMIT 1`

/** Keeps where the next stretch ends in the source's own mover row, for the other statements of the same batch. */
export const boundStretchSql = perTable(
  (table: MovedTable, hasCursor: boolean, rowsMax: number): string =>
    `UPDATE mover SET cursors = json_set(cursors, '$.end', (${stretchEndSql(table, hasCursor, rowsMax)})) WHERE id = 1`,
)

/** The same for a stretch whose rows are only counted: nothing but keys is read, and no bytes bound it. */
export const boundCountSql = perTable((table: MovedTable, hasCursor: boolean, rowsMax: number): string => {
  const keys = `SELECT ${keyList(table)} FROM ${quoted(table.name)} WHERE ${afterCursor(table, hasCursor)} AND ${beforeEnd(table)} ORDER BY ${keyList(table)} LIMIT ${rowsMax}`
  return `UPDATE mover SET cursors = json_set(cursors, '$.end', (SELECT ${keyJson(table)} FROM (${keys}) ORDER BY ${keysBackwards(table)} LIMIT 1)) WHERE id = 1`
})

const STRETCH_END = "(SELECT json_extract(cursors, '$.end') FROM mover)"

/**
 * That end, as `end`, or null where no row is behind it. `?1` to `?3` as above. Who writes at the end of a table would keep
 * a walk busy for ever that ended only where it meets no row; what he writes is captured anyway.
 */
export const stretchReachSql = perTable(
  (table: MovedTable): string =>
    `SELECT CASE WHEN EXISTS (SELECT 1 FROM ${quoted(table.name)} WHERE ?1 IS NOT NULL AND ${keyTuple(table)} > (${keyColumns(table, STRETCH_END)})
     AND ${beforeEnd(table)}) THEN ${STRETCH_END} END AS "end"`,
)

/** Where a stretch ends: where its batch says; at the key in `?4`; or at the end of the slots. */
type Bound = 'stretch' | 'key' | 'slots'

/** The rows after the cursor, up to `bound`; `?1` to `?3` as above. */
function inStretch(table: MovedTable, hasCursor: boolean, bound: Bound): string {
  // Of two upper bounds SQLite might take the wider one.
  const end = {
    stretch: `?2 IS NOT NULL AND ${keyTuple(table)} <= (${keyColumns(table, STRETCH_END)})`,
    key: `?2 IS NOT NULL AND ${keyTuple(table)} <= (${keyColumns(table, '?4')})`,
    slots: beforeEnd(table),
  }
  return `${afterCursor(table, hasCursor)} AND ${end[bound]}`
}

/** The rows of a stretch, packed. */
export const stretchSql = perTable(
  (table: MovedTable, packing: Packing, hasCursor: boolean, bound: Bound): string =>
    `SELECT ${packed(table, packing, inStretch(table, hasCursor, bound))}`,
)

/** How many rows a stretch has, in the form of rows that none are packed of. */
export const countSql = perTable(
  (table: MovedTable, hasCursor: boolean, bound: Bound): string =>
    `SELECT count(*) AS rows, NULL AS plain, NULL AS tagged FROM ${quoted(table.name)} WHERE ${inStretch(table, hasCursor, bound)}`,
)

/** `?1`: ranges of slots as JSON, `[[first, the one after the last], …]`. */
const inRanges = (table: MovedTable): string =>
  `(SELECT json_extract(value, '$[0]') AS banyan_first, json_extract(value, '$[1]') AS banyan_after FROM json_each(?1))
   CROSS JOIN ${quoted(table.name)} ON ${quoted(table.key[0]!)} >= banyan_first AND ${quoted(table.key[0]!)} < banyan_after`

/** Deletes rows in the ranges `?1`, `rowsMax` at the most. */
export const purgeSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `DELETE FROM ${quoted(table.name)} WHERE ${keyTuple(table)} IN (SELECT ${keyList(table)} FROM ${inRanges(table)} LIMIT ${rowsMax})`,
)

/** How many rows there are in the ranges `?1`, as `rows`, `rowsMax` at the most; and the last one's slot, or null. */
export const sampleSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `SELECT count(*) AS rows, max(slot) AS slot
     FROM (SELECT substr(${quoted(table.key[0]!)}, 1, 4) AS slot FROM ${inRanges(table)} LIMIT ${rowsMax})`,
)

// ── the tail: captured changes that the target hasn't got yet ─────────────────────────────────────

/**
 * Where a round's tail ends (a `seq`), kept in the source's own mover row for the other statements of the same batch:
 * `?1` move, `?2` the last `seq` that the target has, `?3` how many bytes of rows at the most.
 */
export const boundTailSql = (tables: MovedTable[], rowsMax: number): string =>
  `UPDATE mover SET move_id = NULL, cursors = json_object('tail', coalesce((SELECT max(seq) FROM (
     SELECT seq, size, sum(size) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes FROM (
       SELECT seq, coalesce(CASE tbl ${tables.map(sizeOfNamed).join(' ')} END, 0) AS size
       FROM slot_changes WHERE move_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ${rowsMax}))
     WHERE bytes <= ?3 OR bytes = size), ?2)) WHERE id = 1`

const sizeOfNamed = (table: MovedTable): string =>
  `WHEN ${literal(table.name)} THEN (SELECT ${rowBytes(table)} FROM ${quoted(table.name)} WHERE ${keyTuple(table)} = (${keyColumns(table, 'slot_changes.pk')}))`

const TAIL_END = "(SELECT json_extract(cursors, '$.tail') FROM mover)"

/**
 * To which `seq` this tail reaches, whether changes wait behind it, and how many of these came after `?2`, counted up to
 * `waitingMax`. `?1` move.
 */
export const tailReachSql = (waitingMax: number): string =>
  `SELECT ${TAIL_END} AS seq, EXISTS (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > ${TAIL_END}) AS isBehind,
   (SELECT count(*) FROM (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > max(?2, ${TAIL_END}) LIMIT ${waitingMax})) AS waiting`

/** What the tail says of a table: the changed keys (JSON, or null), and their rows as they are now, packed. `?1` move, `?2` `seq`. */
export const tailSql = perTable((table: MovedTable, packing: Packing): string => {
  const changes = `FROM slot_changes WHERE move_id = ?1 AND tbl = ${literal(table.name)} AND seq > ?2 AND seq <= ${TAIL_END}`
  const named = `${keyTuple(table)} IN (SELECT ${keyColumns(table, 'pk')} ${changes})`
  return `SELECT (SELECT '[' || group_concat(DISTINCT pk) || ']' ${changes}) AS keys, ${packed(table, packing, named)}`
})
