import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { quotedName } from '../../../src/core/sql-text.ts'
import { FIND_TABLES, readTables } from '../../../src/resharding/tables.ts'
import { fencedTable, fenceTriggers } from '../../../src/sharding/fence-sql.ts'
import { type Keyspace, keyspaces, sharded } from '../../../src/sharding/sharded-table.ts'

const id = () => text('id').primaryKey().notNull()

/** A shard with these tables, fenced. */
function shardWith(tables: { name: string; keyspace: Keyspace }[], change = (sql: string) => sql) {
  const shard = migratedDatabase()
  for (const { name, keyspace } of tables) {
    shard.exec(`CREATE TABLE ${quotedName(name)} (id TEXT PRIMARY KEY NOT NULL, part AS (substr(id, 5)) STORED)`)
    const table = sharded(keyspace, sqliteTable(name, { id: id() }))
    for (const { sql } of fenceTriggers(fencedTable(table))) shard.exec(change(sql))
  }
  const ours = new Set(tables.map(({ name }) => name))
  return (keyspace: Keyspace) =>
    readTables(keyspace, shard.prepare(FIND_TABLES).all(keyspace) as never).filter(({ name }) => ours.has(name))
}

/** Names that look like a fence of a keyspace, whichever is theirs. */
const names = keyspaces.flatMap((keyspace) => [
  `keyspace = '${keyspace}'`,
  `" WHEN (SELECT state FROM slots WHERE keyspace = '${keyspace}' `,
  ` BEFORE INSERT ON "x" WHEN (SELECT state FROM slots WHERE keyspace = '${keyspace}' `,
])

test('a table is found in its own keyspace, whatever its name looks like', () => {
  for (const keyspace of keyspaces) {
    const find = shardWith(names.map((name) => ({ name, keyspace })))
    const other = keyspaces.find((one) => one !== keyspace)!
    expect(
      find(keyspace)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...names].sort())
    expect(find(other)).toEqual([])
  }
})

test('generated columns are skipped, because each shard computes them', () => {
  const find = shardWith([{ name: 'notes', keyspace: 'users' }])
  expect(find('users')).toEqual([{ name: 'notes', keyspace: 'users', key: ['id'], columns: ['id'] }])
})

test('a fence of an earlier version, on several lines and with a bare name, is also found', () => {
  const earlier = (sql: string) =>
    sql.replace(/^CREATE TRIGGER "(\w+)"/, 'CREATE TRIGGER $1').replace(' WHEN (', '\nWHEN (')
  const find = shardWith([{ name: 'notes', keyspace: 'users' }], earlier)
  expect(find('users')).toHaveLength(1)
  expect(find('claims')).toEqual([])
})

test('a fence created with the name in another case still makes its table a sharded one', () => {
  const find = shardWith([{ name: 'notes', keyspace: 'users' }], (sql) => sql.replaceAll('notes', 'NOTES'))
  expect(find('users')).toMatchObject([{ name: 'notes' }])
})
