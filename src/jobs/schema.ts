import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { type Keyspace, sharded } from '../sharding/sharded-table.ts'
import { inboxTable } from './inbox.ts'

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

/**
 * The rows that make a job's effect in a keyspace happen at most once. Each keyspace needs its inbox.
 * @public For nouns.
 */
export function inboxOf(keyspace: Keyspace) {
  const name = inboxTable(keyspace)
  const columns = {
    id: text().primaryKey().notNull(), // <slot of the effect>.<outbox id>
    doneAt: integer('done_at').notNull(),
  }
  return sharded(
    keyspace,
    sqliteTable(name, columns, (table) => [index(`${name}_done`).on(table.doneAt)]),
  )
}

export const inbox = inboxOf('users')
export const claimInbox = inboxOf('claims')

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

/** How far a duty has read the tables of a shard. If the row's slot moves, the duty starts again. */
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
