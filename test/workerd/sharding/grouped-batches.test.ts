import { beforeEach, describe, expect, test } from 'vitest'
import type { GroupDatabase, GroupOutcome } from '../../../src/sharding/grouped-batches.ts'
import { type NamedBatch, rowsOf } from '../../../src/sharding/named-batch.ts'
import type { MapWire, ShardState } from '../../../src/sharding/shard-map.ts'
import {
  connectionLost,
  linkedDatabase,
  ManualClock,
  mapRequest,
  mapWire,
  type RoutedShardsOptions,
  routedShards,
  ScriptedSource,
} from '../../support/sharding-doubles.ts'
import { databases, type SlotState, slotStatement } from '../../support/sharding-slots.ts'

const source = databases.SHARD_000
const target = databases.SHARD_001
const BUDGET_MS = 5_000

interface Item {
  key: string
  bio: string | null
}

const slots = ['00a0', '00a1', '00a2', '00a3', '00a4', '00a5', '00a6', '00a7']
const items: Item[] = slots.map((slot) => ({ key: `${slot}01jd0000000000000000000001`, bio: `of ${slot}` }))

const insert = (database: GroupDatabase, some: Item[]) => ({
  inserted: database
    .prepare(
      `INSERT INTO profiles (id, handle, display_name, bio, created_at, version)
       SELECT value ->> 'key', 'h', 'd', value ->> 'bio', 1, 1 FROM json_each(?) WHERE true
       ON CONFLICT (id) DO UPDATE SET version = version + 1`,
    )
    .bind(JSON.stringify(some)),
  versions: rowsOf<{ id: string; version: number }>(
    database
      .prepare('SELECT id, version FROM profiles WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id')
      .bind(JSON.stringify(some.map(({ key }) => key))),
  ),
})

const versionsOf = ({ answers }: GroupOutcome<Item, ReturnType<typeof insert>>) =>
  answers.flatMap(({ versions }) => versions.results)

async function place(shard: D1Database, states: Partial<Record<string, SlotState>>, otherwise: SlotState) {
  await shard.batch(
    slots.map((slot) => slotStatement(shard, 'users', slot, slot in states ? states[slot]! : otherwise)),
  )
}

beforeEach(async () => {
  for (const shard of [source, target]) {
    await place(shard, {}, 'active')
    await shard.batch([shard.prepare('DELETE FROM profiles'), shard.prepare('DELETE FROM slot_changes')])
  }
  await place(target, {}, null)
})

/**
 * A router whose isolate holds epoch 1, in which shard 0 owns all slots. `commit` gives slots from `from` on to shard
 * 1.
 */
async function stand(options: Partial<RoutedShardsOptions> = {}, state: ShardState = 'serving') {
  const clock = options.clock ?? new ManualClock()
  const first = (wire: MapWire) => ({
    ...wire,
    shards: wire.shards.map((shard, index) => (index === 0 ? { ...shard, state } : shard)),
  })
  const directory = { wire: () => first(mapWire(1, clock.now(), 0)) }
  const scripted = new ScriptedSource(() => directory.wire())
  const routed = routedShards({ databases, clock, source: scripted, ...options })
  await routed.holder.current(mapRequest(scripted))
  const commit = (from: string, epoch = 2) => {
    const runs = [
      [0, 0],
      [Number.parseInt(from, 16), 1],
    ]
    directory.wire = () => mapWire(epoch, clock.now(), runs)
  }
  const send = <Batch extends NamedBatch>(some: Item[], build: (database: GroupDatabase, some: Item[]) => Batch) =>
    routed.shards.group(some, { keyspace: 'users', operation: 'test' }, build)
  const run = (some = items) => send(some, insert)
  return { ...routed, clock, commit, run, send, startedAt: clock.now() }
}

const idsIn = async (shard: D1Database) =>
  (await shard.prepare('SELECT id FROM profiles ORDER BY id').all<{ id: string }>()).results.map(({ id }) => id)
const keysOf = (some: Item[]) => some.map(({ key }) => key).toSorted()
const sent = (calls: { shard: string; statements: number }[]) =>
  calls.map(({ shard, statements }) => `${shard} ${statements}`)

describe('one map', () => {
  test('each shard gets one batch, and its items’ answers are returned', async () => {
    const { run, calls, commit, shards } = await stand()
    await place(source, { '00a4': null, '00a5': null, '00a6': null, '00a7': null }, 'active')
    await place(target, { '00a0': null, '00a1': null, '00a2': null, '00a3': null }, 'active')
    commit('00a4')
    await run([items[7]!]) // learns of the new map
    calls.splice(0)
    const outcome = await run()
    const { done, failed } = outcome
    expect(sent(calls).toSorted()).toEqual(['shard-000 2', 'shard-001 2'])
    expect(keysOf(done)).toEqual(keysOf(items))
    expect(failed.size).toBe(0)
    const versions = versionsOf(outcome)
    expect(versions.map(({ id }) => id).toSorted()).toEqual(keysOf(items))
    expect(versions.find(({ id }) => id === items[7]!.key)!.version).toBe(2)
    expect(await idsIn(source)).toEqual(keysOf(items.slice(0, 4)))
    expect(await idsIn(target)).toEqual(keysOf(items.slice(4)))
    expect(await shards.group([], { keyspace: 'users', operation: 'none' }, insert)).toMatchObject({ done: [] })
  })

  test('slots that are moving take writes, and each is captured', async () => {
    const { run } = await stand()
    await place(source, { '00a2': 'moving', '00a3': 'moving' }, 'active')
    expect((await run()).done).toHaveLength(8)
    const { results } = await source.prepare('SELECT pk FROM slot_changes ORDER BY seq').all<{ pk: string }>()
    expect(results.map(({ pk }) => JSON.parse(pk)[0]).toSorted()).toEqual([items[2]!.key, items[3]!.key])
  })
})

describe('the guard covers every slot', () => {
  /** Matches no row, so no row trigger fires, and only the guard can refuse it. */
  const touch = (database: GroupDatabase, some: Item[]) => ({
    touched: database
      .prepare("UPDATE profiles SET bio = 'x' WHERE id IN (SELECT value FROM json_each(?))")
      .bind(JSON.stringify(some.map(({ key }) => key))),
  })

  test.each(['fenced', 'importing', 'moved', null] as const)(
    'a slot that is %s is refused, wherever it is in the group',
    async (state) => {
      for (const place_ of [0, 3, 7]) {
        const { send } = await stand()
        await place(source, { [slots[place_]!]: state }, 'active')
        const { done, failed } = await send(items, touch)
        expect(keysOf(done)).toEqual(keysOf(items.filter((_, index) => index !== place_)))
        const code = state === 'moved' || state === null ? 'SLOT_NOT_OWNED' : 'SLOT_FENCED'
        expect([...failed].map(([{ key }, error]) => [key, error.code])).toEqual([[items[place_]!.key, code]])
      }
    },
  )
})

describe('a slot that is not served here', () => {
  test('the others are sent at once; it is sent to its new owner with one newer map, without a wait', async () => {
    const { run, calls, commit, clock, source: directory } = await stand()
    await place(source, { '00a6': 'moved', '00a7': 'moved' }, 'active')
    await place(target, { '00a6': 'active', '00a7': 'moving' }, null)
    commit('00a6')
    const { done, failed } = await run()
    expect([done.length, failed.size, clock.slept]).toEqual([8, 0, []])
    expect(directory.calls).toBe(2)
    // All items, the query for served slots, the served items, and the two that moved
    expect(sent(calls)).toEqual(['shard-000 2', 'shard-000 1', 'shard-000 2', 'shard-001 2'])
    expect(await idsIn(source)).toEqual(keysOf(items.slice(0, 6)))
    expect(await idsIn(target)).toEqual(keysOf(items.slice(6)))
  })

  test('another slot moves between the shard’s answer and the batch of served items, so that batch is also refused as a whole', async () => {
    let sent = 0
    const { run, commit, calls } = await stand({
      async before() {
        if (++sent !== 3) return
        await place(source, { '00a6': 'moved', '00a7': 'moved' }, 'active')
        await place(target, { '00a6': 'active', '00a7': 'active' }, null)
      },
    })
    await place(source, { '00a7': 'moved' }, 'active')
    await place(target, { '00a7': 'active' }, null)
    commit('00a6')
    const outcome = await run()
    const { done, failed } = outcome
    expect([done.length, failed.size]).toEqual([8, 0])
    expect(versionsOf(outcome).map(({ version }) => version)).toEqual(Array(8).fill(1))
    expect(calls.filter(({ statements }) => statements === 1)).toHaveLength(2)
    expect(await idsIn(source)).toEqual(keysOf(items.slice(0, 6)))
    expect(await idsIn(target)).toEqual(keysOf(items.slice(6)))
  })

  test('served nowhere, without a newer map: it fails when the budget is used up, and the others are done', async () => {
    const { run, clock, startedAt } = await stand()
    await place(source, { '00a7': null }, 'active')
    const { done, failed } = await run()
    expect(done).toHaveLength(7)
    expect(failed.get(items[7]!)).toMatchObject({ code: 'SLOT_NOT_OWNED', status: 503, retryAfterSeconds: 1 })
    expect(clock.now() - startedAt).toBeGreaterThanOrEqual(BUDGET_MS * 0.9)
    expect(clock.now() - startedAt).toBeLessThanOrEqual(BUDGET_MS + 400)
    expect(await idsIn(source)).toEqual(keysOf(items.slice(0, 7)))
  })
})

describe('a fenced slot', () => {
  test('un-fenced while it waits: done once', async () => {
    const { run, clock, startedAt } = await stand()
    await place(source, { '00a3': 'fenced' }, 'active')
    clock.onSleep = async () => {
      if (clock.now() - startedAt > 100) await place(source, {}, 'moving')
    }
    const outcome = await run()
    expect(outcome.done).toHaveLength(8)
    expect(versionsOf(outcome).map(({ version }) => version)).toEqual(Array(8).fill(1))
  })

  test('committed at the target while it waits: done there', async () => {
    const { run, clock, startedAt, commit } = await stand()
    await place(source, { '00a7': 'fenced' }, 'active')
    await place(target, { '00a7': 'importing' }, null)
    clock.onSleep = async () => {
      if (clock.now() - startedAt < 50) return
      await place(target, { '00a7': 'moving' }, null)
      commit('00a7')
    }
    expect((await run()).done).toHaveLength(8)
    expect(await idsIn(target)).toEqual([items[7]!.key])
  })
})

describe('a faulty item', () => {
  const tooLarge = { key: items[5]!.key, bio: 'x'.repeat(262_144) }
  const withOne = items.with(5, tooLarge)

  test('fails alone, with its reason', async () => {
    const { run, calls } = await stand()
    const { done, failed } = await run(withOne)
    expect(keysOf(done)).toEqual(keysOf(items.filter((_, index) => index !== 5)))
    expect([...failed].map(([item, { code }]) => [item, code])).toEqual([[tooLarge, 'ROW_TOO_LARGE']])
    expect(calls).toHaveLength(7) // 8 → 4 + 4 → 2 + 2 → 1 + 1
  })

  test('if all are faulty, the number of batches is bounded', async () => {
    const { send, calls } = await stand()
    const many = Array.from({ length: 200 }, (_, n) => ({
      key: `00a0${String(n).padStart(26, '0')}`,
      bio: tooLarge.bio,
    }))
    const { done, failed } = await send(many, (database, some) => ({
      inserted: database
        .prepare('INSERT INTO profiles SELECT value, NULL, NULL, NULL, 1, 1, NULL FROM json_each(?)')
        .bind(JSON.stringify(some.map(({ key }) => key))),
    }))
    expect([done.length, failed.size]).toEqual([0, 200])
    expect(calls.length).toBeLessThanOrEqual(70)
  })

  test('if many are faulty, the others are not blamed, and failed items succeed when they are sent again', async () => {
    const { send } = await stand()
    const many = Array.from({ length: 200 }, (_, n) => ({
      key: `00a0${String(n).padStart(26, '0')}`,
      bio: n < 60 ? null : 'x', // a row has one
    }))
    const codes = new Map<Item, string>()
    let waiting = many
    for (let turns = 0; waiting.length > 0; turns++) {
      expect(turns).toBeLessThan(5)
      const { failed } = await send(waiting, (database, some) => ({ inserted: insert(database, some).inserted }))
      waiting = many.filter((item) => failed.get(item)?.code === 'BATCH_REFUSED')
      for (const item of waiting) expect(failed.get(item)).toMatchObject({ status: 503, retryAfterSeconds: 1 })
      for (const [item, { code }] of failed) if (code !== 'BATCH_REFUSED') codes.set(item, code)
      if (turns === 0) expect(waiting).not.toEqual([])
    }
    expect([...codes]).toEqual(many.slice(0, 60).map((item) => [item, 'DATABASE_CONSTRAINT']))
    expect(await idsIn(source)).toEqual(keysOf(many.slice(60)))
  })

  test('a faulty statement fails all items after one batch', async () => {
    const { send, calls } = await stand()
    const { failed } = await send(items, (database) => ({ wrong: database.prepare('INSERT INTO profiles VALUES (1)') }))
    expect([failed.size, calls.length]).toEqual([8, 1])
    expect(failed.get(items[0]!)!.code).toBe('DATABASE_ERROR')
  })
})

describe('lost answers', () => {
  const lossy = (losses: number) => {
    let left = losses
    return linkedDatabase(source, async (send) => {
      const answer = await send()
      if (left-- > 0) throw connectionLost()
      return answer
    })
  }

  test('are requested again', async () => {
    const { run } = await stand({ databases: { ...databases, SHARD_000: lossy(2) } })
    const outcome = await run()
    expect(outcome.done).toHaveLength(8)
    expect(versionsOf(outcome).map(({ version }) => version)).toEqual(Array(8).fill(3))
  })

  test('repeatedly: the outcome is unknown', async () => {
    const { run, calls } = await stand({ databases: { ...databases, SHARD_000: lossy(9) } })
    const { done, failed } = await run()
    expect([done.length, calls.length]).toEqual([0, 3])
    expect([...failed.values()].map(({ code }) => code)).toEqual(Array(8).fill('OUTCOME_UNKNOWN'))
  })

  test('followed by a slot fenced for longer than the budget: still unknown, not "nothing was written"', async () => {
    let isFirst = true
    const database = linkedDatabase(source, async (send) => {
      const answer = await send()
      if (!isFirst) return answer
      isFirst = false
      await place(source, { '00a7': 'fenced' }, 'active')
      throw connectionLost()
    })
    const { run } = await stand({ databases: { ...databases, SHARD_000: database } })
    const { done, failed } = await run()
    expect(done).toHaveLength(7)
    expect(failed.get(items[7]!)!.code).toBe('OUTCOME_UNKNOWN')
    expect(await idsIn(source)).toEqual(keysOf(items))
  })

  test.each(['read-only', 'restoring', 'unbound'] as const)(
    'followed by a slot at a shard that is %s: still unknown',
    async (how) => {
      let isFirst = true
      const database = linkedDatabase(source, async (send) => {
        const answer = await send()
        if (!isFirst) return answer
        isFirst = false
        await place(source, { '00a7': 'moved' }, 'active')
        throw connectionLost()
      })
      const bound = how === 'unbound' ? { SHARD_000: database } : { SHARD_000: database, SHARD_001: target }
      const { run, source: directory, clock } = await stand({ databases: bound })
      directory.reply = () => {
        const wire = mapWire(2, clock.now(), [
          [0, 0],
          [0xa7, 1],
        ])
        if (how !== 'unbound') wire.shards[1]!.state = how
        return wire
      }
      const { done, failed } = await run()
      expect(done).toHaveLength(7)
      expect(failed.get(items[7]!)!.code).toBe('OUTCOME_UNKNOWN')
      expect(await idsIn(source)).toEqual(keysOf(items))
    },
  )
})

test.each([
  ['read-only', 'SHARD_READ_ONLY'],
  ['restoring', 'SHARD_RESTORING'],
] as const)('a shard that is %s refuses all items: %s', async (state, code) => {
  const { run } = await stand({}, state)
  const { done, failed } = await run()
  expect(done).toEqual([])
  expect(items.map((item) => failed.get(item)!.code)).toEqual(items.map(() => code))
  expect(await idsIn(source)).toEqual([])
})

test('a shard without a binding in this version fails only its own items', async () => {
  const { run, commit } = await stand({ databases: { SHARD_000: source } })
  await place(source, { '00a7': null }, 'active')
  commit('00a7')
  const { done, failed } = await run()
  expect(done).toHaveLength(7)
  expect(failed.get(items[7]!)!.code).toBe('SHARD_UNKNOWN')
})
