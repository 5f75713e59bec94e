import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { Directory } from '../../../src/sharding/directory.ts'
import { decodeMap, evenRuns, expandRuns, type Run, SLOT_COUNT } from '../../../src/sharding/shard-map.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { shardName, wideFleet } from '../../support/wide-fleet.ts'

let clock: ManualClock
let directory: Directory
let storage: ReturnType<typeof wideFleet>['storage']
beforeEach(() => {
  clock = new ManualClock()
  ;({ directory, storage } = wideFleet({ from: 5, to: 8, clock }))
})

/** The runs for these owners, derived slot by slot. */
function runsOf(owners: Uint16Array): Run[] {
  const runs: Run[] = []
  owners.forEach((owner, slot) => {
    if (slot === 0 || owner !== owners[slot - 1]) runs.push([slot, owner])
  })
  return runs
}

describe('reassigned slots', () => {
  test('change the map as if each slot had been written separately, with the fewest runs possible', () => {
    const edge = fc.constantFrom(0, 1, 13_107, 13_108, 26_214, 26_215, SLOT_COUNT - 2, SLOT_COUNT - 1)
    const slot = fc.oneof(edge, fc.nat({ max: SLOT_COUNT - 1 }))
    const span = fc
      .tuple(slot, slot)
      .map(([one, other]): [number, number] => [Math.min(one, other), Math.max(one, other)])
    const given = fc.tuple(fc.array(span, { minLength: 1, maxLength: 3 }), fc.nat({ max: 7 }))
    fc.assert(
      fc.property(fc.array(given, { minLength: 1, maxLength: 12 }), (changes) => {
        const fresh = wideFleet({ from: 5, to: 8, clock }).directory
        const owners = expandRuns(evenRuns(5), 8)
        for (const [slots, shard] of changes) {
          fresh.reassign('users', slots, shardName(shard), null)
          for (const [first, last] of slots) owners.fill(shard, first, last + 1)
          expect(fresh.runs('users')).toEqual(runsOf(owners))
        }
        expect(fresh.runs('claims')).toEqual(evenRuns(5))
        const counts = fresh.slotCounts('users')
        const expected = new Map<string, number>()
        for (const owner of owners) expected.set(shardName(owner), (expected.get(shardName(owner)) ?? 0) + 1)
        expect(new Map([...counts].sort())).toEqual(new Map([...expected].sort()))
      }),
      { numRuns: 30 },
    )
  })

  test('rewrite the adjacent runs, and no others', () => {
    const before = storage.rows<{ changes: number }>('SELECT total_changes() AS changes')[0]!.changes
    directory.reassign('users', [[20_000, 20_099]], shardName(7), null)
    const after = storage.rows<{ changes: number }>('SELECT total_changes() AS changes')[0]!.changes
    expect(after - before).toBe(3) // two runs start there, and the epoch changes
  })
})

describe('the encoded map', () => {
  test('equals the map, with the time at which it is handed out', async () => {
    clock.advance(5)
    const first = await directory.encodedMap()
    expect(decodeMap(first)).toEqual(await directory.map())
    clock.advance(7)
    const second = await directory.encodedMap()
    expect(second.issuedAt).toBe(first.issuedAt + 7)
    expect(second.encoded).toBe(first.encoded)
  })

  test.each([
    { what: 'slots are given away', change: () => directory.reassign('users', [[0, 9]], shardName(7), 'bookmark') },
    { what: 'a shard drains', change: () => directory.setState(shardName(3), 'draining') },
    { what: 'a shard leaves', change: () => directory.remove(shardName(6)) },
  ])('changes as soon as $what', async ({ change }) => {
    const { encoded } = await directory.encodedMap()
    change()
    const after = await directory.encodedMap()
    expect(after.encoded).not.toBe(encoded)
    expect(decodeMap(after)).toEqual(await directory.map())
  })

  test('of a replaced object comes from storage, because it reads the epoch before it sets the time', async () => {
    await directory.encodedMap()
    const other = new Directory({ storage, clock, shards: new Map(), newDeploymentId: () => 'other' })
    other.reassign('claims', [[0, 9]], shardName(7), null)
    expect(decodeMap(await directory.encodedMap())).toEqual(await other.map())
  })
})
