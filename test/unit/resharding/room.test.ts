import { describe, expect, test } from 'vitest'
import { arrivalOf, bytesArriving, bytesOfSlots, refuseLackOfRoom } from '../../../src/resharding/room.ts'
import { record } from '../../support/fleet.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { shardName, wideFleet } from '../../support/wide-fleet.ts'

const GB = 1_000_000_000
const [a, b, c, d] = [0, 1, 2, 3].map(shardName) as [string, string, string, string]

/** Four shards, two of which have slots: 32,768 of each keyspace. */
function fleetWith(sizes: Record<string, number | null>, shardBytesMax?: number) {
  const bytes = (shard: string) => sizes[shard] ?? null
  return wideFleet({
    from: 2,
    to: 4,
    clock: new ManualClock(),
    bytes,
    ...(shardBytesMax === undefined ? {} : { shardBytesMax }),
  })
}

const half = (keyspace: 'users' | 'claims', target: string) => ({
  keyspace,
  ranges: [['0000', '3fff']] as [string, string][],
  target,
})

describe('planning a move', () => {
  test('requires room for its share of the whole database, and a tenth of the limit stays free', async () => {
    // Half of the slots of 8 GB are 4 GB. 9 GB are usable.
    const fits = fleetWith({ [a]: 8 * GB, [c]: 5 * GB })
    const [move] = await fits.planning.plan(half('users', c))
    expect(move).toMatchObject({ bytesEstimated: 4 * GB })
    const lacks = fleetWith({ [a]: 8 * GB, [c]: 5 * GB + 1 })
    await expect(lacks.planning.plan(half('users', c))).rejects.toMatchObject({
      code: 'SHARD_LACKS_ROOM',
      message: expect.stringMatching(
        /shard-002 has 5,000 MB, and up to 4,000 MB would arrive.*limit is 10,000 MB.*Add a shard/,
      ),
    })
    expect(lacks.records.open()).toEqual([])
  })

  test('uses the configured limit', async () => {
    const small = fleetWith({ [a]: 400_000_000, [c]: 300_000_000 }, 500_000_000)
    await expect(small.planning.plan(half('users', c))).rejects.toMatchObject({ code: 'SHARD_LACKS_ROOM' })
  })

  test.each([a, c])('is not refused if the size of %s is unknown', async (unknown) => {
    const { planning } = fleetWith({ [a]: 9 * GB, [c]: 9 * GB, [unknown]: null })
    expect(await planning.plan(half('users', c))).toHaveLength(1)
  })

  test('counts the bytes that other moves have yet to bring, given their progress', async () => {
    const { records, planning } = fleetWith({ [a]: 8 * GB, [b]: 8 * GB, [c]: 2 * GB })
    const [first] = await planning.plan(half('users', c))
    record(records, first!.id, ['preparing', 'copying'])
    const check = () => planning.check([{ keyspace: 'users', source: b, target: c, ranges: [['8000', 'bfff']] }])
    // 2 + 4 + 4 exceed 9.
    await expect(check()).rejects.toMatchObject({ code: 'SHARD_LACKS_ROOM' })
    records.report(first!.id, { rowsTotal: 100, rowsCopied: 25, rowsVerified: 0 })
    expect(await check()).toMatchObject([{ bytesEstimated: 4 * GB }])
    records.report(first!.id, { rowsTotal: 100, rowsCopied: 24, rowsVerified: 0 })
    await expect(check()).rejects.toMatchObject({ code: 'SHARD_LACKS_ROOM' })
    records.abort(first!.id)
    expect(await check()).toHaveLength(1)
  })
})

describe('a rebalance or a drain', () => {
  const everything = { keyspaces: ['users' as const, 'claims' as const], tolerance: 0, bytes: null, dryRun: false }

  test('is refused if a taker lacks room, and nothing is recorded', async () => {
    const { fleet, records } = fleetWith({ [a]: 9 * GB, [b]: 9 * GB, [c]: 1, [d]: 8 * GB })
    await expect(fleet.rebalance(everything)).rejects.toMatchObject({
      code: 'SHARD_LACKS_ROOM',
      message: expect.stringContaining(d),
    })
    expect(records.open()).toEqual([])
  })

  test('counts a database once if it gives both keyspaces', async () => {
    // c and d get 4 of 8 GB each, of users and of claims.
    const { fleet } = fleetWith({ [a]: 8 * GB, [b]: 8 * GB, [c]: 5 * GB, [d]: 5 * GB })
    expect((await fleet.rebalance(everything)).moves).toHaveLength(4)
  })
})

test('a move of unknown size is not counted', () => {
  expect(bytesOfSlots(null, 1, 2)).toBeNull()
  expect(bytesOfSlots(100, 5, 0)).toBe(100)
  expect(bytesArriving([{ source: a, keyspace: 'users', bytes: null }])).toBe(0)
  refuseLackOfRoom(c, 99 * GB, [{ source: a, keyspace: 'users', bytes: null }], 10 * GB)
})

test.each([
  { why: 'goes elsewhere', change: { target: { id: d, binding: '' } } },
  { why: 'is being undone', change: { ending: 'aborted' as const } },
  { why: 'is a reverse, whose rows already exist', change: { reversals: 1 } },
  { why: 'has committed, so its rows are part of the size', change: { state: 'settling' as const } },
])('a move that $why brings nothing more', async ({ change }) => {
  const { planning } = fleetWith({ [a]: 8 * GB, [c]: 1 })
  const [move] = await planning.plan(half('users', c))
  expect(arrivalOf(move!, c)).toEqual({ source: a, keyspace: 'users', bytes: 4 * GB })
  expect(arrivalOf({ ...move!, ...change }, c)).toBeNull()
})
