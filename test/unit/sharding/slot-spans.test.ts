import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ShardMap, SLOT_COUNT } from '../../../src/sharding/shard-map.ts'
import {
  allSlots,
  commonSpans,
  joinedSpans,
  partsOf,
  type SlotSpans,
  slotsIn,
  spansParameter,
  spansWithout,
} from '../../../src/sharding/slot-spans.ts'
import { mapWire } from '../../support/sharding-doubles.ts'

const SMALL = 24

/** Ranges of small numbers, as a set of numbers forms them. */
const spansOfSet = (set: Set<number>): SlotSpans =>
  joinedSpans([...set].map((slot): [number, number] => [slot, slot + 1]))
const set = fc.uniqueArray(fc.integer({ min: 0, max: SMALL }), { maxLength: SMALL }).map((all) => new Set(all))

test('sets of slots intersect, subtract and count like sets', () => {
  fc.assert(
    fc.property(set, set, (one, other) => {
      const [left, right] = [spansOfSet(one), spansOfSet(other)]
      expect(slotsIn(left)).toBe(one.size)
      expect(joinedSpans(commonSpans(left, right))).toEqual(
        spansOfSet(new Set([...one].filter((slot) => other.has(slot)))),
      )
      expect(joinedSpans(spansWithout(left, right))).toEqual(
        spansOfSet(new Set([...one].filter((slot) => !other.has(slot)))),
      )
    }),
  )
  expect(spansWithout(allSlots, [])).toEqual(allSlots)
  expect(spansWithout([[SLOT_COUNT - 1, SLOT_COUNT]], allSlots)).toEqual([])
})

test('the parts of a map cover the asked slots exactly, and name only shards that have some', () => {
  const runs = [
    [0, 1],
    [16, 0],
    [32, 1],
    [40, 2],
  ]
  const map = new ShardMap(mapWire(1, 0, runs, 4))
  const asked: SlotSpans = [[8, 36]]
  const parts = partsOf(map, 'users', asked)
  expect(parts.map(({ shard, spans }) => [shard.id, spans])).toEqual([
    ['shard-000', [[16, 32]]],
    [
      'shard-001',
      [
        [8, 16],
        [32, 36],
      ],
    ],
  ])
  expect(joinedSpans(parts.flatMap(({ spans }) => spans))).toEqual(asked)
})

test('the parameter’s texts enclose a slot’s digits and its keys', () => {
  const [[first, after]] = JSON.parse(spansParameter([[0x7ff, 0x1000]])) as [[string, string]]
  const isWithin = (key: string) => key >= first && key < after
  expect(['07ff', '07ffz', '0fff', '0fff7zzzz'].every(isWithin)).toBe(true)
  expect(['07fe', '07fezz', '1000', '10000'].some(isWithin)).toBe(false)
})
