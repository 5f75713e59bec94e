import { expect, test } from 'vitest'
import type { ScatterPage } from '../../../src/sharding/scatter.ts'
import type { StreamPosition } from '../../../src/sharding/scatter-stream.ts'
import type { SlotSpans } from '../../../src/sharding/slot-spans.ts'
import { isAfter, type SortKey } from '../../../src/sharding/sort-keys.ts'
import {
  byName,
  ScatteredRows,
  SLOTS,
  someThings,
  sorted,
  type Thing,
  worldSlots,
} from '../../support/scattered-rows.ts'
import { connectionLost, seededRandom } from '../../support/sharding-doubles.ts'

const SEEDS = 30
const ROWS = 120

/** A world in which, around calls and between pages, moves proceed, time passes, and shards and the directory fail. */
function troubledWorld(seed: number) {
  const random = seededRandom(seed)
  const below = (count: number) => Math.floor(random.fraction() * count)
  const shardCount = 2 + below(5)
  const hasNulls = random.fraction() < 0.3
  const things = someThings(ROWS, random, hasNulls)
  const pieces = 1 + below(SLOTS)
  const world = new ScatteredRows(shardCount, things, (slot) => Math.floor((slot * pieces) / SLOTS) % shardCount)
  const failures = random.fraction() < 0.7 ? 0.25 : 0
  let isTroubled = true
  const trouble = () => {
    if (!isTroubled) return
    const drawn = random.fraction()
    if (drawn < 0.15) {
      const first = below(SLOTS)
      world.startMove(first, Math.min(SLOTS, first + 1 + below(8)), below(shardCount))
    } else if (drawn < 0.5) world.stepMove(below(world.openMoves))
    else if (drawn < 0.6) world.clock.advance(below(1_500))
    else if (drawn < 0.65) world.directoryAnswers = !world.directoryAnswers
  }
  world.clock.onSleep = trouble
  world.onCall = async (_, execute) => {
    trouble()
    if (isTroubled && random.fraction() < failures) throw connectionLost()
    execute()
    trouble()
    if (isTroubled && random.fraction() < failures / 2) throw connectionLost()
  }
  const heal = () => {
    isTroubled = false
    world.directoryAnswers = true
    while (world.openMoves > 0) {
      world.stepMove(0)
      world.clock.advance(1_000)
    }
  }
  return { world, things, hasNulls, trouble, heal, below, ...world.isolate(random) }
}

/** What a page missed: the rows of these slots from its cursor to its end. */
interface Gap {
  slots: SlotSpans
  cursor: SortKey | null
  end: SortKey | null
}

const names = (things: Thing[]) => things.map(({ id }) => id)

test(`pages have each row once and in order, and name what they missed, in ${SEEDS} troubled worlds`, async () => {
  let missed = 0
  let moved = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { world, things, hasNulls, trouble, heal, shards, below } = troubledWorld(seed)
    const direction = seed % 2 === 0 ? 'ascending' : 'descending'
    const query = byName(direction, hasNulls)
    const limit = 1 + below(30)
    const rows: Thing[] = []
    const gaps: Gap[] = []
    let cursor: SortKey | null = null
    do {
      const page: ScatterPage<Thing> = await shards.scatter(query, { limit, cursor, slots: worldSlots })
      expect(page.rows.length).toBeLessThanOrEqual(limit)
      expect(page.failed.length > 0).toBe(page.missing.length > 0)
      rows.push(...page.rows)
      if (page.failed.length > 0) gaps.push({ slots: page.missing, cursor, end: page.next })
      cursor = page.next
      trouble()
    } while (cursor)
    const inOrder = sorted(things, direction)
    const seen = new Set(names(rows))
    expect(names(rows), `seed ${seed}`).toEqual(names(inOrder.filter(({ id }) => seen.has(id))))

    heal()
    moved += world.epoch - 1
    for (const { slots, cursor: from, end } of gaps) {
      let after = from
      do {
        const page: ScatterPage<Thing> = await shards.scatter(query, { limit, cursor: after, slots })
        expect(page.failed).toEqual([])
        const wanted = page.rows.filter(({ id, name }) => end === null || !isAfter([name, id], end, direction))
        rows.push(...wanted)
        missed += wanted.length
        after = wanted.length < page.rows.length ? null : page.next
      } while (after)
    }
    expect(names(sorted(rows, direction)), `seed ${seed}`).toEqual(names(inOrder))
  }
  expect(missed).toBeGreaterThan(50)
  expect(moved).toBeGreaterThan(50)
})

test(`a stream has each row once, and what it missed can be streamed afterwards, in ${SEEDS} troubled worlds`, async () => {
  const source = { columns: 'id, name', from: 'things', id: 'id' }
  const query = { operation: 'things.stream', keyspace: 'users', source } as const
  let missed = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { things, trouble, heal, shards, below } = troubledWorld(seed)
    const pageRows = 1 + below(30)
    const rows: Thing[] = []
    const gaps: StreamPosition[] = []
    let from: StreamPosition = { slots: worldSlots, after: null }
    while (from.slots.length > 0)
      for await (const page of shards.stream<Thing>(query, { pageRows, from })) {
        expect(page.rows.length).toBeLessThanOrEqual(pageRows)
        rows.push(...page.rows)
        if (page.missing) gaps.push(page.missing)
        from = page.next
        trouble()
        if (below(10) === 0) break // the reader stops here, and another stream continues
      }
    expect(new Set(names(rows)).size, `seed ${seed}`).toBe(rows.length)
    heal()
    missed += gaps.length
    for (const gap of gaps)
      for await (const page of shards.stream<Thing>(query, { pageRows, from: gap })) rows.push(...page.rows)
    expect(names(rows).toSorted(), `seed ${seed}`).toEqual(names(things).toSorted())
  }
  expect(missed).toBeGreaterThan(5)
})
