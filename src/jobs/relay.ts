import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { GroupDatabase, Slotted } from '../sharding/grouped-batches.ts'
import { affordable, type ShardStatement, type Shards, type ShardWindow } from '../sharding/shards.ts'
import type { Allowance } from '../sharding/statement-budget.ts'
import type { Dispatch, Letter, Verdict } from './dispatch.ts'
import { type QueueName, queueNames } from './kinds.ts'
import type { Job } from './outbox.ts'
import { messageOfJob, queueBatches } from './queue-batches.ts'
import { ageRefusal } from './refusals.ts'

export interface RelayOptions {
  /** `inline` runs the handlers here instead of sending to a queue. */
  mode: 'queue' | 'inline'
  queues: Record<QueueName, Pick<Queue, 'sendBatch'>>
  dispatch: Dispatch
  shards: Shards
  clock: Clock
  log: Log
}

/** A due outbox row. `body` is null if it is too large for a message. */
interface DueRow extends Omit<Job, 'body' | 'parentId'> {
  body: string | null
  parentId: string | null
  dueAt: number
}

/** Per shard: resuming rows, the query, and marking, burying, requeuing and parking its rows, each with its guard. */
const SWEEP_STATEMENTS_PER_SHARD = 1 + 1 + 2 + 4 + 2 + 2

/** Rows of kinds that are no longer paused. `?1`: the paused kinds (JSON). */
const resumeSql = (ownedHere: string) => `UPDATE outbox SET state = 'waiting', due_at = ?2 WHERE id IN (
    SELECT id FROM outbox WHERE state = 'paused' AND kind > '' AND kind NOT IN (SELECT value FROM json_each(?1)) AND ${ownedHere} LIMIT ?3)`

/**
 * Due rows of one shard, oldest first: at most `?2` rows and `?3` bytes of bodies, and at least one row. Bodies over
 * `?4` bytes are neither read nor counted. The window sorts and sums ids only, because SQLite knows a text's length
 * unread.
 */
const dueSql = (ownedHere: string) => `SELECT outbox.id, owner_id AS ownerId, kind, attempts, due_at AS dueAt,
    created_at AS createdAt, parent_id AS parentId, CASE WHEN due.bytes <= ?4 THEN body END AS body
  FROM (SELECT id, bytes, row_number() OVER oldest AS place, sum(CASE WHEN bytes <= ?4 THEN bytes ELSE 0 END) OVER oldest AS total
        FROM (SELECT id, due_at, octet_length(body) AS bytes FROM outbox
              WHERE due_at <= ?1 AND state IN ('waiting', 'sent') AND ${ownedHere} ORDER BY due_at LIMIT ?2)
        WINDOW oldest AS (ORDER BY due_at, id ROWS UNBOUNDED PRECEDING)) AS due
  CROSS JOIN outbox ON outbox.id = due.id
  WHERE total <= ?3 OR place = 1`

/**
 * Sends committed outbox rows to a queue, or runs their jobs. A crash loses nothing, because the sweeper finds the
 * rows.
 */
export class Relay {
  readonly #options: RelayOptions
  /** The ids of the jobs that run here now. */
  readonly #running = new Set<string>()

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** Call after the commit. Never throws. The sweeper sends the jobs that cannot be sent now. */
  async send(jobs: Job[]): Promise<void> {
    await this.#take(jobs, [])
  }

  /**
   * Sends rows that a crash left unsent, and rows that were sent long ago and whose effect is missing. Oldest first,
   * bounded in rows and bytes. Rows that a queue refuses alone wait behind the others. Returns how many jobs it sent or
   * buried.
   */
  async sweep(window?: ShardWindow): Promise<number> {
    const { clock } = this.#options
    const due = await this.#findDue(window)
    const unreadable: Letter[] = []
    const jobs: Job[] = []
    for (const { body, dueAt, parentId, ...given } of due) {
      const row = { ...given, ...(parentId && { parentId }) }
      const parsed = body === null ? {} : parsedBody(body)
      if (parsed) jobs.push({ ...row, body: parsed, ...(body === null && { bodyIn: 'row' as const }) })
      else
        unreadable.push({
          job: { ...row, body: {} },
          attempts: row.attempts,
          error: 'The body of the job is not a JSON object.',
        })
    }
    const { taken, refused } = await this.#take(jobs, unreadable, window?.budget)
    await this.#update('outbox.requeue', refused, (database, ids) =>
      database
        .prepare(
          `UPDATE outbox SET due_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND due_at < ? AND state <> 'dead'`,
        )
        .bind(clock.now(), ids, clock.now()),
    )
    return taken
  }

  /** The oldest due rows of this turn's shards. */
  async #findDue(window?: ShardWindow): Promise<DueRow[]> {
    const { shards, clock, log } = this.#options
    const paused = JSON.stringify(await this.#options.dispatch.pausedKinds())
    const visits = Math.min(window?.size ?? Number.POSITIVE_INFINITY, (await shards.map()).shards.length)
    const bytesMax = Math.floor(limits.outboxSweepBytesMax / visits)
    const { values, failed } = await shards.each(
      'users',
      async (shard) => {
        const owned = shard.ownedHere('id')
        await shard.run(resumeSql(owned), paused, clock.now(), limits.outboxSweepRowsMax)
        const { results } = await shard.run<DueRow>(
          dueSql(owned),
          clock.now(),
          limits.outboxSweepRowsMax,
          bytesMax,
          limits.queueMessageBytesMax,
        )
        return results
      },
      affordable(window, SWEEP_STATEMENTS_PER_SHARD),
    )
    for (const { shard, error } of failed) log.error('outbox.sweep-failed', { shard, error })
    return values
      .flat()
      .sort((a, b) => a.dueAt - b.dueAt || a.createdAt - b.createdAt)
      .slice(0, limits.cronJobsMax)
  }

  /** Sends the jobs or runs them here. Buries unreadable and too old ones. Leaves those of the future. Never throws. */
  async #take(jobs: Job[], unreadable: Letter[], budget?: Allowance): Promise<{ taken: number; refused: Job[] }> {
    const { clock, mode } = this.#options
    const letters = [...unreadable]
    const fit: Job[] = []
    for (const job of jobs) {
      const error = ageRefusal(job, clock.now())
      if (error !== null) letters.push({ job, attempts: job.attempts, error })
      else if (job.createdAt <= clock.now()) fit.push(messageOfJob(job))
    }
    await this.#bury(letters)
    if (mode === 'inline') return { taken: letters.length + (await this.#runAll(fit, budget)), refused: [] }
    const sent: Job[] = []
    const refused: Job[] = []
    for (const queue of queueNames) {
      const outcome = await this.#enqueue(queue, this.#jobsOf(queue, fit))
      sent.push(...outcome.sent)
      refused.push(...outcome.refused)
    }
    const dueAt = clock.now() + limits.outboxResendAfterMs
    // If the effect happened first, there is no row to mark.
    await this.#update('outbox.mark-sent', sent, (database, ids) =>
      database
        .prepare(
          "UPDATE outbox SET state = 'sent', due_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND state <> 'dead'",
        )
        .bind(dueAt, ids),
    )
    return { taken: letters.length + sent.length, refused }
  }

  // ── inline ────────────────────────────────────────────────────────────────────────────────────

  /** Runs the jobs one by one until the budget is too small for another. Resolves to how many ran. */
  async #runAll(jobs: Job[], budget?: Allowance): Promise<number> {
    for (const [index, job] of jobs.entries()) {
      if (budget && budget.left < limits.jobStatementsMax) return index
      await this.#runInline(job)
    }
    return jobs.length
  }

  async #runInline(job: Job): Promise<void> {
    const { dispatch, log } = this.#options
    const attempt = job.attempts + 1
    const continues = job.bodyIn === 'row' && this.#running.has(job.id)
    this.#running.add(job.id)
    // A job that continues is run by the next sweep, and not inside its own attempt.
    const verdict: Verdict = continues ? { kind: 'retry', delaySeconds: 0 } : await dispatch.run(job, attempt)
    if (!continues) this.#running.delete(job.id)
    try {
      if (verdict.kind === 'dead') await dispatch.bury(job, attempt, verdict.error)
      if (verdict.kind === 'paused') await dispatch.park([job])
      if (verdict.kind === 'retry') await this.#postpone(job, verdict.delaySeconds)
    } catch (error) {
      log.error('job.verdict-not-kept', { job: job.id, verdict: verdict.kind, reason: messageOf(error) })
    }
  }

  /** The sweeper runs the job again after its delay. Until then it holds up no other job. */
  async #postpone(job: Job, delaySeconds: number): Promise<void> {
    await this.#options.shards
      .of(job.id, { operation: 'outbox.postpone', idempotent: true })
      .prepare("UPDATE outbox SET due_at = ? WHERE id = ? AND state <> 'dead'")
      .bind(this.#options.clock.now() + delaySeconds * 1_000, job.id)
      .run()
  }

  // ── queues ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Returns which jobs the queue accepted, and which it refused alone. A failed batch is sent again in halves after the
   * others, so that one refused message holds up no other. After `queueFailuresMax` failed calls, the rest waits for
   * the sweeper.
   */
  async #enqueue(queue: QueueName, jobs: Job[]): Promise<{ sent: Job[]; refused: Job[] }> {
    const { queues, clock, log } = this.#options
    const batches = queueBatches(jobs)
    const halves: Job[][] = []
    const sent: Job[] = []
    const refused: Job[] = []
    for (let failures = 0; failures < limits.queueFailuresMax; ) {
      const batch = batches.shift() ?? halves.pop()
      if (!batch) break
      try {
        const messages = batch.map((job) => ({ body: job, contentType: 'json' as const }))
        await inTime(clock, limits.queueSendMs, queues[queue].sendBatch(messages), noAnswer)
        sent.push(...batch)
      } catch (error) {
        failures++
        log.warn('outbox.relay-failed', { queue, jobs: batch.length, reason: messageOf(error) })
        const middle = Math.ceil(batch.length / 2)
        if (batch.length === 1) refused.push(...batch)
        else halves.push(batch.slice(middle), batch.slice(0, middle))
      }
    }
    return { sent, refused }
  }

  #jobsOf(queue: QueueName, jobs: Job[]): Job[] {
    return jobs.filter((job) => this.#options.dispatch.queueOf(job) === queue)
  }

  // ── rows ──────────────────────────────────────────────────────────────────────────────────────

  /** Runs one statement per shard for the rows of these jobs (a JSON array of ids). An unchanged row is swept again. */
  async #update(
    operation: string,
    jobs: Job[],
    build: (database: GroupDatabase, ids: string) => ShardStatement,
  ): Promise<void> {
    const { shards, log } = this.#options
    const items: Slotted[] = jobs.map(({ id }) => ({ key: id }))
    try {
      const { failed } = await shards.group(items, { keyspace: 'users', operation }, (database, some) => ({
        rows: build(database, JSON.stringify(some.map(({ key }) => key))),
      }))
      for (const [{ key }, error] of failed)
        log.warn('outbox.not-updated', { operation, job: key, reason: error.message })
    } catch (error) {
      log.warn('outbox.not-updated', { operation, jobs: jobs.length, reason: messageOf(error) })
    }
  }

  async #bury(letters: Letter[]): Promise<void> {
    try {
      await this.#options.dispatch.buryAll(letters)
    } catch (error) {
      this.#options.log.error('job.bury-failed', { jobs: letters.length, reason: messageOf(error) })
    }
  }
}

const noAnswer = () => new Error(`the queue did not answer within ${limits.queueSendMs} ms`)

/** Null if the body is not a JSON object, which happens only if the row was changed by hand. */
function parsedBody(body: string): Job['body'] | null {
  try {
    const parsed: unknown = JSON.parse(body)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Job['body']) : null
  } catch {
    return null
  }
}
