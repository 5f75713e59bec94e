import { expect, test } from 'vitest'
import { rowsOf } from '../../../src/sharding/named-batch.ts'
import type { MapWire } from '../../../src/sharding/shard-map.ts'
import type { Shards } from '../../../src/sharding/shards.ts'
import { manyShards } from '../../support/many-shards.ts'
import { connectionLost, ManualClock, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

/** Two shards, each with one row, and groups that read both. */
function setUp(change: (wire: MapWire) => MapWire = (wire) => wire) {
  const all = manyShards(2)
  const clock = new ManualClock()
  const source = new ScriptedSource(() => change(all.wire(clock.now())))
  const { shards, calls } = routedShards({ databases: all.databases, clock, source })
  for (const [index, sqlite] of all.sqlite.entries())
    sqlite.prepare('INSERT INTO inbox (id, done_at) VALUES (?, 0)').run(index === 0 ? '1000.a' : '9000.a')
  return { all, shards, calls }
}

const read = async (shards: Shards) => {
  const items = [{ key: '1000.a' }, { key: '9000.a' }]
  const options = { keyspace: 'users', operation: 'test.read', isRead: true } as const
  const { answers, failed } = await shards.group(items, options, (database, some) => ({
    found: rowsOf<{ id: string }>(
      database
        .prepare('SELECT id FROM inbox WHERE id IN (SELECT value FROM json_each(?))')
        .bind(JSON.stringify(some.map(({ key }) => key))),
    ),
  }))
  return {
    found: answers.flatMap(({ found }) => found.results.map(({ id }) => id)).toSorted(),
    failed: [...failed].map(([{ key }, { code }]) => [key, code]),
  }
}

test('a group that only reads sends one query per shard, also to a read-only shard, and reports no write', async () => {
  const { shards, calls } = setUp((wire) => ({
    ...wire,
    shards: wire.shards.map((shard) => ({ ...shard, state: 'read-only' as const })),
  }))
  expect(await read(shards)).toEqual({ found: ['1000.a', '9000.a'], failed: [] })
  expect(calls.map(({ kind }) => kind)).toEqual(['exact-read', 'exact-read'])
})

test('a shard that does not own the slot gives no answer for it, and the other shard does', async () => {
  const { all, shards } = setUp()
  all.sqlite[0]!.exec("UPDATE slots SET state = 'moved' WHERE keyspace = 'users' AND slot = '1000'")
  expect(await read(shards)).toEqual({ found: ['9000.a'], failed: [['1000.a', 'SLOT_NOT_OWNED']] })
})

test('a lost answer leaves nothing unknown', async () => {
  const { all, shards } = setUp()
  all.onCall(() => {
    throw connectionLost()
  })
  const { failed } = await read(shards)
  expect(failed).toEqual([
    ['1000.a', 'SHARD_UNAVAILABLE'],
    ['9000.a', 'SHARD_UNAVAILABLE'],
  ])
})
