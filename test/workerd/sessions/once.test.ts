import { beforeEach, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { RetryKey } from '../../../src/sharding/idempotency.ts'
import { batchByName } from '../../../src/sharding/named-batch.ts'
import { member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'

const INSERT =
  "INSERT INTO posts (id, author_id, text, created_at, edited_at, version) VALUES (?, ?, 'text', 1, NULL, 1)"
const retry: RetryKey = { key: 'key', request: 'POST /things\n{}' }

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  const { session } = await member(world)
  const { tiers } = world.isolate()
  const { userId } = session
  const send = (key: RetryKey | null, answer: number) => {
    const database = tiers.sessions.database(session, { operation: 'test' })
    return tiers.idempotency.once(userId, key, database, { status: 201, answer }, async (statements) => {
      const posted = database.prepare(INSERT).bind(tiers.ids.ownedId(userId), userId)
      const answers = await batchByName(database, { statements, posted })
      return { answer, changes: answers.posted.meta.changes }
    })
  }
  return { send, userId }
}

test('without a key, each call returns the result of its commit', async () => {
  const { send } = await setUp()
  expect(await send(null, 1)).toEqual({ committed: { answer: 1, changes: 1 } })
  expect(await send(null, 2)).toEqual({ committed: { answer: 2, changes: 1 } })
  expect(await rows('posts')).toHaveLength(2)
})

test('with a key, the first call returns the result of its commit, and later calls return the stored answer', async () => {
  const { send, userId } = await setUp()
  expect(await send(retry, 1)).toEqual({ committed: { answer: 1, changes: 1 } })
  expect(await send(retry, 2)).toEqual({ kept: { userId, attemptId: '', status: 201, answer: 1 } })
  expect(await rows('posts')).toHaveLength(1)
})
