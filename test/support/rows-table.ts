import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** A table of every shard with a row per text. It stays there without its noun, because migrations only add. */
export const rowsTable = sqliteTable('posts', {
  id: text().primaryKey().notNull(),
  authorId: text('author_id').notNull(),
  text: text().notNull(),
  createdAt: integer('created_at').notNull(),
  editedAt: integer('edited_at'),
  version: integer().notNull(),
})
