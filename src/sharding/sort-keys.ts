import { BanyanError } from '../core/errors.ts'
import { compareTexts } from '../core/text-order.ts'

/** One value of a sort key. Numbers are finite, and whole ones are at most 2^53, because JavaScript has no others. */
export type SortValue = null | number | string
/** A row's place in a global order: one value per column. The last column makes it unique. */
export type SortKey = SortValue[]

export type Direction = 'ascending' | 'descending'

/** A row with its sort key. */
export interface Keyed<Row> {
  key: SortKey
  row: Row
}

/** SQLite's order of values: NULL, then numbers, then texts by their UTF-8. Below 0 if `one` sorts first. */
export function compareValues(one: SortValue, other: SortValue): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other
  if (typeof one === 'string' && typeof other === 'string') return compareTexts(one, other)
  return classOf(one) - classOf(other)
}

const classOf = (value: SortValue): number => (value === null ? 0 : typeof value === 'number' ? 1 : 2)

export function compareKeys(one: SortKey, other: SortKey): number {
  for (const [index, value] of one.entries()) {
    const difference = compareValues(value, other[index] ?? null)
    if (difference !== 0) return difference
  }
  return 0
}

/** The value of a sort key that a database answered. Throws INTERNAL for a blob, and for a number that is not exact. */
export function sortValue(value: unknown): SortValue {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'number' && Number.isFinite(value) && (Number.isSafeInteger(value) || !Number.isInteger(value)))
    return value
  throw new BanyanError('INTERNAL', 'A sort key of a scatter is not a text, an exact number or NULL.')
}

/** The first `max` rows of two sorted lists together. */
export function mergeRows<Row>(
  one: Keyed<Row>[],
  other: Keyed<Row>[],
  direction: Direction,
  max: number,
): Keyed<Row>[] {
  const merged: Keyed<Row>[] = []
  for (let left = 0, right = 0; merged.length < max; ) {
    const fromLeft = one[left]
    const fromRight = other[right]
    if (fromLeft && (!fromRight || !isAfter(fromLeft.key, fromRight.key, direction))) {
      merged.push(fromLeft)
      left++
    } else if (fromRight) {
      merged.push(fromRight)
      right++
    } else break
  }
  return merged
}

/** True if `one` comes after `other` in this direction. */
export const isAfter = (one: SortKey, other: SortKey, direction: Direction): boolean =>
  direction === 'ascending' ? compareKeys(one, other) > 0 : compareKeys(one, other) < 0

/** Throws INTERNAL unless each key comes after the one before: the database must sort as `compareKeys` does. */
export function refuseDisorder(rows: Keyed<unknown>[], direction: Direction): void {
  for (const [index, { key }] of rows.entries()) {
    const before = rows[index - 1]
    if (before && !isAfter(key, before.key, direction))
      throw new BanyanError(
        'INTERNAL',
        'A scatter’s rows are not in the order of their keys. Keys must be unique and have no collation of their own.',
      )
  }
}
