import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import {
  compareKeys,
  compareValues,
  isAfter,
  type Keyed,
  mergeRows,
  refuseDisorder,
  type SortKey,
  type SortValue,
  sortValue,
} from '../../../src/sharding/sort-keys.ts'

const values: SortValue[] = ['', 'b', '\uffff', '\u{10000}', '10', '9', 10, 9, -0.5, 0, 2 ** 53 - 1, null]

test('NULL sorts first, then numbers by value, then texts by their bytes: as SQLite sorts them', () => {
  const sqlite = new DatabaseSync(':memory:')
  sqlite.exec('CREATE TABLE t (value)')
  for (const value of values) sqlite.prepare('INSERT INTO t VALUES (?)').run(value)
  const sorted = sqlite.prepare('SELECT value FROM t ORDER BY value').all()
  expect(values.toSorted(compareValues)).toEqual(sorted.map(({ value }) => value))
})

test('a later column decides only between equal values of the earlier ones', () => {
  const keys: SortKey[] = [
    [null, 'z'],
    [1, 'b'],
    [1, 'c'],
    ['a', 'a'],
  ]
  expect(keys.toReversed().toSorted(compareKeys)).toEqual(keys)
  expect(isAfter([1, 'c'], [1, 'b'], 'ascending')).toBe(true)
  expect(isAfter([1, 'c'], [1, 'b'], 'descending')).toBe(false)
  expect(isAfter([1, 'c'], [1, 'c'], 'ascending')).toBe(false)
})

const rows = (...keys: SortKey[]): Keyed<string>[] => keys.map((key) => ({ key, row: key.join() }))

test('merges the first rows of two lists, up to a maximum', () => {
  const [one, other] = [rows([1], [4], [5]), rows([2], [3], [6])]
  expect(mergeRows(one, other, 'ascending', 4).map(({ row }) => row)).toEqual(['1', '2', '3', '4'])
  expect(mergeRows([], other, 'ascending', 9)).toEqual(other)
  expect(mergeRows(one.toReversed(), other.toReversed(), 'descending', 9).map(({ row }) => row)).toEqual([
    '6',
    '5',
    '4',
    '3',
    '2',
    '1',
  ])
})

test('refuses rows that a column with another collation has sorted, and equal keys', () => {
  expect(() => refuseDisorder(rows(['a'], ['B']), 'ascending')).toThrow('not in the order')
  expect(() => refuseDisorder(rows([1], [1]), 'ascending')).toThrow('not in the order')
  expect(() => refuseDisorder(rows([2], [1]), 'descending')).not.toThrow()
})

test.each([[2 ** 53], [Number.NaN], [new ArrayBuffer(1)], [true], [undefined]])('%s is no sort key', (value) => {
  expect(() => sortValue(value)).toThrow('sort key')
})
