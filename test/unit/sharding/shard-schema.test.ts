import type { DatabaseSync } from 'node:sqlite'
import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, real, sqliteTable, text, unique, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { describe, expect, test } from 'vitest'
import {
  migratedDatabase,
  missingObjects,
  movedTables,
  refuseLongTails,
  shardedTables,
  wantedObjects,
} from '../../../scripts/shard-schema.ts'
import { refuseUnsafe } from '../../../src/cli/migrations/migration-rules.ts'
import { readMigrations } from '../../../src/cli/migrations/shard-migrations.ts'
import { fencedTable, fenceTriggers } from '../../../src/sharding/fence-sql.ts'
import { sharded } from '../../../src/sharding/sharded-table.ts'

const id = () => text().primaryKey().notNull()
const parent = sharded('users', sqliteTable('parent', { id: id() }))

describe('the migrations', () => {
  test('create what the schema defines, with nothing missing or different', async () => {
    const tables = await shardedTables()
    expect(tables.length).toBeGreaterThan(5)
    expect(missingObjects(migratedDatabase(), wantedObjects(tables))).toEqual([])
  })

  test('with a missing or different fence are detected', async () => {
    const wanted = wantedObjects(await shardedTables())
    const database = migratedDatabase()
    database.exec('DROP TRIGGER profiles_fence_delete')
    database.exec(
      'DROP TRIGGER claims_fence_insert; CREATE TRIGGER claims_fence_insert BEFORE INSERT ON claims BEGIN SELECT 1; END',
    )
    expect(
      missingObjects(database, wanted)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['claims_fence_insert', 'profiles_fence_delete'])
  })

  test('rebuild and drop nothing, and write no sharded row', () => {
    expect(() => refuseUnsafe(readMigrations(), readMigrations())).not.toThrow()
  })
})

const textColumns = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`c${index}`, text().notNull()]))

test('are refused if a keyspace has so many columns that a statement of a move is too long, with a fix', () => {
  const wide = (count: number) =>
    Array.from({ length: count }, (_, index) =>
      fencedTable(sharded('users', sqliteTable(`wide${index}`, { id: id(), ...textColumns(99) }))),
    )
  expect(() => refuseLongTails(wide(20))).not.toThrow()
  expect(() => refuseLongTails(wide(40))).toThrow(/The 40 tables of the keyspace users need a statement of \d+ bytes/)
})

test('move every table with a fence, whether or not it has a schema', async () => {
  const database = migratedDatabase()
  const kept = fencedTable(sharded('users', sqliteTable('kept', { id: id(), bytes: integer().notNull() })))
  database.exec('CREATE TABLE kept (id TEXT PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL)')
  for (const { sql } of fenceTriggers(kept)) database.exec(sql)
  const moved = movedTables(database)
  expect(moved).toContainEqual({ name: 'kept', keyspace: 'users', key: ['id'], columns: ['id', 'bytes'] })
  const names = (await shardedTables()).map(({ name }) => name)
  // Tables of removed nouns are moved, too.
  expect(moved.map(({ name }) => name)).toEqual(expect.arrayContaining([...names, 'kept']))
})

describe('a table that a shard can’t hold is refused with the reason', () => {
  test.each([
    ['that is not declared', () => sqliteTable('t', { id: id() }), /declare it with sharded/],
    [
      'with a foreign key',
      () => sharded('users', sqliteTable('t', { id: id(), p: text().references(() => parent.id) })),
      /foreign keys/,
    ],
    [
      'with a unique column',
      () => sharded('users', sqliteTable('t', { id: id(), email: text().unique() })),
      /secondary UNIQUE/,
    ],
    [
      'with a unique constraint',
      () =>
        sharded(
          'users',
          sqliteTable('t', { id: id(), a: text() }, (t) => [unique().on(t.a)]),
        ),
      /secondary UNIQUE/,
    ],
    [
      'with a unique index',
      () =>
        sharded(
          'users',
          sqliteTable('t', { id: id(), a: text() }, (t) => [uniqueIndex('u').on(t.a)]),
        ),
      /unique index/,
    ],
    [
      'with 101 columns',
      () => sharded('users', sqliteTable('t', { id: id(), ...textColumns(100) })),
      /has 101 columns, and D1's limit is 100; move some to a second table/,
    ],
    [
      'with a key of 33 columns',
      () =>
        sharded(
          'users',
          sqliteTable('t', textColumns(33), (t) => [primaryKey({ columns: Object.values(t) as never })]),
        ),
      /key has 33 columns, and the limit is 32/,
    ],
    ['with long names', () => sharded('users', sqliteTable('t'.repeat(12_000), { id: id() })), /shorten them/],
    [
      'with a backtick in its name',
      () => sharded('users', sqliteTable('t`', { id: id() })),
      /"t`" is not a usable name/,
    ],
    [
      'with a control character in a column’s name',
      () => sharded('users', sqliteTable('t', { id: id(), a: text('a\u0085') })),
      /not a usable name; rename it/,
    ],
    [
      'with the statement separator in its name',
      () => sharded('users', sqliteTable('t --> statement-breakpoint', { id: id() })),
      /separates the statements of a migration/,
    ],
    [
      'with two columns that differ only in case',
      () => sharded('users', sqliteTable('t', { id: id(), a: text('Bio'), b: text('bIO') })),
      /differ only in case/,
    ],
    [
      'whose key is generated',
      () => sharded('users', sqliteTable('t', { id: id().generatedAlwaysAs(sql`'0000'`) })),
      /id is in the primary key and generated/,
    ],
    [
      'with AUTOINCREMENT',
      () => sharded('users', sqliteTable('t', { id: integer().primaryKey({ autoIncrement: true }) })),
      /AUTOINCREMENT/,
    ],
    ['without a key', () => sharded('users', sqliteTable('t', { id: text().notNull() })), /no primary key/],
    [
      'whose key is a number',
      () => sharded('users', sqliteTable('t', { id: integer().primaryKey().notNull() })),
      /starts with id/,
    ],
    [
      'whose key’s first column is a number',
      () =>
        sharded(
          'users',
          sqliteTable('t', { n: integer().notNull(), id: text().notNull() }, (t) => [
            primaryKey({ columns: [t.n, t.id] }),
          ]),
        ),
      /starts with n/,
    ],
    [
      'whose key may be NULL',
      () =>
        sharded(
          'users',
          sqliteTable('t', { id: text().notNull(), n: integer() }, (t) => [primaryKey({ columns: [t.id, t.n] })]),
        ),
      /n is in the primary key and may be NULL/,
    ],
    [
      'whose key has a REAL',
      () =>
        sharded(
          'users',
          sqliteTable('t', { id: text().notNull(), n: real().notNull() }, (t) => [
            primaryKey({ columns: [t.id, t.n] }),
          ]),
        ),
      /neither text nor integer/,
    ],
  ])('%s', (_, table, why) => {
    expect(() => fencedTable(table())).toThrow(why)
  })

  test.each(['Slots', 'mover', 'slot_changes', 'd1_migrations', 'SQLITE_t', '_cf_KV'])('called %s', (name) => {
    expect(() => fencedTable(sharded('users', sqliteTable(name, { id: id() })))).toThrow(/the platform reserves it/)
  })

  test('a plain index and a key of two columns are accepted', () => {
    const table = sharded(
      'claims',
      sqliteTable('t', { id: text().notNull(), n: integer().notNull() }, (t) => [
        primaryKey({ columns: [t.id, t.n] }),
        index('i').on(t.n),
      ]),
    )
    expect(fencedTable(table)).toMatchObject({ name: 't', keyspace: 'claims', key: ['id', 'n'], columns: ['id', 'n'] })
  })
})

describe('a key of two columns, the second of which is a number', () => {
  const table = sharded(
    'users',
    sqliteTable('pairs', { id: text().notNull(), n: integer().notNull(), text: text() }, (t) => [
      primaryKey({ columns: [t.id, t.n] }),
    ]),
  )
  const database: DatabaseSync = migratedDatabase()
  database.exec('CREATE TABLE pairs (id TEXT NOT NULL, n INTEGER NOT NULL, text TEXT, PRIMARY KEY (id, n))')
  for (const { sql } of fenceTriggers(fencedTable(table))) database.exec(sql)
  database.exec("INSERT INTO slots (keyspace, slot, state, epoch, move_id) VALUES ('users', '0a0b', 'moving', 1, 'm')")

  test('is captured completely, in key order, and neither part may change', () => {
    database.exec(`INSERT INTO pairs VALUES ('0a0b"x', 7, NULL)`)
    database.exec("UPDATE pairs SET text = 'é' WHERE n = 7")
    expect(() => database.exec('UPDATE pairs SET n = 8')).toThrow('PRIMARY_KEY_CHANGED')
    expect(() => database.exec("UPDATE pairs SET id = '0a0bx'")).toThrow('PRIMARY_KEY_CHANGED')
    database.exec('DELETE FROM pairs')
    const captured = database.prepare('SELECT move_id, tbl, pk FROM slot_changes').all()
    expect(captured.map((row) => ({ ...row }))).toEqual(
      Array.from({ length: 3 }, () => ({ move_id: 'm', tbl: 'pairs', pk: '["0a0b\\"x",7]' })),
    )
  })
})
