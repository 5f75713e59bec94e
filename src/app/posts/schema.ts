import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

/** `id` is in the author's slot and sorts by time among the author's posts. Times are milliseconds. */
export const posts = sharded(
  'users',
  sqliteTable(
    'posts',
    {
      id: text().primaryKey().notNull(),
      authorId: text('author_id').notNull(),
      text: text().notNull(),
      createdAt: integer('created_at').notNull(),
      editedAt: integer('edited_at'),
      version: integer().notNull(),
    },
    (table) => [index('posts_by_author').on(table.authorId, table.id)],
  ),
)

/** `id` is the user's id. */
export const postCounts = sharded(
  'users',
  sqliteTable('post_counts', { id: text().primaryKey().notNull(), posts: integer().notNull() }),
)
