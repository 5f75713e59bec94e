import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from './sharded-table.ts'

/** The holder of an e-mail address, a handle or an external id. The key is a hash, so the value is not stored. */
export const claims = sharded(
  'claims',
  sqliteTable(
    'claims',
    {
      key: text().primaryKey().notNull(), // SHA-256 of kind and value, in hex: its slot is its first four digits
      kind: text().notNull(),
      ownerId: text('owner_id').notNull(),
      attemptId: text('attempt_id').notNull(),
      state: text({ enum: ['reserved', 'confirmed', 'retired'] }).notNull(),
      expiresAt: integer('expires_at').notNull(), // ms; of a reservation, or of a retired claim
    },
    (table) => [
      index('claims_reserved').on(table.expiresAt).where(sql`state = 'reserved'`),
      index('claims_retired').on(table.expiresAt).where(sql`state = 'retired'`),
    ],
  ),
)

/** Decides between a frozen sign-up and a contender for its claim: exactly one of them inserts the row. */
export const claimAttempts = sharded(
  'users',
  sqliteTable(
    'claim_attempts',
    {
      id: text().primaryKey().notNull(), // <owner id>.<attempt id>
      outcome: text({ enum: ['taken', 'barred', 'given-up'] }).notNull(),
      createdAt: integer('created_at').notNull(),
    },
    (table) => [index('claim_attempts_barred').on(table.createdAt).where(sql`outcome = 'barred'`)],
  ),
)

/** The first answer to a POST that carried an Idempotency-Key, without its secrets. */
export const idempotencyKeys = sharded(
  'users',
  sqliteTable(
    'idempotency_keys',
    {
      id: text().primaryKey().notNull(), // <user id>.<SHA-256 of the key>, or that SHA-256 alone for a sign-up
      bodyHmac: text('body_hmac').notNull(),
      userId: text('user_id').notNull(),
      attemptId: text('attempt_id').notNull(), // of a sign-up; otherwise empty
      status: integer().notNull(), // 0 until answered
      answer: text().notNull(), // JSON
      expiresAt: integer('expires_at').notNull(),
    },
    (table) => [index('idempotency_keys_expiry').on(table.expiresAt)],
  ),
)
