import type { Clock } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { ShardDatabase, ShardStatement } from '../sharding/shards.ts'

/** Work that must follow a change. `body` has ids and data that cannot be read again later, never a secret. */
export interface Job {
  id: string
  ownerId: string
  kind: string
  body: Record<string, unknown>
  createdAt: number
  /** Inline attempts so far. A queue counts its own. */
  attempts: number
}

/** Creates a job that follows a change of `ownerId`. */
export const newJob = (ids: IdSource, clock: Clock, ownerId: string, kind: string, body: Job['body']): Job => ({
  id: ids.ownedId(ownerId),
  ownerId,
  kind,
  body,
  createdAt: clock.now(),
  attempts: 0,
})

/** The outbox row, for the batch of the change itself. */
export function outboxStatement(database: ShardDatabase, job: Job): ShardStatement {
  return database
    .prepare(
      `INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at)
       VALUES (?, ?, ?, ?, 'waiting', 0, ?, ?)`,
    )
    .bind(
      job.id,
      job.ownerId,
      job.kind,
      JSON.stringify(job.body),
      job.createdAt + limits.outboxSweepAfterMs,
      job.createdAt,
    )
}
