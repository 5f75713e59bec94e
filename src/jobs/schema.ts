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
      // `paused`: its kind is. `split`: it waits for its children. The row is deleted after the effect.
      state: text({ enum: ['waiting', 'sent', 'dead', 'paused', 'split'] }).notNull(),
      attempts: integer().notNull(), // that failed
      dueAt: integer('due_at').notNull(), // when the sweeper may send it (again)
      createdAt: integer('created_at').notNull(), // from when on it may run
      parentId: text('parent_id'), // the job that split it off
      history: text(), // JSON: the latest failed attempts, [{at, attempt, error}]
    },
    (table) => [
      index('outbox_due').on(table.dueAt).where(sql`state IN ('waiting', 'sent')`),
      index('outbox_paused').on(table.kind, table.id).where(sql`state = 'paused'`),
    ],
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
  sqliteTable(
    'dead_letters',
    {
      id: text().primaryKey().notNull(), // the outbox id
      ownerId: text('owner_id').notNull(),
      kind: text().notNull(),
      body: text().notNull(),
      error: text().notNull(),
      attempts: integer().notNull(),
      diedAt: integer('died_at').notNull(),
      createdAt: integer('created_at'), // null if an older version buried it
      history: text(), // as in the outbox
    },
    (table) => [
      index('dead_letters_by_death').on(table.diedAt, table.id),
      index('dead_letters_by_kind').on(table.kind, table.diedAt, table.id),
    ],
  ),
)

/** What people see of a job whose kind is tracked. It outlives the outbox row. */
export const jobRecords = sharded(
  'users',
  sqliteTable(
    'job_records',
    {
      id: text().primaryKey().notNull(), // the outbox id
      ownerId: text('owner_id').notNull(),
      kind: text().notNull(),
      state: text({ enum: ['waiting', 'running', 'done', 'dead', 'cancelled'] }).notNull(),
      done: integer().notNull(), // of `total`
      total: integer().notNull(), // 0: unknown
      children: integer(), // null until the job has split
      childrenDone: integer('children_done').notNull(),
      childrenDead: integer('children_dead').notNull(),
      result: text(), // JSON
      error: text(), // for the owner
      createdAt: integer('created_at').notNull(),
      expiresAt: integer('expires_at').notNull(),
    },
    (table) => [
      index('job_records_by_expiry').on(table.expiresAt),
      index('job_records_running').on(table.kind, table.id).where(sql`state = 'running'`),
    ],
  ),
)

/** Which job holds a key of a unique kind. Another job with the key is not created. */
export const jobKeys = sharded(
  'users',
  sqliteTable(
    'job_keys',
    {
      id: text().primaryKey().notNull(), // <slot>.<kind>.<key>
      jobId: text('job_id').notNull(),
      expiresAt: integer('expires_at').notNull(),
    },
    (table) => [index('job_keys_by_expiry').on(table.expiresAt), index('job_keys_by_job').on(table.jobId)],
  ),
)

/** Kinds and queues that an operator has paused. All rows have one slot, so that one query reads them. */
export const jobPauses = sharded(
  'users',
  sqliteTable('job_pauses', {
    id: text().primaryKey().notNull(), // <slot>.<kind or queue>.<name>
    pausedAt: integer('paused_at').notNull(),
  }),
)

/** When a schedule's job is created next. */
export const schedules = sharded(
  'users',
  sqliteTable('schedules', {
    id: text().primaryKey().notNull(), // <slot>.<name>
    nextAt: integer('next_at').notNull(),
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
