import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../../src/cli/shell/root.ts'
import { readConfig } from '../../../../src/cli/wrangler/config.ts'
import {
  localBindings,
  localShards,
  nextShardNumber,
  shardBindings,
  withMoreShards,
  withShards,
} from '../../../../src/cli/wrangler/shard-bindings.ts'

const shipped = readFileSync(path.join(root, 'wrangler.toml'), 'utf8')
const bindings = (text: string) => shardBindings(text).map(({ binding }) => binding)
const lastBlock = /\[\[d1_databases\]\]\nbinding = "SHARD_001"\n(?:.+\n)+/

test('the shipped configuration binds two shards', () => {
  expect(bindings(shipped)).toEqual(['SHARD_000', 'SHARD_001'])
  expect(nextShardNumber(shardBindings(shipped))).toBe(2)
})

test('more shards are added after the last one, and all other lines stay as they are', () => {
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

test('ids and keys that an operator has written stay', () => {
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

const writings: [string, string][] = [
  [
    'a comment in the middle of the last block',
    shipped.replace('database_name = "banyan-shard-001"', '# theirs\ndatabase_name = "banyan-shard-001"'),
  ],
  [
    'a comment at the end of the last block',
    shipped.replace(lastBlock, (block) => `${block}# this one is in Frankfurt\n`),
  ],
  [
    'the last block at the end of the file, without a line end',
    `${shipped.replace(lastBlock, '')}\n${lastBlock.exec(shipped)![0].trimEnd()}`,
  ],
  [
    'a binding that isn’t the first key',
    shipped.replace(
      'binding = "SHARD_001"\ndatabase_name = "banyan-shard-001"',
      'database_name = "banyan-shard-001"\nbinding = "SHARD_001"',
    ),
  ],
  ['CRLF line ends', shipped.replaceAll('\n', '\r\n')],
  ['single quotes', shipped.replace(lastBlock, (block) => block.replaceAll('"', "'"))],
  ['spaces and comments', shipped.replace(lastBlock, (block) => block.replace(/^(.*) = (.*)$/gm, '  $1=$2   # "x"'))],
  [
    'an empty line in the last block',
    shipped.replace(lastBlock, (block) => block.replace('\ndatabase_id', '\n\ndatabase_id')),
  ],
]

test.each(writings)('%s: the new block comes after the complete last one, and no other line differs', (_, text) => {
  expect(bindings(text)).toEqual(['SHARD_000', 'SHARD_001'])
  const more = withMoreShards(text, localShards(2, 1))
  expect(shardBindings(more)).toEqual([...shardBindings(text), ...localShards(2, 1)])
  expect(readConfig(more)).toEqual({ ...readConfig(text), shards: shardBindings(more) })
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n'
  const added = ['[[d1_databases]]', 'binding = "SHARD_002"', 'database_name = "banyan-shard-002"'].join(lineEnd)
  expect(more).toContain(added)
  const whole = [
    lineEnd,
    ...more
      .slice(more.indexOf(added))
      .split(lineEnd)
      .slice(0, 5)
      .map((line) => line + lineEnd),
  ].join('')
  expect(more.replace(whole, '').trimEnd()).toBe(text.trimEnd())
})

test('a shard that is already bound is not bound a second time', () => {
  expect(() => withMoreShards(shipped, localShards(1, 1))).toThrow('SHARD_001 is already bound')
  const twice = `${shipped}\n${lastBlock.exec(shipped)![0]}`
  expect(() => shardBindings(twice)).toThrow('binds SHARD_001 twice')
})

const refusals: [string, string, string][] = [
  ['no shard', shipped.replaceAll('SHARD_', 'OTHER_'), 'binds no shard'],
  [
    'shards as an inline list',
    'name = "a"\nd1_databases = [ { binding = "SHARD_000" } ]',
    'has d1_databases as an inline list',
  ],
  ['text over several lines', `${shipped}\n[x]\nnote = """\n[[d1_databases]]\n"""`, 'can\'t be read: note = """'],
]

test.each(refusals)('%s is refused', (_, text, message) => {
  expect(() => withMoreShards(text, localShards(2, 1))).toThrow(message)
})

test('a configuration with exactly the given shards', () => {
  expect(bindings(withShards(shipped, localShards(0, 5)))).toEqual([0, 1, 2, 3, 4].map((number) => `SHARD_00${number}`))
  expect(bindings(withShards(shipped, localShards(0, 1)))).toEqual(['SHARD_000'])
  expect(withShards(shipped, localShards(0, 2))).toBe(shipped)
})

test.each(writings)('%s: exactly the given shards', (_, text) => {
  const five = withShards(text, localShards(0, 5))
  expect(readConfig(five)).toEqual({ ...readConfig(text), shards: localShards(0, 5) })
  expect(localBindings(five)).toEqual(localShards(0, 5))
})
