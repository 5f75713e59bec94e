import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../sharding/sharded-table.ts'

/**
 * `INSERT INTO session_guard (id, now)` aborts the batch unless that session is live in this shard at that time. Every
 * signed-in write carries this statement (INV-6).
 */
const sessionGuard = [
  {
    name: 'session_guard',
    sql: 'CREATE VIEW session_guard AS SELECT id, expires_at AS now FROM sessions',
  },
  {
    name: 'session_guard_insert',
    sql: [
      'CREATE TRIGGER session_guard_insert INSTEAD OF INSERT ON session_guard',
      'WHEN NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.id AND expires_at > NEW.now AND idle_at > NEW.now) BEGIN',
      "SELECT RAISE(ABORT, 'SESSION_ENDED');",
      'END',
    ].join(' '),
  },
]

/** A row is a live session. Revoking a session deletes its row. Times are milliseconds. */
export const sessions = sharded(
  'users',
  sqliteTable(
    'sessions',
    {
      id: text().primaryKey().notNull(),
      userId: text('user_id').notNull(),
      secretHash: text('secret_hash').notNull(), // SHA-256 of the token's secret
      retrySecretHash: text('retry_secret_hash').notNull(), // of the token for retries of the log-in, or ''
      userAgent: text('user_agent').notNull(),
      createdAt: integer('created_at').notNull(),
      lastSeenAt: integer('last_seen_at').notNull(),
      idleAt: integer('idle_at').notNull(), // ends at this time unless it is used before
      expiresAt: integer('expires_at').notNull(), // ends at this time in any case
      data: text().notNull().default('{}'), // JSON of at most 4 KB (session-data.ts)
    },
    (table) => [index('sessions_by_user').on(table.userId), index('sessions_by_idle').on(table.idleAt)],
  ),
  sessionGuard,
)
