import { env } from 'cloudflare:workers'
import { beforeEach, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { accountExpiries } from '../../../src/app/accounts/jobs.ts'
import { expire, platformExpiries } from '../../../src/jobs/housekeeping.ts'
import { emptyShards, everything } from '../../support/shard-rows.ts'
import { databases, slotStatement, slotStates } from '../../support/sharding-slots.ts'
import { World } from '../../support/tiers.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const DAY = 86_400_000
const SLOT = '0123' // of shard 0, in both keyspaces
const REST = '01m85g7dbz0jemk30f5exg8274'
const shard = databases.SHARD_000

beforeEach(async () => {
  expect((await workerIsolate().request('GET', '/readyz')).status).toBe(200)
  await emptyShards()
})

/** A row of each table that expires at `at`, or a day or thirty days later, depending on the table. */
const rowsOf = (id: string, at: number): [string, unknown[]][] => [
  ['sessions', [id, 'u', 'h', '', '', 0, 0, at, at + 90 * DAY, '{}']],
  ['idempotency_keys', [id, 'h', 'u', '', 201, 'null', at]],
  ['mail_tokens', [id, 'u', 'verify-email', 'e', 'h', at]],
  ['password_attempts', [id, 'a', 5, at - DAY, at]],
  ['claim_attempts', [id, 'barred', at - DAY]],
  ['inbox', [id, at - 30 * DAY]],
  ['claim_inbox', [id, at - 30 * DAY]],
  ['retired_handles', [id, at]],
  ['known_devices', [id, at]],
]

/** Rows that never expire. */
const lasting = (id: string): [string, unknown[]][] => [
  ['claim_attempts', [`${id}taken`, 'taken', 0]],
  ['claim_attempts', [`${id}given-up`, 'given-up', 0]],
  ['accounts', [id, 'e', 0, 'h', 1, 0, 1]],
  ['profiles', [id, 'h', 'd', '', 0, 1, 'd', null]],
  ['posts', [id, 'u', 't', 0, null, 1]],
  ['claims', [id, 'email', 'u', 'a', 'confirmed', 0]],
  ['dead_letters', [id, 'u', 'k', '{}', 'e', 3, 0, 0, null]],
]

const insert = ([table, values]: [string, unknown[]]) =>
  shard.prepare(`INSERT INTO ${table} VALUES (${values.map(() => '?').join(', ')})`).bind(...values)

const inState = (state: (typeof slotStates)[number]) =>
  shard.batch((['users', 'claims'] as const).map((keyspace) => slotStatement(shard, keyspace, SLOT, state)))

test.each(slotStates)(
  'a slot that is %s: only expired rows are deleted, and only if the slot accepts writes',
  async (state) => {
    const world = new World()
    const now = world.clock.now()
    const [gone, kept] = [`${SLOT}${REST}`, `${SLOT}${REST.slice(0, -1)}5`]
    await inState('active')
    await shard.batch([...rowsOf(kept, now + 1), ...lasting(kept)].map(insert))
    const without = await everything()
    await shard.batch(rowsOf(gone, now).map(insert))
    const all = await everything()
    await inState(state)
    const { tiers } = world.isolate()
    const count = await expire(tiers.shards, [...platformExpiries, ...accountExpiries], tiers.clock, tiers.log)
    const isWritable = state === 'active' || state === 'moving'
    expect(await everything()).toEqual(isWritable ? without : all)
    expect(count).toBe(isWritable ? rowsOf(gone, now).length : 0)
    expect(world.logged).toEqual([])
    await inState('active')
  },
)

test('a shard that fails is named in the log, and the rows of the others are deleted', async () => {
  const world = new World()
  const id = `${SLOT}${REST}`
  await inState('active')
  await shard.batch(rowsOf(id, world.clock.now()).map(insert))
  const isolate = world.isolate()
  isolate.failAt('shards.each', new Error('D1_ERROR: Network connection lost.'))
  const { tiers } = isolate
  await expire(tiers.shards, [...platformExpiries, ...accountExpiries], tiers.clock, tiers.log)
  expect(world.logged.filter((line) => line.includes('housekeeping.failed'))).toHaveLength(1)
  await expire(tiers.shards, [...platformExpiries, ...accountExpiries], tiers.clock, tiers.log)
  expect(Object.values(await everything()).flat()).toEqual([])
  expect(Object.keys(env).filter((name) => name.startsWith('SHARD_'))).toHaveLength(2)
})
