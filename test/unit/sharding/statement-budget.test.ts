import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { BudgetSpent, StatementBudget } from '../../../src/sharding/statement-budget.ts'
import { SimulatedShard } from '../../simulation/database.ts'

function meteredShard(max: number) {
  const budget = new StatementBudget(max)
  let calls = 0
  const connection = new SimulatedShard(new DatabaseSync(':memory:')).connection(async (_call, execute) => {
    calls++
    return execute()
  })
  const shards = new Map([['SHARD_000', connection]])
  const shard = budget.meter(shards).get('SHARD_000')!
  return { budget, shards, shard, calls: () => calls }
}

test('each statement counts when it is sent, in a batch, in a session and alone', async () => {
  const { budget, shard } = meteredShard(10)
  const one = shard.prepare('SELECT ? AS n').bind(7)
  expect(budget.sent).toBe(0)
  expect(await one.first('n')).toBe(7)
  expect((await one.all()).results).toEqual([{ n: 7 }])
  expect(await one.raw({ columnNames: true })).toEqual([['n'], [7]])
  const answers = await shard.batch<{ n: number }>([one, one])
  expect(answers.map(({ results }) => results)).toEqual([[{ n: 7 }], [{ n: 7 }]])
  const session = shard.withSession('first-primary')
  await session.batch([session.prepare('SELECT 1'), session.prepare('SELECT 2')])
  await session.prepare('SELECT 1').run()
  expect(budget.sent).toBe(8)
  expect(budget.left).toBe(2)
})

test('a call that would exceed the budget is not sent', async () => {
  const { budget, shard, calls } = meteredShard(3)
  const one = shard.prepare('SELECT 1')
  await shard.batch([one, one])
  await expect(shard.batch([one, one])).rejects.toBeInstanceOf(BudgetSpent)
  expect(calls()).toBe(1)
  expect(budget.left).toBe(1)
  await one.run()
  await expect(one.run()).rejects.toBeInstanceOf(BudgetSpent)
  expect(calls()).toBe(2)
})

test('databases metered on first use are counted too, and are the same objects each time', async () => {
  const { budget, shards, calls } = meteredShard(3)
  const metered = budget.meterOnUse(shards)
  expect(['SHARD_000', 'SHARD_001'].map((binding) => metered.has(binding))).toEqual([true, false])
  expect(metered.get('SHARD_001')).toBeUndefined()
  const shard = metered.get('SHARD_000')!
  expect(metered.get('SHARD_000')).toBe(shard)
  await shard.batch([shard.prepare('SELECT 1'), shard.prepare('SELECT 2')])
  expect(budget.left).toBe(1)
  await expect(shard.batch([shard.prepare('SELECT 1'), shard.prepare('SELECT 2')])).rejects.toBeInstanceOf(BudgetSpent)
  expect(calls()).toBe(1)
})
