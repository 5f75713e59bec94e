import type { SQLiteTable } from 'drizzle-orm/sqlite-core'

/**
 * The table groups, each with its own slot → shard map. An application adds its own at the end
 * (docs/building/table-groups.md). Names stay, because every shard and the directory store them.
 */
export const keyspaces = ['users', 'claims'] as const
export type Keyspace = (typeof keyspaces)[number]

/** A view or trigger that belongs to a table, made in each shard by the generated migrations. */
export interface ShardObject {
  name: string
  sql: string
}

interface Registration {
  keyspace: Keyspace
  objects: ShardObject[]
}

const registrations = new WeakMap<SQLiteTable, Registration>()

/**
 * Declares a Drizzle table as sharded in `keyspace`: the generator gives it its fence, and refuses it unless its
 * primary key starts with the slot of the row's owner (INV-1). `objects` are further views and triggers it needs.
 */
export function sharded<T extends SQLiteTable>(keyspace: Keyspace, table: T, objects: ShardObject[] = []): T {
  registrations.set(table, { keyspace, objects })
  return table
}

/** How `sharded` was called for this table, or null. */
export const findRegistration = (table: SQLiteTable): Registration | null => registrations.get(table) ?? null

const unshardedTables = new WeakSet<SQLiteTable>()

/**
 * Declares a table that an application had before it was sharded. It stays in its database: it has no fence, no move carries
 * its rows, and the engine does not route to it. It may remain until its rows are copied into sharded tables.
 * @public an adopter's schema calls it (docs/adopting.md)
 */
export function unsharded<T extends SQLiteTable>(table: T): T {
  unshardedTables.add(table)
  return table
}

export const isUnsharded = (table: SQLiteTable): boolean => unshardedTables.has(table)
