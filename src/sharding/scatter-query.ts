import { BanyanError } from '../core/errors.ts'
import { prefixEnd } from '../core/text-order.ts'
import type { Sql } from './row-arrays.ts'
import type { Keyspace } from './sharded-table.ts'
import { type SlotSpans, spansParameter } from './slot-spans.ts'
import { compareValues, type Direction, type Keyed, type SortKey, sortValue } from './sort-keys.ts'

/** Rows of one table. All texts except `prefix` are SQL. */
export interface ScatterSource {
  /** The result columns. */
  columns: string
  from: string
  /** The column whose first four characters are the row's slot. */
  id: string
  /** The sort key: an expression per column of the order, best those of one index. The last one makes it unique. */
  keys: readonly string[]
  where?: Sql
  /** Only rows whose first sort key, a text, starts with this. */
  prefix?: string
}

/** A read-only query that each shard answers for its slots, in one order. `Row` has the result columns. */
export interface ScatterQuery<Row> {
  /** Its name for observers. */
  operation: string
  keyspace: Keyspace
  direction: Direction
  /** With several sources, the rows of all of them are merged. Each needs as many keys. */
  sources: readonly ScatterSource[]
  /** Set it if a descending order has keys with NULL. Its pages then search an index by its first column only. */
  hasNulls?: boolean
  /** Never set. Only the compiler reads it. */
  row?: Row
}

const FIRST = 'banyan_first'
const AFTER = 'banyan_after'
const keyName = (index: number): string => `banyan_key_${index}`

/**
 * The statement that reads at most `limit` rows after a key, of these slots only, because both sides of a move have its rows until the purge. It reads at most `limit` rows per source that this shard has to answer for.
 */
export function pageSql<Row>(
  { sources, direction, hasNulls = false }: ScatterQuery<Row>,
  { spans, after, limit }: { spans: SlotSpans; after: SortKey | null; limit: number },
): Sql {
  const parts = sources.map((source) => sourceSql(source, { direction, hasNulls, after, limit }))
  const [only] = parts
  const slots = `WITH banyan_slots (${FIRST}, ${AFTER}) AS MATERIALIZED
    (SELECT value ->> 0, value ->> 1 FROM json_each(?))`
  if (only && parts.length === 1)
    return { sql: `${slots} ${only.sql}`, values: [spansParameter(spans), ...only.values] }
  const order = orderOf(sources[0]?.keys ?? [], direction)
  const union = parts.map(({ sql }) => `SELECT * FROM (${sql})`).join(' UNION ALL ')
  return {
    sql: `${slots} ${union} ORDER BY ${order} LIMIT ?`,
    values: [spansParameter(spans), ...parts.flatMap(({ values }) => values), limit],
  }
}

const ways = { ascending: 'ASC', descending: 'DESC' }

/** By the names of the keys, because a constant key such as `0` would be the number of a column. */
const orderOf = (keys: readonly string[], direction: Direction): string =>
  keys.map((_, index) => `${keyName(index)} ${ways[direction]}`).join(', ')

interface Place {
  direction: Direction
  hasNulls: boolean
  after: SortKey | null
  limit: number
}

function sourceSql(source: ScatterSource, place: Place): Sql {
  const { columns, from, id, keys, where } = source
  const { direction, after, limit } = place
  const conditions = [
    { sql: `EXISTS (SELECT 1 FROM banyan_slots WHERE ${id} >= ${FIRST} AND ${id} < ${AFTER})`, values: [] },
    ...(where ? [where] : []),
    ...prefixConditions(source, direction, after),
    ...(after ? [afterCondition(source, place, after)] : []),
  ]
  const selected = [columns, ...keys.map((key, index) => `${key} AS ${keyName(index)}`)].join(', ')
  const order = orderOf(keys, direction)
  const condition = conditions.map(({ sql }) => `(${sql})`).join(' AND ')
  return {
    sql: `SELECT ${selected} FROM ${from} WHERE ${condition} ORDER BY ${order} LIMIT ?`,
    values: [...conditions.flatMap(({ values }) => values), limit],
  }
}

/**
 * The range of a prefix. If the cursor is inside the range, its start is left out, because SQLite starts its search of
 * the index at only one lower bound, and may choose the start of the range.
 */
function prefixConditions({ keys, prefix }: ScatterSource, direction: Direction, after: SortKey | null): Sql[] {
  const [key] = keys
  if (!prefix) return []
  const end = prefixEnd(prefix)
  const isInside = after !== null && direction === 'ascending' && compareValues(after[0] ?? null, prefix) >= 0
  return [
    ...(isInside ? [] : [{ sql: `${key} >= ?`, values: [prefix] }]),
    ...(end === null ? [] : [{ sql: `${key} < ?`, values: [end] }]),
  ]
}

/**
 * Rows after a key. A comparison of row values searches an index by all its columns. It is never true for NULL, which
 * comes first in ascending order, so it is right there.
 */
function afterCondition({ keys }: ScatterSource, { direction, hasNulls }: Place, after: SortKey): Sql {
  if (after.length !== keys.length)
    throw new BanyanError('INTERNAL', 'The cursor of a scatter belongs to another query.')
  if (after.includes(null) || (hasNulls && direction === 'descending')) return columnsAfter(keys, direction, after)
  const sign = direction === 'ascending' ? '>' : '<'
  return { sql: `(${keys.join(', ')}) ${sign} (${keys.map(() => '?').join(', ')})`, values: after }
}

/** The same, column by column. An index serves only its first column. */
function columnsAfter([key, ...keys]: readonly string[], direction: Direction, after: SortKey): Sql {
  const [value = null, ...values] = after
  const own = value === null ? [] : [value]
  const beyond = {
    ascending: value === null ? `${key} IS NOT NULL` : `${key} > ?`,
    descending: value === null ? 'false' : `${key} < ? OR ${key} IS NULL`,
  }[direction]
  if (keys.length === 0) return { sql: beyond, values: own }
  const rest = columnsAfter(keys, direction, values)
  return { sql: `${beyond} OR (${key} IS ? AND (${rest.sql}))`, values: [...own, value, ...rest.values] }
}

/** The row of an answer, and its sort key. Throws INTERNAL for a key that cannot be compared. */
export function keyedRow<Row>(
  { sources, direction, hasNulls }: ScatterQuery<Row>,
  answered: Record<string, unknown>,
): Keyed<Row> {
  const row = { ...answered }
  const key = (sources[0]?.keys ?? []).map((_, index) => {
    const value = sortValue(row[keyName(index)])
    delete row[keyName(index)]
    if (value === null && direction === 'descending' && !hasNulls)
      throw new BanyanError(
        'INTERNAL',
        'A scatter in descending order has a key with NULL. Its query needs `hasNulls`.',
      )
    return value
  })
  return { key, row: row as Row }
}
