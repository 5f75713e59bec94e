import { expect, test } from 'vitest'
import type { SortKey } from '../../src/sharding/sort-keys.ts'
import { byName, ScatteredRows, SLOTS, someThings, sorted, worldSlots } from '../support/scattered-rows.ts'
import { seededRandom } from '../support/sharding-doubles.ts'

test('pages of 50 have all 64,000 rows of 64 shards, in order, once each, while two moves run', async () => {
  const random = seededRandom(64)
  const things = someThings(64_000, random)
  const world = new ScatteredRows(64, things, (slot) => slot)
  const { shards } = world.isolate(random)
  const seen: string[] = []
  let pages = 0
  let cursor: SortKey | null = null
  do {
    const page: Awaited<ReturnType<typeof shards.scatter<{ id: string }>>> = await shards.scatter(byName('ascending'), {
      limit: 50,
      cursor,
      slots: worldSlots,
    })
    expect([page.failed, page.missing]).toEqual([[], []])
    seen.push(...page.rows.map(({ id }) => id))
    cursor = page.next
    world.clock.advance(500)
    const slot = Math.floor(random.fraction() * SLOTS)
    if (world.openMoves < 2) world.startMove(slot, slot + 1, Math.floor(random.fraction() * 64))
    world.stepMove(pages % 2)
    pages++
  } while (cursor)
  expect(seen).toEqual(sorted(things, 'ascending').map(({ id }) => id))
  expect(pages).toBe(1_280)
  expect(world.epoch).toBeGreaterThan(100)
})
