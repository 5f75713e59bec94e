import { expect, test } from 'vitest'
import type { Connection } from '../../../src/cli/client.ts'
import { shardCommands } from '../../../src/cli/shards.ts'

const answering = (answer: object) => () => ({ get: async () => answer }) as unknown as Connection

test('a shard that does not answer is listed, and named as not counted', async () => {
  const shard = { binding: 'SHARD_000', state: 'serving', slots: 32_768, queriesPerSecond: 1 }
  const items = [
    { ...shard, id: 'shard-000', users: 7, bytes: 2_080_768 },
    { ...shard, id: 'shard-001', users: null, bytes: null },
  ]
  const { text } = await shardCommands['shards list']!.run(answering({ epoch: 3, items }), [], {})
  expect(text.split('\n')).toEqual([
    'shard      binding    state    slots  users    size  queries/s',
    'shard-000  SHARD_000  serving  32768      7  2.1 MB       1.00',
    'shard-001  SHARD_000  serving  32768      –       –       1.00',
    '',
    'epoch 3, 2 shards, 7 users, the fullest has 1.00 of the mean; not counted, since they don’t answer: shard-001',
  ])
})
