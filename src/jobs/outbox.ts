import type { Clock } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { rowsOf, type Typed } from '../sharding/named-batch.ts'
import type { ShardDatabase, ShardStatement, SqlCondition } from '../sharding/shards.ts'

/** Work that must follow a change. `body` has ids and data that cannot be read again later, never a secret. */
export interface Job {
  id: string
  ownerId: string
  kind: string
  body: Record<string, unknown>
  /** From when on it may run. */
  createdAt: number
  /** Failed attempts when it was sent. */
  attempts: number
  /** The job that split it off. */
  parentId?: string
  /** `row`: its body is too large for a message, and is read from the outbox row. */
  bodyIn?: 'row'
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

/** The job, to be run at `at` (ms) or up to a minute later. The sweeper sends it. @public For nouns. */
export const jobAt = (job: Job, at: number): Job => ({ ...job, createdAt: at })

const COLUMNS = 'id, owner_id, kind, body, due_at, created_at, state, attempts'
const VALUES = "?, ?, ?, ?, ?, ?, 'waiting', 0"

const valuesOf = ({ id, ownerId, kind, body, createdAt }: Job) =>
  [id, ownerId, kind, JSON.stringify(body), createdAt + limits.outboxSweepAfterMs, createdAt] as const

/** The outbox row, for the batch of the change itself. */
export const outboxStatement = (database: ShardDatabase, job: Job): ShardStatement =>
  database.prepare(`INSERT INTO outbox (${COLUMNS}) VALUES (${VALUES})`).bind(...valuesOf(job))

/**
 * Writes the outbox row only if the query finds a row, for a change that may find nothing to change. Put it before the
 * change's own statement. @public For nouns.
 */
export const outboxStatementIf = (
  database: ShardDatabase,
  job: Job,
  query: string,
  ...values: string[]
): ShardStatement => outboxStatementOnlyIf(database, job, { sql: `EXISTS (${query})`, values })

/** Like `outboxStatementIf`, for any condition. */
export const outboxStatementOnlyIf = (database: ShardDatabase, job: Job, onlyIf: SqlCondition): ShardStatement =>
  database
    .prepare(`INSERT INTO outbox (${COLUMNS}) SELECT ${VALUES} WHERE ${onlyIf.sql}`)
    .bind(...valuesOf(job), ...onlyIf.values)

/**
 * Writes the outbox row only if the query finds a row, whose column `body` is then the job's body (JSON). For a body
 * that depends on the row that is about to change. The answer has the body, so that the job can follow the commit.
 * @public For nouns.
 */
export const outboxStatementFrom = (
  database: ShardDatabase,
  job: Omit<Job, 'body'>,
  query: string,
  ...values: (string | number | null)[]
): Typed<{ body: string }> => {
  const [id, ownerId, kind, , dueAt, createdAt] = valuesOf({ ...job, body: {} })
  return rowsOf<{ body: string }>(
    database
      .prepare(
        `INSERT INTO outbox (${COLUMNS}) SELECT ?, ?, ?, body, ?, ?, 'waiting', 0 FROM (${query}) WHERE true RETURNING body`,
      )
      .bind(id, ownerId, kind, dueAt, createdAt, ...values),
  )
}
