import type { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { type UserSample, userCount, userSampleSql } from '../../../src/console/user-counts.ts'
import { slotText } from '../../../src/core/ids.ts'
import { ShardMap } from '../../../src/sharding/shard-map.ts'
import { type SlotSpans, spansByShard, spansParameter } from '../../../src/sharding/slot-spans.ts'
import { mapWire, seededRandom } from '../../support/sharding-doubles.ts'

const SLOTS = 65_536

/** A shard with this many users, whose hashes select slots from these. The states of the slots do not matter. */
function shardWith(users: number, slots: SlotSpans, seed = 1): DatabaseSync {
  const database = migratedDatabase()
  for (const trigger of database.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").all())
    database.exec(`DROP TRIGGER "${trigger.name}"`)
  const all = slots.flatMap(([first, after]) => Array.from({ length: after - first }, (_, n) => first + n))
  const random = seededRandom(seed)
  const insert = database.prepare("INSERT INTO accounts VALUES (?, 'e', NULL, 'h', 1, 0, 1)")
  database.exec('BEGIN')
  for (let n = 0; n < users; n++)
    insert.run(`${slotText(all[Math.floor(random.fraction() * all.length)]!)}01hf7yat00${String(n).padStart(16, '0')}`)
  database.exec('COMMIT')
  return database
}

const counted = (database: DatabaseSync, ranges: SlotSpans) =>
  userCount(
    database.prepare(userSampleSql('accounts')).get(spansParameter(ranges), 2_000) as unknown as UserSample,
    ranges,
  )

/** Every second piece of 16 slots, as moves leave them. */
const pieces: SlotSpans = Array.from({ length: 512 }, (_, n) => [n * 32, n * 32 + 16])

describe('below 2,000 users the number is exact', () => {
  test.each([
    ['none', 0, [[0, SLOTS]]],
    ['one', 1, [[0, SLOTS]]],
    ['1,999', 1_999, [[100, 40_000]]],
    ['1,999 in pieces', 1_999, pieces],
    ['some in the last slot', 7, [[SLOTS - 1, SLOTS]]],
  ] as [string, number, SlotSpans][])('%s', (_, users, ranges) => {
    expect(counted(shardWith(users, ranges), ranges)).toEqual({ users, isEstimated: false })
  })

  test('a shard without slots has no users, even if a move left rows there', () => {
    expect(counted(shardWith(100, [[0, SLOTS]]), [])).toEqual({ users: 0, isEstimated: false })
  })
})

describe('from 2,000 users on the number is an estimate', () => {
  test.each([
    ['few per slot', 20_000, [[0, SLOTS]]],
    ['in pieces', 20_000, pieces],
    ['many per slot', 60_000, [[1_000, 1_400]]],
    ['so many per slot that the sample covers two slots', 30_000, [[1_000, 1_032]]],
  ] as [string, number, SlotSpans][])('%s: within a tenth', (_, users, ranges) => {
    for (const seed of [1, 2, 3]) {
      const { users: estimate, isEstimated } = counted(shardWith(users, ranges, seed), ranges)
      expect(isEstimated).toBe(true)
      expect(Math.abs(estimate - users) / users).toBeLessThan(0.1)
    }
  })

  test('one slot with more users than the sample is reported as at least the sample', () => {
    const ranges: SlotSpans = [[5, 6]]
    expect(counted(shardWith(3_000, ranges), ranges)).toEqual({ users: 2_000, isEstimated: true })
  })
})

test('rows in slots of other shards (moved, importing) do not count', () => {
  const database = shardWith(3_000, [[0, 2_000]])
  const own: SlotSpans = [[1_900, 2_000]]
  const users = database.prepare("SELECT count(*) AS n FROM accounts WHERE id >= '076c'").get() as { n: number }
  expect(counted(database, own)).toEqual({ users: users.n, isEstimated: false })
})

test('each shard has the slots of the map', () => {
  const wire = mapWire(
    1,
    0,
    [
      [0, 1],
      [16, 0],
      [32, 1],
    ],
    3,
  )
  expect(spansByShard(new ShardMap(wire), 'users')).toEqual([
    [[16, 32]],
    [
      [0, 16],
      [32, SLOTS],
    ],
    [],
  ])
})

test('the sample uses the index of the key, and stops at its end', () => {
  const plan = shardWith(10, [[0, SLOTS]])
    .prepare(`EXPLAIN QUERY PLAN ${userSampleSql('accounts')}`)
    .all() as unknown as { detail: string }[]
  const accounts = plan.map(({ detail }) => detail).filter((detail) => detail.includes(' users '))
  expect(accounts).toEqual([expect.stringMatching(/^SEARCH users USING COVERING INDEX .*\(id>\? AND id<\?\)$/)])
})
