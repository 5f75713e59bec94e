import { expect, test } from 'vitest'
import { present } from '../../../src/core/present.ts'
import { zip } from '../../../src/core/zip.ts'

test.each([0, '', false])('%j is present', (value) => {
  expect(present(value, 'a value')).toBe(value)
})

test.each([undefined, null])('%j is not present, and the error says what was expected', (value) => {
  expect(() => present(value, 'the shard of a run')).toThrow('Expected the shard of a run, and there is none.')
})

test('lists of equal length are joined item by item', () => {
  expect(zip(['a', 'b'], [1, 2])).toEqual([
    ['a', 1],
    ['b', 2],
  ])
  expect(zip([], [])).toEqual([])
})

test.each([[[1]], [[1, 2, 3]]])('a list of different length is refused: %j', (others) => {
  expect(() => zip(['a', 'b'], others)).toThrow(`Expected 2 others, and there are ${others.length}.`)
})
