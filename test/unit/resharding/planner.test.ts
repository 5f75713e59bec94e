import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { levelled, type PlannedShard, planMoves } from '../../../src/resharding/planner.ts'
import { countSlots, slotNumber } from '../../../src/resharding/record.ts'
import { evenRuns, expandRuns, type Run, type ShardState, SLOT_COUNT } from '../../../src/sharding/shard-map.ts'

const even = { tolerance: 0, drained: null }
const nothingHeld = () => new Uint8Array(SLOT_COUNT)

const shards = (states: ShardState[], weights: number[] = []): PlannedShard[] =>
  states.map((state, index) => ({ id: `s${index}`, state, slotWeight: weights[index] ?? 1 }))

const serving = (count: number) => shards(Array.from({ length: count }, () => 'serving' as const))

/** The owners after the plan. Fails if a move takes a slot that its source does not have. */
function carriedOut(owners: Uint16Array, all: PlannedShard[], moves: ReturnType<typeof planMoves>['moves']): number[] {
  const after = owners.slice()
  const index = (id: string) => all.findIndex((shard) => shard.id === id)
  for (const { source, target, ranges } of moves)
    for (const [first, last] of ranges)
      for (let slot = slotNumber(first); slot <= slotNumber(last); slot++) {
        if (after[slot] !== index(source)) throw new Error(`${source} does not have ${slot}`)
        after[slot] = index(target)
      }
  return all.map((_, shard) => after.filter((owner) => owner === shard).length)
}

const unevenness = (counts: number[]) => Math.max(...counts) - Math.min(...counts)
const moved = (moves: ReturnType<typeof planMoves>['moves']) =>
  moves.reduce((sum, { ranges }) => sum + countSlots(ranges), 0)

describe('adding shards', () => {
  test.each([
    [1, 1],
    [2, 1],
    [2, 2],
    [3, 1],
    [7, 5],
    [64, 1],
  ])('%i shards and %i more are even within a slot, and only the new shards’ slots move', (before, more) => {
    const owners = expandRuns(evenRuns(before), before)
    const all = serving(before + more)
    const { moves, held } = planMoves(all, { owners, held: nothingHeld() }, even)
    const counts = carriedOut(owners, all, moves)
    expect(unevenness(counts)).toBeLessThanOrEqual(1)
    expect(moved(moves)).toBe(counts.slice(before).reduce((sum, count) => sum + count, 0))
    expect(held).toBe(0)
  })

  test('two to two: each old shard gives to one new shard, in one piece', () => {
    const owners = expandRuns(evenRuns(2), 2)
    const { moves } = planMoves(serving(4), { owners, held: nothingHeld() }, even)
    expect(moves).toEqual([
      { source: 's0', target: 's2', ranges: [['4000', '7fff']] },
      { source: 's1', target: 's3', ranges: [['c000', 'ffff']] },
    ])
  })
})

test('an even map does not change', () => {
  const owners = expandRuns(evenRuns(3), 3)
  expect(planMoves(serving(3), { owners, held: nothingHeld() }, even).moves).toEqual([])
})

describe('tolerance', () => {
  const owners = expandRuns(
    [
      [0, 0],
      [34_000, 1],
    ],
    2,
  )

  test('a shard within the tolerance gives no slots', () => {
    expect(planMoves(serving(2), { owners, held: nothingHeld() }, { ...even, tolerance: 0.05 }).moves).toEqual([])
  })

  test('a shard outside the tolerance gives slots only until it is within', () => {
    const { moves } = planMoves(serving(2), { owners, held: nothingHeld() }, { ...even, tolerance: 0.02 })
    const [most] = carriedOut(owners, serving(2), moves)
    expect(most).toBeLessThanOrEqual(32_768 * 1.02 + 1)
    expect(most).toBeGreaterThan(32_768 * 1.02 - 1)
  })
})

test('by bytes, a shard with heavy slots gives fewer slots', () => {
  const owners = expandRuns(evenRuns(2), 2)
  const all = shards(['serving', 'serving', 'serving'], [300, 100, 100])
  const { moves } = planMoves(all, { owners, held: nothingHeld() }, even)
  const perSlot = new Map([
    ['s0', 300],
    ['s1', 100],
  ])
  const load = [32_768 * 300, 32_768 * 100, 0]
  for (const { source, target, ranges } of moves) {
    const bytes = countSlots(ranges) * perSlot.get(source)!
    load[Number(source[1])]! -= bytes
    load[Number(target[1])]! += bytes
  }
  const mean = (32_768 * 400) / 3
  for (const bytes of load) expect(Math.abs(bytes - mean)).toBeLessThan(mean * 0.001)
})

describe('states', () => {
  test('a draining shard gives all its slots to the shards that have least', () => {
    const runs: Run[] = [
      [0, 0],
      [30_000, 1],
      [40_000, 2],
    ]
    const owners = expandRuns(runs, 3)
    const all = shards(['serving', 'serving', 'draining'])
    const { moves } = planMoves(all, { owners, held: nothingHeld() }, { tolerance: 0, drained: 's2' })
    expect(new Set(moves.map(({ source }) => source))).toEqual(new Set(['s2']))
    expect(carriedOut(owners, all, moves)).toEqual([32_768, 32_768, 0])
  })

  test('while one shard is drained, no other shard gives slots, however uneven they are', () => {
    const owners = expandRuns(
      [
        [0, 0],
        [60_000, 1],
        [61_000, 2],
      ],
      3,
    )
    const all = shards(['serving', 'serving', 'draining'])
    const { moves } = planMoves(all, { owners, held: nothingHeld() }, { tolerance: 0, drained: 's2' })
    expect(moves).toEqual([{ source: 's2', target: 's1', ranges: [['ee48', 'ffff']] }])
  })

  test('draining a shard without slots plans nothing, even if the others have none either', () => {
    const owners = expandRuns([[0, 1]], 3)
    const all = shards(['serving', 'read-only', 'draining'])
    const drained = { tolerance: 0, drained: 's2' }
    expect(planMoves(all, { owners, held: nothingHeld() }, drained)).toEqual({ moves: [], held: 0 })
  })

  test.each(['read-only', 'restoring'] as const)('a %s shard neither gives nor takes', (state) => {
    const owners = expandRuns(
      [
        [0, 0],
        [40_000, 1],
        [45_000, 2],
      ],
      3,
    )
    const all = shards(['serving', 'serving', state])
    const { moves } = planMoves(all, { owners, held: nothingHeld() }, even)
    expect(moves.flatMap(({ source, target }) => [source, target])).not.toContain('s2')
    expect(carriedOut(owners, all, moves)).toEqual([22_500, 22_500, 20_536])
  })

  test('takers that are all below the mean take everything, even if six sixths add up to more than the whole', () => {
    const owners = expandRuns(
      [
        [0, 0],
        [80, 6],
        [971, 7],
      ],
      8,
    )
    const all = shards([...serving(6).map(({ state }) => state), 'draining', 'read-only'])
    const { moves } = planMoves(all, { owners, held: nothingHeld() }, even)
    expect(carriedOut(owners, all, moves)).toEqual([162, 162, 162, 162, 162, 161, 0, SLOT_COUNT - 971])
  })

  test('if no shard takes slots, nothing is planned', () => {
    const owners = expandRuns([[0, 0]], 2)
    expect(planMoves(shards(['draining', 'read-only']), { owners, held: nothingHeld() }, even).moves).toEqual([])
  })
})

test('slots that another move holds stay, and are counted as held', () => {
  const owners = expandRuns([[0, 0]], 2)
  const held = nothingHeld().fill(1, 0x1000, SLOT_COUNT)
  const plan = planMoves(serving(2), { owners, held }, even)
  expect(plan).toEqual({
    moves: [{ source: 's0', target: 's1', ranges: [['0000', '0fff']] }],
    held: 32_768 - 0x1000,
  })
})

test('a piece next to the taker’s is preferred, so that the map keeps few runs', () => {
  const owners = expandRuns(
    [
      [0, 0],
      [20_000, 1],
      [30_000, 0],
    ],
    2,
  )
  const { moves } = planMoves(serving(2), { owners, held: nothingHeld() }, even)
  expect(moves).toHaveLength(1)
  expect(moves[0]!.ranges).toHaveLength(2)
  expect(moves[0]!.ranges[0]).toEqual(['0000', '4e1f'])
})

/** Any states, and any map over them. Few runs leave shards without slots. */
const anyFleet = fc
  .tuple(
    fc.array(fc.constantFrom<ShardState>('serving', 'serving', 'serving', 'draining', 'read-only'), {
      minLength: 1,
      maxLength: 9,
    }),
    fc.nat(8),
    fc.array(fc.tuple(fc.integer({ min: 1, max: SLOT_COUNT - 1 }), fc.nat(8)), { maxLength: 40 }),
  )
  .map(([states, first, cuts]) => {
    const starts = [...new Map([[0, first] as [number, number], ...cuts]).entries()].sort(([a], [b]) => a - b)
    const runs = starts.map(([start, shard]): Run => [start, shard % states.length])
    return { states, owners: expandRuns(runs, states.length) }
  })

const countsOf = (owners: Uint16Array, all: PlannedShard[]) =>
  all.map((_, shard) => owners.filter((owner) => owner === shard).length)

test('any map and any states: no slot is taken from a shard that does not have it, and serving shards end even', () => {
  fc.assert(
    fc.property(anyFleet, ({ states, owners }) => {
      const all = shards(states)
      const { moves } = planMoves(all, { owners, held: nothingHeld() }, even)
      const counts = carriedOut(owners, all, moves)
      const of = (wanted: ShardState) => counts.filter((_, index) => states[index] === wanted)
      if (of('serving').length === 0) {
        expect(moves).toEqual([])
        return
      }
      expect(unevenness(of('serving'))).toBeLessThanOrEqual(1)
      expect(of('draining').every((count) => count === 0)).toBe(true)
      expect(moves.length).toBeLessThan(states.length)
    }),
    { numRuns: 60 },
  )
})

test('any loads: the whole load is distributed, and all shards end within the tolerance', () => {
  const loads = fc
    .constantFrom(100, SLOT_COUNT)
    .chain((most) => fc.array(fc.nat(most), { minLength: 1, maxLength: 64 }))
  fc.assert(
    fc.property(
      loads,
      fc.nat(SLOT_COUNT),
      fc.constantFrom(0, 0.1, Number.POSITIVE_INFINITY),
      (before, extra, tolerance) => {
        const total = before.reduce((sum, load) => sum + load, extra)
        const mean = total / before.length
        const after = levelled(before, extra, tolerance)
        expect(after.reduce((sum, load) => sum + load, 0)).toBeCloseTo(total, 3)
        for (const load of after) {
          expect(load).toBeGreaterThanOrEqual(mean * Math.max(0, 1 - tolerance) - 1e-3)
          // A mean of zero has no tolerance: 0 × ∞ is not a number.
          expect(load).toBeLessThanOrEqual((total && mean * (1 + tolerance)) + 1e-3)
        }
      },
    ),
    { numRuns: 1_000, examples: [[[0], 0, Number.POSITIVE_INFINITY]] },
  )
})

test('any map, any states and any drained shard: it gives all to the serving shards, and no other shard gives', () => {
  fc.assert(
    fc.property(anyFleet, fc.nat(8), ({ states, owners }, nth) => {
      const all = shards(states)
      const index = nth % all.length
      const drained = all[index]!.id
      const { moves } = planMoves(all, { owners, held: nothingHeld() }, { tolerance: 0, drained })
      const counts = carriedOut(owners, all, moves)
      const others = all.filter(({ state, id }) => state === 'serving' && id !== drained)
      expect(moves.every(({ target }) => others.some(({ id }) => id === target))).toBe(true)
      const before = countsOf(owners, all)
      expect(counts[index]).toBe(others.length === 0 ? before[index] : 0)
      expect(counts.every((count, shard) => shard === index || count >= before[shard]!)).toBe(true)
    }),
    { numRuns: 60 },
  )
})

test('any map, states and sizes, or no sizes: every plan ends, and takes no slot from a shard that does not have it', () => {
  const weight = fc.constantFrom(0, 0, 1, 0.3, 5_000)
  fc.assert(
    fc.property(anyFleet, fc.array(weight, { minLength: 9, maxLength: 9 }), ({ states, owners }, weights) => {
      const all = shards(states, weights)
      const { moves } = planMoves(all, { owners, held: nothingHeld() }, { tolerance: 0.1, drained: null })
      expect(carriedOut(owners, all, moves).reduce((sum, count) => sum + count, 0)).toBe(SLOT_COUNT)
    }),
    { numRuns: 60 },
  )
})
