import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { changeChunk } from '../../../src/jobs/backfill-chunk.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import { type BackfillWorld, backfillWorld, names, RealClock } from '../../support/backfill-world.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'

/** All chunks of the first range. After each, every row up to the position must have been changed. */
async function changeRange({ fleet }: BackfillWorld, shards: ReturnType<BackfillWorld['isolate']>['shards']) {
  for (let after: string | null = '0000'; after !== null; ) {
    after = (await changeChunk(shards, names, { after, last: '0fff' }, 3)).after
    for (const database of fleet.bound.values()) {
      const { results } = await database
        .prepare(
          `SELECT id FROM profiles JOIN slots ON slot = substr(id, 1, 4) AND keyspace = 'users' AND slots.state = 'active'
           WHERE id > '0000' AND id <= ? AND bio <> 'x'`,
        )
        .bind(after ?? '0fff~')
        .all()
      expect(results).toEqual([])
    }
  }
}

test('killed twice, while slots move and users write: every row once, and no user’s value overwritten', async () => {
  const world = await backfillWorld({ rows: 2_000, seed: 1, clock: new RealClock() })
  const { backfills } = world.isolate()
  expect(await backfills.list()).toEqual([{ name: 'names', table: 'profiles', state: 'none', progress: 0 }])
  await world.runUnderFire({ killAtChunks: [40, 80], writes: 60 })
  await world.check()
  expect(await backfills.list()).toMatchObject([{ state: 'done', progress: 1 }])
})

test('slots that moved behind an isolate’s map are changed at their new shard, and old copies stay as they are', async () => {
  const world = await backfillWorld({ rows: 2_000, seed: 2, clock: new RealClock(), shardCount: 2 })
  const { shards } = world.isolate()
  await shards.map()
  // The first chunk of three rows ends at 0057 in the first shard, and at 01ba in the second one.
  await world.move('0008', '003f', 'shard-001')
  await world.move('0180', '01ff', 'shard-001')
  await changeRange(world, shards)
  const moved = "(id > '0008' AND id < '0040' OR id > '0180' AND id < '0200')"
  const bios = async (binding: string) =>
    (await world.fleet.bound.get(binding)!.prepare(`SELECT bio FROM profiles WHERE ${moved}`).all()).results
  const [copies, rows] = [await bios('SHARD_000'), await bios('SHARD_001')]
  expect(rows.length).toBeGreaterThan(1)
  expect(copies).toEqual(rows.map(() => ({ bio: '' })))
  expect(rows).toEqual(rows.map(() => ({ bio: 'x' })))
})

test('a slot that takes no writes is not passed over: the attempt fails, and resumes when the slot is active', async () => {
  const world = await backfillWorld({ rows: 2_000, seed: 3, clock: new ManualClock(), shardCount: 2 })
  const slot = world.ids
    .filter((id) => id < '0fff')
    .sort()[20]!
    .slice(0, 4)
  const setState = (state: string) =>
    world.fleet.bound.get('SHARD_000')!.prepare('UPDATE slots SET state = ? WHERE slot = ?').bind(state, slot).run()
  await setState('fenced')
  const { shards } = world.isolate()
  await expect(changeRange(world, shards)).rejects.toMatchObject({ code: 'SLOT_FENCED' })
  await setState('active')
  await changeRange(world, shards)
})

async function startedWorld(seed: number) {
  const world = await backfillWorld({ rows: 200, seed, clock: new ManualClock(), shardCount: 2 })
  await world.isolate().start()
  await world.deliver(world.queue.sent.shift()!)
  expect(world.queue.sent.length).toBe(limits.backfillRanges)
  return world
}

test('of two deliveries of one range, one continues', async () => {
  const world = await startedWorld(4)
  const [range] = world.queue.sent.splice(0) as [Job]
  await Promise.all([world.deliver(range), world.deliver(range)])
  expect(world.queue.sent.map(({ id }) => id)).toEqual([range.id])
  // The next turn starts behind the first one, although the repeated message has the range's first body.
  await world.deliver(range)
  await world.deliver(world.queue.sent.shift()!)
  expect(world.queue.sent).toEqual([])
})

test('a backfill stops after a bounded attempt and keeps its position; a start resumes it, and starts no second run', async () => {
  const world = await startedWorld(6)
  const { backfills, start, dispatch, relay } = world.isolate()
  const ranges = world.queue.sent.splice(0)
  let statements = 0
  await world.deliver(ranges.shift()!, (call, moment) => {
    if (moment === 'before') statements += call.statements + 1 // the guard
    return false
  })
  expect(statements).toBeGreaterThan(limits.backfillChunksMax * 4)
  expect(statements).toBeLessThanOrEqual(limits.jobStatementsMax)
  const [continued] = world.queue.sent.splice(0)
  // One range of 16 has done 5 chunks of 512 slots.
  const progress = (limits.backfillChunksMax * limits.backfillSlotsMax) / 65_536
  expect(await backfills.setPaused('names', true)).toMatchObject({ state: 'paused', progress })
  expect(await dispatch.run(continued!, 1)).toEqual({ kind: 'paused' })
  await dispatch.park([continued!, ...ranges])
  expect(await backfills.list()).toMatchObject([{ state: 'paused', progress }])
  expect(await start()).toMatchObject({ state: 'running', progress })
  expect(world.queue.sent).toEqual([])
  ;(world.clock as ManualClock).advance(60_000)
  await relay.sweep()
  await world.drain()
  expect(await backfills.list()).toMatchObject([{ state: 'done', progress: 1 }])
  await world.check()
  // A backfill that is done runs again, and its guard passes over all rows.
  expect(await start()).toMatchObject({ state: 'waiting', progress: 0 })
  await world.drain()
  await world.check()
  await expect(backfills.start('other')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('inline, a range that continues is run by the next sweep', async () => {
  const world = await backfillWorld({ rows: 200, seed: 7, clock: new ManualClock(), shardCount: 2 })
  const { start, relay, backfills } = world.isolate(undefined, 'inline')
  await start()
  for (let sweeps = 0; sweeps < 3 && (await backfills.list())[0]?.state !== 'done'; sweeps++) await relay.sweep()
  expect(await backfills.list()).toMatchObject([{ state: 'done' }])
  await world.check()
})
