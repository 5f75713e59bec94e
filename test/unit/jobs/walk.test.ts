import { expect, test } from 'vitest'
import { slotText } from '../../../src/core/ids.ts'
import { upTo, type WalkedRows, walk } from '../../../src/jobs/walk.ts'
import { manyShards } from '../../support/many-shards.ts'
import { ManualClock, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const SLOTS = 65_536

interface Row {
  id: string
}

/** Shards with rows in two tables, and the walk of one duty over them. */
function setUp(count: number, rowsPerShard: number) {
  const all = manyShards(count)
  const clock = new ManualClock()
  const { shards } = routedShards({
    databases: all.databases,
    clock,
    source: new ScriptedSource(() => all.wire(clock.now())),
  })
  for (const [index, sqlite] of all.sqlite.entries())
    for (let n = 0; n < rowsPerShard; n++) {
      const slot = slotText(Math.floor((index * SLOTS) / count) + n)
      sqlite.prepare('INSERT INTO inbox (id, done_at) VALUES (?, 0)').run(`${slot}.a`)
      sqlite.prepare("INSERT INTO claim_attempts (id, outcome, created_at) VALUES (?, 'barred', 0)").run(`${slot}.b`)
    }
  const tables = [
    { name: 'inbox', columns: 'id' },
    { name: 'claim_attempts', columns: 'id' },
  ] as const
  let turn = 0
  const step = async (size = 40): Promise<WalkedRows<Row>[]> => {
    const window = { turn: turn++, size, takesWrites: true }
    const { values, failed } = await walk<Row>(
      shards,
      { duty: 'test', tables: [...tables], rowsMax: 3, statementsPerShard: 4 },
      window,
    )
    expect(failed).toEqual([])
    return values
  }
  return { all, step }
}

const idsOf = (visits: WalkedRows<Row>[]) => visits.flatMap(({ rows }) => rows.map(({ id }) => id))

test('a walk reads every row of every table once per pass, a few per shard and turn, and starts again', async () => {
  const { step } = setUp(3, 7)
  const seen: string[] = []
  // Per shard and table: 3, 3 and 1 rows.
  for (let turn = 0; turn < 6; turn++) {
    const visits = await step()
    for (const { rows, advance } of visits) {
      expect(rows.length).toBeLessThanOrEqual(3)
      await advance(rows)
    }
    seen.push(...idsOf(visits))
  }
  expect(seen).toHaveLength(3 * 7 * 2)
  expect(new Set(seen).size).toBe(seen.length)
  expect(idsOf(await step())).toEqual(seen.slice(0, 9))
})

test('rows that were not handled are read again', async () => {
  const { step } = setUp(1, 5)
  const [first] = await step()
  await first!.advance(first!.rows.slice(0, 1))
  const [second] = await step()
  expect(second!.rows.map(({ id }) => id)).toEqual(['0001.a', '0002.a', '0003.a'])
})

test('a shard whose position has moved to another shard starts again, and the other keeps its own', async () => {
  const { all, step } = setUp(2, 4)
  for (const { rows, advance } of await step()) await advance(rows)
  const [here, there] = all.sqlite as [(typeof all.sqlite)[0], (typeof all.sqlite)[0]]
  const moved = here.prepare('SELECT id, duty, shard, position FROM duty_positions').get()!
  here.exec("UPDATE slots SET state = 'moved' WHERE keyspace = 'users' AND slot = '0000'")
  there.exec("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0000', 'active', 2)")
  there
    .prepare('INSERT INTO duty_positions (id, duty, shard, position) VALUES (?, ?, ?, ?)')
    .run(...(Object.values(moved) as string[]))
  const [first, second] = (await step()).toSorted((a, b) => (a.shard.id < b.shard.id ? -1 : 1))
  expect(first!.rows.map(({ id }) => id)).toEqual(['0001.a', '0002.a', '0003.a'])
  expect(second!.rows.map(({ id }) => id)).toEqual(['8003.a'])
})

test.each([
  [[4, 4, 4], 8, 2],
  [[9, 1], 8, 1],
  [[1, 2], 8, 2],
  [[], 8, 0],
])('of rows with the weights %j, those up to %i are %i', (weights, max, count) => {
  expect(upTo(weights, max, (weight) => weight)).toHaveLength(count)
})
