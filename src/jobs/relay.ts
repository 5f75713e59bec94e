import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Shards, ShardWindow } from '../sharding/shards.ts'
import type { Dispatch } from './dispatch.ts'
import type { Job } from './outbox.ts'

export interface RelayOptions {
  /** `inline` runs the handlers here instead of sending to a queue. */
  mode: 'queue' | 'inline'
  queues: Record<'jobs' | 'media', Pick<Queue, 'sendBatch'>>
  dispatch: Dispatch
  shards: Shards
  clock: Clock
  log: Log
}

/** Takes committed outbox rows to where their jobs run. A crash here loses nothing: the sweeper finds the rows. */
export class Relay {
  readonly #options: RelayOptions

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** After the commit. Never throws: what can't be sent now is sent by the sweeper. */
  async send(jobs: Job[]): Promise<void> {
    if (this.#options.mode === 'inline') for (const job of jobs) await this.#runInline(job)
    else for (const queue of ['jobs', 'media'] as const) await this.#enqueue(queue, this.#jobsOf(queue, jobs))
  }

  /**
   * Sends what a crash left behind: rows not sent in time, and rows sent long ago whose effect has not come. Returns how
   * many jobs it sent.
   */
  async sweep(window?: ShardWindow): Promise<number> {
    const { shards, clock, log } = this.#options
    const { values, failed } = await shards.each(
      'users',
      async (shard) => {
        const { results } = await shard.run<Omit<Job, 'body'> & { body: string }>(
          `SELECT id, owner_id AS ownerId, kind, body, attempts, created_at AS createdAt FROM outbox
         WHERE due_at <= ? AND state IN ('waiting', 'sent') AND ${shard.ownedHere('id')} ORDER BY due_at LIMIT ?`,
          clock.now(),
          limits.outboxSweepRowsMax,
        )
        return results.map((row): Job => ({ ...row, body: JSON.parse(row.body) as Job['body'] }))
      },
      window,
    )
    for (const { shard, error } of failed) log.error('outbox.sweep-failed', { shard, error })
    const jobs = values
      .flat()
      .sort((a, b) => a.createdAt - b.createdAt)
      .slice(0, limits.cronJobsMax)
    await this.send(jobs)
    return jobs.length
  }

  async #runInline(job: Job): Promise<void> {
    const { dispatch, log } = this.#options
    const attempt = job.attempts + 1
    const verdict = await dispatch.run(job, attempt)
    try {
      if (verdict.kind === 'dead') await dispatch.bury(job, attempt, verdict.error)
      if (verdict.kind === 'retry') await this.#postpone(job, attempt, verdict.delaySeconds)
    } catch (error) {
      log.error('job.verdict-not-kept', { job: job.id, verdict: verdict.kind, reason: messageOf(error) })
    }
  }

  /** The sweeper runs it again when its delay is over; until then it is in nobody's way. */
  async #postpone(job: Job, attempts: number, delaySeconds: number): Promise<void> {
    await this.#options.shards
      .of(job.id, { operation: 'outbox.postpone', idempotent: true })
      .prepare("UPDATE outbox SET attempts = ?, due_at = ? WHERE id = ? AND state <> 'dead'")
      .bind(attempts, this.#options.clock.now() + delaySeconds * 1_000, job.id)
      .run()
  }

  async #enqueue(queue: 'jobs' | 'media', jobs: Job[]): Promise<void> {
    for (let start = 0; start < jobs.length; start += limits.queueSendBatchMax) {
      const batch = jobs.slice(start, start + limits.queueSendBatchMax)
      try {
        await this.#options.queues[queue].sendBatch(batch.map((job) => ({ body: job, contentType: 'json' as const })))
        await this.#markSent(batch)
      } catch (error) {
        this.#options.log.warn('outbox.relay-failed', { queue, jobs: batch.length, reason: messageOf(error) })
      }
    }
  }

  /** One statement a slot. The effect may have come first: then there is no row to mark. */
  async #markSent(jobs: Job[]): Promise<void> {
    const bySlot = Map.groupBy(jobs, (job) => slotOf(job.id))
    const dueAt = this.#options.clock.now() + limits.outboxResendAfterMs
    for (const [slot, inSlot] of bySlot)
      await this.#options.shards
        .of(slot, { operation: 'outbox.mark-sent', idempotent: true })
        .prepare(
          "UPDATE outbox SET state = 'sent', due_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND state <> 'dead'",
        )
        .bind(dueAt, JSON.stringify(inSlot.map((job) => job.id)))
        .run()
  }

  #jobsOf(queue: 'jobs' | 'media', jobs: Job[]): Job[] {
    return jobs.filter((job) => this.#options.dispatch.queueOf(job) === queue)
  }
}
