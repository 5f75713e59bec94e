import { expect, test } from 'vitest'
import { StatementBudget } from '../../../src/sharding/statement-budget.ts'
import { manyShards } from '../../support/many-shards.ts'
import { routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const SLOT_HERE = '0000'
const SLOT_THERE = '8000'
const id = (slot: string) => `${slot}01hf7yat000000000000000000`

function metered(statementsMax: number) {
  const all = manyShards(2)
  const budget = new StatementBudget(statementsMax)
  const databases = Object.fromEntries(budget.meter(new Map(Object.entries(all.databases))))
  const { shards } = routedShards({ databases, source: new ScriptedSource(() => all.wire(1_000_000)) })
  const insert = (slot: string, idempotent: boolean) =>
    shards
      .of(slot, { idempotent })
      .prepare('INSERT INTO inbox (id, done_at) VALUES (?, 1) ON CONFLICT DO NOTHING')
      .bind(id(slot))
      .run()
  return { all, shards, insert }
}

test('a write that exceeds the budget is not sent, and the error states it', async () => {
  const { all, insert } = metered(5)
  await insert(SLOT_HERE, true)
  const error = { code: 'BUDGET_SPENT', message: expect.stringContaining('has sent 3 of its 5 statements') }
  for (const idempotent of [true, false]) await expect(insert(SLOT_THERE, idempotent)).rejects.toMatchObject(error)
  await expect(all.sqlite[1]!.prepare('SELECT count(*) AS n FROM inbox').get()).toEqual({ n: 0 })
  expect(all.statements()).toBe(3)
})

test('if an earlier try may have been applied, the outcome is unknown', async () => {
  const { all, insert } = metered(5)
  all.onCall(() => {
    throw new Error('D1_ERROR: Network connection lost.')
  })
  await expect(insert(SLOT_HERE, true)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
})

test('in a group, shards within the budget are done, and the items of the others are reported as unsent', async () => {
  const { all, shards } = metered(3)
  const items = [SLOT_HERE, SLOT_THERE].map((slot) => ({ key: id(slot) }))
  const { done, failed } = await shards.group(
    items,
    { keyspace: 'users', operation: 'test.insert' },
    (database, some) => ({
      inserted: database
        .prepare('INSERT INTO inbox (id, done_at) SELECT value, 1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING')
        .bind(JSON.stringify(some.map(({ key }) => key))),
    }),
  )
  expect(done).toEqual([items[0]])
  expect([...failed]).toEqual([[items[1], expect.objectContaining({ code: 'BUDGET_SPENT' })]])
  expect(all.statements()).toBe(2)
})
