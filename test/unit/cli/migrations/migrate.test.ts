import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { type MigratedShard, migrateShards, migrationStatus } from '../../../../src/cli/migrations/migrate.ts'
import type { Migration } from '../../../../src/cli/migrations/shard-migrations.ts'

const first: Migration = { name: '0000_first.sql', statements: ['CREATE TABLE one (id TEXT)'] }
const second: Migration = {
  name: '0001_second.sql',
  statements: ['CREATE TABLE two (id TEXT)', "INSERT INTO two VALUES ('x')"],
}

interface Shard extends MigratedShard {
  sqlite: DatabaseSync
  tables(): string[]
}

/** A shard with its own database. `before` is called before each migration, and may fail or wait. */
function shard(
  binding: string,
  has: Migration[] = [],
  before: (name: string) => Promise<void> = async () => {},
): Shard {
  const sqlite = new DatabaseSync(':memory:')
  sqlite.exec('CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT)')
  const run = ({ name, statements }: Migration) => {
    sqlite.exec('BEGIN')
    try {
      for (const statement of statements) sqlite.exec(statement)
      sqlite.prepare('INSERT INTO d1_migrations (name) VALUES (?)').run(name)
      sqlite.exec('COMMIT')
    } catch (error) {
      sqlite.exec('ROLLBACK')
      throw error
    }
  }
  for (const migration of has) run(migration)
  return {
    binding,
    sqlite,
    tables: () =>
      sqlite
        .prepare("SELECT name FROM sqlite_master WHERE name IN ('one', 'two', 'other') ORDER BY name")
        .all()
        .map(({ name }) => name as string),
    applied: async () =>
      sqlite
        .prepare('SELECT name FROM d1_migrations ORDER BY id')
        .all()
        .map(({ name }) => name as string),
    async apply(migration) {
      await before(migration.name)
      run(migration)
    },
  }
}

const numbered = (count: number, has: Migration[] = []) =>
  Array.from({ length: count }, (_, number) => shard(`SHARD_00${number}`, has))

const options = { migrations: [first, second], canary: null, atOnceMax: 3, onProgress: () => undefined }

test('every shard gets its missing migrations in order, and none twice', async () => {
  const shards = [...numbered(3, [first]), shard('SHARD_003'), shard('SHARD_004', [first, second])]
  const run = await migrateShards(shards, options)
  expect(run).toMatchObject({ applied: 5, failed: [], untouched: [] })
  expect(run.done.toSorted()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002', 'SHARD_003'])
  for (const one of shards) expect(await one.applied()).toEqual(['0000_first.sql', '0001_second.sql'])
  expect(await migrateShards(shards, options)).toEqual({ applied: 0, done: [], failed: [], untouched: [] })
})

test('at most atOnceMax shards are migrated at a time', async () => {
  let now = 0
  let most = 0
  const slow = async () => {
    most = Math.max(most, ++now)
    await new Promise((resolve) => setTimeout(resolve, 2))
    now--
  }
  const shards = Array.from({ length: 9 }, (_, number) => shard(`SHARD_00${number}`, [], slow))
  await migrateShards(shards, options)
  expect(most).toBe(3)
})

describe('the canary', () => {
  test('goes first and alone', async () => {
    const order: string[] = []
    const watched = (binding: string) => shard(binding, [first], async () => void order.push(binding))
    const shards = ['SHARD_000', 'SHARD_001', 'SHARD_002'].map(watched)
    await migrateShards(shards, { ...options, canary: 'SHARD_002' })
    expect(order).toEqual(['SHARD_002', 'SHARD_000', 'SHARD_001'])
  })

  test('stops the run if it fails, and keeps nothing of the failed migration', async () => {
    const shards = numbered(4, [first])
    shards[0]!.sqlite.exec("CREATE TABLE other (id TEXT); INSERT INTO other VALUES ('kept')")
    const broken = { name: second.name, statements: ['CREATE TABLE two (id TEXT)', 'INSERT INTO nowhere VALUES (1)'] }
    const run = await migrateShards(shards, { ...options, migrations: [first, broken] })
    expect(run).toMatchObject({ applied: 0, done: [], untouched: ['SHARD_001', 'SHARD_002', 'SHARD_003'] })
    expect(run.failed).toEqual([
      { binding: 'SHARD_000', migration: second.name, reason: expect.stringContaining('no such table: nowhere') },
    ])
    expect(shards.map((one) => one.tables())).toEqual([['one', 'other'], ['one'], ['one'], ['one']])
    // With the migration fixed, the run resumes.
    expect(await migrateShards(shards, options)).toMatchObject({ applied: 4, failed: [], untouched: [] })
  })
})

test('after a later shard fails, no other starts, and migrated shards stay migrated', async () => {
  const failing = shard('SHARD_002', [first], async () => {
    throw new Error('unavailable')
  })
  const shards = [...numbered(2, [first]), failing, shard('SHARD_003', [first])]
  const run = await migrateShards(shards, { ...options, atOnceMax: 1 })
  expect(run).toEqual({
    applied: 2,
    done: ['SHARD_000', 'SHARD_001'],
    failed: [{ binding: 'SHARD_002', migration: second.name, reason: 'unavailable' }],
    untouched: ['SHARD_003'],
  })
})

test('a migration that would rebuild a sharded table is refused before anything is applied', async () => {
  const shards = numbered(2)
  const rebuild = { name: '0001_rebuild.sql', statements: ['DROP TABLE one'] }
  await expect(migrateShards(shards, { ...options, migrations: [first, rebuild] })).rejects.toThrow(/0001_rebuild\.sql/)
  expect(shards.map((one) => one.tables())).toEqual([[], []])
})

test('a shard with migrations of a newer version is refused by name', async () => {
  const shards = [shard('SHARD_000'), shard('SHARD_001', [first, second])]
  await expect(migrateShards(shards, { ...options, migrations: [first] })).rejects.toThrow(
    /SHARD_001 has 0001_second\.sql/,
  )
  expect(shards[0]!.tables()).toEqual([])
})

test('status shows the newest migration and the missing ones', async () => {
  expect(await migrationStatus([shard('SHARD_000', [first]), shard('SHARD_001')], [first, second], 2)).toEqual([
    { binding: 'SHARD_000', newest: '0000_first.sql', pending: ['0001_second.sql'] },
    { binding: 'SHARD_001', newest: null, pending: ['0000_first.sql', '0001_second.sql'] },
  ])
})
