import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

/** Accounts. `id` is the user's id. Times are milliseconds. */
export const accounts = sharded(
  'users',
  sqliteTable('accounts', {
    id: text().primaryKey().notNull(),
    email: text().notNull(),
    emailVerifiedAt: integer('email_verified_at'),
    passwordHash: text('password_hash').notNull(), // PHC string
    passwordVersion: integer('password_version').notNull(),
    createdAt: integer('created_at').notNull(),
    logInNotices: integer('log_in_notices').notNull().default(1), // 0: no mails about new log-ins
  }),
)

/** Single-use tokens in mails. The secret is derived when the mail is written, and only its hash is stored. */
export const mailTokens = sharded(
  'users',
  sqliteTable(
    'mail_tokens',
    {
      id: text().primaryKey().notNull(),
      userId: text('user_id').notNull(),
      purpose: text({
        enum: ['verify-email', 'reset-password', 'change-email', 'email-changed', 'password-changed', 'new-log-in'],
      }).notNull(),
      email: text().notNull(), // the address that it is mailed to
      secretHash: text('secret_hash').notNull(),
      expiresAt: integer('expires_at').notNull(),
    },
    (table) => [
      index('mail_tokens_by_user').on(table.userId, table.purpose),
      index('mail_tokens_expiry').on(table.expiresAt),
    ],
  ),
)

/** The devices that logged in to an account. `id`: `<user id>.<SHA-256 of the User-Agent without versions>`. */
export const knownDevices = sharded(
  'users',
  sqliteTable(
    'known_devices',
    { id: text().primaryKey().notNull(), expiresAt: integer('expires_at').notNull() },
    (table) => [index('known_devices_expiry').on(table.expiresAt)],
  ),
)

/** The previous handles that are kept for their user. `id`: `<user id>.<handle>`. */
export const retiredHandles = sharded(
  'users',
  sqliteTable(
    'retired_handles',
    { id: text().primaryKey().notNull(), expiresAt: integer('expires_at').notNull() },
    (table) => [index('retired_handles_expiry').on(table.expiresAt)],
  ),
)

/**
 * Attempts to prove a password since the last success. `id`: `<user id>.<HMAC of the login or purpose>`. The slot of an
 * unknown login is the slot of its claim.
 */
export const passwordAttempts = sharded(
  'users',
  sqliteTable(
    'password_attempts',
    {
      id: text().primaryKey().notNull(),
      attemptId: text('attempt_id').notNull(), // the latest admitted attempt
      attempts: integer().notNull(),
      nextAt: integer('next_at').notNull(), // no attempt is admitted before this time
      expiresAt: integer('expires_at').notNull(),
    },
    (table) => [index('password_attempts_expiry').on(table.expiresAt)],
  ),
)
