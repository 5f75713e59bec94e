import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { Fleet, type Rebalance } from '../../../src/resharding/fleet.ts'
import { KeptAnswers } from '../../../src/resharding/kept-answers.ts'
import { MovePlanning } from '../../../src/resharding/move-planning.ts'
import { type MoveRecord, slotNumber } from '../../../src/resharding/record.ts'
import { expandRuns } from '../../../src/sharding/shard-map.ts'
import type { Keyspace } from '../../../src/sharding/sharded-table.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { shardName, type WideFleetOptions, wideFleet } from '../../support/wide-fleet.ts'

const wish = { keyspaces: ['users' as const, 'claims' as const], tolerance: 0, bytes: null, dryRun: false }
const retry = { key: 'k', request: 'POST /operator/v1/rebalance\n{}' }
const size = limits.movesRecordedAtOnce

/** A clock whose pauses fail once a condition is met, as when the object is evicted at that point. */
class PausingClock extends ManualClock {
  isEvicted = () => false

  override async sleep(ms: number): Promise<void> {
    if (ms > 0) return super.sleep(ms)
    if (this.isEvicted()) throw new Error('evicted')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Forty of eighty shards have slots. With `recorded`, the object is evicted when it has that many moves. */
function growing({
  recorded = Number.POSITIVE_INFINITY,
  ...given
}: Partial<WideFleetOptions & { recorded: number }> = {}) {
  const clock = new PausingClock()
  const grown = { ...wideFleet({ from: 40, to: 80, clock, ...given }), clock }
  clock.isEvicted = () => grown.records.open().length >= recorded
  return grown
}

const open = ({ records }: ReturnType<typeof growing>) => records.open()

/** How many slots each shard has after these moves. Fails if a move takes a slot that its source does not have. */
function slotsAfter({ directory }: ReturnType<typeof growing>, moves: MoveRecord[], of: Keyspace): number[] {
  const shards = directory.shardEntries().map(({ id }) => id)
  const owners = expandRuns(directory.runs(of), shards.length)
  for (const { keyspace, source, target, ranges } of moves.filter((move) => move.keyspace === of))
    for (const [first, last] of ranges)
      for (let slot = slotNumber(first); slot <= slotNumber(last); slot++) {
        expect(shards[owners[slot]!], `${keyspace} ${slot}`).toBe(source.id)
        owners[slot] = shards.indexOf(target.id)
      }
  return shards.map((_, shard) => owners.filter((owner) => owner === shard).length)
}

const ids = (moves: MoveRecord[]) => moves.map(({ id }) => id)

test('a rebalance records a few dozen moves at a time, and lets others use the object in between', async () => {
  const grown = growing()
  const seen = new Set<number>()
  let isOver = false
  const watch = async () => {
    while (!isOver) {
      seen.add(open(grown).length)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const watching = watch()
  const { moves, planned } = await grown.fleet.rebalance(wish)
  isOver = true
  await watching
  expect(moves).toHaveLength(80)
  expect(planned).toHaveLength(80)
  expect(ids(open(grown))).toEqual(ids(moves))
  expect([...seen].filter((count) => count > 0 && count < 80)).toEqual([size, 2 * size, 3 * size])
})

test('two concurrent plans run one after the other, so no slot is in two moves', async () => {
  const grown = growing()
  const [first, second] = await Promise.all([grown.fleet.rebalance(wish), grown.fleet.rebalance(wish)])
  expect(first.moves).toHaveLength(80)
  expect(second).toEqual({ planned: [], held: 0, moves: [] })
})

test('a drain waits until a rebalance to the shard is recorded, and then aborts its moves', async () => {
  const grown = growing()
  const planning = grown.fleet.rebalance(wish)
  while (open(grown).length === 0) await new Promise((resolve) => setImmediate(resolve))
  await grown.fleet.setState(shardName(79), 'draining')
  const { moves } = await planning
  const away = moves.filter(({ target }) => target.id === shardName(79))
  expect(away).toHaveLength(2)
  for (const { id } of away) expect(grown.records.find(id)!.state).toBe('aborted')
})

test('hundreds of waiting moves of a cancelled drain end in pieces, and the state is set with the last piece', async () => {
  const clock = new PausingClock()
  const { fleet, records, directory, storage } = wideFleet({ from: 60, to: 60, clock })
  const { moves } = await fleet.drain(shardName(0))
  expect(moves.length).toBeGreaterThan(2 * size)
  const left = moves.length - 2 * size
  clock.isEvicted = () => records.open().length <= left
  await expect(fleet.setState(shardName(0), 'serving')).rejects.toThrow('evicted')
  expect(records.open()).toHaveLength(left)
  expect(directory.findShard(shardName(0))!.state).toBe('draining')
  const next = wideFleet({ from: 60, to: 60, clock: new PausingClock(), storage })
  await next.fleet.setState(shardName(0), 'serving')
  expect(next.records.open()).toEqual([])
  expect(next.directory.findShard(shardName(0))!.state).toBe('serving')
})

test.each([size, 3 * size])(
  'after an object was evicted with %i moves recorded, the same request plans the rest, and returns all',
  async (recorded) => {
    const grown = growing({ recorded })
    const send = (to: ReturnType<typeof growing>) =>
      new KeptAnswers(to.storage, to.clock).answer<Rebalance>(retry, (once, parts) =>
        to.fleet.rebalance(wish, once, parts),
      )
    await expect(send(grown)).rejects.toThrow('evicted')
    const begun = ids(open(grown))
    expect(begun).toHaveLength(recorded)
    const next = growing({ storage: grown.storage })
    const answer = await send(next)
    // It may take a few more moves, because it decides again which shards have an extra slot.
    expect(answer.planned).toHaveLength(answer.moves.length)
    for (const keyspace of wish.keyspaces) {
      const counts = slotsAfter(next, answer.moves, keyspace)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    }
    expect(ids(answer.moves).slice(0, begun.length)).toEqual(begun)
    expect(ids(open(next))).toEqual(ids(answer.moves))
    expect(await send(next)).toEqual(answer)
    expect(next.storage.rows('SELECT * FROM kept_parts')).toEqual([])
  },
)

test('so does an interrupted move from many shards to one', async () => {
  const grown = growing({ recorded: size })
  const all = { keyspace: 'users' as const, ranges: [['0000', 'ffff']] as [string, string][], target: shardName(79) }
  const send = (to: ReturnType<typeof growing>) =>
    new KeptAnswers(to.storage, to.clock).answer<MoveRecord[]>(retry, (once, parts) =>
      to.planning.plan(all, once, parts),
    )
  await expect(send(grown)).rejects.toThrow('evicted')
  const begun = ids(open(grown))
  expect(begun.length).toBe(size)
  const next = growing({ storage: grown.storage })
  const moves = await send(next)
  expect(moves).toHaveLength(40)
  expect(ids(moves).slice(0, size)).toEqual(begun)
  expect(new Set(moves.map(({ source }) => source.id)).size).toBe(40)
  expect(await send(next)).toEqual(moves)
})

test('by bytes, it returns the recorded moves, because sizes are not meaningful while those moves run', async () => {
  const grown = growing({ recorded: size })
  const bytes = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [shardName(index), index < 40 ? 1_000 : 0]))
  const send = (to: ReturnType<typeof growing>) =>
    new KeptAnswers(to.storage, to.clock).answer<Rebalance>(retry, (once, parts) =>
      to.fleet.rebalance({ ...wish, keyspaces: ['users'], bytes }, once, parts),
    )
  await expect(send(grown)).rejects.toThrow('evicted')
  const next = growing({ storage: grown.storage })
  const { moves, held } = await send(next)
  expect([moves.length, held]).toEqual([size, 0])
})

test('a retry with the same key waits for the answer of the request that still runs', async () => {
  const grown = growing()
  const answers = new KeptAnswers(grown.storage, grown.clock)
  const bytes = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [shardName(index), index < 40 ? 1_000 : 0]))
  const send = () =>
    answers.answer<Rebalance>(retry, (once, parts) =>
      grown.fleet.rebalance({ ...wish, keyspaces: ['users'], bytes }, once, parts),
    )
  const [first, second] = await Promise.all([send(), send()])
  expect(second).toEqual(first)
  expect(first.moves).toHaveLength(40)
})

test('a shard that does not answer is named after the time limit, and nothing is recorded', async () => {
  const clock = new ManualClock()
  const { options, directory, records } = wideFleet({ from: 2, to: 4, clock })
  const silent = new MovePlanning({
    ...options,
    records,
    shardFacts: (shard) => (shard.id === shardName(1) ? new Promise(() => undefined) : options.shardFacts(shard)),
  })
  const rebalance = new Fleet({ directory, records, planning: silent }).rebalance(wish)
  const refused = expect(rebalance).rejects.toMatchObject({
    code: 'SHARD_UNAVAILABLE',
    message: expect.stringContaining(shardName(1)),
  })
  for (let turns = 0; turns < 20; turns++) {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1_000)
  }
  await refused
  expect(records.open()).toEqual([])
})
