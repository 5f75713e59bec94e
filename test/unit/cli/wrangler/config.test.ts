import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { unstable_readConfig } from 'wrangler'
import {
  isPlaceholder,
  readConfig,
  significantText,
  withDatabaseId,
  withKvId,
} from '../../../../src/cli/wrangler/config.ts'
import { localBindings, shardBindings } from '../../../../src/cli/wrangler/shard-bindings.ts'
import { limits } from '../../../../src/core/limits.ts'

const SHIPPED = path.resolve(import.meta.dirname, '../../../../wrangler.toml')
const shipped = readFileSync(SHIPPED, 'utf8')
const ID = '11111111-2222-4333-8444-555555555555'

test('the shipped configuration is read', () => {
  const config = readConfig(shipped)
  expect(config).toMatchObject({ name: 'banyan', accountId: null, publicOrigin: null, buckets: ['banyan'] })
  expect(config.shards.map(({ binding }) => binding)).toEqual(['SHARD_000', 'SHARD_001'])
  expect(config.queues.toSorted()).toEqual([
    'banyan-jobs',
    'banyan-jobs-dead',
    'banyan-mail',
    'banyan-mail-dead',
    'banyan-media',
    'banyan-media-dead',
    'banyan-purges',
    'banyan-purges-dead',
  ])
  expect(config.crons).toEqual(['* * * * *'])
  expect([...config.shards.map((shard) => shard.databaseId), config.kvNamespaces[0]!.id].every(isPlaceholder)).toBe(
    true,
  )
})

test('the platform’s cache is in front of PublicPages alone', () => {
  const { cache, exports } = unstable_readConfig({ config: SHIPPED })
  expect(cache).toBeUndefined()
  expect(exports).toEqual({ PublicPages: { type: 'worker', cache: { enabled: true } } })
})

test('a batch of purges is one call with at most 100 tags, and one consumer takes them', () => {
  const { queues } = unstable_readConfig({ config: SHIPPED })
  expect(queues.consumers?.find(({ queue }: { queue: string }) => queue === 'banyan-purges')).toMatchObject({
    max_batch_size: limits.purgeTagsMax,
    max_concurrency: 1,
  })
})

test('an id is written into its own block, and the placeholder is kept for local development', () => {
  const changed = withDatabaseId(shipped, 'SHARD_001', ID)
  const lines = { before: shipped.split('\n'), after: changed.split('\n') }
  expect(lines.after.filter((line) => !lines.before.includes(line))).toEqual([
    `database_id = "${ID}"`,
    'preview_database_id = "00000000-0000-4000-8000-000000000001" # the id of the local data',
  ])
  expect(lines.before.filter((line) => !lines.after.includes(line))).toEqual([
    'database_id = "00000000-0000-4000-8000-000000000001"',
  ])
  expect(shardBindings(changed).map(({ databaseId }) => databaseId)).toEqual([
    shardBindings(shipped)[0]!.databaseId,
    ID,
  ])
})

test('local data is still found by the shipped ids', () => {
  const deployed = withDatabaseId(withDatabaseId(shipped, 'SHARD_001', ID), 'SHARD_000', ID.replace('1', '9'))
  expect(localBindings(deployed)).toEqual(shardBindings(shipped))
  expect(shardBindings(deployed)).not.toEqual(shardBindings(shipped))
})

test('writing the same id again changes nothing, and another id keeps the local id', () => {
  const once = withDatabaseId(shipped, 'SHARD_000', ID)
  expect(withDatabaseId(once, 'SHARD_000', ID)).toBe(once)
  const other = withDatabaseId(once, 'SHARD_000', ID.replace('1', '9'))
  expect(other.match(/preview_database_id/g)).toHaveLength(1)
})

test('a namespace’s id is written into its block', () => {
  const changed = withKvId(shipped, 'KV', 'abcdef0123456789abcdef0123456789')
  expect(readConfig(changed).kvNamespaces).toEqual([{ binding: 'KV', id: 'abcdef0123456789abcdef0123456789' }])
  expect(changed).toContain('preview_id = "00000000000000000000000000000001"')
})

test('lists over several lines, comments at a line’s end and quoted # are read', () => {
  const text = `name = 'a' # b\n[triggers]\ncrons = [\n  "* * * * *", # each minute\n  "0 3 * * *",\n]\n[vars]\nPUBLIC_ORIGIN = "https://a.example/#x"`
  expect(readConfig(text)).toMatchObject({
    name: 'a',
    crons: ['* * * * *', '0 3 * * *'],
    publicOrigin: 'https://a.example/#x',
  })
})

test.each([
  ['no name', '[vars]\nA = "b"', 'has no name'],
  ['an invalid line', 'name = "a"\nwhat is this', "Line 2 of the configuration can't be read: what is this"],
  [
    'a shard with no id',
    'name = "a"\n[[d1_databases]]\nbinding = "SHARD_000"\ndatabase_name = "x"',
    'has no database_id',
  ],
])('%s is refused', (_, text, message) => {
  expect(() => readConfig(text)).toThrow(message)
})

test.each([
  ['none', '', 30_000],
  ['an empty one', 'LEASE_MS = ""', 30_000],
  ['one in quotes', 'LEASE_MS = "2000"', 2_000],
  ['a number', 'LEASE_MS = 45000 # long', 45_000],
])('the lease, with %s in [vars]', (_, line, leaseMs) => {
  expect(readConfig(`name = "a"\n[vars]\n${line}`).leaseMs).toBe(leaseMs)
})

test.each(['"60_000"', '60_000', '"30 s"', '"99"', '"0"', '"-1"', '"1500.5"', '"Infinity"'])(
  'a lease of %s is refused, because a restore that waits too briefly loses acknowledged writes',
  (written) => {
    expect(() => readConfig(`name = "a"\n[vars]\nLEASE_MS = ${written}`)).toThrow(
      `LEASE_MS is "${written.replaceAll('"', '')}", but must be a number of milliseconds of at least 100.`,
    )
  },
)

test('the significant text has no comments and no local ids', () => {
  expect(significantText(withDatabaseId(`# one\n${shipped}`, 'SHARD_000', ID))).toBe(
    significantText(shipped).replace('00000000-0000-4000-8000-000000000000', ID),
  )
})

test.each([
  ['single quotes', "'"],
  ['a comment after it', '" # ours'],
])('an id with %s is replaced in place', (_, after) => {
  const quote = after[0]!
  const id = '00000000-0000-4000-8000-000000000001'
  const text = shipped.replace(`database_id = "${id}"`, `database_id = ${quote}${id}${after}`)
  const changed = withDatabaseId(text, 'SHARD_001', ID)
  expect(changed.match(/^database_id/gm)).toHaveLength(2)
  expect(changed).toContain(`database_id = "${ID}"${after.slice(1)}\npreview_database_id = "${id}"`)
  expect(readConfig(changed).shards[1]!.databaseId).toBe(ID)
})

test('an id in a file with CRLF is replaced, and the line ends stay', () => {
  const changed = withDatabaseId(shipped.replaceAll('\n', '\r\n'), 'SHARD_001', ID)
  expect(readConfig(changed).shards[1]!.databaseId).toBe(ID)
  expect(changed.replaceAll('\r\n', '')).not.toContain('\n')
})
