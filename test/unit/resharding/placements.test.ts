import { beforeEach, expect, test } from 'vitest'
import { spansOf } from '../../../src/sharding/shard-map.ts'
import type { Keyspace } from '../../../src/sharding/sharded-table.ts'
import { record, settle } from '../../support/fleet.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { shardName, wideFleet } from '../../support/wide-fleet.ts'

// Two shards share both keyspaces, and two more have no slots.

const GRACE_MS = 300_000

let stand: ReturnType<typeof wideFleet>
let clock: ManualClock
beforeEach(() => {
  clock = new ManualClock()
  stand = wideFleet({ from: 2, to: 4, clock })
})

const claims = { keyspace: 'claims', target: shardName(2) } as const
const all = { keyspaces: ['users', 'claims'] as Keyspace[], tolerance: 0, bytes: null, dryRun: false }

/** Number of slots per shard, in the order of the shards. */
function counts(keyspace: Keyspace): number[] {
  const found = stand.directory.shardEntries().map(() => 0)
  for (const { first, after, shard } of spansOf(stand.directory.runs(keyspace))) found[shard]! += after - first
  return found
}

/** Ends the open moves as their movers do, one after another. */
function carryOut(): void {
  for (const { id } of stand.records.open()) {
    settle(stand.records, id)
    clock.advance(GRACE_MS)
    record(stand.records, id, ['purging', 'done'])
  }
}

async function placed(): Promise<void> {
  await stand.fleet.place(claims)
  carryOut()
}

test('a placement moves the keyspace with one move per source, and no other keyspace', async () => {
  const { moves, held } = await stand.fleet.place(claims)
  expect(moves.map(({ keyspace, source, target, ranges }) => [keyspace, source.id, target.id, ranges])).toEqual([
    ['claims', 'shard-000', 'shard-002', [['0000', '7fff']]],
    ['claims', 'shard-001', 'shard-002', [['8000', 'ffff']]],
  ])
  expect(held).toBe(0)
  expect(await stand.fleet.place(claims)).toMatchObject({ moves: [], held: 0 })
  carryOut()
  expect([counts('claims'), counts('users')]).toEqual([
    [0, 0, 65_536, 0],
    [32_768, 32_768, 0, 0],
  ])
  expect(await stand.fleet.place(claims)).toMatchObject({ moves: [], held: 0 })
  expect(await stand.fleet.keyspaces()).toEqual([
    {
      name: 'users',
      shards: [
        { id: 'shard-000', slots: 32_768 },
        { id: 'shard-001', slots: 32_768 },
      ],
      placement: null,
    },
    { name: 'claims', shards: [{ id: 'shard-002', slots: 65_536 }], placement: 'shard-002' },
  ])
})

test('slots in open moves are counted, and a later placement or rebalance brings them too', async () => {
  await stand.planning.plan({ keyspace: 'claims', ranges: [['0000', '00ff']], target: 'shard-001' })
  expect(await stand.fleet.place(claims)).toMatchObject({ held: 256, moves: [{}, {}] })
  carryOut()
  expect(counts('claims')).toEqual([0, 256, 65_280, 0])
  const { planned } = await stand.fleet.rebalance({ ...all, keyspaces: ['claims'], dryRun: true })
  expect(planned).toEqual([
    { keyspace: 'claims', source: 'shard-001', target: 'shard-002', ranges: [['0000', '00ff']] },
  ])
  await stand.fleet.place(claims)
  carryOut()
  expect(counts('claims')).toEqual([0, 0, 65_536, 0])
})

test('an unknown target, and one that takes no slots, are refused and leave no placement', async () => {
  await expect(stand.fleet.place({ ...claims, target: 'shard-009' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  for (const state of ['draining', 'read-only'] as const) {
    await stand.fleet.setState('shard-002', state)
    await expect(stand.fleet.place(claims)).rejects.toMatchObject({ code: 'SHARD_NOT_SERVING' })
  }
  expect(stand.directory.placementOf('claims')).toBeNull()
  await stand.fleet.setState('shard-001', 'read-only')
  await expect(stand.fleet.place({ ...claims, target: 'shard-003' })).rejects.toMatchObject({
    code: 'SHARD_NOT_SERVING',
    message: expect.stringContaining('shard-001 is read-only'),
  })
  expect([stand.directory.placementOf('claims'), stand.records.open()]).toEqual([null, []])
})

test('a target without room is refused, and no move is planned', async () => {
  const bytes = (shard: string) => (shard === 'shard-002' ? 800 : 500)
  stand = wideFleet({ from: 2, to: 4, clock, bytes, shardBytesMax: 1_000 })
  await expect(stand.fleet.place(claims)).rejects.toMatchObject({ code: 'SHARD_LACKS_ROOM' })
  expect([stand.directory.placementOf('claims'), stand.records.open()]).toEqual([null, []])
})

test('a rebalance leaves a placed keyspace, and gives its shard no slots of the others', async () => {
  await placed()
  const { moves } = await stand.fleet.rebalance(all)
  expect(moves.map(({ keyspace }) => keyspace)).toEqual(['users', 'users'])
  carryOut()
  expect(counts('claims')).toEqual([0, 0, 65_536, 0])
  expect(counts('users')[2]).toBe(0)
  expect(counts('users').toSorted()).toEqual([0, 21_845, 21_845, 21_846])
})

test('a shard that has slots of another keyspace takes part in its rebalance, placement or not', async () => {
  await stand.fleet.place({ keyspace: 'claims', target: 'shard-001' })
  carryOut()
  await stand.fleet.rebalance(all)
  carryOut()
  expect([counts('claims'), counts('users')]).toEqual([
    [0, 65_536, 0, 0],
    [16_384, 16_384, 16_384, 16_384],
  ])
})

test('a rebalance that names the keyspace ends its placement; its dry run does not', async () => {
  await placed()
  const named = { ...all, keyspaces: ['claims'] as Keyspace[], endsPlacements: true }
  expect((await stand.fleet.rebalance({ ...named, dryRun: true })).planned).toHaveLength(3)
  expect(stand.directory.placementOf('claims')?.id).toBe('shard-002')
  await stand.fleet.rebalance(named)
  expect(stand.directory.placementOf('claims')).toBeNull()
  carryOut()
  expect(counts('claims')).toEqual([16_384, 16_384, 16_384, 16_384])
  await stand.fleet.rebalance(all)
  carryOut()
  expect([counts('claims'), counts('users')]).toEqual([
    [16_384, 16_384, 16_384, 16_384],
    [16_384, 16_384, 16_384, 16_384],
  ])
})

test('a drain of the placement’s shard spreads the keyspace; cancelled, the placement is valid again', async () => {
  await placed()
  await stand.fleet.drain('shard-002')
  carryOut()
  expect(counts('claims')[2]).toBe(0)
  expect(counts('claims').toSorted()).toEqual([0, 21_845, 21_845, 21_846])
  expect((await stand.fleet.rebalance({ ...all, dryRun: true })).planned.map(({ keyspace }) => keyspace)).not.toContain(
    'claims',
  )
  await stand.fleet.setState('shard-002', 'serving')
  await stand.fleet.rebalance(all)
  carryOut()
  expect(counts('claims')).toEqual([0, 0, 65_536, 0])
})

test('removing a shard ends its placement, so a later shard of that name has none', async () => {
  await placed()
  await stand.fleet.drain('shard-002')
  carryOut()
  await stand.fleet.remove('shard-002')
  expect(stand.storage.rows('SELECT * FROM placements')).toEqual([])
})

test('a drain of another shard brings its slots of a placed keyspace to the placement, and the rest elsewhere', async () => {
  stand.directory.setPlacement('claims', 'shard-002')
  await stand.fleet.drain('shard-000')
  carryOut()
  expect([counts('claims'), counts('users')]).toEqual([
    [0, 32_768, 32_768, 0],
    [0, 32_768, 0, 32_768],
  ])
})

test('while the placement’s shard takes no writes, a rebalance leaves the keyspace', async () => {
  stand.directory.setPlacement('claims', 'shard-002')
  await stand.fleet.setState('shard-002', 'read-only')
  const { planned } = await stand.fleet.rebalance({ ...all, dryRun: true })
  expect(new Set(planned.map(({ keyspace }) => keyspace))).toEqual(new Set(['users']))
})

test('if only the placement’s shard is left, a drain moves everything there', async () => {
  stand = wideFleet({ from: 2, to: 3, clock })
  await placed()
  await stand.fleet.drain('shard-000')
  carryOut()
  await stand.fleet.drain('shard-001')
  carryOut()
  expect([counts('claims'), counts('users')]).toEqual([
    [0, 0, 65_536],
    [0, 0, 65_536],
  ])
})
