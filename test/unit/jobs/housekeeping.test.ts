import { expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { accountExpiries } from '../../../src/app/accounts/jobs.ts'
import { platformExpiries } from '../../../src/jobs/housekeeping.ts'

const database = migratedDatabase()

/** The tables that a statement reads from end to end. */
const scanned = (sql: string): string[] =>
  (database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[])
    .map(({ detail }) => detail)
    .filter((detail) => /^SCAN (?!CONSTANT)/.test(detail) && !/USING (COVERING )?INDEX/.test(detail))

const periodic: [string, string][] = [
  ...[...platformExpiries, ...accountExpiries].map(({ table, column, where = '1' }): [string, string] => [
    `expiry of ${table}`,
    `SELECT id FROM ${table} WHERE ${column} <= 1 AND ${where} LIMIT 1`,
  ]),
  [
    'sweep of the outbox',
    "SELECT id FROM outbox WHERE due_at <= 1 AND state IN ('waiting', 'sent') ORDER BY due_at LIMIT 1",
  ],
  [
    'reservations that ran out',
    "SELECT key FROM claims WHERE state = 'reserved' AND expires_at <= 1 ORDER BY expires_at LIMIT 1",
  ],
]

// D1 runs one query at a time: a scan of a full shard, every minute, would stop its users.
test.each(periodic)('%s finds its rows by an index', (_, sql) => {
  expect(scanned(sql)).toEqual([])
})

test('a statement without an index is seen', () => {
  expect(scanned("SELECT id FROM posts WHERE text = 'x'")).toEqual(['SCAN posts'])
})
