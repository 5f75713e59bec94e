import { expect, test } from 'vitest'
import { expectEvenUsers, expectRowsInPlace, signUpMany } from '../support/shard-placement.ts'
import { startStack } from '../support/stack.ts'

test.each([1, 2, 4])(
  '200 users who sign up are spread evenly over %i shards, each row on the shard that its id names',
  async (shards) => {
    const stack = await startStack({ shards })
    try {
      const ids = await signUpMany(stack, 200)
      expect(new Set(ids).size).toBe(200)
      expectEvenUsers(await expectRowsInPlace(stack, ids))
    } finally {
      await stack.close()
    }
  },
)
