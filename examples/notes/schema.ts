import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../src/sharding/sharded-table.ts'

/** `id` starts with the slot of its notebook (four hex digits), so all notes of a notebook are in one shard. */
export const notes = sharded(
  'users',
  sqliteTable('notes', {
    id: text().primaryKey().notNull(), // <notebook's id>.<note's id>
    text: text().notNull(),
    createdAt: integer('created_at').notNull(),
  }),
)
