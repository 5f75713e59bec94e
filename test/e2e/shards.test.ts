import { afterAll, beforeAll, test } from 'vitest'
import { expectEvenUsers, expectRowsInPlace, signUpMany } from '../support/shard-placement.ts'
import { type Stack, startStack } from '../support/stack.ts'

let stack: Stack
beforeAll(async () => {
  stack = await startStack({ shards: 4 })
})
afterAll(() => stack?.close())

// 200 users on 1, 2 and 4 shards: test/long/shards.test.ts
test('24 users are spread evenly over 4 shards, each row on the shard that its id names, even after the cron’s duties', async () => {
  const ids = await signUpMany(stack, 24)
  expectEvenUsers(await expectRowsInPlace(stack, ids))
  await stack.cron()
  expectEvenUsers(await expectRowsInPlace(stack, ids))
})
