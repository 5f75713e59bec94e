/** What must hold after a run with kills: over HTTP, and in the files on disk. */
import type { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { shardedTables } from '../../scripts/shard-schema.ts'
import { sha256Hex } from '../../src/core/digest.ts'
import { slotOf } from '../../src/core/ids.ts'
import { slotNumber } from '../../src/resharding/record.ts'
import { SLOT_COUNT } from '../../src/sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'
import { bearer } from './http-client.ts'
import type { KillableStack } from './killable-stack.ts'
import type { Writers } from './persistent-writer.ts'

const DRAIN_MS = 20_000
const POLL_MS = 250

/** Every profile, as visitors read it, and everything that the crews wrote. */
export async function expectEverythingRead(url: URL, { people, crews }: Writers): Promise<void> {
  for (const { handle, profile } of people) {
    const answer = await bearer(url).get(`/api/v1/users/${handle}`)
    expect([answer.status, answer.json()], handle).toMatchObject([200, { user: { bio: profile.bio } }])
  }
  for (const crew of crews) await crew.expectRead(url)
}

/** The databases hold exactly what was acknowledged, once, on the shard that the directory names. */
export async function expectEverythingInPlace(stack: KillableStack, writers: Writers): Promise<void> {
  const shards = stack.openShards()
  try {
    const ownerOf = readMap(stack)
    for (const [shard, database] of shards) {
      expect(database.prepare('PRAGMA integrity_check').all(), shard).toEqual([{ integrity_check: 'ok' }])
      expect(database.prepare('SELECT open FROM mover').all(), shard).toEqual([{ open: 0 }])
      expect(database.prepare('SELECT * FROM slot_changes').all(), `captured changes of ${shard}`).toEqual([])
      expect(database.prepare('SELECT * FROM dead_letters').all(), `dead letters of ${shard}`).toEqual([])
    }
    expectSlotsInPlace(shards, ownerOf)
    await expectRowsInPlace(shards, ownerOf)
    expectNothingLost(shards, writers)
  } finally {
    for (const database of shards.values()) database.close()
  }
}

/**
 * No job is left. The platform's queue would have kept sent jobs; the local one loses them with the runtime, so the
 * sweeper must send them again. Skips its wait of 15 minutes.
 */
export async function expectOutboxesDrain(stack: KillableStack, { crews }: Writers): Promise<void> {
  await stack.kill()
  for (const database of stack.openShards({ isWritable: true }).values()) {
    database.exec('UPDATE outbox SET due_at = 0')
    database.close()
  }
  await stack.start()
  for (const deadline = Date.now() + DRAIN_MS; rowsOf(stack, 'outbox').length > 0; await sleep(POLL_MS)) {
    if (Date.now() > deadline) expect(rowsOf(stack, 'outbox'), 'jobs that were never processed').toEqual([])
    await stack.cron()
  }
  expect(rowsOf(stack, 'dead_letters')).toEqual([])
  const shards = [...stack.openShards().values()]
  const all = <T>(sql: string) => shards.flatMap((database) => database.prepare(sql).all() as T[])
  for (const crew of crews) crew.expectDrained?.(all)
  for (const database of shards) database.close()
  expect(rowsOf(stack, 'claims').filter(({ state }) => state !== 'confirmed')).toEqual([])
}

type OwnerOf = (keyspace: string, slot: string) => string

function readMap(stack: KillableStack): OwnerOf {
  using directory = stack.openDirectory()
  const runs = directory
    .prepare('SELECT keyspace, start, id FROM runs JOIN shards ON ordinal = shard ORDER BY start DESC')
    .all() as { keyspace: string; start: number; id: string }[]
  return (keyspace, slot) => runs.find((run) => run.keyspace === keyspace && run.start <= slotNumber(slot))!.id
}

function expectSlotsInPlace(shards: Map<string, DatabaseSync>, ownerOf: OwnerOf): void {
  const known: Record<string, number> = {}
  for (const [shard, database] of shards) {
    const slots = database.prepare('SELECT keyspace, slot, state, move_id FROM slots').all() as {
      keyspace: string
      slot: string
      state: string
      move_id: string | null
    }[]
    for (const { keyspace } of slots) known[keyspace] = (known[keyspace] ?? 0) + 1
    const wrong = slots.filter(
      ({ keyspace, slot, state, move_id }) =>
        state !== 'active' || move_id !== null || ownerOf(keyspace, slot) !== shard,
    )
    expect(wrong, `slots of ${shard}`).toEqual([])
  }
  expect(known).toEqual(Object.fromEntries(keyspaces.map((keyspace) => [keyspace, SLOT_COUNT])))
}

async function expectRowsInPlace(shards: Map<string, DatabaseSync>, ownerOf: OwnerOf): Promise<void> {
  for (const { name, key, keyspace } of await shardedTables())
    for (const [shard, database] of shards) {
      const keys = database.prepare(`SELECT "${key[0]}" AS key FROM "${name}"`).all() as { key: string }[]
      const strayed = keys.filter(({ key }) => ownerOf(keyspace as Keyspace, slotOf(key)) !== shard)
      expect(strayed, `rows of ${name} in ${shard}`).toEqual([])
    }
}

interface StoredProfile {
  id: string
  bio: string
  version: number
}

const isBetween = (value: number, min: number, max: number) => value >= min && value <= max

function expectNothingLost(shards: Map<string, DatabaseSync>, { people, crews }: Writers): void {
  const all = <T>(sql: string) => [...shards.values()].flatMap((database) => database.prepare(sql).all() as T[])

  for (const crew of crews) crew.expectStored(all)
  const profiles = new Map(all<StoredProfile>('SELECT id, bio, version FROM profiles').map((row) => [row.id, row]))
  const differing = people.filter(({ id, profile }) => {
    const stored = profiles.get(id)
    return !stored || stored.bio !== profile.bio || !isBetween(stored.version, profile.versionMin, profile.versionMax)
  })
  expect(differing, 'changes of profiles that were lost or doubled').toEqual([])

  const ids = people.map(({ id }) => ({ id }))
  for (const table of ['accounts', 'profiles'])
    expect(byId(all<{ id: string }>(`SELECT id FROM ${table}`)), table).toEqual(byId(ids))
  const owners = all<{ id: string }>('SELECT owner_id AS id FROM claims')
  expect(byId(owners), 'claims: one e-mail address and one handle per account').toEqual(byId([...ids, ...ids]))

  const keys = all<{ id: string }>('SELECT id FROM idempotency_keys')
  const used = people.flatMap((person) => [
    { id: sha256Hex(`sign-up\0sign-up-${person.handle}`) },
    ...[...person.keys].map((key) => ({ id: `${person.id}.${sha256Hex(key)}` })),
  ])
  expect(byId(keys), 'idempotency keys').toEqual(byId(used))
}

/** A table's rows over all shards. The runtime may be running. */
function rowsOf(stack: KillableStack, table: string): Record<string, unknown>[] {
  return [...stack.openShards().values()].flatMap((database) => {
    const rows = database.prepare(`SELECT * FROM ${table}`).all()
    database.close()
    return rows
  })
}

const byId = <T extends { id: string }>(rows: T[]): T[] => rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
