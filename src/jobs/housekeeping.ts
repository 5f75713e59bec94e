import { type Clock, DAY_MS } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { type Keyspace, keyspaces } from '../sharding/sharded-table.ts'
import { affordable, type Shards, type ShardWindow } from '../sharding/shards.ts'
import { inboxTable } from './inbox.ts'

/** Rows of a table to delete when the time in `column` (ms) is `afterMs` in the past. */
export interface Expiry {
  keyspace: Keyspace
  table: string
  column: string
  afterMs: number
  /** A further SQL condition on the row. */
  where?: string
}

/** Expired rows of the layers below the application. */
export const platformExpiries: Expiry[] = [
  { keyspace: 'users', table: 'sessions', column: 'idle_at', afterMs: 0 },
  { keyspace: 'users', table: 'idempotency_keys', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'job_records', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'job_keys', column: 'expires_at', afterMs: 0 },
  // A taken attempt stays, because its claim may be unconfirmed. No sign-up is still in progress a day after its bar.
  { keyspace: 'users', table: 'claim_attempts', column: 'created_at', afterMs: DAY_MS, where: "outcome = 'barred'" },
  ...keyspaces.map(
    (keyspace): Expiry => ({
      keyspace,
      table: inboxTable(keyspace),
      column: 'done_at',
      afterMs: limits.inboxDays * DAY_MS,
    }),
  ),
]

/** Deletes expired rows in every shard, a bounded number per table and call. Returns the number of deleted rows. */
export async function expire(
  shards: Shards,
  expiries: Expiry[],
  clock: Clock,
  log: Log,
  window?: ShardWindow,
): Promise<number> {
  let deleted = 0
  const visits = affordable(window, expiries.length)
  for (const { keyspace, table, column, afterMs, where = '1' } of expiries) {
    const { values, failed } = await shards.each(
      keyspace,
      (shard) =>
        shard.run<{ id: string }>(
          `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE ${column} <= ? AND ${where} AND ${shard.ownedHere('id')} LIMIT ?)
         RETURNING id`,
          clock.now() - afterMs,
          limits.housekeepingRowsMax,
        ),
      visits,
    )
    for (const { shard, error } of failed) log.error('housekeeping.failed', { table, shard, error })
    deleted += values.reduce((sum, { results }) => sum + results.length, 0)
  }
  return deleted
}
