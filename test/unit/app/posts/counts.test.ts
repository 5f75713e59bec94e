import { expect, test } from 'vitest'
import { postDuties } from '../../../../src/app/posts/counts.ts'
import { besideFullShard } from '../../../support/full-shard.ts'

test('posts are counted again in the other shards while one takes no writes', async () => {
  const { positions, failed } = await besideFullShard(postDuties)
  expect(positions).toEqual([0, 1, 1])
  expect(failed).toEqual([['posts.not-recounted', 'shard-000']])
})
