import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

/** Public profiles. `id` is the user's id. */
export const profiles = sharded(
  'users',
  sqliteTable(
    'profiles',
    {
      id: text().primaryKey().notNull(),
      handle: text().notNull(),
      displayName: text('display_name').notNull(),
      bio: text().notNull(),
      createdAt: integer('created_at').notNull(), // ms
      version: integer().notNull(),
      searchName: text('search_name'), // `searchText(displayName)`; null until a duty has filled it in an old row
      avatarId: text('avatar_id'), // of a picture, which may not be ready
    },
    (table) => [
      index('profiles_by_handle').on(table.handle, table.id),
      index('profiles_by_creation').on(table.createdAt, table.id),
      index('profiles_by_search_name').on(table.searchName, table.id),
    ],
  ),
)
