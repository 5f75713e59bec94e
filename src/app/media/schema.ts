import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

/** Pictures. `id` is in the owner's slot. Their bytes are in R2, under keys that contain the id. Times are ms. */
export const media = sharded(
  'users',
  sqliteTable(
    'media',
    {
      id: text().primaryKey().notNull(),
      ownerId: text('owner_id').notNull(),
      state: text({ enum: ['processing', 'ready', 'refused'] }).notNull(),
      type: text().notNull(), // of the original
      bytes: integer().notNull(), // of the original
      width: integer().notNull(), // as shown
      height: integer().notNull(),
      alt: text().notNull(),
      variants: text().notNull(), // JSON: name → width, height, type
      thumbhash: text(), // base64
      error: text(), // why it was refused
      usedBy: text('used_by'), // the id of what shows it; null: nothing yet
      place: integer().notNull(), // among the pictures of what shows it
      createdAt: integer('created_at').notNull(),
      version: integer().notNull(),
    },
    (table) => [
      index('media_by_use').on(table.usedBy, table.place),
      index('media_unused').on(table.createdAt).where(sql`used_by IS NULL`),
      index('media_unused_by_owner').on(table.ownerId).where(sql`used_by IS NULL`),
    ],
  ),
)
