import { expect, test } from 'vitest'
import { inTurns } from '../../../src/jobs/shard-turns.ts'
import type { ShardCall } from '../../../src/sharding/routing.ts'

const call = (shard: string): ShardCall => ({ shard, slot: '*', operation: 'test', kind: 'write', statements: 1 })
const settle = () => new Promise((resolve) => setImmediate(resolve))

test('at most two calls of a shard run at once; the others follow in order, and other shards do not wait', async () => {
  const begun: string[] = []
  const { before, after } = inTurns({ before: ({ shard }) => void begun.push(shard) }, 2)
  for (const shard of ['a', 'a', 'a', 'a', 'b']) void before?.(call(shard))
  await settle()
  expect(begun).toEqual(['a', 'a', 'b'])
  await after?.(call('a'), 1, null)
  await settle()
  expect(begun).toEqual(['a', 'a', 'b', 'a'])
  for (let ended = 0; ended < 3; ended++) await after?.(call('a'), 1, new Error('failed'))
  await settle()
  expect(begun).toEqual(['a', 'a', 'b', 'a', 'a'])
  // All have ended, so two may run again.
  for (let times = 0; times < 3; times++) void before?.(call('a'))
  await settle()
  expect(begun.slice(5)).toEqual(['a', 'a'])
})
