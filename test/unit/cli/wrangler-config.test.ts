import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../src/cli/local-shards.ts'
import {
  localShards,
  nextShardNumber,
  shardBindings,
  withMoreShards,
  withoutShard,
  withShards,
} from '../../../src/cli/wrangler-config.ts'

const shipped = readFileSync(path.join(root, 'wrangler.toml'), 'utf8')
const bindings = (text: string) => shardBindings(text).map(({ binding }) => binding)

test('the shipped configuration binds two shards', () => {
  expect(bindings(shipped)).toEqual(['SHARD_000', 'SHARD_001'])
  expect(nextShardNumber(shardBindings(shipped))).toBe(2)
})

test('more shards come behind the last one; every other line stays as it is, in its order', () => {
  const text = withMoreShards(shipped, localShards(2, 2))
  expect(bindings(text)).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002', 'SHARD_003'])
  const before = shipped.split('\n')
  const after = text.split('\n')
  let place = 0
  for (const line of before) {
    place = after.indexOf(line, place)
    expect(place, line).toBeGreaterThanOrEqual(0)
    place++
  }
  expect(after).toHaveLength(before.length + 2 * 6)
  expect(text.indexOf('SHARD_003')).toBeLessThan(text.indexOf('# ── Stores'))
})

test('adding and taking away again is nothing', () => {
  const more = withMoreShards(shipped, localShards(2, 1))
  expect(withoutShard(more, 'SHARD_002')).toBe(shipped)
})

test('the ids that an operator has written stay, and so does a key that isn’t ours', () => {
  const own = shipped.replace(
    'database_id = "00000000-0000-4000-8000-000000000001"\n',
    'database_id = "real"\npreview_database_id = "kept"\n',
  )
  const text = withMoreShards(own, localShards(2, 1))
  expect(text).toContain('database_id = "real"\npreview_database_id = "kept"\nmigrations_dir')
  expect(shardBindings(text)[1]).toEqual({
    binding: 'SHARD_001',
    databaseName: 'banyan-shard-001',
    databaseId: 'real',
  })
})

test('a configuration of so many shards and no others', () => {
  expect(bindings(withShards(shipped, localShards(0, 5)))).toEqual([0, 1, 2, 3, 4].map((number) => `SHARD_00${number}`))
  expect(bindings(withShards(shipped, localShards(0, 1)))).toEqual(['SHARD_000'])
})
