import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../sharding/sharded-table.ts'

/** Jobs that must follow a change, written in its batch, in the owner's slot. Times are milliseconds. */
export const outbox = sharded(
  'users',
  sqliteTable(
    'outbox',
    {
      id: text().primaryKey().notNull(),
      ownerId: text('owner_id').notNull(),
      kind: text().notNull(),
      body: text().notNull(), // JSON; ids only, never a secret
      state: text({ enum: ['waiting', 'sent', 'dead'] }).notNull(), // the row is deleted after the effect
      attempts: integer().notNull(), // inline; a queue counts its own
      dueAt: integer('due_at').notNull(), // when the sweeper may send it (again)
      createdAt: integer('created_at').notNull(),
    },
    (table) => [index('outbox_due').on(table.dueAt).where(sql`state IN ('waiting', 'sent')`)],
  ),
)

const inboxColumns = {
  id: text().primaryKey().notNull(), // <slot of the effect>.<outbox id>
  doneAt: integer('done_at').notNull(),
}

/** Rows that make a job's effect in the `users` keyspace happen at most once. */
export const inbox = sharded(
  'users',
  sqliteTable('inbox', inboxColumns, (table) => [index('inbox_done').on(table.doneAt)]),
)

/** The inbox of the `claims` keyspace, because an inbox row is in the effect's slot. */
export const claimInbox = sharded(
  'claims',
  sqliteTable('claim_inbox', inboxColumns, (table) => [index('claim_inbox_done').on(table.doneAt)]),
)

/** Jobs that used up their attempts, for an operator. */
export const deadLetters = sharded(
  'users',
  sqliteTable('dead_letters', {
    id: text().primaryKey().notNull(), // the outbox id
    ownerId: text('owner_id').notNull(),
    kind: text().notNull(),
    body: text().notNull(),
    error: text().notNull(),
    attempts: integer().notNull(),
    diedAt: integer('died_at').notNull(),
  }),
)

/** How far a duty has read the tables of a shard. The row is in one of the shard's slots; if that moves, it starts again. */
export const dutyPositions = sharded(
  'users',
  sqliteTable(
    'duty_positions',
    {
      id: text().primaryKey().notNull(), // <slot>.<duty>.<shard>
      duty: text().notNull(),
      shard: text().notNull(),
      position: text().notNull(), // <table>:<id of the last row>
    },
    (table) => [index('duty_positions_by_shard').on(table.duty, table.shard, table.id)],
  ),
)
