import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

/** Public profiles. `id` is the user's id. */
export const profiles = sharded(
  'users',
  sqliteTable('profiles', {
    id: text().primaryKey().notNull(),
    handle: text().notNull(),
    displayName: text('display_name').notNull(),
    bio: text().notNull(),
    createdAt: integer('created_at').notNull(), // ms
    version: integer().notNull(),
  }),
)
