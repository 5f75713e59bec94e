import { expect, test } from 'vitest'
import { followDuties } from '../../../../src/app/follows/repair.ts'
import { besideFullShard } from '../../../support/full-shard.ts'

test('the repair checks the other shards while one takes no writes', async () => {
  const { positions, failed } = await besideFullShard(followDuties)
  expect(positions).toEqual([0, 1, 1])
  expect(failed).toEqual([['follows.not-checked', 'shard-000']])
})
