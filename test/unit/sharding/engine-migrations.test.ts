import { globSync } from 'node:fs'
import path from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { engineMigrations, isSameMigration } from '../../../scripts/engine-migrations.ts'
import {
  applicationSchemas,
  engineSchema,
  migratedDatabase,
  missingObjects,
  shardedTables,
  wantedObjects,
} from '../../../scripts/shard-schema.ts'
import { migrationsFolder, readMigrations } from '../../../src/cli/migrations/shard-migrations.ts'

const root = path.resolve(import.meta.dirname, '../../..')
const applications = [
  { name: 'the application', schemas: applicationSchemas, folder: migrationsFolder },
  ...globSync('examples/*/migrations', { cwd: root }).map((folder) => ({
    name: path.dirname(folder),
    schemas: [engineSchema, `${path.dirname(folder)}/schema.ts`],
    folder: path.join(root, folder),
  })),
]

/** Everything in a database that does not belong to these tables. A table's fences and indexes belong to it. */
function besides(database: DatabaseSync, tables: string[]): string[] {
  const rows = database.prepare("SELECT type, name, tbl_name AS tbl, sql FROM sqlite_master WHERE sql <> ''").all()
  const others = (rows as { type: string; name: string; tbl: string; sql: string }[])
    .filter(({ name, tbl }) => !tables.includes(tbl) && !name.startsWith('sqlite_'))
    .map(({ type, name, sql }) => `${type} ${name}: ${sql}`)
  return others.sort()
}

/** Also those that have no schema any more, and stay. */
const fencedTables = (database: DatabaseSync): string[] =>
  database
    .prepare("SELECT tbl_name AS name FROM sqlite_master WHERE type = 'trigger' AND name = tbl_name || '_fence_insert'")
    .all()
    .map(({ name }) => String(name))

test('there is an application besides the sample', () => {
  expect(applications.map(({ name }) => name)).toContain('examples/notes')
})

describe.each(applications)('$name', ({ schemas, folder }) => {
  const migrations = readMigrations(folder)

  test('has each of the engine’s migrations once, in order', () => {
    const places = engineMigrations().map((wanted) =>
      migrations.flatMap((migration, index) => (isSameMigration(migration, wanted) ? [index] : [])),
    )
    expect(places.every(({ length }) => length === 1)).toBe(true)
    expect(places.flat()).toEqual(places.flat().toSorted((a, b) => a - b))
  })

  test('creates every fence that its schema needs in its own migrations', async () => {
    const wanted = wantedObjects(await shardedTables(schemas))
    expect(missingObjects(migratedDatabase(migrations), wanted)).toEqual([])
  })
})

test('everything in a shard besides its tables comes from the engine, and is equal in every application', async () => {
  const found = await Promise.all(
    applications.map(async ({ schemas, folder }) => {
      const tables = await shardedTables(schemas)
      const objects = tables.flatMap((table) => table.objects.map(({ name }) => name))
      const database = migratedDatabase(readMigrations(folder))
      return besides(database, [...tables.map(({ name }) => name), ...objects, ...fencedTables(database)])
    }),
  )
  for (const objects of found) expect(objects).toEqual(besides(migratedDatabase(engineMigrations()), []))
})
