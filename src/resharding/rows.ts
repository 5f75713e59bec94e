import { limits } from '../core/limits.ts'
import { chainOf, jsonArrayOf, quotedName, textLiteral } from '../core/sql-text.ts'
import type { MovedTable } from './tables.ts'

/**
 * Rows travel as text that is made and read in SQL only; JavaScript passes it on. A chunk of rows is one JSON text, an
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
 *
 * A builder may give a column any name (docs/decisions/0018). So every column of a moved table is written as `t."name"`,
 * where `t` is the table, and stands alone in the FROM of the tables of `json_each` (`j`), of changes (`change`) and of
 * what is computed here, whose columns have names of their own (`c0`, `k0`, `size`, …). No name is ever looked up in two.
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

const nameList = (names: string[]): string => names.map(quotedName).join(', ')
const column = (name: string): string => `t.${quotedName(name)}`
const columnList = (names: string[]): string => names.map(column).join(', ')

/** `"name" AS t`: also where the table is written to, since a table may be called `excluded`. */
const aliased = ({ name }: MovedTable): string => `${quotedName(name)} AS t`

const keyTuple = ({ key }: MovedTable): string => `(${columnList(key)})`

/** The key as a subquery gives it: `r.k0, r.k1, …`. */
const placedKey = ({ key }: MovedTable, row: string): string[] => key.map((_, place) => `${row}.k${place}`)

/** The key columns as `k0, k1, …`. */
const keyAs = ({ key }: MovedTable): string => key.map((name, place) => `${column(name)} AS k${place}`).join(', ')

/** The key columns out of a key's JSON. */
const keyColumns = ({ key }: MovedTable, json: string): string =>
  key.map((_, place) => `json_extract(${json}, '$[${place}]')`).join(', ')

/** The keys in a JSON array of keys. */
const keysIn = (table: MovedTable, json: string): string =>
  `SELECT ${keyColumns(table, 'j.value')} FROM json_each(${json}) AS j`

/** The bytes of a row as it travels, about; SQLite knows the values' lengths without reading them. */
const rowBytes = ({ columns }: MovedTable): string =>
  `${chainOf(
    columns.map((name) => `coalesce(octet_length(${column(name)}), 0)`),
    '+',
  )} + ${8 * columns.length}`

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
const isPlain = (value: string): string =>
  `CASE typeof(${value}) WHEN 'text' THEN length(${value}) = octet_length(${value})
   WHEN 'integer' THEN ${value} BETWEEN -9007199254740991 AND 9007199254740991 WHEN 'null' THEN 1 ELSE 0 END`

const tagged = (value: string): string =>
  `CASE typeof(${value}) WHEN 'integer' THEN 'i' || ${value} WHEN 'real' THEN 'r' || replace(format('%!.17g', ${value}), 'Inf', '9e999')
   WHEN 'text' THEN 't' || hex(${value}) WHEN 'blob' THEN 'b' || hex(${value}) END`

const untagged = (text: string): string =>
  `CASE substr(${text}, 1, 1) WHEN 'i' THEN CAST(substr(${text}, 2) AS INTEGER) WHEN 'r' THEN CAST(substr(${text}, 2) AS REAL)
   WHEN 't' THEN CAST(unhex(substr(${text}, 2)) AS TEXT) WHEN 'b' THEN unhex(substr(${text}, 2)) END`

/** What the result of a SELECT has at most: a row of so many columns has no room for a test of it. */
const columnsMax = 100

/** Up to so long, a table's names may stand in a statement ten times. */
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
  // The form's first letter says which it is. LIMIT keeps SQLite from making each row three times, once a mention.
  return `count(*) AS rows,
   '[' || group_concat(CASE WHEN m.form < 'q' THEN substr(m.form, 2) END) || ']' AS plain,
   '[' || group_concat(CASE WHEN m.form > 'q' THEN substr(m.form, 2) END) || ']' AS tagged
   FROM (SELECT CASE WHEN ${test(placed)} THEN 'p' || ${plain} ELSE 't' || ${asTagged} END AS form
         FROM (SELECT ${selected} ${from}) AS r LIMIT -1) AS m`
}

/** Inserts the packed rows in `?1`, or makes the rows with their keys equal to them. */
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

/** `?1` first slot, `?3` the key of the last row before, where there is one. Never by OR: it would hide the index. */
const afterCursor = (table: MovedTable, hasCursor: boolean): string =>
  hasCursor ? `${keyTuple(table)} > (${keyColumns(table, '?3')})` : `?3 IS NULL AND ${column(table.key[0])} >= ?1`

const backwards = (columns: string[]): string => columns.map((name) => `${name} DESC`).join(', ')

/** `?2` the slot after the last. */
const beforeEnd = (table: MovedTable): string => `${column(table.key[0])} < ?2`

/**
 * Where the next chunk ends: its last row's key, as `end`, or null where no row is left. `?1` to `?3` as above, `?4` how
 * many bytes at the most (one row comes in any case). Keys and sizes are all that is read. How many rows at the most
 * stands in the text: SQLite plans a statement anew for each value bound as its LIMIT.
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

/** Keeps where the next chunk ends in the source's own mover row, for the other statements of the same batch. */
export const boundChunkSql = perTable(
  (table: MovedTable, hasCursor: boolean, rowsMax: number): string =>
    `UPDATE mover SET cursors = json_set(cursors, '$.end', (${chunkEndSql(table, hasCursor, rowsMax)})) WHERE id = 1`,
)

/** The same for a chunk whose rows are only counted: nothing but keys is read, and no bytes bound it. */
export const boundCountSql = perTable((table: MovedTable, hasCursor: boolean, rowsMax: number): string => {
  const keys = `SELECT ${keyAs(table)} FROM ${aliased(table)} WHERE ${afterCursor(table, hasCursor)} AND ${beforeEnd(table)} ORDER BY ${columnList(table.key)} LIMIT ${rowsMax}`
  const placed = placedKey(table, 'r')
  return `UPDATE mover SET cursors = json_set(cursors, '$.end', (SELECT ${jsonArrayOf(placed)} FROM (${keys}) AS r ORDER BY ${backwards(placed)} LIMIT 1)) WHERE id = 1`
})

const CHUNK_END = "(SELECT json_extract(mover.cursors, '$.end') FROM mover)"

/**
 * That end, as `end`, or null where no row is behind it. `?1` to `?3` as above. Who writes at the end of a table would keep
 * a walk busy for ever that ended only where it meets no row; what he writes is captured anyway.
 */
export const chunkReachSql = perTable(
  (table: MovedTable): string =>
    `SELECT CASE WHEN EXISTS (SELECT 1 FROM ${aliased(table)} WHERE ?1 IS NOT NULL AND ${keyTuple(table)} > (${keyColumns(table, CHUNK_END)})
     AND ${beforeEnd(table)}) THEN ${CHUNK_END} END AS "end"`,
)

/** Where a chunk ends: where its batch says; at the key in `?4`; or at the end of the slots. */
type Bound = 'chunk' | 'key' | 'slots'

/** The rows after the cursor, up to `bound`; `?1` to `?3` as above. */
function inChunk(table: MovedTable, hasCursor: boolean, bound: Bound): string {
  // Of two upper bounds SQLite might take the wider one.
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

/** How many rows a chunk has, in the form of rows that none are packed of. */
export const countSql = perTable(
  (table: MovedTable, hasCursor: boolean, bound: Bound): string =>
    `SELECT count(*) AS rows, NULL AS plain, NULL AS tagged FROM ${aliased(table)} WHERE ${inChunk(table, hasCursor, bound)}`,
)

/** The table's rows in the ranges of slots in `?1`: JSON, `[[first, the one after the last], …]`. */
function inRanges(table: MovedTable): string {
  const slot = column(table.key[0])
  return `(SELECT json_extract(j.value, '$[0]') AS first, json_extract(j.value, '$[1]') AS after FROM json_each(?1) AS j) AS r
   CROSS JOIN ${aliased(table)} ON ${slot} >= r.first AND ${slot} < r.after`
}

/** Deletes rows in the ranges `?1`, `rowsMax` at the most. */
export const purgeSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `DELETE FROM ${aliased(table)} WHERE ${keyTuple(table)} IN (SELECT ${columnList(table.key)} FROM ${inRanges(table)} LIMIT ${rowsMax})`,
)

/** How many rows there are in the ranges `?1`, as `rows`, `rowsMax` at the most; and the last one's slot, or null. */
export const sampleSql = perTable(
  (table: MovedTable, rowsMax: number): string =>
    `SELECT count(*) AS rows, max(s.slot) AS slot
     FROM (SELECT substr(${column(table.key[0])}, 1, 4) AS slot FROM ${inRanges(table)} LIMIT ${rowsMax}) AS s`,
)

// ── the tail: captured changes that the target hasn't got yet ─────────────────────────────────────

/**
 * Where a round's tail ends (a `seq`), kept in the source's own mover row for the other statements of the same batch:
 * `?1` move, `?2` the last `seq` that the target has, `?3` how many bytes of rows at the most.
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
 * To which `seq` this tail reaches, whether changes wait behind it, and how many of these came after `?2`, counted up to
 * `waitingMax`. `?1` move.
 */
export const tailReachSql = (waitingMax: number): string =>
  `SELECT ${TAIL_END} AS seq, EXISTS (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > ${TAIL_END}) AS isBehind,
   (SELECT count(*) FROM (SELECT 1 FROM slot_changes WHERE move_id = ?1 AND seq > max(?2, ${TAIL_END}) LIMIT ${waitingMax})) AS waiting`

/** What the tail says of a table: the changed keys (JSON, or null), and their rows as they are now, packed. `?1` move, `?2` `seq`. */
export const tailSql = perTable((table: MovedTable, packing: Packing): string => {
  const changes = `FROM slot_changes AS change WHERE change.move_id = ?1 AND change.tbl = ${textLiteral(table.name)} AND change.seq > ?2 AND change.seq <= ${TAIL_END}`
  const named = `${keyTuple(table)} IN (SELECT ${keyColumns(table, 'change.pk')} ${changes})`
  return `SELECT (SELECT '[' || group_concat(DISTINCT change.pk) || ']' ${changes}) AS keys, ${packed(table, packing, named)}`
})
