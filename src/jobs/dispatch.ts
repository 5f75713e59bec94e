import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { type Log, redact } from '../core/log.ts'
import { backoffMs, type Random } from '../core/random.ts'
import { isTaken } from '../sharding/answers.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import type { ShardDatabase, ShardStatement, Shards } from '../sharding/shards.ts'
import type { Job } from './outbox.ts'

/** What a handler is given beside its job. */
export interface JobContext {
  shards: Shards
  clock: Clock
  /**
   * Runs the statements in one batch with an inbox row in the effect's slot, so that a job that comes twice has one
   * effect. Resolves to false when the effect was there already.
   */
  once(place: EffectPlace, statements: (database: ShardDatabase) => ShardStatement[]): Promise<boolean>
  /** True when `once` has committed at this place: for effects outside our stores, which come before their inbox row. */
  isDone(place: EffectPlace): Promise<boolean>
}

/** Where an effect lives: a keyspace, and any id or key in the slot. */
export interface EffectPlace {
  keyspace: Keyspace
  key: string
}

export interface JobKind {
  queue: 'jobs' | 'media'
  attemptsMax: number
  backoffBaseSeconds: number
  run(job: Job, context: JobContext): Promise<void>
}

export type JobKinds = Record<string, JobKind>

/** While a deployment goes out, an older version meets jobs of a newer one: they are tried again, not buried. */
const unknownKind = { attemptsMax: 10, backoffBaseSeconds: 15 }

const BACKOFF_CAP_SECONDS = 3_600
const inboxTable: Record<Keyspace, string> = { users: 'inbox', claims: 'claim_inbox' }

export interface DispatchOptions {
  kinds: JobKinds
  shards: Shards
  clock: Clock
  random: Random
  log: Log
}

/** What a consumer should do with a message. */
export type Verdict = { kind: 'done' } | { kind: 'retry'; delaySeconds: number } | { kind: 'dead'; error: string }

/** Runs jobs, whichever way they arrive: from the queue, or inline. Never throws. */
export class Dispatch {
  readonly #options: DispatchOptions

  constructor(options: DispatchOptions) {
    this.#options = options
  }

  /** `attempt` counts from 1. A job that is done has no outbox row any more; one that is dead has a dead letter. */
  async run(job: Job, attempt: number): Promise<Verdict> {
    const kind = this.#options.kinds[job.kind]
    try {
      if (!kind) throw new Error(`no handler for jobs of kind ${job.kind}`)
      await kind.run(job, this.#context(job))
      await this.#finish(job)
      return { kind: 'done' }
    } catch (error) {
      return this.#failed(job, kind, attempt, messageOf(error))
    }
  }

  /** Records a job that used up its attempts, for a person to see and redrive. Idempotent; a job that is done has no row. */
  async bury(job: Job, attempts: number, error: string): Promise<void> {
    const database = this.#options.shards.of(job.id, { operation: 'jobs.bury', idempotent: true })
    await database.batch([
      database
        .prepare(
          `INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at)
           SELECT id, owner_id, kind, body, ?, ?, ? FROM outbox WHERE id = ? ON CONFLICT (id) DO NOTHING`,
        )
        .bind(redact(error), attempts, this.#options.clock.now(), job.id),
      database.prepare("UPDATE outbox SET state = 'dead' WHERE id = ?").bind(job.id),
    ])
    this.#options.log.error('job.dead', { job: job.id, kind: job.kind, attempts, error })
  }

  queueOf(job: Job): 'jobs' | 'media' {
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
        const table = inboxTable[place.keyspace]
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
          .prepare(`SELECT 1 FROM ${inboxTable[place.keyspace]} WHERE id = ?`)
          .bind(inboxId(place))
          .first()
        return found !== null
      },
    }
  }

  /** Also where an earlier try was buried: what is done is no dead letter. */
  async #finish(job: Job): Promise<void> {
    const database = this.#options.shards.of(job.id, { operation: 'jobs.finish', idempotent: true })
    await database.batch([
      database.prepare('DELETE FROM outbox WHERE id = ?').bind(job.id),
      database.prepare('DELETE FROM dead_letters WHERE id = ?').bind(job.id),
    ])
  }

  async #failed(job: Job, kind: JobKind | undefined, attempt: number, error: string): Promise<Verdict> {
    const { attemptsMax, backoffBaseSeconds } = kind ?? unknownKind
    if (attempt >= attemptsMax) return { kind: 'dead', error }
    const delaySeconds = Math.ceil(
      backoffMs(this.#options.random, attempt, backoffBaseSeconds * 1_000, BACKOFF_CAP_SECONDS * 1_000) / 1_000,
    )
    this.#options.log.warn('job.failed', { job: job.id, kind: job.kind, attempt, delaySeconds, error })
    return { kind: 'retry', delaySeconds }
  }
}
