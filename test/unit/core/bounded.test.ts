import { expect, test } from 'vitest'
import { windowOf } from '../../../src/core/bounded.ts'

const items = (count: number) => Array.from({ length: count }, (_, index) => index)

test.each([1, 7, 40, 41, 64, 80, 100, 1_000])('consecutive turns visit all of %i items', (count) => {
  const turns = Math.ceil(count / Math.min(40, count))
  const met = items(turns).flatMap((turn) => windowOf(items(count), { turn: turn + 12_345 * turns, size: 40 }))
  expect(new Set(met).size).toBe(count)
  expect(met).toHaveLength(count)
  for (const turn of items(turns)) expect(windowOf(items(count), { turn, size: 40 }).length).toBeLessThanOrEqual(40)
})

// If a turn's budget is too small for its window, the rest is visited in a later round.
test.each([1, 7, 40, 41, 64, 80, 120, 1_000])(
  'turns that stop after a quarter of their window reach all of %i items in four rounds',
  (count) => {
    const turns = 4 * Math.ceil(count / 40)
    const met = items(turns).flatMap((turn) => {
      const visited = windowOf(items(count), { turn: turn + 12_345 * turns, size: 40 })
      return visited.slice(0, Math.ceil(visited.length / 4))
    })
    expect(new Set(met).size).toBe(count)
  },
)

test('no items give an empty window', () => {
  expect(windowOf([], { turn: 5, size: 40 })).toEqual([])
})
