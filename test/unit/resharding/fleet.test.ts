import { beforeEach, describe, expect, test } from 'vitest'
import { Fleet } from '../../../src/resharding/fleet.ts'
import { MovePlanning } from '../../../src/resharding/move-planning.ts'
import { type ShardEntry, spansOf } from '../../../src/sharding/shard-map.ts'
import { bootedFleet, migratedShard, record, settle } from '../../support/fleet.ts'

let { bound, directory, options, fleet, records, planning, clock } = await bootedFleet()

beforeEach(async () => {
  ;({ bound, directory, options, fleet, records, planning, clock } = await bootedFleet())
})

const everything = { keyspaces: ['users', 'claims'] as const, tolerance: 0, bytes: null, dryRun: false }
const wish = () => ({ ...everything, keyspaces: [...everything.keyspaces] })
const run = (binding: string, sql: string) => bound.get(binding)!.prepare(sql).run()

async function joined(binding: string): Promise<ShardEntry> {
  bound.set(binding, migratedShard())
  return fleet.join(binding)
}

describe('a shard that joins', () => {
  test('has no slots, and the map shows it one epoch later', async () => {
    const { epoch, runs } = await directory.map()
    expect(await joined('SHARD_002')).toEqual({ id: 'shard-002', binding: 'SHARD_002', state: 'serving' })
    const map = await directory.map()
    expect(map.epoch).toBe(epoch + 1)
    expect(map.shards.map(({ id }) => id)).toEqual(['shard-000', 'shard-001', 'shard-002'])
    expect(map.runs).toEqual(runs)
  })

  test('and joins again, as after a lost answer, changes nothing', async () => {
    await joined('SHARD_002')
    const { epoch, shards } = await directory.map()
    expect(await fleet.join('SHARD_002')).toMatchObject({ id: 'shard-002' })
    expect(await directory.map()).toMatchObject({ epoch, shards })
  })

  test('must be bound', async () => {
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({ code: 'SHARD_UNKNOWN' })
  })

  test('must be empty', async () => {
    bound.set('SHARD_002', migratedShard())
    await run('SHARD_002', "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '0000', 'active', 1)")
    await run('SHARD_002', "INSERT INTO claims VALUES ('0000.x', 'email', 'o', 'a', 'confirmed', 1)")
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({
      code: 'SHARD_NOT_EMPTY',
      message: expect.stringContaining('slots, claims'),
    })
    expect((await directory.map()).shards).toHaveLength(2)
  })

  test('must not belong to another deployment', async () => {
    bound.set('SHARD_002', migratedShard())
    await run('SHARD_002', "INSERT INTO shard_identity (id, deployment, shard) VALUES (1, 'theirs', 'shard-002')")
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({ code: 'SHARD_FOREIGN' })
  })

  test('must have the schema of the others', async () => {
    bound.set('SHARD_002', migratedShard({ isOld: true }))
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({ code: 'SCHEMA_VERSIONS_DIFFER' })
    expect((await directory.map()).shards).toHaveLength(2)
  })

  test('stays unmarked when it is refused, so once fixed it can join under another number', async () => {
    const filled = migratedShard()
    bound.set('SHARD_002', filled)
    await run('SHARD_002', "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '0000', 'active', 1)")
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({ code: 'SHARD_NOT_EMPTY' })
    await run('SHARD_002', 'DELETE FROM slots')
    await run('SHARD_002', "INSERT INTO d1_migrations (name) VALUES ('9999_newer.sql')")
    await expect(fleet.join('SHARD_002')).rejects.toMatchObject({ code: 'SCHEMA_VERSIONS_DIFFER' })
    await run('SHARD_002', "DELETE FROM d1_migrations WHERE name = '9999_newer.sql'")
    bound.delete('SHARD_002')
    bound.set('SHARD_003', filled)
    expect(await fleet.join('SHARD_003')).toMatchObject({ id: 'shard-003' })
  })

  test('and was interrupted between its mark and the map joins when the call is repeated', async () => {
    bound.set('SHARD_002', migratedShard())
    await run('SHARD_002', "INSERT INTO shard_identity (id, deployment, shard) VALUES (1, 'ours', 'shard-002')")
    expect(await fleet.join('SHARD_002')).toMatchObject({ id: 'shard-002' })
  })

  test('marks its database, which then cannot join another deployment, or this one under another number', async () => {
    await joined('SHARD_002')
    bound.set('SHARD_003', bound.get('SHARD_002')!)
    await expect(fleet.join('SHARD_003')).rejects.toMatchObject({
      code: 'SHARD_FOREIGN',
      message: expect.stringContaining('shard-002 of ours'),
    })
  })
})

test('slots that an open move holds cannot be in another move: planning and queueing refuse them', async () => {
  await planning.plan({ keyspace: 'users', ranges: [['0000', '00ff']], target: 'shard-001' })
  const inMove = expect.objectContaining({ code: 'SLOTS_IN_MOVE' })
  await expect(planning.plan({ keyspace: 'users', ranges: [['00ff', '0100']], target: 'shard-001' })).rejects.toEqual(
    inMove,
  )
  const ranges: [string, string][] = [['00ff', '0100']]
  const queue = (keyspace: 'users' | 'claims') => () =>
    planning.enqueue([{ keyspace, source: 'shard-000', target: 'shard-001', ranges }])
  expect(queue('users')).toThrow(inMove)
  expect(queue('claims')()).toHaveLength(1)
})

describe('rebalancing', () => {
  test('a dry run plans what a real run then records, and records nothing', async () => {
    await joined('SHARD_002')
    const dry = await fleet.rebalance({ ...wish(), dryRun: true })
    expect(dry.moves).toEqual([])
    expect(records.open()).toEqual([])
    const real = await fleet.rebalance(wish())
    expect(real.planned).toEqual(dry.planned)
    expect(real.moves.map(({ source, target, ranges }) => [source.id, target.id, ranges])).toEqual(
      dry.planned.map(({ source, target, ranges }) => [source, target, ranges]),
    )
    // Two shards give to one, in each keyspace.
    expect(records.open()).toHaveLength(4)
  })

  test('a rebalance during another one counts the planned moves as done', async () => {
    await joined('SHARD_002')
    await fleet.rebalance(wish())
    expect(await fleet.rebalance(wish())).toMatchObject({ planned: [], held: 0, moves: [] })
  })

  test.each([
    { state: 'planned', reached: [] },
    { state: 'settling', reached: ['preparing', 'copying', 'catching-up', 'cutover', 'committed', 'settling'] },
  ] as const)(
    'by bytes while a move is $state is refused, even as a dry run, because sizes are not meaningful then',
    async ({ state, reached }) => {
      const bytes = { 'shard-000': 4_000_000, 'shard-001': 1_000_000 }
      const [move] = await planning.plan({ keyspace: 'claims', ranges: [['0000', '00ff']], target: 'shard-001' })
      record(records, move!.id, [...reached])
      for (const dryRun of [true, false])
        await expect(fleet.rebalance({ ...wish(), bytes, dryRun })).rejects.toMatchObject({
          code: 'SLOTS_IN_MOVE',
          message: expect.stringContaining(`${move!.id} is ${state}`),
          retryAfterSeconds: 5,
        })
      expect(records.open()).toHaveLength(1)
    },
  )

  test('by bytes, once the moves have ended, uses the sizes', async () => {
    const bytes = { 'shard-000': 4_000_000, 'shard-001': 1_000_000 }
    const [move] = await planning.plan({ keyspace: 'claims', ranges: [['0000', '00ff']], target: 'shard-001' })
    records.abort(move!.id)
    const { moves } = await fleet.rebalance({ ...wish(), keyspaces: ['users'], bytes })
    expect(moves.map(({ source, target, slots }) => [source.id, target.id, slots])).toEqual([
      ['shard-000', 'shard-001', 12_288],
    ])
  })

  test('moves that share a shard wait for its lanes, which the first one has', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.rebalance(wish())
    const [first, second] = moves
    expect(records.change(first!, { to: 'preparing' }, null).outcome).toBe('recorded')
    expect(records.change(second!, { to: 'preparing' }, null).outcome).toBe('waits')
  })

  test('the lanes of a settled move are free for the next, and the result is even', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.rebalance(wish())
    for (const { id } of moves) settle(records, id)
    const { runs } = await directory.map()
    for (const keyspace of ['users', 'claims'] as const) {
      const counts = [0, 0, 0]
      for (const { first, after, shard } of spansOf(runs[keyspace]!)) counts[shard]! += after - first
      expect(counts.toSorted()).toEqual([21_845, 21_845, 21_846])
    }
  })

  test('equal shards that are behind the Worker are refused, because a migration is pending', async () => {
    await joined('SHARD_002')
    for (const binding of bound.keys())
      await run(binding, 'DELETE FROM d1_migrations WHERE id = (SELECT max(id) FROM d1_migrations)')
    await expect(fleet.rebalance(wish())).rejects.toMatchObject({
      code: 'SCHEMA_VERSIONS_DIFFER',
      message: expect.stringContaining('is pending'),
    })
    expect(records.open()).toEqual([])
  })

  test('each shard is asked for its schema once, a few shards at a time', async () => {
    const asked: string[] = []
    let [now, most] = [0, 0]
    const shardFacts = async (shard: ShardEntry) => {
      asked.push(shard.id)
      most = Math.max(most, ++now)
      const facts = await options.shardFacts(shard)
      now--
      return facts
    }
    for (let index = 2; index < 9; index++) await joined(`SHARD_00${index}`)
    const watched = new Fleet({ directory, records, planning: new MovePlanning({ ...options, records, shardFacts }) })
    const { planned } = await watched.drain('shard-000')
    // One shard gives to seven, in each keyspace.
    expect(planned).toHaveLength(14)
    expect(asked.toSorted()).toEqual([...new Set(planned.flatMap(({ source, target }) => [source, target]))].toSorted())
    expect(most).toBe(6)
  })

  test('shards of different schemas are refused, and nothing is recorded', async () => {
    await joined('SHARD_002')
    await run('SHARD_001', "INSERT INTO d1_migrations (name) VALUES ('9999_newer.sql')")
    await expect(fleet.rebalance(wish())).rejects.toMatchObject({ code: 'SCHEMA_VERSIONS_DIFFER' })
    expect(records.open()).toEqual([])
  })
})

describe('draining', () => {
  test('empties the shard, which takes no more slots and can then be removed', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.drain('shard-000')
    expect(directory.shardEntries()[0]!.state).toBe('draining')
    await expect(fleet.remove('shard-000')).rejects.toMatchObject({ code: 'SHARD_IN_MOVE' })
    expect(new Set(moves.map(({ source }) => source.id))).toEqual(new Set(['shard-000']))
    for (const { id } of moves) settle(records, id)
    for (const { id } of moves) {
      // The grace period is over, and the rows have been purged.
      const settled = records.find(id)!
      expect(records.change(settled, { to: 'purging' }, null).outcome).toBe('waits')
    }
    expect(directory.runs('users').some(([, shard]) => shard === 0)).toBe(false)
  })

  test('is refused for the last serving shard', async () => {
    fleet.setState('shard-001', 'read-only')
    await expect(fleet.drain('shard-000')).rejects.toMatchObject({ code: 'SHARD_NOT_SERVING' })
    expect(directory.shardEntries()[0]!.state).toBe('serving')
  })

  test('aborts planned moves to the shard, whose slots then stay, and moves the shard’s own slots to others', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.rebalance(wish())
    const [begun, ...waiting] = moves
    record(records, begun!.id, ['preparing'])
    const drained = await fleet.drain('shard-002')
    // The shard will only have the slots whose move has started. They are held.
    expect(drained).toMatchObject({ planned: [], held: begun!.slots })
    expect(records.find(begun!.id)!.state).toBe('preparing')
    for (const { id } of waiting)
      expect(records.find(id)).toMatchObject({
        state: 'aborted',
        error: 'shard-002 is draining, so it takes no slots.',
      })
  })

  test('aborts a move that is about to start before it touches a shard, however the state was set', async () => {
    const [move] = await planning.plan({ keyspace: 'users', ranges: [['0000', '00ff']], target: 'shard-001' })
    directory.setState('shard-001', 'draining')
    const answer = records.change(move!, { to: 'preparing' }, null)
    expect(answer).toMatchObject({ outcome: 'waits', retryAt: clock.now(), record: { state: 'aborted' } })
    expect(records.find(move!.id)).toMatchObject({
      hasLanes: false,
      error: 'shard-001 is draining, so it takes no slots.',
    })
    expect(records.open()).toEqual([])
  })

  test('can be cancelled: serving again, the shard takes slots, and keeps those whose moves have not started', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.drain('shard-000')
    const [begun, ...waiting] = moves
    record(records, begun!.id, ['preparing'])
    expect((await fleet.setState('shard-000', 'serving')).state).toBe('serving')
    expect(records.open().map(({ id }) => id)).toEqual([begun!.id])
    for (const { id } of waiting)
      expect(records.find(id)).toMatchObject({
        state: 'aborted',
        error: 'shard-000 takes slots again, because its drain was cancelled.',
      })
  })

  test('a serving shard that is set to serving continues its outgoing moves', async () => {
    await joined('SHARD_002')
    const { moves } = await fleet.rebalance(wish())
    await fleet.setState('shard-000', 'serving')
    expect(records.open()).toHaveLength(moves.length)
  })
})

test('a move of a drain can be reversed once the drain is cancelled and the lanes are free', async () => {
  await joined('SHARD_002')
  await joined('SHARD_003')
  const [settled, begun, ...waiting] = (await fleet.drain('shard-000')).moves
  settle(records, settled!.id)
  record(records, begun!.id, ['preparing'])
  const refused = (message: unknown) => expect.objectContaining({ code: 'SHARD_IN_MOVE', message })
  expect(waiting).toHaveLength(2)
  expect(() => records.reverse(settled!.id)).toThrow(refused(expect.stringContaining('come first (2)')))
  await fleet.setState('shard-000', 'serving')
  expect(() => records.reverse(settled!.id)).toThrow(
    refused(
      `Move ${begun!.id} (preparing) uses shard-000 or ${settled!.target.id}, and a shard takes part in one move at a time. Wait until it is done.`,
    ),
  )
  records.abort(begun!.id)
  records.change(records.find(begun!.id)!, { to: 'ended' }, null)
  expect(records.reverse(settled!.id).state).toBe('preparing')
})

describe('removing', () => {
  test('shifts the indexes of the later shards, and every slot keeps its owner', async () => {
    await joined('SHARD_002')
    await joined('SHARD_003')
    const before = (await directory.map()).epoch
    // The lower half moves from the first shard to the last. The first is then empty.
    const moves = planning.enqueue(
      (['users', 'claims'] as const).map((keyspace) => ({
        keyspace,
        source: 'shard-000',
        target: 'shard-003',
        ranges: [['0000', '7fff']],
      })),
    )
    for (const { id } of moves) settle(records, id)
    await expect(fleet.remove('shard-000')).rejects.toMatchObject({ code: 'SHARD_IN_MOVE' })
    directory.remove('shard-000')
    const { shards, runs, epoch } = await directory.map()
    expect(shards.map(({ id }) => id)).toEqual(['shard-001', 'shard-002', 'shard-003'])
    expect(runs.users).toEqual([
      [0, 2],
      [32_768, 0],
    ])
    expect(epoch).toBe(before + 3)
    await expect(fleet.setState('shard-000', 'serving')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('is refused while it has slots', async () => {
    await expect(fleet.remove('shard-001')).rejects.toMatchObject({ code: 'SHARD_NOT_EMPTY' })
  })
})

test.each(['read-only', 'restoring'] as const)('a shard with an open move can’t become %s', async (state) => {
  await joined('SHARD_002')
  await fleet.rebalance(wish())
  await expect(fleet.setState('shard-000', state)).rejects.toMatchObject({ code: 'SHARD_IN_MOVE' })
})
