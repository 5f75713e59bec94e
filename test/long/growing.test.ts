import { execFile } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DevServer } from '../../scripts/dev-server.ts'
import { ensureDevVars } from '../../scripts/dev-vars.ts'
import { openMoves } from '../../src/cli/load/leases.ts'
import { runLoad } from '../../src/cli/load/run.ts'
import { connect } from '../../src/cli/shell/client.ts'
import { replaceFile } from '../../src/cli/shell/replace-file.ts'
import { root } from '../../src/cli/shell/root.ts'
import { localShards, shardBindings, withShards } from '../../src/cli/wrangler/shard-bindings.ts'

const run = promisify(execFile)
const configPath = path.join(root, 'wrangler.shards-growing.toml')
const shipped = readFileSync(path.join(root, 'wrangler.toml'), 'utf8')

let server: DevServer
let token: string
beforeAll(async () => {
  token = ensureDevVars(root).OPERATOR_TOKEN!
  writeFileSync(configPath, withShards(shipped, localShards(0, 2)))
  server = await DevServer.make('--config', configPath)
  await server.start()
})
afterAll(async () => {
  await server?.remove()
  rmSync(configPath, { force: true })
})

async function banyan(...args: string[]): Promise<string> {
  const command = ['src/cli/main.ts', ...args, '--url', server.url.origin, '--token', token]
  try {
    return (await run(process.execPath, command, { cwd: root })).stdout
  } catch (error) {
    throw new Error(`${(error as { stderr: string }).stderr}\nThe server: ${server.said()}`)
  }
}

const add = (count: number) =>
  banyan('shards', 'add', '--count', String(count), '--config', configPath, '--persist-to', server.folder, '--json')

const bound = () => shardBindings(readFileSync(configPath, 'utf8')).map(({ binding }) => binding)

interface Shard {
  id: string
  slots: number
}

const shards = async () => (JSON.parse(await banyan('shards', 'list', '--json')) as { items: Shard[] }).items

test('two more shards on a running server, under load: nothing is lost, and requests interrupted by the reload recover', async () => {
  const stop = new AbortController()
  const ready = Promise.withResolvers<void>()
  const load = runLoad({
    url: server.url,
    rate: 8,
    until: stop.signal,
    users: 8,
    reads: 0.5,
    seed: 2,
    findMoves: openMoves(() => connect({ url: server.url.origin, token })),
    onTick: () => ready.resolve(),
  })
  await Promise.race([ready.promise, load])
  const added = JSON.parse(await add(2)) as { shards: Shard[] }
  expect(added.shards.map(({ id }) => id)).toEqual(['shard-002', 'shard-003'])
  expect(bound()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002', 'SHARD_003'])
  const moved = JSON.parse(await banyan('rebalance', '--until', 'done', '--json')) as {
    moves: { keyspace: string; state: string; slots: string }[]
    held: number
  }
  stop.abort()
  const report = await load

  expect(moved.held).toBe(0)
  expect(moved.moves.every(({ state }) => state === 'done')).toBe(true)
  // The new shards' share of each keyspace, and no slot more.
  const ranges = moved.moves.filter(({ keyspace }) => keyspace === 'users').map(({ slots }) => slots)
  expect(ranges.toSorted()).toEqual(['4000-7fff', 'c000-ffff'])
  expect((await shards()).map(({ slots }) => slots)).toEqual([16_384, 16_384, 16_384, 16_384])
  expect(report.examples).toEqual([])
  expect(report).toMatchObject({
    requests: { failed: 0 },
    writes: { refused: 0, unknown: 0 },
    sightings: { stale: 0, unexpected: 0 },
    readBack: { lost: 0, doubled: 0, unexpected: 0, unread: 0 },
    isSound: true,
  })
  expect(report.writes.acknowledged).toBeGreaterThan(40)
})

test('after a run that failed half-way, the next run adds the shards that were bound but not added', async () => {
  // The state after a run that failed when it had written the configuration, before any migration of a second database.
  const text = readFileSync(configPath, 'utf8')
  const before = (await shards()).length
  const dying = run(
    process.execPath,
    [
      'src/cli/main.ts',
      'shards',
      'add',
      '--config',
      configPath,
      '--persist-to',
      server.folder,
      '--url',
      'http://localhost:9',
    ],
    { cwd: root },
  )
  await expect(dying).rejects.toThrow(/does not answer/)
  expect(readFileSync(configPath, 'utf8')).toBe(text)

  const more = text.replace(
    /(# ── Stores)/,
    `[[d1_databases]]
binding = "SHARD_004"
database_name = "banyan-shard-004"
database_id = "00000000-0000-4000-8000-000000000004"
migrations_dir = "migrations/shard"

$1`,
  )
  replaceFile(configPath, more)
  const { shards: added } = JSON.parse(await add(1)) as { shards: Shard[] }
  expect(added.map(({ id }) => id)).toEqual(['shard-004'])
  expect(readFileSync(configPath, 'utf8')).toBe(more)
  expect(await shards()).toHaveLength(before + 1)
})
