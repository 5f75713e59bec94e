import { DAY_MS } from '../core/clock.ts'
import { limits } from '../core/limits.ts'
import type { ShardDatabase, ShardStatement, Shards, SqlCondition } from '../sharding/shards.ts'
import type { ChildCounts, JobKind, Uniqueness } from './kinds.ts'
import { type Job, outboxStatement, outboxStatementOnlyIf } from './outbox.ts'

export type JobState = 'waiting' | 'running' | 'done' | 'dead' | 'cancelled'

/** A job as its owner sees it. Times are milliseconds. */
export interface JobRecord {
  id: string
  kind: string
  state: JobState
  /** 0 to 1. */
  progress: number
  result: Record<string, unknown> | null
  error: string | null
  createdAt: number
}

/** Thrown in the handler of a job that its owner has cancelled. */
class JobCancelled extends Error {}

// ── creation ──────────────────────────────────────────────────────────────────────────────────────

/** The record of a job, for the batch of its outbox row, behind it. It is written only if the outbox row was. */
const recordStatement = (database: ShardDatabase, { id, ownerId, kind, createdAt }: Job): ShardStatement =>
  database
    .prepare(
      `INSERT INTO job_records (id, owner_id, kind, state, done, total, children_done, children_dead, created_at, expires_at)
       SELECT ?1, ?2, ?3, 'waiting', 0, 0, 0, 0, ?4, ?5 WHERE EXISTS (SELECT 1 FROM outbox WHERE id = ?1)`,
    )
    .bind(id, ownerId, kind, createdAt, createdAt + limits.jobRecordDays * DAY_MS)

/** The rows of a job whose kind is tracked, only if the condition is true. */
export const trackedStatementsOnlyIf = (database: ShardDatabase, job: Job, onlyIf: SqlCondition): ShardStatement[] => [
  outboxStatementOnlyIf(database, job, onlyIf),
  recordStatement(database, job),
]

/** The rows of a job whose kind is tracked, for the batch of the change itself. @public For nouns. */
export const trackedStatements = (database: ShardDatabase, job: Job): ShardStatement[] => [
  outboxStatement(database, job),
  recordStatement(database, job),
]

/** The id of the row that holds a key of a unique kind. */
const keyRow = ({ id, kind }: Job, key: string) => `${id.slice(0, 4)}.${kind}.${key}`

/**
 * The rows of a job of a unique kind. They write nothing while another job holds the key, so follow the job only if
 * its row is there: without one, its message does nothing. @public For nouns.
 */
export function uniqueStatements(
  database: ShardDatabase,
  job: Job,
  key: string,
  unique: Uniqueness,
): [ShardStatement, ShardStatement] {
  const row = keyRow(job, key)
  const periodMs = unique === 'while waiting' ? limits.inboxDays * DAY_MS : unique.forMs
  return [
    database
      .prepare(
        `INSERT INTO job_keys (id, job_id, expires_at) VALUES (?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET job_id = excluded.job_id, expires_at = excluded.expires_at WHERE expires_at <= ?`,
      )
      .bind(row, job.id, job.createdAt + periodMs, job.createdAt),
    outboxStatementOnlyIf(database, job, {
      sql: 'EXISTS (SELECT 1 FROM job_keys WHERE id = ? AND job_id = ?)',
      values: [row, job.id],
    }),
  ]
}

// ── an attempt ────────────────────────────────────────────────────────────────────────────────────

export interface Begun {
  /** How many it has, and how many have ended. Null if it has not split. */
  children: (ChildCounts & { all: number }) | null
}

interface BegunRow {
  children: number | null
  done: number
  dead: number
}

/**
 * Marks a tracked job as running, and frees the key of one that is unique while it waits, because a change from now on
 * needs another job. `over`: its owner, or the owner of its parent, has cancelled it. Costs nothing for other kinds.
 */
export async function begin(shards: Shards, job: Job, { isTracked, unique }: JobKind): Promise<Begun | 'over'> {
  if (job.parentId && (await isOver(shards, job.parentId))) return 'over'
  if (!isTracked && unique !== 'while waiting') return { children: null }
  const database = shards.of(job.id, { operation: 'jobs.begin', idempotent: true })
  const [, record] = await database.batch<BegunRow>([
    database.prepare('DELETE FROM job_keys WHERE job_id = ? AND ?').bind(job.id, unique === 'while waiting' ? 1 : 0),
    database
      .prepare(
        `UPDATE job_records SET state = 'running' WHERE id = ? AND state IN ('waiting', 'running')
         RETURNING children, children_done AS done, children_dead AS dead`,
      )
      .bind(job.id),
  ])
  if (!isTracked) return { children: null }
  const row = record?.results[0]
  if (!row) return 'over'
  return { children: row.children === null ? null : { all: row.children, done: row.done, dead: row.dead } }
}

async function isOver(shards: Shards, parentId: string): Promise<boolean> {
  const state = await shards
    .of(parentId, { read: 'exact', operation: 'jobs.parent' })
    .prepare('SELECT state FROM job_records WHERE id = ?')
    .bind(parentId)
    .first<JobState>('state')
  // A child of a dead job may be redriven, and must then have its effect.
  return state === null || state === 'cancelled'
}

/** Throws JobCancelled if the record is no longer running. */
export async function noteProgress(shards: Shards, { id }: Job, done: number, total: number): Promise<void> {
  const noted = await shards
    .of(id, { operation: 'jobs.progress', idempotent: true })
    .prepare("UPDATE job_records SET done = ?, total = ? WHERE id = ? AND state = 'running' RETURNING id")
    .bind(done, total, id)
    .first()
  if (!noted) throw new JobCancelled('its owner has cancelled it')
}

/** Ends a job: its outbox row and dead letter go, and its record is done. */
export const finishStatements = (
  database: ShardDatabase,
  { id }: Job,
  kind?: JobKind,
  result?: Record<string, unknown>,
): ShardStatement[] => [
  database.prepare('DELETE FROM outbox WHERE id = ?').bind(id),
  database.prepare('DELETE FROM dead_letters WHERE id = ?').bind(id),
  ...(kind?.isTracked
    ? [
        database
          .prepare(
            `UPDATE job_records SET state = 'done', result = ?, error = NULL, done = max(total, 1), total = max(total, 1)
             WHERE id = ? AND state IN ('waiting', 'running')`,
          )
          .bind(result ? JSON.stringify(result) : null, id),
      ]
    : []),
]

// ── the owner ─────────────────────────────────────────────────────────────────────────────────────

interface RecordRow extends Omit<JobRecord, 'progress' | 'result'> {
  done: number
  total: number
  result: string | null
}

const COLUMNS = `id, kind, state, result, error, created_at AS createdAt,
  CASE WHEN children > 0 THEN children_done + children_dead ELSE done END AS done, coalesce(nullif(children, 0), total) AS total`

/** A job of this owner, or null. `database` is that of the owner's slot. */
export async function findRecord(database: ShardDatabase, id: string, ownerId: string): Promise<JobRecord | null> {
  const row = await database
    .prepare(`SELECT ${COLUMNS} FROM job_records WHERE id = ? AND owner_id = ?`)
    .bind(id, ownerId)
    .first<RecordRow>()
  return row && recordOf(row)
}

const recordOf = ({ done, total, result, ...row }: RecordRow): JobRecord => ({
  ...row,
  progress: row.state === 'done' ? 1 : total > 0 ? Math.min(1, done / total) : 0,
  result: result === null ? null : JSON.parse(result),
})

/** Cancels a job of this owner that has not ended. Resolves to false if there is none. Its running attempt may still end. */
export async function cancel(database: ShardDatabase, id: string, ownerId: string): Promise<boolean> {
  const isCancelled = "EXISTS (SELECT 1 FROM job_records WHERE id = ?1 AND owner_id = ?2 AND state = 'cancelled')"
  const [cancelled] = await database.batch([
    database
      .prepare(
        `UPDATE job_records SET state = 'cancelled' WHERE id = ?1 AND owner_id = ?2 AND state IN ('waiting', 'running')
         RETURNING id`,
      )
      .bind(id, ownerId),
    ...['outbox', 'dead_letters'].map((table) =>
      database.prepare(`DELETE FROM ${table} WHERE id = ?1 AND ${isCancelled}`).bind(id, ownerId),
    ),
  ])
  return cancelled?.results.length === 1
}
