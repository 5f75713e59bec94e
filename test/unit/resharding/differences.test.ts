import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { compareRows } from '../../../src/resharding/differences.ts'
import type { PackedRows } from '../../../src/resharding/rows.ts'
import type { MovedTable } from '../../../src/resharding/tables.ts'

const table: MovedTable = {
  name: 'notes',
  keyspace: 'users',
  key: ['id', 'part'],
  columns: ['part', 'id', 'text'],
}

const packed = (plain: unknown[][], tagged: string[][] = []): PackedRows => ({
  rows: plain.length + tagged.length,
  plain: plain.length === 0 ? null : JSON.stringify(plain),
  tagged: tagged.length === 0 ? null : JSON.stringify(tagged),
})
const hex = (text: string) => `t${Buffer.from(text).toString('hex').toUpperCase()}`

const equal = [1, '00aa', 'x']

test.each<[string, PackedRows, PackedRows, string]>([
  ['a changed value', packed([equal]), packed([[1, '00aa', 'y']]), 'notes ["00aa",1] differs'],
  [
    'a value of another storage class',
    packed([equal]),
    packed([], [['i1', hex('00aa'), 'b78']]),
    'notes ["00aa",1] differs',
  ],
  ['a lost row', packed([equal]), packed([]), 'notes ["00aa",1] is missing at the target'],
  ['an extra row', packed([equal]), packed([equal, [2, '00aa', 'x']]), 'notes ["00aa",2] is at the target only'],
  [
    'several',
    packed([equal, [2, '00aa', 'x']]),
    packed([[1, '00aa', 'y']], [['i3', hex('00ää'), 'r0.5']]),
    'notes ["00aa",1] differs; notes ["00aa",2] is missing at the target; notes ["00ää",3] is at the target only',
  ],
])('%s is named by its key', (_, source, target, report) => {
  expect(() => compareRows(table, source, target)).toThrow(report)
})

test('equal rows are equal, in any order', () => {
  const rows = [equal, [2, '00aa', null]]
  compareRows(table, packed(rows), packed(rows))
  compareRows(table, packed(rows), packed(rows.toReversed()))
})

test('keys that JavaScript can’t tell apart are still distinguished', () => {
  const large = (value: string) =>
    packed(
      [],
      [
        ['i9007199254740993', hex('00aa'), value],
        ['i9007199254740992', hex('00aa'), 't'],
      ],
    )
  expect(() => compareRows(table, large('r0.5'), large('r0.25'))).toThrow('notes ["00aa","i9007199254740993"] differs')
  const notUtf8 = (value: string) =>
    packed(
      [],
      [
        ['i1', 't30FF', value],
        ['i1', 't30FE', 't'],
      ],
    )
  expect(() => compareRows(table, notUtf8('r0.5'), notUtf8('r0.25'))).toThrow('notes ["t30FF",1] differs')
})

test('a report names at most ten differences, and states the total', () => {
  const rows = Array.from({ length: 30 }, (_, part) => [part, '00aa', 'x'])
  const report = new RegExp(`^(notes [^;]+; ){${limits.moveDifferencesMax}}and ${30 - limits.moveDifferencesMax} more$`)
  expect(() => compareRows(table, packed(rows), packed([]))).toThrow(report)
})
