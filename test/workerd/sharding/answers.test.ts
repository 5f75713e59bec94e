import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { answerOf } from '../../../src/sharding/answers.ts'
import type { Env } from '../../../workers/env.ts'

const shard = (env as unknown as Env & { SHARD_000: D1Database }).SHARD_000

async function errorOf(...statements: string[]): Promise<unknown> {
  try {
    await shard.batch(statements.map((sql) => shard.prepare(sql)))
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}

test('a refusal by RAISE carries its code', async () => {
  const error = await errorOf("INSERT INTO slot_guard (keyspace, slot) VALUES ('users', 'ffff')")
  expect(answerOf(error)).toEqual({ kind: 'refused', code: 'SLOT_NOT_OWNED' })
})
