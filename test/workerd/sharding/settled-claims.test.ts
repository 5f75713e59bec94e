import { beforeEach, expect, test } from 'vitest'
import { Claims } from '../../../src/sharding/claims.ts'
import { type ShardState, SLOT_COUNT } from '../../../src/sharding/shard-map.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { ManualClock, mapWire, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'
import { databases, slotStatement } from '../../support/sharding-slots.ts'

const TURN_MS = 60_000
const CLAIMS_A_TURN = 100
/** The first two belong to shard 0, the last to shard 1. */
const [SLOT, OWNER_HERE, OWNER_THERE] = ['00a0', '00a1', '00a2']
const REST = '01jd0000000000000000000000'

beforeEach(async () => {
  await emptyShards()
  for (const [shard, slots] of [
    [databases.SHARD_000, [SLOT, OWNER_HERE]],
    [databases.SHARD_001, [OWNER_THERE]],
  ] as const)
    await shard.batch(
      slots.flatMap((slot) =>
        (['users', 'claims'] as const).map((keyspace) => slotStatement(shard, keyspace, slot, 'active')),
      ),
    )
})

/** The cron's part, with a changeable state of shard 1. */
function stand(state: ShardState) {
  const clock = new ManualClock()
  const directory = { state, epoch: 1 }
  const wire = () => {
    const runs = [
      [0, 0],
      [Number.parseInt(OWNER_THERE, 16), 1],
    ]
    const map = mapWire(directory.epoch, clock.now(), runs)
    map.shards[1]!.state = directory.state
    return map
  }
  const { shards } = routedShards({ databases, clock, source: new ScriptedSource(wire) })
  const claims = new Claims(shards, clock)
  const turn = async () => {
    clock.advance(TURN_MS)
    return (await claims.settleExpired({ turn: 0, size: SLOT_COUNT, takesWrites: true })).settled
  }
  return { clock, turn, become: (next: ShardState) => Object.assign(directory, { state: next, epoch: 2 }) }
}

let claimed = 0
/** Reservations in one slot, each a millisecond younger than the previous one. */
const reserve = (shard: D1Database, slot: string, ownerSlot: string, count: number, expiresAt: number) =>
  shard.batch(
    Array.from({ length: count }, (_, n) =>
      shard
        .prepare("INSERT INTO claims VALUES (?, 'email', ?, 'attempt', 'reserved', ?)")
        .bind(`${slot}${claimed++}`, `${ownerSlot}${REST}`, expiresAt + n),
    ),
  )

test.each(['read-only', 'restoring'] as const)(
  'more claims than a turn settles have owners whose shard is %s: younger ones are settled first, and these when it serves again',
  { timeout: 30_000 },
  async (state) => {
    const { clock, turn, become } = stand(state)
    await reserve(databases.SHARD_000, SLOT, OWNER_THERE, CLAIMS_A_TURN + 20, 0)
    await reserve(databases.SHARD_000, SLOT, OWNER_HERE, 3, 1_000)
    expect([await turn(), await turn()]).toEqual([0, 3])
    const left = await rows('claims')
    expect(left.map(({ owner_id }) => owner_id)).toEqual(Array(CLAIMS_A_TURN + 20).fill(`${OWNER_THERE}${REST}`))
    // A contender for one of them can contest it as before.
    expect(left.filter(({ state: how, expires_at }) => how !== 'reserved' || Number(expires_at) > clock.now())).toEqual(
      [],
    )
    become('serving')
    expect([await turn(), await turn()]).toEqual([CLAIMS_A_TURN, 20])
    expect(await rows('claims')).toEqual([])
  },
)

test('the oldest claims of several shards are settled first', { timeout: 30_000 }, async () => {
  const { turn } = stand('serving')
  await reserve(databases.SHARD_000, SLOT, OWNER_HERE, CLAIMS_A_TURN, 1_000)
  await reserve(databases.SHARD_001, OWNER_THERE, OWNER_HERE, 1, 0)
  expect(await turn()).toBe(CLAIMS_A_TURN)
  expect((await rows('claims')).map(({ expires_at }) => expires_at)).toEqual([1_000 + CLAIMS_A_TURN - 1])
})
