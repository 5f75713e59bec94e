import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../../src/cli/shell/root.ts'
import { readConfig, withDatabaseId } from '../../../../src/cli/wrangler/config.ts'
import { configOf } from '../../../../src/cli/wrangler/local-shards.ts'
import { localShards, shardBindings, withMoreShards } from '../../../../src/cli/wrangler/shard-bindings.ts'

const shipped = readFileSync(path.join(root, 'wrangler.toml'), 'utf8')
const four = configOf(4, shipped, null)

test('--shards 4 binds four shards, and a second run changes nothing', () => {
  expect(shardBindings(four)).toEqual(localShards(0, 4))
  expect(configOf(4, shipped, four)).toBe(four)
})

test('an added shard stays, and changes of the shipped configuration are taken over', () => {
  const five = withMoreShards(four, localShards(4, 1))
  expect(configOf(4, shipped, five)).toBe(five)
  const newer = shipped.replace('[vars]', '[vars]\nNEW = "setting"')
  expect(readConfig(configOf(4, newer, five)).shards).toEqual(localShards(0, 5))
  expect(configOf(4, newer, five)).toContain('NEW = "setting"')
})

test('a deployed configuration keeps its ids', () => {
  const deployed = withDatabaseId(four, 'SHARD_003', '11111111-2222-4333-8444-555555555555')
  expect(configOf(4, shipped, deployed)).toBe(deployed)
})
