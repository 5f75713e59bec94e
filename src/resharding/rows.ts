import { limits } from '../core/limits.ts'
import { chainOf, jsonArrayOf, quotedName, textLiteral } from '../core/sql-text.ts'
import type { MovedTable } from './tables.ts'

/**
 * Rows travel as text that only SQL writes and reads. JavaScript passes it on. A chunk of rows is one JSON text: an
 * array of rows, each an array with one value per column.
 *
 * - *plain* rows hold values that JSON and JavaScript carry exactly: integers up to 2^53, NULL, and ASCII text without
 *   a NUL. Most rows are plain. They cost little more than any copy with `json_each`.
 * - *tagged* rows hold any values, each as text whose first character is the storage class: `i` decimal, `r` decimal
 *   with 17 significant digits (enough to tell any two doubles apart, IEEE 754-2019 §5.12.2; an infinity is 9e999, which
 *   SQLite reads as one), `t` and `b` hex. Text that is not UTF-8, or that holds a NUL, arrives unchanged.
 *
 * Keys are JSON arrays of text and integers, as the fence's capture writes them. They are compared in SQL only, because
 * SQLite and JavaScript order some strings differently.
 *
 * A column may have any name (docs/decisions/0018). Therefore every column of a moved table is written as `t."name"`.
 * The table `t` stands alone in its FROM, apart from the tables of `json_each` (`j`), changes (`change`) and computed
 * values, whose columns have their own names (`c0`, `k0`, `size`, …). No name is ever looked up in two tables.
 */
export interface PackedRows {
  rows: number
  plain: string | null
  tagged: string | null
}

/** `mixed`: rows are plain if possible. `tagged`: no row is plain. */
export type Packing = 'mixed' | 'tagged'

/**
 * True if the rows must be packed again, all tagged. SQL treats text as plain if it has as many characters as bytes.
 * Such text is ASCII, or it has a byte that is not UTF-8, which JavaScript reads as U+FFFD. (A real U+FFFD has three
 * bytes, so it is never plain.) Control characters, which JSON writes as six characters, may make the text too long for
 * a parameter. Hex needs two.
 */
export const isMangled = ({ plain }: PackedRows): boolean =>
  plain !== null && (plain.length > limits.moveTextBytesMax || plain.includes('\ufffd'))

const nameList = (names: string[]): string => names.map(quotedName).join(', ')
const column = (name: string): string => `t.${quotedName(name)}`
const columnList = (names: string[]): string => names.map(column).join(', ')

/** `"name" AS t`. Used for writes too, because a table may be called `excluded`. */
const aliased = ({ name }: MovedTable): string => `${quotedName(name)} AS t`

const keyTuple = ({ key }: MovedTable): string => `(${columnList(key)})`

/** The key columns of a subquery: `r.k0, r.k1, …`. */
const placedKey = ({ key }: MovedTable, row: string): string[] => key.map((_, place) => `${row}.k${place}`)

/** The key columns as `k0, k1, …`. */
const keyAs = ({ key }: MovedTable): string => key.map((name, place) => `${column(name)} AS k${place}`).join(', ')

/** The key columns extracted from a key's JSON. */
const keyColumns = ({ key }: MovedTable, json: string): string =>
  key.map((_, place) => `json_extract(${json}, '$[${place}]')`).join(', ')

/** The keys in a JSON array of keys. */
const keysIn = (table: MovedTable, json: string): string =>
  `SELECT ${keyColumns(table, 'j.value')} FROM json_each(${json}) AS j`

/** The approximate bytes of a row as it travels. SQLite knows the values' lengths without reading them. */
const rowBytes = ({ columns }: MovedTable): string =>
  `${chainOf(
    columns.map((name) => `coalesce(octet_length(${column(name)}), 0)`),
    '+',
  )} + ${8 * columns.length}`

/** Builds each of a table's statements once, because they are long and sent in every round. */
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

/** `length` counts characters and stops at a NUL. Searching for other characters (GLOB) takes five times as long. */
const isPlain = (value: string): string =>
  `CASE typeof(${value}) WHEN 'text' THEN length(${value}) = octet_length(${value})
   WHEN 'integer' THEN ${value} BETWEEN -9007199254740991 AND 9007199254740991 WHEN 'null' THEN 1 ELSE 0 END`

const tagged = (value: string): string =>
  `CASE typeof(${value}) WHEN 'integer' THEN 'i' || ${value} WHEN 'real' THEN 'r' || replace(format('%!.17g', ${value}), 'Inf', '9e999')
   WHEN 'text' THEN 't' || hex(${value}) WHEN 'blob' THEN 'b' || hex(${value}) END`

const untagged = (text: string): string =>
  `CASE substr(${text}, 1, 1) WHEN 'i' THEN CAST(substr(${text}, 2) AS INTEGER) WHEN 'r' THEN CAST(substr(${text}, 2) AS REAL)
   WHEN 't' THEN CAST(unhex(substr(${text}, 2)) AS TEXT) WHEN 'b' THEN unhex(substr(${text}, 2)) END`

/**
 * The most columns that a SELECT's result may have. A row with this many has no room for the test of whether it is
 * plain.
 */
const columnsMax = 100

/** Names up to this total length may appear ten times in a statement. */
const shortNamesMax = 4_000

/** The columns of `PackedRows` over the rows that satisfy `where`, in key order. */
function packed(table: MovedTable, packing: Packing, where: string): string {
  const { columns } = table
  const test = (values: string[]) =>
    packing === 'tagged'
      ? '0'
      : chainOf(
          values.map((value) => `(${isPlain(value)})`),
          'AND',
        )
  const placed = columns.map((_, place) => `r.c${place}`)
  const plain = jsonArrayOf(placed)
  const asTagged = jsonArrayOf(placed.map(tagged))
  const selected = columns.map((name, place) => `${column(name)} AS c${place}`).join(', ')
  const from = `FROM ${aliased(table)} WHERE ${where} ORDER BY ${columnList(table.key)}`
  if (columns.length < columnsMax && columnList(columns).length <= shortNamesMax)
    return `count(*) AS rows,
   '[' || group_concat(CASE WHEN r.plain THEN ${plain} END) || ']' AS plain,
   '[' || group_concat(CASE WHEN NOT r.plain THEN ${asTagged} END) || ']' AS tagged
   FROM (SELECT ${selected}, ${test(columns.map(column))} AS plain ${from}) AS r`
  // The first letter tells the two forms apart. LIMIT keeps SQLite from building each row three times, once per
  // mention.
  return `count(*) AS rows,
   '[' || group_concat(CASE WHEN m.form < 'q' THEN substr(m.form, 2) END) || ']' AS plain,
   '[' || group_concat(CASE WHEN m.form > 'q' THEN substr(m.form, 2) END) || ']' AS tagged
   FROM (SELECT CASE WHEN ${test(placed)} THEN 'p' || ${plain} ELSE 't' || ${asTagged} END AS form
         FROM (SELECT ${selected} ${from}) AS r LIMIT -1) AS m`
}

/** Inserts the packed rows in `?1`, or updates the rows with their keys to match. */
export const upsertSql = perTable((table: MovedTable, form: 'plain' | 'tagged'): string => {
  const { columns, key } = table
  const values = columns.map((_, place) => {
    const value = `json_extract(j.value, '$[${place}]')`
    return form === 'plain' ? value : untagged(value)
  })
  const others = columns.filter((name) => !key.includes(name)).map(quotedName)
  const update = others.map((name) => `${name} = excluded.${name}`).join(', ')
  return `INSERT INTO ${aliased(table)} (${nameList(columns)})
   SELECT ${values.join(', ')} FROM json_each(?1) AS j WHERE true
   ON CONFLICT (${nameList(key)}) DO ${update === '' ? 'NOTHING' : `UPDATE SET ${update}`}`
})

/** Deletes the rows with the keys in `?1` (a JSON array of keys). */
export const deleteSql = perTable(
  (table: MovedTable): string => `DELETE FROM ${aliased(table)} WHERE ${keyTuple(table)} IN (${keysIn(table, '?1')})`,
)

/** The rows with the keys in `?1` (a JSON array of keys), packed. */
export const namedSql = perTable(
  (table: MovedTable, packing: Packing): string =>
    `SELECT ${packed(table, packing, `${keyTuple(table)} IN (${keysIn(table, '?1')})`)}`,
)

// ── a table's rows in key order, chunk by chunk ───────────────────────────────────────────────

/** `?1`: first slot. `?3`: the previous row's key, if there is one. OR would prevent the use of the index. */
const afterCursor = (table: MovedTable, hasCursor: boolean): string =>
  hasCursor ? `${keyTuple(table)} > (${keyColumns(table, '?3')})` : `?3 IS NULL AND ${column(table.key[0])} >= ?1`

const backwards = (columns: string[]): string => columns.map((name) => `${name} DESC`).join(', ')

/** `?2`: the slot after the last. */
const beforeEnd = (table: MovedTable): string => `${column(table.key[0])} < ?2`

/**
 * Finds the end of the next chunk: its last row's key as `end`, or null if no row is left. `?1` to `?3` as above; `?4`
 * is the most bytes (one row is always included). Reads only keys and sizes. The row limit is part of the text, because
 * SQLite replans a statement for each value bound as its LIMIT.
 */
function chunkEndSql(table: MovedTable, hasCursor: boolean, rowsMax: number): string {
  const inner = placedKey(table, 'r')
  const outer = placedKey(table, 's')
  return `SELECT ${jsonArrayOf(outer)} AS "end" FROM (
     SELECT ${inner.map((name, place) => `${name} AS k${place}`).join(', ')}, r.size AS size,
       sum(r.size) OVER (ORDER BY ${inner.join(', ')} ROWS UNBOUNDED PRECEDING) AS bytes
     FROM (SELECT ${keyAs(table)}, ${rowBytes(table)} AS size FROM ${aliased(table)}
           WHERE ${afterCursor(table, hasCursor)} AND ${beforeEnd(table)} ORDER BY ${columnList(table.key)} LIMIT ${rowsMax}) AS r) AS s
   WHERE s.bytes <= ?4 OR s.bytes = s.size ORDER BY ${backwards(outer)} LIMIT 1`
}

/** Stores the end of the next chunk in the source's own mover row, for the other statements of the same batch. */
export const boundChunkSql = perTable(
  (table: MovedTable, hasCursor: boolean, rowsMax: number): string =>
    `UPDATE mover SET cursors = json_set(cursors, '$.end', (${chunkEndSql(table, hasCursor, rowsMax)})) WHERE id = 1`,
)

/** Like `boundChunkSql`, for a chunk whose rows are only counted. It reads only keys, and has no byte limit. */
export const boundCountSql = perTable((table: MovedTable, hasCursor: boolean, rowsMax: number): string => {
  const keys = `SELECT ${keyAs(table)} FROM ${aliased(table)} WHERE ${afterCursor(table, hasCursor)} AND ${beforeEnd(table)} ORDER BY ${columnList(table.key)} LIMIT ${rowsMax}`
  const placed = placedKey(table, 'r')
  return `UPDATE mover SET cursors = json_set(cursors, '$.end', (SELECT ${jsonArrayOf(placed)} FROM (${keys}) AS r ORDER BY ${backwards(placed)} LIMIT 1)) WHERE id = 1`
})

const CHUNK_END = "(SELECT json_extract(mover.cursors, '$.end') FROM mover)"

/**
 * Reads the stored end as `end`, or null if no row follows it. `?1` to `?3` as above. If a walk ended only when it finds
 * no row, a writer at the end of a table could keep it busy permanently. That writer's rows are captured anyway.
 */
export const chunkReachSql = perTable(
  (table: MovedTable): string =>
    `SELECT CASE WHEN EXISTS (SELECT 1 FROM ${aliased(table)} WHERE ?1 IS NOT NULL AND ${keyTuple(table)} > (${keyColumns(table, CHUNK_END)})
     AND ${beforeEnd(table)}) THEN ${CHUNK_END} END AS "end"`,
)

/** Where a chunk ends: at the end stored by its batch, at the key in `?4`, or at the end of the slots. */
type Bound = 'chunk' | 'key' | 'slots'

/** The rows after the cursor, up to `bound`. `?1` to `?3` as above. */
function inChunk(table: MovedTable, hasCursor: boolean, bound: Bound): string {
  // Only one upper bound, because SQLite might use the wider of two.
  const end = {
    chunk: `?2 IS NOT NULL AND ${keyTuple(table)} <= (${keyColumns(table, CHUNK_END)})`,
    key: `?2 IS NOT NULL AND ${keyTuple(table)} <= (${keyColumns(table, '?4')})`,
    slots: beforeEnd(table),
  }
  return `${afterCursor(table, hasCursor)} AND ${end[bound]}`
}

/** The rows of a chunk, packed. */
export const chunkSql = perTable(
  (table: MovedTable, packing: Packing, hasCursor: boolean, bound: Bound): string =>
    `SELECT ${packed(table, packing, inChunk(table, hasCursor, bound))}`,
)

/** The number of rows in a chunk, in the form of `PackedRows` without rows. */
export const countSql = perTable(
  (table: MovedTable, hasCursor: boolean, bound: Bound): string =>
    `SELECT count(*) AS rows, NULL AS plain, NULL AS tagged FROM ${aliased(table)} WHERE ${inChunk(table, hasCursor, bound)}`,
)

/** The table's rows in the slot ranges of `?1`: JSON, `[[first, the one after the last], …]`. */
function inRanges(table: MovedTable): string {
  const slot = column(table.key[0])
  return `(SELECT json_extract(j.value, '$[0]') AS first, json_extract(j.value, '$[1]') AS after FROM json_each(?1) AS j) AS r
   CROSS JOIN ${aliased(table)} ON ${slot} >= r.first AND ${slot} < r.after`
}

/** Deletes at most `rowsMax` rows in the ranges `?1`. */
export const purgeSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `DELETE FROM ${aliased(table)} WHERE ${keyTuple(table)} IN (SELECT ${columnList(table.key)} FROM ${inRanges(table)} LIMIT ${rowsMax})`,
)

/** The number of rows in the ranges `?1`, as `rows`, at most `rowsMax`; and the last row's slot, or null. */
export const sampleSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `SELECT count(*) AS rows, max(s.slot) AS slot
     FROM (SELECT substr(${column(table.key[0])}, 1, 4) AS slot FROM ${inRanges(table)} LIMIT ${rowsMax}) AS s`,
)

// ── the tail: captured changes that the target hasn't got yet ─────────────────────────────────────

/**
 * Stores the end of a round's tail (a `seq`) in the source's own mover row, for the other statements of the same batch.
 * `?1`: move. `?2`: the last `seq` that the target has. `?3`: the most bytes of rows.
 */
export const boundTailSql = (tables: MovedTable[], rowsMax: number): string =>
  `UPDATE mover SET move_id = NULL, cursors = json_object('tail', coalesce((SELECT max(s.seq) FROM (
     SELECT r.seq AS seq, r.size AS size, sum(r.size) OVER (ORDER BY r.seq ROWS UNBOUNDED PRECEDING) AS bytes FROM (
       SELECT change.seq AS seq, coalesce(CASE change.tbl ${tables.map(sizeOfNamed).join(' ')} END, 0) AS size
       FROM slot_changes AS change WHERE change.move_id = ?1 AND change.seq > ?2 ORDER BY change.seq LIMIT ${rowsMax}) AS r) AS s
     WHERE s.bytes <= ?3 OR s.bytes = s.size), ?2)) WHERE id = 1`

const sizeOfNamed = (table: MovedTable): string =>
  `WHEN ${textLiteral(table.name)} THEN (SELECT ${rowBytes(table)} FROM ${aliased(table)} WHERE ${keyTuple(table)} = (${keyColumns(table, 'change.pk')}))`

const TAIL_END = "(SELECT json_extract(mover.cursors, '$.tail') FROM mover)"

/**
 * The last `seq` of this tail, whether changes wait behind it, and how many of these came after `?2`, counted up to
 * `waitingMax`. `?1`: move.
 */
export const tailReachSql = (waitingMax: number): string =>
  `SELECT ${TAIL_END} AS seq, EXISTS (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > ${TAIL_END}) AS isBehind,
   (SELECT count(*) FROM (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > max(?2, ${TAIL_END}) LIMIT ${waitingMax})) AS waiting`

/** The tail of one table: the changed keys (JSON, or null), and their current rows, packed. `?1`: move. `?2`: `seq`. */
export const tailSql = perTable((table: MovedTable, packing: Packing): string => {
  const changes = `FROM slot_changes AS change WHERE change.move_id = ?1 AND change.tbl = ${textLiteral(table.name)} AND change.seq > ?2 AND change.seq <= ${TAIL_END}`
  const named = `${keyTuple(table)} IN (SELECT ${keyColumns(table, 'change.pk')} ${changes})`
  return `SELECT (SELECT '[' || group_concat(DISTINCT change.pk) || ']' ${changes}) AS keys, ${packed(table, packing, named)}`
})
