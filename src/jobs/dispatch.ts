import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { type Log, redact } from '../core/log.ts'
import { backoffMs, type Random } from '../core/random.ts'
import { isTaken } from '../sharding/answers.ts'
import { rowsOf } from '../sharding/named-batch.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import type { ShardDatabase, ShardStatement, Shards } from '../sharding/shards.ts'
import { inboxTable } from './inbox.ts'
import type { Job } from './outbox.ts'
import { ageRefusal } from './refusals.ts'

/** The context that a handler gets with its job. */
export interface JobContext {
  shards: Shards
  clock: Clock
  /**
   * Runs the statements in one batch with an inbox row in the effect's slot, so that a job that runs twice has one
   * effect. Resolves to false if the effect has already happened.
   */
  once(place: EffectPlace, statements: (database: ShardDatabase) => ShardStatement[]): Promise<boolean>
  /** True if `once` has committed here. For effects outside Banyan's stores, which happen before their inbox row. */
  isDone(place: EffectPlace): Promise<boolean>
}

/** The slot of an effect: a keyspace, and any id or key in the slot. */
interface EffectPlace {
  keyspace: Keyspace
  key: string
}

/** The queues, without their prefix. */
export type QueueName = 'jobs' | 'media' | 'purges'

export interface JobKind {
  queue: QueueName
  attemptsMax: number
  backoffBaseSeconds: number
  run(job: Job, context: JobContext): Promise<void>
  /**
   * Runs all jobs of this kind in one batch of a queue. Resolves to those that failed, each with the reason; the
   * others are done. A throw fails all of them. Has no inbox, so each effect must be harmless if it happens again.
   */
  runMany?(jobs: Job[], context: ManyContext): Promise<FailedJobs>
}

export type ManyContext = Pick<JobContext, 'shards' | 'clock'>
export type FailedJobs = ReadonlyMap<Job, unknown>

/**
 * The handlers of a kind whose jobs run together. A job that runs alone is a batch of one. @public For nouns.
 */
export const together = (runMany: NonNullable<JobKind['runMany']>): Pick<JobKind, 'run' | 'runMany'> => ({
  runMany,
  async run(job, context) {
    for (const reason of (await runMany([job], context)).values()) throw reason
  },
})

export type JobKinds = Record<string, JobKind>

/** During a deployment, an older version can receive jobs of a newer one. It retries them instead of burying them. */
const unknownKind = { attemptsMax: 10, backoffBaseSeconds: 15 }

const BACKOFF_CAP_SECONDS = 3_600

export interface DispatchOptions {
  kinds: JobKinds
  shards: Shards
  clock: Clock
  random: Random
  log: Log
}

/** A job to bury as a dead letter, and the reason. */
export interface Letter {
  job: Job
  attempts: number
  error: string
}

/** The reason for messages of a dead-letter queue. It never replaces a more specific reason. */
export const QUEUE_GAVE_UP = 'The queue gave up on it.'

/** The outcome of an attempt, which tells a consumer what to do with the message. */
export type Verdict = { kind: 'done' } | { kind: 'retry'; delaySeconds: number } | { kind: 'dead'; error: string }

/** A job, and which attempt at it this is, counted from 1. */
export interface Attempt {
  job: Job
  attempt: number
}

/** Runs jobs from a queue or inline. */
export class Dispatch {
  readonly #options: DispatchOptions

  constructor(options: DispatchOptions) {
    this.#options = options
  }

  /**
   * Never throws. `attempt` counts from 1. A job that is done loses its outbox row; a dead job gets a dead letter. A
   * job that is too old is refused, because its inbox row may be deleted already.
   */
  async run(job: Job, attempt: number): Promise<Verdict> {
    const tooOld = ageRefusal(job, this.#options.clock.now())
    if (tooOld) return { kind: 'dead', error: tooOld }
    const kind = this.#options.kinds[job.kind]
    try {
      if (!kind) throw new Error(`this version of the Worker has no handler for jobs of kind ${job.kind}`)
      await kind.run(job, this.#context(job))
      await this.#finish(job)
      return { kind: 'done' }
    } catch (error) {
      return this.#failed(job, kind, attempt, messageOf(error))
    }
  }

  /** The kind of a job that runs together with the others of its kind in a batch, or null. */
  kindTogether({ kind }: Job): string | null {
    return this.#options.kinds[kind]?.runMany ? kind : null
  }

  /** Like `run`, for jobs of one kind that run together. Returns a verdict for each, in order. */
  async runMany(attempts: Attempt[]): Promise<Verdict[]> {
    const now = this.#options.clock.now()
    const failed = await this.#runTogether(
      attempts.map(({ job }) => job).filter((job) => ageRefusal(job, now) === null),
    )
    return attempts.map(({ job, attempt }): Verdict => {
      const tooOld = ageRefusal(job, now)
      if (tooOld) return { kind: 'dead', error: tooOld }
      if (!failed.has(job)) return { kind: 'done' }
      return this.#failed(job, this.#options.kinds[job.kind], attempt, messageOf(failed.get(job)))
    })
  }

  async #runTogether(jobs: Job[]): Promise<FailedJobs> {
    const { kinds, shards, clock } = this.#options
    const run = jobs[0] && kinds[jobs[0].kind]?.runMany
    if (!run) return new Map()
    try {
      const failed = await run(jobs, { shards, clock })
      return new Map([...failed, ...(await this.#finishAll(jobs.filter((job) => !failed.has(job))))])
    } catch (error) {
      return new Map(jobs.map((job) => [job, error]))
    }
  }

  /** Records a job that used up its attempts, for an operator. Idempotent. Does nothing for a job that is done. */
  async bury(job: Job, attempts: number, error: string): Promise<void> {
    await this.buryAll([{ job, attempts, error }])
  }

  /**
   * Buries many jobs, in one batch per shard. The newest reason counts, unless it is QUEUE_GAVE_UP. A body that is too
   * large for a dead letter stays in the outbox row. Throws if a job could not be recorded, after recording the others.
   */
  async buryAll(letters: Letter[]): Promise<void> {
    const { shards, clock, log } = this.#options
    const items = letters.map(({ job, attempts, error }) => ({
      key: job.id,
      kind: job.kind,
      attempts,
      error: [...redact(error)].slice(0, limits.deadLetterErrorCharactersMax).join(''),
    }))
    const { answers, failed } = await shards.group(
      items,
      { keyspace: 'users', operation: 'jobs.bury' },
      (database, some) => {
        const json = JSON.stringify(some)
        return {
          letters: rowsOf<{ id: string }>(
            database
              .prepare(
                `INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at)
                 SELECT outbox.id, owner_id, kind,
                   CASE WHEN octet_length(body) <= ? THEN body ELSE json_object('bodyBytes', octet_length(body)) END,
                   letter.value ->> 'error', letter.value ->> 'attempts', ?
                 FROM json_each(?) AS letter CROSS JOIN outbox ON outbox.id = letter.value ->> 'key' WHERE true
                 ON CONFLICT (id) DO UPDATE SET error = excluded.error, attempts = excluded.attempts,
                   died_at = excluded.died_at WHERE excluded.error <> ?
                 RETURNING id`,
              )
              .bind(limits.deadLetterBodyBytesMax, clock.now(), json, QUEUE_GAVE_UP),
          ),
          rows: database
            .prepare("UPDATE outbox SET state = 'dead' WHERE id IN (SELECT value ->> 'key' FROM json_each(?))")
            .bind(json),
        }
      },
    )
    const buried = new Set(answers.flatMap(({ letters }) => letters.results.map(({ id }) => id)))
    for (const { key, kind, attempts, error } of items)
      if (buried.has(key)) log.error('job.dead', { job: key, kind, attempts, error })
    for (const error of failed.values()) throw error
  }

  queueOf(job: Job): QueueName {
    return this.#options.kinds[job.kind]?.queue ?? 'jobs'
  }

  #context(job: Job): JobContext {
    const { shards, clock } = this.#options
    const inboxId = (place: EffectPlace) => `${slotOf(place.key)}.${job.id}`
    return {
      shards,
      clock,
      async once(place, statements) {
        const database = shards.of(place.key, {
          keyspace: place.keyspace,
          operation: `jobs.${job.kind}`,
          idempotent: true,
        })
        const table = inboxTable(place.keyspace)
        const row = database
          .prepare(`INSERT INTO ${table} (id, done_at) VALUES (?, ?)`)
          .bind(inboxId(place), clock.now())
        try {
          await database.batch([row, ...statements(database)])
          return true
        } catch (error) {
          if (isTaken(error, table)) return false
          throw error
        }
      },
      async isDone(place) {
        const found = await shards
          .of(place.key, { keyspace: place.keyspace, read: 'exact', operation: `jobs.${job.kind}.is-done` })
          .prepare(`SELECT 1 FROM ${inboxTable(place.keyspace)} WHERE id = ?`)
          .bind(inboxId(place))
          .first()
        return found !== null
      },
    }
  }

  /** Deletes the outbox row, and the dead letter if an earlier attempt was buried. */
  async #finish(job: Job): Promise<void> {
    const database = this.#options.shards.of(job.id, { operation: 'jobs.finish', idempotent: true })
    await database.batch([
      database.prepare('DELETE FROM outbox WHERE id = ?').bind(job.id),
      database.prepare('DELETE FROM dead_letters WHERE id = ?').bind(job.id),
    ])
  }

  /** Like `#finish`, in one batch per shard. Resolves to the jobs whose rows may remain, with the reason. */
  async #finishAll(jobs: Job[]): Promise<FailedJobs> {
    const { failed } = await this.#options.shards.group(
      jobs.map((job) => ({ key: job.id, job })),
      { keyspace: 'users', operation: 'jobs.finish' },
      (database, some) => {
        const ids = JSON.stringify(some.map(({ key }) => key))
        const of = (table: string) =>
          database.prepare(`DELETE FROM ${table} WHERE id IN (SELECT value FROM json_each(?))`).bind(ids)
        return { rows: of('outbox'), letters: of('dead_letters') }
      },
    )
    return new Map([...failed].map(([{ job }, error]) => [job, error]))
  }

  #failed(job: Job, kind: JobKind | undefined, attempt: number, error: string): Verdict {
    const { attemptsMax, backoffBaseSeconds } = kind ?? unknownKind
    if (attempt >= attemptsMax) return { kind: 'dead', error }
    const delaySeconds = Math.ceil(
      backoffMs(this.#options.random, attempt, backoffBaseSeconds * 1_000, BACKOFF_CAP_SECONDS * 1_000) / 1_000,
    )
    this.#options.log.warn('job.failed', { job: job.id, kind: job.kind, attempt, delaySeconds, error })
    return { kind: 'retry', delaySeconds }
  }
}
