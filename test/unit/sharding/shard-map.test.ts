import { describe, expect, test } from 'vitest'
import { evenRuns, type Run, ShardMap } from '../../../src/sharding/shard-map.ts'
import { mapWire } from '../../support/sharding-doubles.ts'

const mapOf = (runs: Run[], shards: number) => new ShardMap(mapWire(1, 0, runs, shards))

test.each([1, 2, 3, 4, 6, 7, 100, 1_000])(
  '%i shards get even shares of all 65,536 slots, within one slot',
  (shards) => {
    const counts = mapOf(evenRuns(shards), shards).slotCounts('users')
    expect(counts).toHaveLength(shards)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(counts.reduce((sum, count) => sum + count)).toBe(65_536)
  },
)

test('a run reaches to the start of the next one, and the last to the end', () => {
  const map = mapOf(
    [
      [0, 1],
      [1, 0],
      [0xff, 1],
    ],
    2,
  )
  const owners = ['0000', '0001', '00fe', '00ff', 'ffff'].map((slot) => map.ownerOf('claims', slot).id)
  expect(owners).toEqual(['shard-001', 'shard-000', 'shard-000', 'shard-001', 'shard-001'])
})

test('each keyspace has its own map', () => {
  const wire = mapWire(1, 0, 0)
  const map = new ShardMap({ ...wire, runs: { users: [[0, 0]], claims: [[0, 1]] } })
  expect([map.ownerOf('users', '1234').id, map.ownerOf('claims', '1234').id]).toEqual(['shard-000', 'shard-001'])
})

describe('a map that is not total or not in order is refused', () => {
  test.each([
    ['no run', []],
    ['it starts late', [[1, 0]]],
    [
      'two runs start at one slot',
      [
        [0, 0],
        [5, 1],
        [5, 0],
      ],
    ],
    [
      'a run starts before the previous one',
      [
        [0, 0],
        [9, 1],
        [5, 0],
      ],
    ],
    [
      'a run starts past the end',
      [
        [0, 0],
        [65_536, 1],
      ],
    ],
    ['a shard that is not listed', [[0, 2]]],
  ] as [string, Run[]][])('%s', (_, runs) => {
    expect(() => mapOf(runs, 2)).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
  })
})
